"""Why one vector per word is not enough: two senses of a word, told apart by the words around it, share the one it has."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from tokembed.analysis.finding import Finding
from tokembed.analysis.geometry import Matrix
from tokembed.bpe.splitting import pieces
from tokembed.vectors.embeddings import Embeddings, unit_rows

REACH = 8  # words before and behind a use that are looked at
FEWEST_USES = 3  # of each sense, for their means to be compared
SIGNIFICANT = 0.05  # p-values below are taken for more than chance


@dataclass(frozen=True)
class Sense:
    """One sense of a word: its name, an example, and words that stand near it when it is meant."""

    name: str
    example: str
    cues: list[str]


@cache
def known_senses() -> dict[str, tuple[Sense, ...]]:
    """Return the words of two senses, with both, from `senses.toml`."""
    words = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    return {word: tuple(Sense(each["name"], each["example"], each["cues"].split()) for each in words[word]) for word in words}


@dataclass(frozen=True)
class Uses:
    """The uses of one sense in a text: their words, and the mean vector of each one's neighbours, (n, D), of length 1."""

    texts: list[str]
    vectors: Matrix


@dataclass(frozen=True)
class Polysemy:
    """A word whose two senses share one vector.

    What compares the uses is NaN where a sense has fewer than `FEWEST_USES`. The uses are dealt at random into two parts of the
    same sizes, 999 times.
    """

    word: str
    senses: tuple[Sense, ...]
    uses: tuple[Uses, ...]  # of each sense
    own: Matrix  # the word's one vector (D,), centred as the contexts are
    example_cosine: float  # of the mean vectors of the words around it in the two senses' examples
    context_cosine: float  # of the two senses' mean uses
    random_cosine: float  # of the two parts' means, averaged over the deals
    p_value: float  # share of deals, the true one included, whose cosine is no higher
    neighbours: list[tuple[str, float, int]]  # nearest words, cosine, and the sense whose mean use, or else example, is nearer

    @property
    def can_be_compared(self) -> bool:
        """Whether both senses have enough uses."""
        return min(len(each.texts) for each in self.uses) >= FEWEST_USES

    @property
    def is_told_apart(self) -> bool:
        """Whether the senses' contexts differ by more than chance."""
        return self.p_value < SIGNIFICANT

    def use_cosines(self) -> tuple[list[Matrix], Matrix]:
        """Return the cosines with either sense's mean use of each sense's uses, (n, 2), and of the word's own vector, (2,).

        A use is compared with its sense's other ones: a mean that included it would pull it towards its own sense.
        """
        sums = [uses.vectors.sum(axis=0) for uses in self.uses]

        def cosines(vectors: Matrix, own_sense: int | None) -> Matrix:
            means = [unit_rows(total - vectors * (side == own_sense)) for side, total in enumerate(sums)]
            return np.stack([np.einsum("nd,nd->n", vectors, mean) for mean in means], axis=1)

        return [cosines(uses.vectors, side) for side, uses in enumerate(self.uses)], cosines(self.own[None], None)[0]


class _Contexts:
    """Mean vectors of words, from each of which the mean of the vocabulary is taken, since all of them share it."""

    def __init__(self, embeddings: Embeddings) -> None:
        self._embeddings = embeddings
        self._center = unit_rows(embeddings.vectors).mean(axis=0)

    def vector(self, word: str) -> Matrix:
        return _unit(unit_rows(self._embeddings.vector(word)[None])[0] - self._center)

    def mean(self, words: Sequence[str]) -> Matrix | None:
        """Return the mean of the words' vectors, of length 1; None if no word has one."""
        known = [self.vector(word) for word in words if word.isalpha() and word in self._embeddings]
        return _unit(np.mean(known, axis=0)) if known else None


def polysemy(embeddings: Embeddings, text: str, word: str) -> Polysemy | None:
    """Tell a word's two senses apart by their neighbours in a text; None for a word without a vector.

    A use belongs to a sense when more of its cues than of the other's stand within `REACH` words of it. The cues themselves are
    left out of its mean, so that what tells the senses apart is not what sorted them.
    """
    senses, contexts = known_senses()[word], _Contexts(embeddings)
    examples = [contexts.mean([each for each in pieces(sense.example, True) if each != word]) for sense in senses]
    if word not in embeddings or examples[0] is None or examples[1] is None:
        return None
    words = list(pieces(text, lowercase=True))
    no_context = {word, *senses[0].cues, *senses[1].cues}
    texts: tuple[list[str], list[str]] = ([], [])
    rows: tuple[list[Matrix], list[Matrix]] = ([], [])
    for place in (index for index, each in enumerate(words) if each == word):
        before, after = words[max(place - REACH, 0) : place], words[place + 1 : place + 1 + REACH]
        found = [sum(each in sense.cues for each in (*before, *after)) for sense in senses]
        mean = contexts.mean([each for each in (*before, *after) if each not in no_context])
        if found[0] != found[1] and mean is not None:
            meant = int(found[1] > found[0])
            texts[meant].append(_readable(before, word, after))
            rows[meant].append(mean)
    uses = tuple(Uses(texts[side], np.array(rows[side]).reshape(-1, embeddings.embedding_dim)) for side in (0, 1))
    context_cosine = random_cosine = p_value = math.nan
    means = [examples[0], examples[1]]
    if min(map(len, texts)) >= FEWEST_USES:
        means = [_unit(each.vectors.mean(axis=0)) for each in uses]
        context_cosine = float(means[0] @ means[1])
        dealt = _cosines_of_deals(uses)
        random_cosine, p_value = float(dealt.mean()), float((1 + (dealt <= context_cosine).sum()) / (1 + len(dealt)))
    near = ((embeddings.word_of(token), score) for token, score in embeddings.most_similar(word, 10, words_only=True))
    neighbours = [(each, score, int(contexts.vector(each) @ (means[1] - means[0]) > 0)) for each, score in near]
    example_cosine = float(examples[0] @ examples[1])
    own = contexts.vector(word)
    return Polysemy(word, senses, uses, own, example_cosine, context_cosine, random_cosine, p_value, neighbours)


