"""How a tokenizer fares on text that it has not seen: a held-out end, other kinds of text, other vocabulary sizes."""

from __future__ import annotations

import re
import sysconfig
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tokembed.analysis.finding import Finding
from tokembed.analysis.tokenization import end_sign, printable, text_statistics, visible
from tokembed.bpe.learning import train_bpe
from tokembed.bpe.tokenizer import BPETokenizerLoader
from tokembed.corpora.corpus import Corpus, CorpusError

# ---------------------------------------------------------------- held-out text


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


def vocabulary_sweep(
    held_out: HeldOut, merge_counts: Sequence[int], splitting: str = "words", *, lowercase: bool = True
) -> list[tuple[int, float]]:
    """Return (merges, mean tokens per held-out sentence) for each vocabulary size; one training serves them all.

    A shorter list of merges is the beginning of a longer one. Pairs seen once are merged too (`min_frequency=1`), or a novel
    would run out of them.
    """
    whole = train_bpe(held_out.training, max(merge_counts), splitting=splitting, lowercase=lowercase, min_frequency=1)
    tests = sentences(held_out.test)
    rows = []
    for num_merges in sorted({min(count, len(whole.merges)) for count in merge_counts}):
        shorter = replace(whole, merges=whole.merges[:num_merges], applications=whole.applications[:num_merges])
        num_tokens = sum(map(len, BPETokenizerLoader(shorter).encode_batch(tests)))
        rows.append((num_merges, num_tokens / max(len(tests), 1)))
    return rows


def describe_vocabularies(
    held_out: HeldOut, merge_counts: Sequence[int], splitting: str = "words", *, lowercase: bool = True
) -> Finding:
    """Report the mean tokens per held-out sentence for each vocabulary size."""
    rows = vocabulary_sweep(held_out, merge_counts, splitting, lowercase=lowercase)
    num_sentences = len(sentences(held_out.test))
    lines = [f"mean tokens per sentence of {held_out.rule} ({num_sentences:,} sentences), by number of merges"]
    for (merges, tokens), (_, before) in zip(rows, [rows[0], *rows[:-1]], strict=True):
        lines.append(f"  {merges:>7,}  {tokens:6.2f}" + (f"  {tokens / before - 1:+.1%}" if tokens != before else ""))
    note = (
        f"All pairs merged (min_frequency 1), tried on {held_out.rule}: {num_sentences:,} sentences, which end at . ! ? or a "
        "blank line."
    )
    return Finding("vocabulary_efficiency", rows, lines, note, ("merges", "tokens_per_sentence"), rows)


# ---------------------------------------------------------------- kinds of text

NUM_SAMPLES, SAMPLE_CHARACTERS = 40, 400  # at most, of each kind; of each, about
SNIPPET_CHARACTERS = 30  # at most, of a sample, shown as it is cut
CODE_MODULES = ("argparse.py", "json/decoder.py", "statistics.py", "textwrap.py", "heapq.py", "fractions.py", "shutil.py")


def domain_samples(held_out: HeldOut, code_file: Path | None = None) -> dict[str, list[str]]:
    """Return samples of four kinds of text.

    Prose is the held-out text; code is the standard library's own source (or `code_file`); URLs are those that this
    source mentions; numbers are drawn: telephone numbers, dates, prices, decimals.
    """
    library = Path(sysconfig.get_path("stdlib"))
    sources = [path.read_text(encoding="utf-8") for name in CODE_MODULES if (path := library / name).is_file()]
    code = code_file.read_text(encoding="utf-8") if code_file else "\n".join(sources)
    modules = "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in library.glob("*.py"))
    urls = sorted({match.rstrip(".,;:") for match in re.findall(r"https?://[^\s<>\"'`)\]}\\]{8,}", modules)})
    numbers = random_numbers(80 * NUM_SAMPLES)
    texts = {"prose": held_out.test, "Python code": code, "numbers": " ".join(numbers), "URLs": " ".join(urls)}
    return {kind: cut_samples(text) for kind, text in texts.items()}


def random_numbers(count: int) -> list[str]:
    """Draw numbers as people write them: telephone numbers, dates, prices, decimals, plain integers in turn."""
    whole = np.random.default_rng(0).integers(0, 10_000, size=(count, 3))
    forms = (
        lambda a, b, c: f"{a % 900 + 100}-{b % 900 + 100}-{c:04d}",
        lambda a, b, c: f"{1900 + a % 130}-{b % 12 + 1:02d}-{c % 28 + 1:02d}",
        lambda a, b, c: f"${a:,}.{b % 100:02d}",
        lambda a, b, c: f"{a % 100}.{b:04d}{c:04d}",
        lambda a, b, c: f"{a}{b:04d}",
    )
    return [forms[index % len(forms)](*row) for index, row in enumerate(whole.tolist())]


