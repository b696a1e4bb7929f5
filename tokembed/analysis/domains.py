"""How a tokenizer fares on text that it has not seen: a held-out end, other kinds of text, other vocabulary sizes."""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tokembed.analysis.finding import Finding
from tokembed.analysis.tokenization import printable, text_statistics
from tokembed.bpe.learning import train_bpe
from tokembed.bpe.model import BPEModel
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


def describe_vocabularies(held_out: HeldOut, merge_counts: Sequence[int]) -> Finding:
    """Report the mean tokens per held-out sentence for each vocabulary size."""
    rows = vocabulary_sweep(held_out, merge_counts)
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


def describe_domains(tokenizer: BPETokenizerLoader, held_out: HeldOut, code_file: Path | None = None) -> Finding:
    """Report the tokens per 100 characters of each kind of text."""
    efficiency = domain_efficiency(tokenizer, domain_samples(held_out, code_file))
    lines = [
        f"tokens per 100 characters ({len(tokenizer.merges):,} merges)",
        f"  {'':<14}{'mean':>7}{'least':>8}{'most':>8}{'samples':>9}",
    ]
    for kind, values in efficiency.items():
        mean = sum(values) / len(values)
        lines.append(f"  {kind:<14}{mean:>7.1f}{min(values):>8.1f}{max(values):>8.1f}{len(values):>9}")
    code = code_file.name if code_file else "the standard library's source"
    note = (
        f"{len(tokenizer.merges):,} merges. Bars: means; dots: samples of some {SAMPLE_CHARACTERS} characters. Prose: "
        f"{held_out.rule}. Code: {code}. URLs: those in the standard library's source. Numbers: random telephone numbers, "
        "dates, prices and decimals."
    )
    rows = [(kind, place, f"{value:.3f}") for kind, values in efficiency.items() for place, value in enumerate(values)]
    return Finding("cross_domain", efficiency, lines, note, ("kind", "sample", "tokens_per_100_characters"), rows)


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


def describe_pathological_texts(tokenizer: BPETokenizerLoader) -> Finding:
    """Report the tokens of unusual texts."""
    found = pathological_rows(tokenizer)
    lines = ["unusual texts"]
    for kind, text, tokens in found:
        lines += [f"  {kind}: {text}", f"    {len(tokens)} tokens: {'|'.join(map(printable, tokens))}"]
    note = f"{len(tokenizer.merges):,} merges. </w> ends a word; <0xE6> is one byte of a character without a token."
    rows = [(kind, text, "|".join(tokens), len(tokens)) for kind, text, tokens in found]
    return Finding("pathological", found, lines, note, ("kind", "text", "tokens", "count"), rows)