def _cosines_of_deals(uses: Sequence[Uses]) -> Matrix:
    """Return the cosine of the means of two parts of the uses, dealt at random in the same sizes, 999 times."""
    together, random, size = np.concatenate([each.vectors for each in uses]), np.random.default_rng(0), len(uses[0].vectors)
    deals = (random.permutation(together) for _ in range(999))
    return np.array([float(_unit(deal[:size].mean(axis=0)) @ _unit(deal[size:].mean(axis=0))) for deal in deals])


def _unit(vector: Matrix) -> Matrix:
    unit: Matrix = vector / (np.linalg.norm(vector) or 1.0)
    return unit


def _readable(before: Sequence[str], word: str, after: Sequence[str]) -> str:
    """Join pieces as prose: no space before a comma."""
    return re.sub(r"\s+([,.;:!?’'\-])", r"\1", " ".join([*before, word.upper(), *after]))


# ---------------------------------------------------------------- in words, and to be drawn


def describe_senses(embeddings: Embeddings, text: str) -> Finding:
    """Report words of two senses with one vector, and whether their contexts tell the senses apart."""
    known = [lesson for word in known_senses() if (lesson := polysemy(embeddings, text, word))]
    lessons = [lesson for lesson in known if any(uses.texts for uses in lesson.uses)]
    rows = [
        (lesson.word, sense.name, use)
        for lesson in lessons
        for sense, uses in zip(lesson.senses, lesson.uses, strict=True)
        for use in uses.texts
    ]
    note = (
        "A dot is one use of the word: the mean vector of the words around it, compared with the mean of each sense's "
        "other uses. p: the share of random splits of the uses in two whose means differ as much. From "
        f"{SIGNIFICANT} on, the senses' contexts differ no more than by chance: not told apart."
    )
    compared = [lesson for lesson in lessons if lesson.can_be_compared]
    blocks = [sense_lines(lesson) for lesson in lessons]
    unused = [word for word in known_senses() if word not in {lesson.word for lesson in lessons}]
    if not compared:
        asked = ", ".join(known_senses())
        blocks.append([f"words of two senses: no figure, as this text has none of {asked} {FEWEST_USES} times in each sense"])
    elif unused:
        blocks.append([f"words of two senses that this text does not use in either, so left out: {', '.join(unused)}"])
    lines = [line for block in blocks for line in ("", *block)][1:]
    return Finding("polysemy", compared or None, lines, note, ("word", "sense", "use"), rows)


def sense_lines(lesson: Polysemy) -> list[str]:
    """Return what a terminal shows of one word."""
    first, second = lesson.senses
    lines = [
        f"one vector, two senses: {lesson.word}",
        f"  in “{first.example}” and “{second.example}” it has one and the same vector: cosine 1.00;",
        f"  the words around it differ: cosine {lesson.example_cosine:.2f}",
    ]
    for sense, uses in zip(lesson.senses, lesson.uses, strict=True):
        number = f"{len(uses.texts)} use{'s' if len(uses.texts) > 1 else ''} in this text, such as"
        lines.append(f"  {sense.name}: " + (number if uses.texts else "no use in this text was found"))
        lines += [f"    … {use} …" for use in uses.texts[:2]]
    nearest = lesson.neighbours[:6]
    if min(len(uses.texts) for uses in lesson.uses) > 1:
        near = ", ".join(f"{word} ({lesson.senses[side].name})" for word, _, side in nearest)
        lines.append(f"  its neighbours, each with the sense it is closer to: {near}")
    else:
        lines.append(
            f"  its neighbours, whatever the sense, as one has hardly a use: {', '.join(word for word, *_ in nearest)}"
        )
    if lesson.can_be_compared:
        not_apart = "not told apart: random splits of the uses often differ as much"
        lines.append(
            f"  cosine of both senses' mean uses {lesson.context_cosine:.2f}, of random splits {lesson.random_cosine:.2f}, "
            f"p = {lesson.p_value:.3f}: {'told apart by the words around it' if lesson.is_told_apart else not_apart}"
        )
    return lines
