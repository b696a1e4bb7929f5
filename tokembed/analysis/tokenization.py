"""What merging does to a text: how many tokens its words take, which tokens come of it, and a text in numbers."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np
import numpy.typing as npt
import regex

from tokembed.analysis.finding import Finding
from tokembed.bpe import reference
from tokembed.bpe.model import BPEModel
from tokembed.bpe.splitting import END_OF_WORD, SPLITTINGS, Splitting
from tokembed.bpe.tokenizer import BPETokenizerLoader

SENTENCE_CHARACTERS = 48  # of a sentence drawn as blocks, in one line even letter by letter

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


@dataclass(frozen=True)
class Progression:
    """Mean tokens per word after 0, 1, ... M merges, and one sentence's tokens, as people read them, after some of them."""

    tokens_per_word: npt.NDArray[np.float64]
    stages: list[tuple[int, list[str]]]

    @property
    def half_way(self) -> int:
        """The number of merges that cover half of what all of them do."""
        means = self.tokens_per_word
        return int(np.argmax(means <= (means[0] + means[-1]) / 2))


def sample_sentence(tokenizer: BPETokenizerLoader, text: str) -> str:
    """Return the sentence of a line's length that merging shortens most; without one, as where no spaces are, the beginning.

    >>> from tokembed import train_bpe
    >>> told = "It ended. The wretched creature wandered among mountains. It wandered on. The fox jumped over two lazy dogs."
    >>> sample_sentence(BPETokenizerLoader(train_bpe(told, 100)), told)
    'The wretched creature wandered among mountains.'
    """
    text = " ".join(text.split())
    letters = [character for character in text if character.isalpha()]
    is_latin = 2 * sum(map(str.isascii, letters)) >= len(letters)
    letter = r"[^\W\d_]" if is_latin else r"[^\W\d_a-zA-Z]"  # of a text in another script, no sentence in Latin letters
    # Behind a word of two letters, a full stop may be of an abbreviation: "St. Joseph".
    found = regex.findall(rf"(?<={letter}{{3}} ?[.!?] ){letter}+(?: {letter}+){{3,}} {letter}{{3,}} ?[.!?](?= |$)", text)
    fitting: list[str] = [sentence for sentence in dict.fromkeys(found) if 35 <= len(sentence) <= SENTENCE_CHARACTERS]
    if fitting:
        return max(fitting, key=lambda each: len(each) / len(tokenizer.encode(each)))
    unspaced = None if is_latin else regex.search(rf"{letter}{{12,24}}", text)
    begun = text[:SENTENCE_CHARACTERS]
    return str(unspaced.group()) if unspaced else begun.rpartition(" ")[0] or begun


def sentence_stages(model: BPEModel, sentence: str, merge_counts: Sequence[int]) -> list[tuple[int, list[str]]]:
    """Return (merges, the sentence's tokens, as people read them) for each number of merges.

    >>> from tokembed.bpe.learning import train_bpe
    >>> sentence_stages(train_bpe("low low low lower", num_merges=2), "low", (0, 2))
    [(0, ['l', 'o', 'w', '</w>']), (2, ['low', '</w>'])]
    """
    stages = []
    for count in merge_counts:
        tokenizer = BPETokenizerLoader(replace(model, merges=model.merges[:count], applications=model.applications[:count]))
        stages.append((count, [visible(tokenizer, token) for token in tokenizer.tokenize(sentence)]))
    return stages


def describe_merge_progression(model: BPEModel, text: str = "") -> Finding:
    """Report the mean tokens per word after every merge, and how a sentence of the text shrinks."""
    progression = merge_progression(model)
    half_way = Progression(progression, []).half_way
    sentence = sample_sentence(BPETokenizerLoader(model), text)
    counts = sorted({min(count, len(model.merges)) for count in (0, 10, half_way, 200, 2000, len(model.merges))})
    stages = sentence_stages(model, sentence, counts) if sentence else []
    marks = [count for count in (0, 100, 500, 1000, 2000, 5000, 10_000) if count < len(model.merges)] + [len(model.merges)]
    lines = ["mean tokens per word after so many merges", *(f"  {count:>7,}  {progression[count]:.3f}" for count in marks)]
    if stages:
        lines.append(f"tokens of “{printable(sentence)}”")
        lines += [f"  {count:>7,}  {len(tokens)}" for count, tokens in stages]
    note = "Words of the training text, computed at every merge."
    if stages:
        note += f" Below: a line of it. {end_sign(model.rule)}"
    rows = list(enumerate(progression.tolist()))
    found = Progression(progression, stages)
    return Finding("merge_progression", found, lines, note, ("merges", "tokens_per_word"), rows)


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

BYTES = re.compile(rf"(?:<0x[0-9A-F]{{2}}>)+(?:{END_OF_WORD})?")  # a token of bytes, as people read it
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


def end_sign(rule: Splitting) -> str:
    """Say how a figure shows where words end."""
    if rule.is_lossless:
        return f"{SPACE} is a space."
    return f"A dark bar is the end of a word, {END_OF_WORD}: a token of its own until it is merged."


def byte_groups(tokens: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Group tokens, as people read them: (character, the tokens of bytes that spell it), and ("", [token]) for any other.

    Bytes that spell nothing, as the rest of a character cut off, are a group of "\ufffd".

    >>> byte_groups(["ca", "<0xC3>", "<0xA9></w>"])
    [('', ['ca']), ('é', ['<0xC3>', '<0xA9></w>'])]
    """
    groups: list[tuple[str, list[str]]] = []
    pending: list[str] = []
    for token in [*tokens, ""]:
        if BYTES.fullmatch(token):
            pending.append(token)
            spelled = _spelled(pending)
            if spelled:
                groups.append((spelled, pending))
                pending = []
            continue
        if pending:
            groups.append(("\ufffd", pending))
            pending = []
        groups.append(("", [token]))
    return groups[:-1]


def _spelled(tokens: Sequence[str]) -> str:
    """Return what bytes spell, "" if a character is not complete."""
    try:
        return bytes(int(number, 16) for token in tokens for number in re.findall("0x(..)", token)).decode()
    except UnicodeDecodeError:
        return ""
