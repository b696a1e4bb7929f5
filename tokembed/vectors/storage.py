"""Vectors in files: the format, what is checked when a file is read, and the state of a training that can be resumed.

One safetensors file holds either plain vectors ("vectors", what `Embeddings.save` writes) or a checkpoint: both tables of a
training, its settings and its history. Neither can run code when it is loaded.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tokembed import files
from tokembed.bpe.splitting import SPLITTINGS, Splitting
from tokembed.bpe.tokenizer import BPETokenizerLoader
from tokembed.corpora.corpus import state_of
from tokembed.skipgram import sampling
from tokembed.skipgram.settings import TrainingConfig
from tokembed.skipgram.training import FREE_SETTINGS, TrainingResult
from tokembed.vectors.composition import EARLIER_EXPONENTS, Composition

FORMAT, FORMAT_VERSION = "tokembed-embeddings", 1
LABEL_MARK = "--"  # between a checkpoint's corpus and the label of its settings
RESULT_ARRAYS = ("target_vectors", "context_vectors", "counts")  # of a `TrainingResult`; the rest of it is JSON

Tensors = dict[str, npt.NDArray[Any]]
Neighbours = dict[str, list[str]]  # the nearest to a word, the nearest first


class VectorsFileError(ValueError):
    """A file that holds no vectors of ours, or a damaged one; the message names the file and the flaw."""


class ResumeError(VectorsFileError):
    """A checkpoint that belongs to another tokenizer or other tokens than the run that would continue it."""


# ---------------------------------------------------------------- the file


def write_tensors(path: str | os.PathLike[str], tensors: Tensors, metadata: dict[str, str]) -> None:
    """Write arrays and metadata as a safetensors file, in one step; raise `OSError` if it can't be."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    with files.atomic_path(path) as temporary:
        try:
            save_file(tensors, temporary, metadata)
        except SafetensorError as error:  # a full disk, say: its own kind of error, though the system's
            raise OSError(f"could not write {files.display_path(path)}: {error}") from None


def read_tensors(path: str | os.PathLike[str]) -> tuple[Tensors, dict[str, str]]:
    """Return the arrays and the metadata of a file of vectors, or raise `VectorsFileError` (`OSError` if unreadable)."""
    from safetensors import SafetensorError, safe_open

    with open(path, "rb"):  # a missing or unreadable file is an OSError of the usual kind
        pass
    try:
        with safe_open(Path(path), framework="numpy") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, ValueError, TypeError) as error:
        raise VectorsFileError(f"{files.display_path(path)} is not a safetensors file: {error}") from None
    if metadata.get("format") != FORMAT:
        raise VectorsFileError(f"{files.display_path(path)} holds no vectors of this program")
    return tensors, metadata


def file_metadata(tokens: Sequence[str], tokenizer: BPETokenizerLoader | None) -> dict[str, str]:
    """Return the metadata of a file of vectors: format, tokens, and the tokenizer with its fingerprint."""
    metadata = {"format": FORMAT, "version": str(FORMAT_VERSION), "tokens": json.dumps(list(tokens))}
    if tokenizer is not None:
        metadata |= {"tokenizer": tokenizer.model.to_json(), "tokenizer_fingerprint": tokenizer.fingerprint}
    return metadata


def tokens_in(metadata: dict[str, str]) -> list[str]:
    """Return the tokens that a file's rows belong to; raise `ValueError` if it is of another version or lists none."""
    if metadata.get("version") != str(FORMAT_VERSION):
        raise ValueError(f"version {metadata.get('version')}, but this program reads version {FORMAT_VERSION}")
    tokens = _parse_json(metadata.get("tokens", "null"))
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise ValueError("it has no list of tokens")
    return tokens


