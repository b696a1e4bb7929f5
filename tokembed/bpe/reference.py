"""The slow, readable twins: what the fast code must equal, and the "before" of every benchmark.

Read this file first. Nothing in it is clever; everything in `bpe.py`, `tokenizer.py` and the kernels computes the same.
"""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import numpy.typing as npt

from tokembed.bpe.splitting import END_OF_WORD, pieces

Pair = tuple[str, str]


# ---------------------------------------------------------------- byte-pair encoding


def count_words(text: str, lowercase: bool = True) -> dict[tuple[str, ...], int]:
    """Return each distinct word, as its symbols, with how often it occurs.

    >>> count_words("low low")
    {('l', 'o', 'w', '</w>'): 2}
    """
    return {(*piece, END_OF_WORD): count for piece, count in Counter(pieces(text, lowercase)).items()}


def count_pairs(words: dict[tuple[str, ...], int]) -> Counter[Pair]:
    """Count adjacent symbols over all words, each word weighted by its frequency.

    >>> count_pairs({("a", "a", "a", "</w>"): 5})
    Counter({('a', 'a'): 10, ('a', '</w>'): 5})
    """
    counts: Counter[Pair] = Counter()
    for word, frequency in words.items():
        for pair in itertools.pairwise(word):
            counts[pair] += frequency
    return counts


def merge_word(word: tuple[str, ...], pair: Pair) -> tuple[str, ...]:
    """Replace every occurrence of `pair` by its concatenation, from the left.

    >>> merge_word(("a", "a", "a", "</w>"), ("a", "a"))
    ('aa', 'a', '</w>')
    """
    merged = []
    position = 0
    while position < len(word):
        if word[position : position + 2] == pair:
            merged.append(pair[0] + pair[1])
            position += 2
        else:
            merged.append(word[position])
            position += 1
    return tuple(merged)


def train_bpe(text: str, num_merges: int, *, lowercase: bool = True, min_frequency: int = 2) -> list[Pair]:
    """Learn merges by counting all pairs anew before each one: O(M·N) where `bpe.train_bpe` touches only what changed.

    >>> train_bpe("low low low lower lowest", 3)
    [('l', 'o'), ('lo', 'w'), ('low', '</w>')]
    """
    words = count_words(text, lowercase)
    alphabet = sorted({character for word in words for character in word[:-1]})
    token_to_id = {token: index for index, token in enumerate([*alphabet, END_OF_WORD])}
    merges: list[Pair] = []
    while len(merges) < num_merges:
        counts = count_pairs(words)
        # The largest count; among equals the smallest ids, so that the result depends on the text alone.
        best = min(counts, key=lambda pair: (-counts[pair], token_to_id[pair[0]], token_to_id[pair[1]]), default=None)
        if best is None or counts[best] < min_frequency:
            break
        words = {merge_word(word, best): frequency for word, frequency in words.items()}
        token_to_id[best[0] + best[1]] = len(token_to_id)
        merges.append(best)
    return merges


def encode_word(piece: str, merges: list[Pair]) -> tuple[str, ...]:
    """Apply every merge, in the order learned, to one piece: O(M·L).

    >>> encode_word("lowest", [("l", "o"), ("lo", "w"), ("low", "</w>")])
    ('low', 'e', 's', 't', '</w>')
    """
    word = (*piece, END_OF_WORD)
    for pair in merges:
        word = merge_word(word, pair)
    return word


def tokenize(text: str, merges: list[Pair], alphabet: list[str], *, lowercase: bool = True) -> list[str]:
    """Tokenize text, nothing remembered from one word to the next; unknown characters become UTF-8 byte tokens.

    >>> tokenize("Low é", [("l", "o"), ("lo", "w"), ("low", "</w>")], ["l", "o", "w", "</w>"])
    ['low</w>', '<0xC3>', '<0xA9>', '</w>']
    """
    known = set(alphabet)
    tokens: list[str] = []
    for piece in pieces(text, lowercase):
        for token in encode_word(piece, merges):
            if len(token) == 1 and token not in known:
                tokens.extend(f"<0x{byte:02X}>" for byte in token.encode("utf-8"))
            else:
                tokens.append(token)
    return tokens


# ---------------------------------------------------------------- skip-gram with negative sampling


def softplus(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return log(1 + e^x) without overflow; -log σ(x) is softplus(-x)."""
    return np.logaddexp(0.0, x)


def skipgram_loss(
    target: npt.NDArray[np.float64], positive: npt.NDArray[np.float64], negatives: npt.NDArray[np.float64]
) -> float:
    """Return the loss of one pair, -log σ(u·v) - Σ_k log σ(-u·v_k), for vectors of shape (D,), (D,) and (K, D).

    References
    ----------
    Mikolov, Sutskever, Chen, Corrado, Dean (2013), Distributed Representations of Words and Phrases and their
    Compositionality, equation 4 (with the sign turned: it is maximised there).
    """
    return float(softplus(-(target @ positive)) + softplus(negatives @ target).sum())


def skipgram_step(
    target_vectors: npt.NDArray[np.float64],
    context_vectors: npt.NDArray[np.float64],
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
    errors = labels - 1.0 / (1.0 + np.exp(-scores))  # minus the loss's derivative in each score
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
) -> float:
    """Take one step of gradient descent, in place, on B pairs scored against all V tokens; return their summed loss.

    A pair costs O(V·D) where negative sampling costs O((1 + K)·D): what the loss -log(e^(u·v) / Σ_w e^(u·v_w)) is about, and
    why nobody trains with it. Every gradient is computed from the vectors as they stood before the step.

    References
    ----------
    Mikolov, Sutskever, Chen, Corrado, Dean (2013), Distributed Representations of Words and Phrases and their
    Compositionality, equation 2.
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
    steps = np.float32(learning_rate) * (errors @ context_vectors)
    context_vectors += np.float32(learning_rate) * (errors.T @ inputs)
    np.add.at(target_vectors, targets, steps)
    return loss
