"""What can be said about tokens: how merging goes, how texts of different kinds fare, what more merges buy."""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tokembed.bpe import reference
from tokembed.bpe.learning import train_bpe
from tokembed.bpe.model import BPEModel
from tokembed.bpe.splitting import END_OF_WORD, pieces
from tokembed.bpe.tokenizer import BPETokenizerLoader
from tokembed.corpora.corpus import Corpus, CorpusError

# ---------------------------------------------------------------- merges


def merge_progression(model: BPEModel) -> npt.NDArray[np.float64]:
    """Return the mean tokens per word of the training text after 0, 1, ... M merges, shape (M + 1,).

    Exact, and nothing is encoded: a merge that applied n times made the text n tokens shorter.

    >>> merge_progression(train_bpe("low low low lower", num_merges=2)).tolist()
    [4.5, 3.5, 2.5]
    """
    num_tokens = model.num_words + model.num_characters - np.concatenate([[0], np.cumsum(model.applications)])
    means: npt.NDArray[np.float64] = num_tokens / max(model.num_words, 1)
    return means


def token_length(token: str) -> int:
    """Return a token's characters, `</w>` not counted."""
    return len(token.removesuffix(END_OF_WORD))


def token_length_counts(model: BPEModel) -> dict[str, int]:
    """Count the alphabet's and the merges' tokens by length: 1, 2, 3, 4+ characters.

    Left out: `</w>` by itself, which has no character, and the byte tokens, which are the same in every vocabulary.
    """
    counts = {"1": 0, "2": 0, "3": 0, "4+": 0}
    for token in [*model.alphabet[:-1], *(left + right for left, right in model.merges)]:
        # A merge of one character with </w> is a token of one character.
        counts[str(token_length(token)) if token_length(token) < 4 else "4+"] += 1
    return counts


@dataclass(frozen=True)
class Subword:
    """A token with how often it occurs; `is_final` tells that it ends words (with `</w>`)."""

    text: str
    count: int
    is_final: bool


def top_subwords(tokenizer: BPETokenizerLoader, token_ids: npt.NDArray[np.int32], num_subwords: int = 30) -> list[Subword]:
    """Return the most frequent tokens of two characters or more in a stream of ids; ties in the order of ids."""
    counts = np.bincount(token_ids, minlength=tokenizer.vocab_size)
    num_learned = len(tokenizer.model.alphabet) + len(tokenizer.merges)
    found = []
    for index in np.argsort(-counts, kind="stable"):
        token = tokenizer.id_to_token[index]
        if index < num_learned and token_length(token) > 1 and counts[index]:
            found.append(Subword(token.removesuffix(END_OF_WORD), int(counts[index]), token.endswith(END_OF_WORD)))
            if len(found) == num_subwords:
                break
    return found


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


# ---------------------------------------------------------------- texts


@dataclass(frozen=True)
class TextStatistics:
    """A text and its tokens in numbers. White space counts as characters, though it is no token."""

    num_characters: int
    num_bytes: int
    num_words: int
    num_tokens: int
    mean_token_length: float  # characters, </w> not counted; those of white space belong to no token

    @property
    def characters_per_token(self) -> float:
        return self.num_characters / self.num_tokens if self.num_tokens else 0.0

    @property
    def bytes_per_token(self) -> float:
        return self.num_bytes / self.num_tokens if self.num_tokens else 0.0

    @property
    def tokens_per_100_characters(self) -> float:
        return 100 * self.num_tokens / self.num_characters if self.num_characters else 0.0


def text_statistics(tokenizer: BPETokenizerLoader, text: str) -> TextStatistics:
    """Count a text's characters, UTF-8 bytes, words (pieces) and tokens."""
    num_tokens = len(tokenizer.encode(text))
    words = pieces(text, lowercase=False)
    mean = sum(map(len, words)) / num_tokens if num_tokens else 0.0
    return TextStatistics(len(text), len(text.encode("utf-8")), len(words), num_tokens, mean)


@dataclass(frozen=True)
class HeldOut:
    """A corpus in two parts: what a tokenizer learns from, and what it has not seen."""

    training: str
    test: str
    rule: str


def hold_out(corpus: Corpus) -> HeldOut:
    """Split off the end of a corpus: Frankenstein's final chapter, or the last 5 %, cut at a paragraph (else at a space)."""
    text = corpus.text
    chapters = (
        list(re.finditer(r"^chapter[ \t]+\w+\.?[ \t]*$", text, flags=re.I | re.M)) if corpus.name == "frankenstein" else []
    )
    if chapters:
        cut, rule = chapters[-1].start(), "its final chapter"
    else:
        target = int(len(text) * 0.95)
        breaks = re.compile(r"\n\s*\n").search(text, target) or re.compile(r"\s").search(text, target)
        cut, rule = (breaks.end() if breaks else target), "its last 5 %"
        if cut >= len(text.rstrip()):  # the last paragraph is longer than that
            cut = target
    if not text[:cut].strip() or not text[cut:].strip():
        raise CorpusError(f"{corpus.name} is too short to hold out its end: {len(text)} characters")
    return HeldOut(text[:cut], text[cut:], rule)


