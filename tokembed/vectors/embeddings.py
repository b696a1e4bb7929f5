"""Vectors with their tokens: look up words, compare them, find neighbours, save and load."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from tokembed import files
from tokembed.bpe.model import BPEModel
from tokembed.bpe.splitting import END_OF_WORD, SPLITTINGS, Splitting, byte_characters, lower
from tokembed.bpe.tokenizer import BPETokenizerLoader
from tokembed.skipgram.training import TrainingResult
from tokembed.vectors import formats, storage
from tokembed.vectors.composition import Composition, unit_rows as unit_rows
from tokembed.vectors.storage import VectorsFileError

_SPACE = byte_characters(b" ")


class UnknownWordError(KeyError, ValueError):
    """A word without a vector: no token of it was trained."""

    def __str__(self) -> str:
        return str(self.args[0])


class Embeddings:
    """Vectors of tokens, with their tokenizer. V tokens, D dimensions.

    Parameters
    ----------
    tokens : sequence of str
        V different tokens; one that ends a word ends in `</w>`.
    vectors : array (V, D)
        Copied, as float32; read-only from then on.
    tokenizer : BPETokenizerLoader or BPEModel, optional
        With it any word has a vector: the mean of its tokens' vectors.
    counts : array (V,), optional
        How often each token occurred where the vectors were trained.
    word_counts : array (V,), optional
        How often it did so as a whole word; it tells words from fragments.
    composition : Composition, optional
        With it a word without a token of its own is composed of its n-grams, not of its tokens.

    Raises
    ------
    ValueError
        Shapes that don't fit, a token twice, or a number that is not finite.

    Examples
    --------
    >>> embeddings = Embeddings(["ice</w>", "snow</w>", "fire</w>"], [[1.0, 0.0], [0.8, 0.6], [-1.0, 0.0]])
    >>> round(embeddings.similarity("ice", "snow"), 2)
    0.8
    >>> embeddings.most_similar("ice", topn=1)
    [('snow</w>', 0.800000011920929)]
    """

    def __init__(
        self,
        tokens: Sequence[str],
        vectors: npt.ArrayLike,
        tokenizer: BPETokenizerLoader | BPEModel | None = None,
        counts: npt.ArrayLike | None = None,
        word_counts: npt.ArrayLike | None = None,
        composition: Composition | None = None,
    ) -> None:
        self.tokens = list(tokens)
        with np.errstate(over="ignore"):  # a number too large for 32 bits becomes infinite, and is reported below
            self.vectors = np.array(vectors, dtype=np.float32, order="C")
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.tokens) or self.vectors.shape[1] == 0:
            raise ValueError(f"{len(self)} tokens need vectors of shape ({len(self)}, D), not {self.vectors.shape}")
        if not np.isfinite(self.vectors).all():
            row = int(np.nonzero(~np.isfinite(self.vectors).all(axis=1))[0][0])
            raise ValueError(f"the vector of {self.tokens[row]!r} holds a number that is not finite")
        self.token_to_index = {token: index for index, token in enumerate(self.tokens)}
        if len(self.token_to_index) < len(self.tokens):
            raise ValueError(f"{len(self.tokens) - len(self.token_to_index)} tokens occur twice")
        self.counts, self.word_counts = self._checked_counts(counts), self._checked_counts(word_counts)
        self.tokenizer = BPETokenizerLoader(tokenizer) if isinstance(tokenizer, BPEModel) else tokenizer
        self.composition = composition
        if composition is not None and len(composition.mean) != self.embedding_dim:
            raise ValueError(f"n-grams of {len(composition.mean)} dimensions do not fit vectors of {self.embedding_dim}")
        #: The vectors scaled to length 1, (V, D); those of zeros stay.
        self.unit_vectors: npt.NDArray[np.float32] = unit_rows(self.vectors).astype(np.float32)
        for table in (self.vectors, self.unit_vectors):
            table.flags.writeable = False  # both must stay those of one table

    @classmethod
    def from_training(
        cls, result: TrainingResult, tokenizer: BPETokenizerLoader, token_ids: npt.NDArray[np.integer[Any]] | None = None
    ) -> Embeddings:
        """Return the vectors of the tokens that were trained; with the `token_ids`, words are told from fragments.

        Words are composed of their parts if `result.config.composition` says so.
        """
        if len(result.counts) != tokenizer.vocab_size:
            raise ValueError(f"vectors for {len(result.counts)} tokens, but the tokenizer has {tokenizer.vocab_size}")
        word_counts = None if token_ids is None else storage.count_whole_words(token_ids, tokenizer.id_to_token, tokenizer.rule)
        return cls.of_trained_rows(
            tokenizer.id_to_token, result.vectors, result.counts, tokenizer, word_counts, result.config.composition
        )

    @classmethod
    def of_trained_rows(
        cls,
        tokens: Sequence[str],
        vectors: npt.NDArray[np.float32],
        counts: npt.NDArray[np.int64],
        tokenizer: BPETokenizerLoader | BPEModel | None = None,
        word_counts: npt.NDArray[np.int64] | None = None,
        composition: str = "off",
        fitted: Composition | None = None,
    ) -> Embeddings:
        """Return the rows of a whole table, (V, D), whose tokens were trained: those with `counts` above 0.

        With the `composition` "ngrams", each word is blended with its n-grams, `fitted` to these rows before, or now.
        """
        (trained,) = np.nonzero(counts)
        names = [tokens[row] for row in trained.tolist()]
        alone = None if word_counts is None else word_counts[trained]
        plain = cls(names, vectors[trained], tokenizer, counts[trained], alone)
        return plain if composition == "off" else plain._composed_of_ngrams(fitted)

    def _composed_of_ngrams(self, fitted: Composition | None) -> Embeddings:
        rows = np.flatnonzero(self.is_word)
        words = [self.word_of(self.tokens[row]) for row in rows.tolist()]
        counts = None if self.counts is None else self.counts[rows]
        fitted, vectors = fitted or Composition.fitted(words, self.vectors[rows], counts), self.vectors.copy()
        vectors[rows] = fitted.blended(words, self.vectors[rows])
        return Embeddings(self.tokens, vectors, self.tokenizer, self.counts, self.word_counts, fitted)

    def _checked_counts(self, counts: npt.ArrayLike | None) -> npt.NDArray[np.int64] | None:
        if counts is None:
            return None
        given = np.asarray(counts)
        if given.shape != (len(self.tokens),):
            raise ValueError(f"{len(self.tokens)} tokens need as many counts, not {given.shape}")
        if given.size and (not np.issubdtype(given.dtype, np.integer) or given.min() < 0 or given.max() >= 2**63):
            raise ValueError("counts must be integers, 0 or more, below 2^63")
        return given.astype(np.int64)

    def __len__(self) -> int:
        return len(self.tokens)

    def __repr__(self) -> str:
        return f"Embeddings({len(self):,} tokens, {self.embedding_dim} dimensions)"

    def __getitem__(self, word: str) -> npt.NDArray[np.float32]:
        """Return `vector(word)`."""
        return self.vector(word)

    def __contains__(self, word: str) -> bool:
        try:
            return bool(self._rows_of(word)) or self._composed_vector(word) is not None
        except ValueError:  # a lone surrogate is in no word
            return False

    @property
    def rule(self) -> Splitting:
        """The splitting rule of the tokens: the tokenizer's, or "words"."""
        return self.tokenizer.rule if self.tokenizer else SPLITTINGS["words"]

    @property
    def embedding_dim(self) -> int:
        """D, the length of a vector."""
        return int(self.vectors.shape[1])

    # ------------------------------------------------------------ looking up

    def _own_row(self, word: str) -> int | None:
        """Return the row of the word's whole-word token.

        Under a byte-level rule a word is what it is after a space; the form that begins a line stands in where that is unknown.
        """
        whole = self.rule.token_of(word)
        exact = [whole] if self.tokenizer else [word, whole]
        if self.rule.is_lossless:
            exact.append(byte_characters(word.encode()))
        return next((self.token_to_index[token] for token in exact if word and token in self.token_to_index), None)

    def _rows_of(self, word: str) -> list[int]:
        """Return the row of the word's own token, or else those of its tokens."""
        own, whole = self._own_row(word), self.rule.token_of(word)
        if own is not None:
            return [own]
        if self.tokenizer is None:
            return []
        tokens = self.tokenizer.tokenize(self.rule.text_of(whole) if word else word)
        rows = [row for token in tokens for row in self.rows_of_token(token)]
        # </w> or a space alone says where a word ends or begins, nothing of which: it would make all unknown words the same.
        return rows if any(self.tokens[row] not in (END_OF_WORD, _SPACE) for row in rows) else []

    def rows_of_token(self, token: str) -> list[int]:
        """Return the row of a token or, if it was never trained, those of the tokens that it was merged from."""
        assert self.tokenizer is not None
        pending, rows = [token], []
        while pending:
            token = pending.pop()
            if token in self.token_to_index:
                rows.append(self.token_to_index[token])
            else:
                pending.extend(reversed(self.tokenizer.parts.get(token, ())))
        return rows

    def _composed_vector(self, word: str) -> npt.NDArray[np.float32] | None:
        """Return the vector of a word that has no row of its own, composed of n-grams; None if there is none, or no need.

        What is several pieces, as "ice cream" is, is the mean of theirs.
        """
        if self.composition is None or self._own_row(word) is not None:
            return None
        if self.tokenizer is None:
            return self.composition.vector(word) if word else None
        pieces = self.rule.pieces(self.rule.text_of(self.rule.token_of(word)) if word else word)
        if self.tokenizer.model.lowers:
            pieces = [lower(piece) for piece in pieces]
        words = [self.rule.word_of(self.rule.token_of(piece)) for piece in pieces]
        own = [self._own_row(each) for each in words]
        vectors = [
            self.composition.vector(each) if row is None else self.vectors[row] for each, row in zip(words, own, strict=True)
        ]
        found = [vector for vector in vectors if vector is not None]
        return np.stack(found).mean(axis=0, dtype=np.float64).astype(np.float32) if found else None

    def word_of(self, token: str) -> str:
        """Return a token as people read it: the word that it is, or its text.

        >>> Embeddings(["ice</w>"], [[1.0]]).word_of("ice</w>")
        'ice'
        """
        return self.rule.word_of(token)

    def tokens_of(self, word: str) -> list[str]:
        """Return the tokens whose mean is the word's vector: itself, those that it falls into, or none.

        >>> Embeddings(["ice</w>", "snow</w>"], [[1.0, 0.0], [0.8, 0.6]]).tokens_of("ice")
        ['ice</w>']
        """
        return [self.tokens[row] for row in self._rows_of(word)]

    def vector(self, word: str) -> npt.NDArray[np.float32]:
        """Return a word's vector, shape (D,): its token's, or one composed of its n-grams, or the mean of its tokens' vectors.

        The n-grams are those of `composition`; without it, or where it knows none of them, the tokens are taken. A token that
        was never trained is split into those that it was merged from; a character never trained is left out. A word of such
        characters alone has no vector: `UnknownWordError`, which is a `KeyError`.
        """
        if (composed := self._composed_vector(word)) is not None:
            return composed
        rows = self._rows_of(word)
        if not rows:
            why = "none of its tokens was trained" if self.tokenizer else "no such token, and no tokenizer to split it"
            raise UnknownWordError(f"no vector for {word!r}: {why}")
        mean: npt.NDArray[np.float32] = self.vectors[rows].mean(axis=0, dtype=np.float64).astype(np.float32)
        return mean

    def similarity(self, a: str, b: str) -> float:
        """Return the cosine of two words' vectors, -1 to 1 (0 when one of them is zero)."""
        u, v = unit_rows(np.stack([self.vector(a), self.vector(b)]))
        return float(u @ v)

    def most_similar(self, word: str, topn: int = 5, *, words_only: bool = False) -> list[tuple[str, float]]:
        """Return the tokens whose vectors have the largest cosine with the word's, best first.

        Parameters
        ----------
        word : str
            Its own tokens are left out of the answer.
        topn : int
            How many; fewer come back from a small vocabulary.
        words_only : bool
            Leave out fragments and marks (see `is_word`).
        """
        return self._nearest(self.vector(word), [word], topn, words_only)

    def analogy(
        self, positive: Sequence[str], negative: Sequence[str] = (), topn: int = 5, *, words_only: bool = False
    ) -> list[tuple[str, float]]:
        """Return the tokens nearest to the sum of some words' vectors minus that of others, each of length 1, best first.

        None of the words is in the answer; otherwise as `most_similar`.

        >>> embeddings = Embeddings(["a</w>", "b</w>", "c</w>", "d</w>"], [[1.0, 0], [1, 1], [-1, 0], [-1, 1]])
        >>> embeddings.analogy(positive=["c", "b"], negative=["a"], topn=1)[0][0]
        'd</w>'
        """
        words = [*positive, *negative]
        if isinstance(positive, str) or isinstance(negative, str) or not words:
            raise ValueError("positive and negative are lists of words, with at least one word in all")
        signs = np.array([1.0] * len(positive) + [-1.0] * len(negative))
        return self._nearest(signs @ unit_rows(np.stack([self.vector(word) for word in words])), words, topn, words_only)

    def _nearest(
        self, vector: npt.NDArray[Any], left_out: Sequence[str], topn: int, words_only: bool
    ) -> list[tuple[str, float]]:
        if topn < 1:
            raise ValueError(f"topn must be at least 1, not {topn}")
        scores = self.unit_vectors @ unit_rows(vector[None])[0].astype(np.float32)
        scores[[row for word in left_out for row in self._rows_of(word)]] = -np.inf
        if words_only:
            scores[~self.is_word] = -np.inf
        topn = min(topn, int(np.isfinite(scores).sum()))
        if topn == 0:
            return []
        # All that score at least as well as the last one wanted; equal ones in the order of the tokens.
        (candidates,) = np.nonzero(scores >= -np.partition(-scores, topn - 1)[topn - 1])
        order = candidates[np.argsort(-scores[candidates], kind="stable")][:topn]
        return [(self.tokens[row], float(scores[row])) for row in order]

    @cached_property
    def is_word(self) -> npt.NDArray[np.bool_]:
        """Tell for each token whether it is a word rather than a fragment or a mark, shape (V,).

        A word ends in `</w>`, or begins with a space under a byte-level rule, has a letter first, and stood alone in at least
        half of its occurrences: "ing</w>" ends in `</w>` too, but hardly ever stands alone. Without `word_counts` the last
        condition is left out.
        """
        answer = np.array([self.rule.is_whole(token) for token in self.tokens], dtype=bool)
        if self.counts is not None and self.word_counts is not None:
            answer &= 2 * self.word_counts >= self.counts
        answer.flags.writeable = False  # computed once, shared by all who ask
        return answer

    # ------------------------------------------------------------ files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write vectors, tokens, counts, tokenizer and composition to one safetensors file, in one step."""
        tensors = {"vectors": self.vectors, "counts": self.counts, "word_counts": self.word_counts}
        given: storage.Tensors = {name: tensor for name, tensor in tensors.items() if tensor is not None}
        metadata = storage.file_metadata(self.tokens, self.tokenizer)
        if self.composition is not None:
            more, says = storage.composition_parts(self.composition)
            given, metadata = given | more, metadata | says
        storage.write_tensors(path, given, metadata)

    def save_word2vec_format(self, path: str | os.PathLike[str]) -> None:
        """Write the vectors as a word2vec text file, which gensim's `KeyedVectors.load_word2vec_format` reads back equal.

        White space and the like in tokens is escaped (see `formats.escaped`); `formats.unescaped` restores it.
        """
        formats.save_word2vec_format(self, path)

    def save_projector(self, folder: str | os.PathLike[str]) -> None:
        """Write the vectors for the TensorBoard Embedding Projector into a folder, which is made.

        `tensorboard --logdir FOLDER` shows them; projector.tensorflow.org loads its `vectors.tsv` and `metadata.tsv`.
        """
        formats.save_projector(self, folder)

    def export_static_model(
        self, folder: str | os.PathLike[str], sif: float | None = formats.SIF, *, remove_common: bool = True
    ) -> None:
        """Write a folder that model2vec and sentence-transformers load, to turn whole texts into vectors.

        `StaticModel.from_pretrained(folder)` and `SentenceTransformer(folder)` give a text the mean of its tokens' rows: those
        of `formats.static_rows`, which has the parameters, and says what becomes of tokens and words that were never trained.
        """
        formats.export_static_model(self, folder, sif, remove_common=remove_common)

    @classmethod
    def load(cls, path: str | os.PathLike[str], tokenizer: BPETokenizerLoader | BPEModel | None = None) -> Embeddings:
        """Read what `save`, or training, wrote.

        Parameters
        ----------
        tokenizer : BPETokenizerLoader or BPEModel, optional
            Use this one instead of the one in the file; it must be the same one.

        Raises
        ------
        VectorsFileError
            The file is none of ours, or inconsistent, or belongs to another tokenizer.
        """
        tensors, metadata = storage.read_tensors(path)
        try:
            tokens = storage.tokens_in(metadata)
            if "tokenizer" in metadata:
                stored = BPEModel.from_json(metadata["tokenizer"])
                if tokenizer is not None and tokenizer.fingerprint != stored.fingerprint:
                    raise ValueError("these vectors belong to another tokenizer than the one given")
                tokenizer = tokenizer or stored
            if "target_vectors" in tensors:  # a checkpoint
                result, word_counts = storage.decode_checkpoint(tensors, metadata)
                how = result.config.composition, storage.composition_in(tensors, metadata)
                return cls.of_trained_rows(tokens, result.vectors, result.counts, tokenizer, word_counts, *how)
            if "vectors" not in tensors:
                raise ValueError("it holds no vectors")
            if tensors["vectors"].dtype != np.float32:
                raise ValueError(f"vectors are {tensors['vectors'].dtype}, not float32")
            given = tensors.get("counts"), tensors.get("word_counts"), storage.composition_in(tensors, metadata)
            return cls(tokens, tensors["vectors"], tokenizer, *given)
        except (ValueError, TypeError, IndexError) as error:
            raise VectorsFileError(f"{files.display_path(path)}: {error}") from None