def cut_samples(text: str) -> list[str]:
    """Cut evenly spread samples out of a text, fewer where there is less of it; white space is folded, no word cut."""
    text, size = " ".join(text.split()), SAMPLE_CHARACTERS
    num_samples = max(min(NUM_SAMPLES, len(text) // size), 1)
    samples = []
    for start in np.linspace(0, max(len(text) - size - 1, 0), num_samples).astype(int).tolist():
        sample = text[start : start + size]
        if start:
            sample = sample.partition(" ")[2]
        samples.append(sample.rpartition(" ")[0] or sample)
    return [sample for sample in samples if sample]


@dataclass(frozen=True)
class KindOfText:
    """A kind of text: the tokens per 100 characters of its samples, and the tokens of a snippet, as people read them."""

    name: str
    samples: list[float]
    snippet: list[str]

    @property
    def mean(self) -> float:
        return sum(self.samples) / len(self.samples)


def snippet_of(tokenizer: BPETokenizerLoader, texts: Sequence[str], mean: float) -> list[str]:
    """Return the tokens of a sample's beginning, the one that takes most nearly so many of them per 100 characters."""
    begun = []
    for text in texts:
        cut = text[:SNIPPET_CHARACTERS].rpartition(" ")[0]
        begun.append(cut if len(cut) * 2 > SNIPPET_CHARACTERS else text[:SNIPPET_CHARACTERS])
    nearest = min(begun, key=lambda cut: abs(text_statistics(tokenizer, cut).tokens_per_100_characters - mean))
    return [visible(tokenizer, token) for token in tokenizer.tokenize(nearest)]


def describe_domains(tokenizer: BPETokenizerLoader, held_out: HeldOut, code_file: Path | None = None) -> Finding:
    """Report the tokens per 100 characters of each kind of text."""
    kinds = []
    for name, texts in domain_samples(held_out, code_file).items():
        values = [text_statistics(tokenizer, text).tokens_per_100_characters for text in texts]
        kinds.append(KindOfText(name, values, snippet_of(tokenizer, texts, sum(values) / len(values))))
    prose = kinds[0].mean
    lines = [
        f"tokens per 100 characters ({len(tokenizer.merges):,} merges)",
        f"  {'':<14}{'mean':>7}{'to prose':>10}{'least':>8}{'most':>8}{'samples':>9}",
    ]
    for kind in kinds:
        values = kind.samples
        ratio = f"{kind.mean / prose:.1f}×"
        lines.append(f"  {kind.name:<14}{kind.mean:>7.1f}{ratio:>10}{min(values):>8.1f}{max(values):>8.1f}{len(values):>9}")
    code = code_file.name if code_file else "the standard library's source"
    note = (
        f"{len(tokenizer.merges):,} merges; prose takes {prose:.0f} tokens per 100 characters. Bars: means; lines: the "
        f"least to the most of samples of some {SAMPLE_CHARACTERS} characters; above, a snippet as it is cut (orange: "
        f"bytes). {end_sign(tokenizer.rule)} Prose: {held_out.rule}. Code: {code}. URLs: those in the standard library. "
        "Numbers: random telephone numbers, dates, prices and decimals."
    )
    rows = [(kind.name, place, f"{value:.3f}") for kind in kinds for place, value in enumerate(kind.samples)]
    return Finding("cross_domain", kinds, lines, note, ("kind", "sample", "tokens_per_100_characters"), rows)


def describe_pathological_texts(tokenizer: BPETokenizerLoader) -> Finding:
    """Report the tokens of unusual texts, which a tokenizer trained on prose breaks into crumbs."""
    texts = tomllib.loads(Path(__file__).with_name("pathological_texts.toml").read_text(encoding="utf-8"))
    found = [(kind, text, [visible(tokenizer, token) for token in tokenizer.tokenize(text)]) for kind, text in texts.items()]
    lines = ["unusual texts"]
    for kind, text, tokens in found:
        lines += [f"  {kind}: {text}", f"    {len(tokens)} tokens: {'|'.join(map(printable, tokens))}"]
    note = (
        f"{len(tokenizer.merges):,} merges. {end_sign(tokenizer.rule)} Orange: the bytes of a character that has no token; it "
        "stands below them, or, where it cannot be drawn, its name or number in italics."
    )
    rows = [(kind, text, "|".join(tokens), len(tokens)) for kind, text, tokens in found]
    return Finding("pathological", found, lines, note, ("kind", "text", "tokens", "count"), rows)
