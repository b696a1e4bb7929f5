"""How vectors come to lie where they lie: some tokens' places after a few epochs of one training, on common axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tokembed.analysis.geometry import Matrix
from tokembed.analysis.neighbours import is_more_than_grammar
from tokembed.bpe.tokenizer import BPETokenizerLoader
from tokembed.skipgram.settings import TrainingConfig
from tokembed.skipgram.training import TrainingResult, train_skipgram
from tokembed.vectors.embeddings import Embeddings, unit_rows
from tokembed.vectors.evaluation import frequent_words

EPOCHS = (0, 1, 2, 5, 10, 20)
NUM_WORDS = 100
NUM_GRAMMAR = 100  # most frequent words left out: "the", "that"


@dataclass(frozen=True)
class Film:
    """Places of n tokens by epoch.

    Attributes
    ----------
    tokens : list of str
    epochs : list of int
        0 is before training.
    frames : array (epochs, n, 2)
        Each is centred.
    losses : list of float or None
        Mean loss per pair in each of these epochs, in nats; None for 0.
    share : float
        Of the variance of the last epoch's unit vectors, what its two dimensions show.
    """

    tokens: list[str]
    epochs: list[int]
    frames: npt.NDArray[np.float64]
    losses: list[float | None]
    share: float


def film_words(embeddings: Embeddings, num_words: int = NUM_WORDS) -> list[str]:
    """Return the tokens of frequent words that are no grammar: of four letters or more, the most frequent hundred left out."""
    rows = frequent_words(embeddings, len(embeddings))
    skipped = min(NUM_GRAMMAR, len(rows) // 4)
    tokens = [embeddings.tokens[row] for row in rows[skipped:]]
    return [token for token in tokens if is_more_than_grammar(embeddings.word_of(token))][:num_words]


def training_film(
    token_ids: npt.NDArray[np.integer[Any]],
    tokenizer: BPETokenizerLoader,
    config: TrainingConfig,
    tokens: Sequence[str],
    epochs: Sequence[int] = EPOCHS,
) -> Film:
    """Train once more, with the same settings for as long as the film is, and return where the tokens lie on the way.

    Notes
    -----
    All frames are projected on the two principal directions of the last one, each centred, and each turned (or mirrored) within
    that plane to fit the next one best. To align in all D dimensions would deceive: with as many words as dimensions, a turn
    can bring even random vectors close to any others.

    References
    ----------
    Schönemann (1966), A generalized solution of the orthogonal Procrustes problem.
    """
    ids = [tokenizer.token_to_id[token] for token in tokens]
    states: dict[int, npt.NDArray[np.float64]] = {}

    def keep(result: TrainingResult) -> None:
        states[len(result.epoch_losses)] = unit_rows(result.vectors[ids])

    config = replace(config, epochs=max(epochs), early_stopping=0)
    result = train_skipgram(token_ids, tokenizer.vocab_size, config, on_checkpoint=keep)
    states[0] = unit_rows(result.before_training().vectors[ids])
    centred = [states[epoch] - states[epoch].mean(axis=0) for epoch in epochs]
    _, scales, directions = np.linalg.svd(centred[-1], full_matrices=False)
    frames = aligned([state @ directions[:2].T for state in centred])
    losses = [result.epoch_losses[epoch - 1] if epoch else None for epoch in epochs]
    share = float((scales[:2] ** 2).sum() / max((scales**2).sum(), 1e-12))
    return Film(list(tokens), list(epochs), np.stack(frames), losses, share)


def aligned(frames: Sequence[Matrix]) -> list[Matrix]:
    """Turn or mirror each frame (n, 2) to fit the next one best, from the last one back.

    >>> square = np.array([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [2.0, -1.0]])
    >>> turned = square @ np.array([[0.0, 1.0], [-1.0, 0.0]])
    >>> bool(np.allclose(aligned([turned, square])[0], square))
    True
    """
    found = [frames[-1]]
    for frame in reversed(frames[:-1]):
        left, _, right = np.linalg.svd(frame.T @ found[0])
        found.insert(0, frame @ left @ right)
    return found
