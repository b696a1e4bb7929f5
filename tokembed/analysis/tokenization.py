"""What merging does to a text: how many tokens its words take, which tokens come of it, and a text in numbers."""

from __future__ import annotations

import itertools
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import astuple, dataclass

import numpy as np
import numpy.typing as npt

from tokembed.analysis.finding import Finding
from tokembed.bpe import reference
from tokembed.bpe.model import BPEModel
from tokembed.bpe.splitting import END_OF_WORD, SPLITTINGS, Splitting
from tokembed.bpe.tokenizer import BPETokenizerLoader

# ---------------------------------------------------------------- merges


def merge_progression(model: BPEModel) -> npt.NDArray[np.float64]:
    """Return the mean tokens per word of the training text after 0, 1, ... M merges, shape (M + 1,).

    Exact, and nothing is encoded: a merge that applied n times made the text n tokens shorter.

    >>> from tokembed.bpe.learning import train_bpe
    >>> merge_progression(train_bpe("low low low lower", num_merges=2)).tolist()
    [4.5, 3.5, 2.5]
    """
    num_tokens = model.num_words + model.num_characters - np.concatenate([[0], np.cumsum(model.applications)])
    means: npt.NDArray[np.float64] = num_tokens / max(model.num_words, 1)
    return means


def token_length(token: str, rule: Splitting = SPLITTINGS["words"]) -> int:
    """Return a token's characters, `</w>` not counted; a part of one counts as one.

    >>> token_length("low</w>"), token_length("ä½ł", SPLITTINGS["gpt2"])
    (3, 1)
    """
    return len(rule.text_of(token))


def token_length_counts(model: BPEModel) -> dict[str, int]:
    """Count the alphabet's and the merges' tokens by length: 1, 2, 3, 4+ characters.

    Left out: `</w>` by itself, which has no character, and the byte tokens, which are the same in every vocabulary.
    """
    counts = Counter(
        min(token_length(token, model.rule), 4)
        for token in [*model.alphabet, *map("".join, model.merges)]
        if token != END_OF_WORD
    )
    return {"1": counts[1], "2": counts[2], "3": counts[3], "4+": counts[4]}


@dataclass(frozen=True)
class Subword:
    """A token with how often it occurs; `is_final` tells that it ends words (with `</w>`) or that it need not."""

    text: str
    count: int
    is_final: bool


def top_subwords(tokenizer: BPETokenizerLoader, token_ids: npt.NDArray[np.int32], num_subwords: int = 30) -> list[Subword]:
    """Return the most frequent tokens of two characters or more in a stream of ids; ties in the order of ids."""
    counts = np.bincount(token_ids, minlength=tokenizer.vocab_size)
    num_learned = len(tokenizer.model.alphabet) + len(tokenizer.merges)
    found = (
        Subword(
            printable(visible(tokenizer, token).removesuffix(END_OF_WORD)),
            int(counts[index]),
            token.endswith(END_OF_WORD) or tokenizer.rule.is_lossless,
        )
        for index in np.argsort(-counts[:num_learned], kind="stable")
        if counts[index] and token_length(token := tokenizer.id_to_token[index], tokenizer.rule) > 1
    )
    return list(itertools.islice(found, num_subwords))


@dataclass(frozen=True)
class MergeStep:
    """One merge as a textbook shows it: the pair, its count, and each word that changes, before and after."""

    pair: tuple[str, str]
    count: int
    changes: list[tuple[tuple[str, ...], tuple[str, ...], int]]


def merge_steps(text: str, num_steps: int, *, lowercase: bool = True, min_frequency: int = 2) -> Iterator[MergeStep]:
    """Learn merges by the readable reference, and show each step.

    >>> step = next(merge_steps("low low lower", 1))
    >>> step.pair, step.count, step.changes[0]
    (('l', 'o'), 3, (('l', 'o', 'w', '</w>'), ('lo', 'w', '</w>'), 2))
    """
    words = reference.count_words(text, lowercase)
    for pair in reference.train_bpe(text, num_steps, lowercase=lowercase, min_frequency=min_frequency):
        merged = {word: reference.merge_word(word, pair) for word in words}
        changes = [(word, merged[word], words[word]) for word in words if merged[word] != word]
        yield MergeStep(pair, reference.count_pairs(words)[pair], changes)
        words = {merged[word]: count for word, count in words.items()}