def composition_in(tensors: Tensors, metadata: dict[str, str]) -> Composition | None:
    """Return the composition that a file holds, if it does; raise `ValueError` if it is damaged."""
    if "ngrams" not in metadata:
        return None
    ngrams = _parse_json(metadata["ngrams"])
    if not isinstance(ngrams, list) or not all(isinstance(ngram, str) for ngram in ngrams):
        raise ValueError("its n-grams are not a list of texts")
    if not {"ngram_vectors", "ngram_mean"} <= tensors.keys():
        raise ValueError("it holds no vectors of its n-grams")
    exponents = _parse_json(metadata.get("ngram_exponents", json.dumps(EARLIER_EXPONENTS)))
    if (
        not isinstance(exponents, list)
        or [type(each) for each in exponents] != [float] * 2
        or not 0 <= max(map(abs, exponents)) <= 9
    ):
        raise ValueError(f"its n-grams have no two exponents, but {exponents!r:.60}")
    words = _parse_json(metadata.get("ngram_words", "[]"))  # those of earlier files have no relatives
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError("the words that its n-grams were fitted to are not a list of texts")
    fitted = ngrams, tensors["ngram_vectors"], tensors["ngram_mean"], (exponents[0], exponents[1])
    return Composition(*fitted, words, tensors.get("ngram_residuals"))


def composition_parts(composition: Composition) -> tuple[Tensors, dict[str, str]]:
    """Return arrays and metadata that keep a composition in a file; `composition_in` reads them."""
    tensors: Tensors = {
        "ngram_vectors": composition.vectors,
        "ngram_mean": composition.mean,
        "ngram_residuals": composition.residuals,
    }
    metadata = {
        "ngrams": json.dumps(composition.ngrams),
        "ngram_exponents": json.dumps(composition.exponents),
        "ngram_words": json.dumps(composition.words),
    }
    return tensors, metadata


