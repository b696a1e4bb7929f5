"""What stands beside a corpus' own tokenizer and vectors in the explorer: what other texts teach, and how training went."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from tokembed import workspace
from tokembed.analysis.film import Film, film_words, training_film
from tokembed.bpe.tokenizer import BPETokenizerLoader
from tokembed.corpora.corpus import Corpus, CorpusError
from tokembed.corpora.sources import NAMES, load_corpus
from tokembed.skipgram import sampling
from tokembed.vectors import storage
from tokembed.vectors.embeddings import Embeddings

TITLES = {"frankenstein": "Frankenstein", "pydocs": "Python's help texts", "wikitext2": "Wikipedia (WikiText-2)"}


SENTENCE = re.compile(r"[^\s.!?。！？][^\n.!?。！？]{18,100}[.!?。！？]")


class NoFilmError(ValueError):
    """A training that can't be filmed; the message says why."""


def known_corpora() -> tuple[dict[str, Corpus], dict[str, str]]:
    """Return the corpora with names of their own that can be had, and why the others can't."""
    found, missing = {}, {}
    for name in NAMES:
        try:
            found[name] = load_corpus(name)
        except CorpusError as error:
            missing[name] = str(error)
    return found, missing


def corpus_of(embeddings: Embeddings, corpora: dict[str, Corpus], dataset: str | None) -> Corpus | None:
    """Return the corpus that a tokenizer was learned from: one of these or, if it is a file's, that of the user's."""
    assert embeddings.tokenizer is not None
    candidates = list(corpora.values())
    if dataset is not None and dataset not in NAMES:
        candidates.append(load_corpus(dataset))
    fingerprint = embeddings.tokenizer.model.source.get("corpus")
    return next((corpus for corpus in candidates if corpus.fingerprint == fingerprint), None)


def sentence_of(corpus: Corpus) -> str | None:
    """Return a sentence of a text, from the middle of its beginning, for the page to begin with; None if it has none."""
    start = next(iter(corpus.chunks()), "")
    found = SENTENCE.search(start, len(start) // 2) or SENTENCE.search(start)
    return found[0] if found else None


def other_educations(embeddings: Embeddings, corpora: dict[str, Corpus]) -> dict[str, BPETokenizerLoader]:
    """Return tokenizers with as many merges as the vectors' own that learned from the other corpora, by what these are."""
    own = embeddings.tokenizer
    assert own is not None
    fingerprint = own.model.source.get("corpus")
    others = {name: corpus for name, corpus in corpora.items() if corpus.fingerprint != fingerprint}
    num_merges = max(len(own.merges), 1)
    return {
        TITLES[name]: workspace.tokenizer_for(corpus, num_merges, lowercase=own.model.lowercase)[0]
        for name, corpus in others.items()
    }


def film_of(path: Path, embeddings: Embeddings, corpus: Corpus | None) -> Film:
    """Train as the vectors in a file were trained, and film it.

    Raises
    ------
    NoFilmError
        What they were trained on is not here, or was not the whole text.
    """
    tokenizer = embeddings.tokenizer
    assert tokenizer is not None
    if corpus is None:
        raise NoFilmError("the text that the vectors were trained on is not here")
    try:
        earlier = storage.load_checkpoint(path, tokenizer)
    except storage.VectorsFileError:
        raise NoFilmError("the file holds vectors, but not the settings of their training") from None
    ids = np.concatenate([tokenizer.encode_array(part) for part in corpus.chunks(workspace.PART_CHARACTERS)])
    if not np.array_equal(sampling.count_tokens(ids, tokenizer.vocab_size, earlier.config.min_count), earlier.counts):
        raise NoFilmError("they were trained on a part of the text, or with its rare tokens split")
    tokens = film_words(embeddings)
    if len(tokens) < 2:
        raise NoFilmError("there are too few words")
    return training_film(ids, tokenizer, earlier.config, tokens)