def sentences(text: str) -> list[str]:
    """Split text into sentences: they end at . ! or ?, with closing quotes or brackets, before white space, and at blank lines.

    Abbreviations ("Mr. Kirwin") end one too: a rule this plain errs a little, and the same for every vocabulary.

    >>> sentences('“Who is it?” he said. It was I!\\n\\nChapter 2')
    ['“Who is it?”', 'he said.', 'It was I!', 'Chapter 2']
    """
    parts = re.split(r"(?<=[.!?])\s+|(?<=[.!?][\"'”’)\]])\s+|\n\s*\n", text)
    return [" ".join(part.split()) for part in parts if part.strip()]


def vocabulary_sweep(held_out: HeldOut, merge_counts: Sequence[int]) -> list[tuple[int, float]]:
    """Return (merges, mean tokens per held-out sentence) for each vocabulary size; one training serves them all.

    A shorter list of merges is the beginning of a longer one. Pairs seen once are merged too (`min_frequency=1`), or a novel
    would run out of them.
    """
    whole = train_bpe(held_out.training, max(merge_counts), min_frequency=1)
    tests = sentences(held_out.test)
    rows = []
    for num_merges in sorted({min(count, len(whole.merges)) for count in merge_counts}):
        tokenizer = BPETokenizerLoader(first_merges(whole, num_merges))
        rows.append((num_merges, sum(map(len, tokenizer.encode_batch(tests))) / max(len(tests), 1)))
    return rows


def first_merges(model: BPEModel, num_merges: int) -> BPEModel:
    """Return the model that learning only so many merges would have given."""
    return replace(model, merges=model.merges[:num_merges], applications=model.applications[:num_merges])


# ---------------------------------------------------------------- kinds of text

SAMPLE_CHARACTERS = 400
CODE_MODULES = ("argparse.py", "json/decoder.py", "statistics.py", "textwrap.py", "heapq.py", "fractions.py", "shutil.py")


def domain_samples(
    held_out: HeldOut, code_file: Path | None = None, num_samples: int = 40, seed: int = 0
) -> dict[str, list[str]]:
    """Return samples of four kinds of text, each of about 400 characters (fewer samples where there is less text).

    Prose is the held-out text; code is the standard library's own source (or `code_file`); URLs are those that this
    source mentions; numbers are drawn: telephone numbers, dates, prices, decimals.
    """
    library = Path(sysconfig.get_path("stdlib"))
    sources = [path.read_text(encoding="utf-8") for name in CODE_MODULES if (path := library / name).is_file()]
    code = code_file.read_text(encoding="utf-8") if code_file else "\n".join(sources)
    urls = sorted(
        {
            match.rstrip(".,;:")
            for path in sorted(library.glob("*.py"))
            for match in re.findall(r"https?://[^\s<>\"'`)\]}\\]{8,}", path.read_text(encoding="utf-8", errors="replace"))
        }
    )
    return {
        "prose": cut_samples(held_out.test, num_samples),
        "Python code": cut_samples(code, num_samples),
        "numbers": cut_samples(" ".join(random_numbers(80 * num_samples, seed)), num_samples),
        "URLs": cut_samples(" ".join(urls), num_samples),
    }


def random_numbers(count: int, seed: int = 0) -> list[str]:
    """Draw numbers as people write them: telephone numbers, dates, prices, decimals, plain integers in turn."""
    random = np.random.default_rng(seed)
    whole = random.integers(0, 10_000, size=(count, 3))
    forms = (
        lambda a, b, c: f"{a % 900 + 100}-{b % 900 + 100}-{c:04d}",
        lambda a, b, c: f"{1900 + a % 130}-{b % 12 + 1:02d}-{c % 28 + 1:02d}",
        lambda a, b, c: f"${a:,}.{b % 100:02d}",
        lambda a, b, c: f"{a % 100}.{b:04d}{c:04d}",
        lambda a, b, c: f"{a}{b:04d}",
    )
    return [forms[index % len(forms)](*row) for index, row in enumerate(whole.tolist())]


def cut_samples(text: str, num_samples: int, size: int = SAMPLE_CHARACTERS) -> list[str]:
    """Cut evenly spread samples of `size` characters out of a text, white space folded, no word cut."""
    text = " ".join(text.split())
    num_samples = max(min(num_samples, len(text) // size), 1)
    samples = []
    for start in np.linspace(0, max(len(text) - size - 1, 0), num_samples).astype(int).tolist():
        sample = text[start : start + size]
        if start:
            sample = sample.partition(" ")[2]
        samples.append(sample.rpartition(" ")[0] or sample)
    return [sample for sample in samples if sample]


def domain_efficiency(tokenizer: BPETokenizerLoader, samples: dict[str, list[str]]) -> dict[str, list[float]]:
    """Return the tokens per 100 characters of each sample of each kind."""
    return {
        kind: [text_statistics(tokenizer, text).tokens_per_100_characters for text in texts] for kind, texts in samples.items()
    }


PATHOLOGICAL_TEXTS = {
    "telephone number": "123-456-7890",
    "URL": "https://example.com/path?query=value",
    "Chinese": "未来世界",
    "long rare word": "supercalifragilisticexpialidocious",
    "emoji with joiners": "👩‍👩‍👧‍👦",
    "code": "df.groupby(['x_1'])[0]+=1e-5",
}


def pathological_rows(tokenizer: BPETokenizerLoader) -> list[tuple[str, str, list[str]]]:
    """Return (kind, text, tokens) of texts that a tokenizer trained on prose breaks into crumbs."""
    return [(kind, text, tokenizer.tokenize(text)) for kind, text in PATHOLOGICAL_TEXTS.items()]