def _parse_json(text: str) -> Any:
    """Return the value of JSON text from a file that may be hostile; raise `ValueError` if it is not JSON."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


# ---------------------------------------------------------------- checkpoints


@dataclass(frozen=True)
class StreamFacts:
    """What a checkpoint says of the stream: how often each id is a whole word, (V,), and a hash."""

    word_counts: npt.NDArray[np.int64]
    sha256: str

    @classmethod
    def of(cls, token_ids: npt.NDArray[np.int32], tokenizer: BPETokenizerLoader) -> StreamFacts:
        """Return what there is to know of ids, in two passes over them."""
        return cls(count_whole_words(token_ids, tokenizer.id_to_token, tokenizer.rule), tokens_sha256(token_ids))


class Checkpointer:
    """Keeps a run's state in one file, replaced in one step at each call; `Embeddings.load` reads it too.

    Parameters
    ----------
    token_ids : array (N,) of int32, or StreamFacts
        The stream that is trained on, or what is to be known of it.
    measure : callable, optional
        Takes a `TrainingResult`; returns named figures for the history, before the first epoch and after each.
    neighbours : callable, optional
        Takes a `TrainingResult`; returns the neighbours of some words, kept for each epoch as `read_neighbours` gives them.
    resumed : bool
        Continue the history of the file at `path`.
    """

    def __init__(
        self,
        path: Path,
        tokenizer: BPETokenizerLoader,
        token_ids: npt.NDArray[np.int32] | StreamFacts,
        measure: Callable[[TrainingResult], dict[str, float]] | None = None,
        neighbours: Callable[[TrainingResult], Neighbours] | None = None,
        *,
        resumed: bool = False,
    ) -> None:
        self.path = path
        self.has_saved = False
        self.kept_aside: list[Path] = []  # where trainings with other settings went that wrote to the same file meanwhile
        self._state = state_of(path) if path.is_file() else None
        self._measure = measure or (lambda _: {})
        self._neighbours_of = neighbours or (lambda _: {})
        self._history = read_history(path) if resumed else []
        self._neighbours = read_neighbours(path) if resumed else []
        facts = token_ids if isinstance(token_ids, StreamFacts) else StreamFacts.of(token_ids, tokenizer)
        self._word_counts = facts.word_counts
        self._metadata = file_metadata(tokenizer.id_to_token, tokenizer)
        self._tokens_sha256 = facts.sha256

    def add_composition(self, composition: Composition | None) -> None:
        """Write the fitted n-grams into the file, too, once training has ended: reading it then needs no fit."""
        if composition is None or not self.has_saved:
            return
        with files.alone_in(self.path.parent):
            if state_of(self.path) == self._state:  # it is still this training's
                tensors, metadata = read_tensors(self.path)
                more_tensors, more_metadata = composition_parts(composition)
                write_tensors(self.path, {**tensors, **more_tensors}, {**metadata, **more_metadata})
                self._state = state_of(self.path)

    def __call__(self, result: TrainingResult) -> None:
        """Write what training has reached."""
        if not self._history:
            self._history.append(self._measure(result.before_training()))
        self._history.append(self._measure(result))
        self._neighbours.append(self._neighbours_of(result))
        training = {**vars(result), "config": asdict(result.config), "epoch": len(result.epoch_losses)}
        tensors = {name: training.pop(name) for name in RESULT_ARRAYS}
        training |= {"tokens_sha256": self._tokens_sha256, "history": self._history, "neighbours": self._neighbours}
        metadata = {**self._metadata, "training": json.dumps(training)}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with files.alone_in(self.path.parent):
            self._make_way(training_label(result.config, metadata.get("tokenizer_fingerprint", ""), self._tokens_sha256))
            write_tensors(self.path, {**tensors, "word_counts": self._word_counts}, metadata)
            self._state = state_of(self.path)
        self.has_saved = True

    def _make_way(self, label: str) -> None:
        """Keep, under its own label, what another training has written here since this one looked."""
        if not self.path.is_file() or state_of(self.path) == self._state:
            return
        with contextlib.suppress(VectorsFileError):  # a damaged file holds nothing to keep
            other = label_of(self.path)
            if other != label:
                self.kept_aside.append(self.path.replace(aside_of(self.path, other)))


def decode_checkpoint(tensors: Tensors, metadata: dict[str, str]) -> tuple[TrainingResult, npt.NDArray[np.int64]]:
    """Return the result that a checkpoint holds, and its tokens' whole-word counts, (V,).

    What is missing, of the wrong shape or type, or not finite, is a `ValueError`.
    """
    try:
        training = _parse_json(metadata["training"])
        result = TrainingResult(
            tensors["target_vectors"],
            tensors["context_vectors"],
            tensors["counts"],
            [float(loss) for loss in training["epoch_losses"]],
            [int(count) for count in training["num_pairs"]],
            [float(seconds) for seconds in training["seconds"]],
            int(training["num_tokens"]),
            TrainingConfig(**training["config"]),
            str(training["engine"]),
        )
        word_counts = tensors["word_counts"]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"it is not a complete checkpoint: {error!r}") from None
    num_tokens = len(tokens_in(metadata))
    for counts in (result.counts, word_counts):
        if counts.shape != (num_tokens,) or counts.dtype != np.int64 or (counts < 0).any():
            raise ValueError(f"its counts are not {num_tokens} non-negative integers")
    shape = (num_tokens, result.config.embedding_dim)
    tables = result.target_vectors, result.context_vectors
    if any(table.shape != shape or table.dtype != np.float32 or not np.isfinite(table).all() for table in tables):
        raise ValueError(f"its tables are not {shape[0]} finite vectors of {shape[1]} numbers")
    return result, word_counts


def load_checkpoint(
    path: Path, tokenizer: BPETokenizerLoader, token_ids: npt.NDArray[np.int32] | StreamFacts | None = None
) -> TrainingResult:
    """Read a checkpoint to resume, of these `token_ids`, or to look at.

    One of another tokenizer or of other tokens is a `ResumeError`, a damaged one, or none, a `VectorsFileError`.
    """
    tensors, metadata = read_tensors(path)
    name = files.display_path(path)
    if metadata.get("tokenizer_fingerprint") != tokenizer.fingerprint:
        raise ResumeError(f"cannot resume: {name} belongs to another tokenizer")
    try:
        result, _ = decode_checkpoint(tensors, metadata)
        sha256 = None if token_ids is None else hash_of(token_ids)
        is_same = sha256 is None or _parse_json(metadata["training"]).get("tokens_sha256") == sha256
    except ValueError as error:
        raise VectorsFileError(f"{name} is damaged: {error}") from None
    if not is_same:
        raise ResumeError(f"cannot resume: {name} was trained on other tokens")
    return result


def training_label(config: TrainingConfig, tokenizer_fingerprint: str, tokens_sha256: str) -> str:
    """Return six characters that tell trainings apart which can't continue one another, whatever their epochs."""
    settings = {name: value for name, value in asdict(config).items() if name not in (*FREE_SETTINGS, "epochs")}
    made_from = json.dumps([settings, tokenizer_fingerprint, tokens_sha256], sort_keys=True)
    return hashlib.sha256(made_from.encode()).hexdigest()[:6]