def describe_merge_progression(model: BPEModel) -> Finding:
    """Report the mean tokens per word after every merge."""
    progression = merge_progression(model)
    marks = [count for count in (0, 100, 500, 1000, 2000, 5000, 10_000) if count < len(model.merges)] + [len(model.merges)]
    lines = ["mean tokens per word after so many merges", *(f"  {count:>7,}  {progression[count]:.3f}" for count in marks)]
    note = "Words of the training text, computed at every merge."
    rows = list(enumerate(progression.tolist()))
    return Finding("merge_progression", progression, lines, note, ("merges", "tokens_per_word"), rows)


def describe_token_lengths(model: BPEModel) -> Finding:
    """Report how many tokens have 1, 2, 3, 4+ characters."""
    counts = token_length_counts(model)
    lines = ["tokens by length in characters", "  " + "   ".join(f"{length}: {count:,}" for length, count in counts.items())]
    note = "</w> is not counted; byte tokens are left out."
    if model.rule.is_lossless:
        note = "A space counts, and so does a part of a character."
    return Finding("token_lengths", counts, lines, note, ("characters", "tokens"), list(counts.items()))


def describe_top_subwords(tokenizer: BPETokenizerLoader, token_ids: npt.NDArray[np.int32], num_subwords: int = 30) -> Finding:
    """Report the most frequent tokens of two characters or more."""
    subwords = top_subwords(tokenizer, token_ids, num_subwords)
    lines = [f"the {len(subwords)} most frequent subwords of two characters or more (-: the word continues)"]
    shown = [f"{subword.text}{'' if subword.is_final else '-'} {subword.count:,}" for subword in subwords]
    for start in range(0, len(shown), 6):
        lines.append("  " + "".join(f"{item:<16}" for item in shown[start : start + 6]).rstrip())
    heading = ("subword", "count", "ends_a_word")
    note = "Single characters are left out."
    return Finding("top_subwords", subwords or None, lines, note, heading, [astuple(each) for each in subwords])


# ---------------------------------------------------------------- texts

SPACE = "\u2423"  # stands for a space within a token, which would not be seen


@dataclass(frozen=True)
class TextStatistics:
    """A text and its tokens in numbers. White space counts as characters, though it is no token under the rule "words"."""

    num_characters: int
    num_bytes: int
    num_words: int
    num_tokens: int
    mean_token_length: float  # characters, </w> not counted; under the rule "words" those of white space belong to no token
    characters_per_token: float
    bytes_per_token: float

    @property
    def tokens_per_100_characters(self) -> float:
        return 100 * self.num_tokens / self.num_characters if self.num_characters else 0.0


def text_statistics(tokenizer: BPETokenizerLoader, text: str) -> TextStatistics:
    """Count a text's characters, UTF-8 bytes, words (pieces) and tokens; what is per token is 0 where there is none."""
    num_tokens, num_bytes = len(tokenizer.encode(text)), len(text.encode("utf-8"))
    words = tokenizer.rule.pieces(text)
    per_token = (total / num_tokens if num_tokens else 0.0 for total in (sum(map(len, words)), len(text), num_bytes))
    return TextStatistics(len(text), num_bytes, len(words), num_tokens, *per_token)


def visible(tokenizer: BPETokenizerLoader, token: str) -> str:
    """Return a token as people read it, its spaces visible.

    >>> from tokembed import train_bpe
    >>> tokenizer = BPETokenizerLoader(train_bpe("low low low low", num_merges=4, splitting="gpt2"))
    >>> [visible(tokenizer, token) for token in tokenizer.tokenize("low low é")]
    ['low', '␣low', '␣', '<0xC3>', '<0xA9>']
    """
    return tokenizer.readable(token).replace(" ", SPACE)


def printable(token: str) -> str:
    """Return a token as it can be printed in a cell of its own: control, combining and invisible characters by their number.

    >>> printable("a\\x00"), printable("\\u0301")
    ('a\\\\x00', '\\\\u0301')
    """
    shown = ""
    for place, character in enumerate(token):
        category = unicodedata.category(character)
        is_bare_mark = category in ("Mn", "Me") and place == 0  # nothing to stand on
        is_hidden = category.startswith("C") or is_bare_mark
        shown += character.encode("unicode_escape").decode("ascii") if is_hidden else character
    return shown
