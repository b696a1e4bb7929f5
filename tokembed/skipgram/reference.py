"""Skip-gram, slow and readable: what every engine must equal.

Read this file first: the loss of one pair, one step of negative sampling, and the full softmax that it replaces.
D is the vectors' dimension, K the number of negatives, B the pairs of a batch, V the vocabulary's size.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

# ---------------------------------------------------------------- skip-gram with negative sampling


def softplus(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return log(1 + e^x) without overflow; -log σ(x) is softplus(-x)."""
    result: npt.NDArray[Any] = np.logaddexp(0.0, x)
    return result


def skipgram_loss(
    target: npt.NDArray[np.float64], positive: npt.NDArray[np.float64], negatives: npt.NDArray[np.float64]
) -> float:
    """Return the loss of one pair, -log σ(u·v) - Σ_k log σ(-u·v_k), for vectors of shape (D,), (D,) and (K, D).

    References
    ----------
    Mikolov et al. (2013), Distributed Representations of Words and Phrases and their Compositionality, equation 4 (with the
    sign turned: it is maximised there).
    """
    return float(softplus(-(target @ positive)) + softplus(negatives @ target).sum())


def skipgram_step(
    target_vectors: npt.NDArray[Any],
    context_vectors: npt.NDArray[Any],
    targets: list[int],
    positive: int,
    negatives: list[int],
    learning_rate: float,
) -> float:
    """Take one step of gradient descent, in place, on the pairs of one position; return their summed loss.

    All `targets` (the words around the position) share the `positive` (the word at it) and the `negatives`; every
    gradient is computed from the vectors as they stood before the step. A negative equal to the positive is skipped.
    """
    outputs = [positive, *(negative for negative in negatives if negative != positive)]
    labels = np.array([1.0] + [0.0] * (len(outputs) - 1))
    inputs = target_vectors[targets]  # (n, D)
    contexts = context_vectors[outputs]  # (1 + K, D)
    scores = inputs @ contexts.T  # (n, 1 + K)
    loss = softplus(np.where(labels == 1.0, -scores, scores)).sum()
    errors = labels - np.exp(-softplus(-scores))  # Y - σ(S), minus the loss's derivative in each score
    np.add.at(target_vectors, targets, learning_rate * errors @ contexts)
    np.add.at(context_vectors, outputs, learning_rate * errors.T @ inputs)
    return float(loss)


# ---------------------------------------------------------------- skip-gram with the full softmax


def softmax_step(
    target_vectors: npt.NDArray[np.float32],
    context_vectors: npt.NDArray[np.float32],
    targets: npt.NDArray[np.int64],
    positives: npt.NDArray[np.int64],
    learning_rate: float,
    max_step: float = math.inf,
) -> float:
    """Take one step of gradient descent, in place, on B pairs scored against all V tokens; return their summed loss.

    A pair costs O(V·D) where negative sampling costs O((1 + K)·D): what the loss -log(e^(u·v) / Σ_w e^(u·v_w)) is about, and
    why nobody trains with it. Every gradient is computed from the vectors as they stood before the step. A row that many of
    the pairs share gets the sum of theirs, and is moved by `max_step` at most: a text that repeats itself would throw it far.

    References
    ----------
    Mikolov et al. (2013), Distributed Representations of Words and Phrases and their Compositionality, equation 2.
    """
    inputs = target_vectors[targets]  # (B, D)
    scores = inputs @ context_vectors.T  # (B, V)
    scores -= scores.max(axis=1, keepdims=True)
    rows = np.arange(len(targets))
    right = scores[rows, positives]
    np.exp(scores, out=scores)
    sums = scores.sum(axis=1)
    loss = float((np.log(sums) - right).sum())
    errors = scores / -sums[:, None]  # minus the probabilities ...
    errors[rows, positives] += 1.0  # ... and 1 for the right one: minus the loss's derivative in each score
    moved, places = np.unique(targets, return_inverse=True)
    target_steps = np.zeros((len(moved), inputs.shape[1]), dtype=inputs.dtype)
    np.add.at(target_steps, places, np.float32(learning_rate) * (errors @ context_vectors))
    context_steps = np.float32(learning_rate) * (errors.T @ inputs)
    for steps in (target_steps, context_steps):
        lengths = np.linalg.norm(steps, axis=1, keepdims=True)
        steps *= np.minimum(1.0, max_step / np.maximum(lengths, 1e-30))
    context_vectors += context_steps
    target_vectors[moved] += target_steps
    return loss