def aside_of(path: Path, label: str) -> Path:
    """Return where a checkpoint is kept when another takes its place."""
    return path.with_name(f"{path.stem}{LABEL_MARK}{label}{path.suffix}")


def label_of(path: Path) -> str:
    """Return the `training_label` of a checkpoint; a file that is none, or damaged, is a `VectorsFileError`."""
    tensors, metadata = read_tensors(path)
    try:
        result, _ = decode_checkpoint(tensors, metadata)
        tokens = str(_parse_json(metadata["training"]).get("tokens_sha256"))
    except ValueError as error:
        raise VectorsFileError(f"{files.display_path(path)} is damaged: {error}") from None
    return training_label(result.config, metadata.get("tokenizer_fingerprint", ""), tokens)


def read_history(path: Path) -> list[dict[str, float]]:
    """Return a checkpoint's history: named figures before the first epoch and after each."""
    _, metadata = read_tensors(path)
    try:
        history = _parse_json(metadata["training"])["history"]
        return [{str(name): float(value) for name, value in entry.items()} for entry in history]
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        raise VectorsFileError(f"{files.display_path(path)} holds no history of its training") from None


def read_neighbours(path: Path) -> list[Neighbours]:
    """Return, for each epoch, the neighbours of a few words as a checkpoint kept them: nothing of an epoch that kept none."""
    _, metadata = read_tensors(path)
    try:
        training = _parse_json(metadata["training"])
        kept = training.get("neighbours", [])
        found = [{str(word): [str(each) for each in near] for word, near in entry.items()} for entry in kept]
        num_epochs = len(training["epoch_losses"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise VectorsFileError(f"{files.display_path(path)} holds no neighbours by epoch") from None
    return [*({} for _ in range(num_epochs - len(found))), *found[:num_epochs]]


def hash_of(token_ids: npt.NDArray[np.int32] | StreamFacts) -> str:
    """Return the hash of a stream, known or not."""
    return token_ids.sha256 if isinstance(token_ids, StreamFacts) else tokens_sha256(token_ids)


def tokens_sha256(token_ids: npt.NDArray[np.int32]) -> str:
    """Return a hash of a stream of ids."""
    digest = hashlib.sha256()
    for part in sampling.parts(token_ids):
        digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()


def count_whole_words(
    token_ids: npt.NDArray[np.integer[Any]], id_to_token: Sequence[str], rule: Splitting = SPLITTINGS["words"]
) -> npt.NDArray[np.int64]:
    """Return how often each id is a whole word in a stream, shape (V,): a word ends before it, and with it."""
    begins, ends = np.array([rule.edges(token) for token in id_to_token], dtype=bool).reshape(-1, 2).T
    counts = np.zeros(len(id_to_token), dtype=np.int64)
    last: npt.NDArray[np.integer[Any]] = np.empty(0, dtype=np.int32)  # of a part; what follows tells whether it ends a word
    has_ended = True
    for part in itertools.chain(sampling.parts(token_ids), [None]):
        here = last if part is None else np.concatenate([last, part])
        if not here.size:
            continue
        after = ends[here]
        after[:-1] |= begins[here[1:]]
        alone = after & np.concatenate([[has_ended], after[:-1]])
        complete = len(here) - (part is not None)
        counts += np.bincount(here[:complete][alone[:complete]], minlength=len(id_to_token))
        has_ended, last = bool(after[complete - 1]) if complete else has_ended, here[complete:]
    return counts
