"""How do the published vocabularies of language models cut text, beside merges learned here, and what does a language cost?"""

from __future__ import annotations

import hashlib
import re
import textwrap
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tokembed.analysis.domains import HeldOut, domain_samples
from tokembed.analysis.finding import Finding
from tokembed.analysis.tokenization import text_statistics
from tokembed.bpe.learning import train_bpe
from tokembed.bpe.tokenizer import BPETokenizerLoader
from tokembed.corpora.vocabularies import PUBLISHED

#: The models that the published vocabularies belong to.
MODELS = {"r50k_base": "GPT-2", "cl100k_base": "GPT-4", "o200k_base": "GPT-4o"}
OWN_MERGES = (2_000, 10_000)
OWN_RULES = {"words": "words", "bytes": "gpt2"}  # what a figure calls them, and the splitting rules
HAN = re.compile("[\u4e00-\u9fff]")  # Chinese characters

# ---------------------------------------------------------------- published vocabularies


def published_name(name_or_path: str) -> str:
    """Return the name of a published vocabulary, given that name or a copy of its file.

    Raises
    ------
    ValueError
        It is neither; the message says what is allowed.
    """
    path = Path(name_or_path)
    if name_or_path in PUBLISHED and not path.exists():
        return name_or_path
    if path.is_file():
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        for name, published in PUBLISHED.items():
            if published.sha256 == digest:
                return name
    raise ValueError(f"{name_or_path!r} is neither a published vocabulary ({', '.join(PUBLISHED)}) nor the rank file of one")


def title_of(name: str) -> str:
    """Return a published vocabulary's name with its model's.

    >>> title_of("r50k_base")
    'GPT-2, r50k_base'
    """
    return f"{MODELS[name]}, {name}"


def load_vocabularies(names_or_paths: Iterable[str]) -> dict[str, BPETokenizerLoader]:
    """Return published vocabularies by their names; every name is checked before anything is loaded."""
    sources = {published_name(each): each for each in names_or_paths}
    return {name: BPETokenizerLoader.from_tiktoken(source) for name, source in sources.items()}


def num_tokens_with(pattern: re.Pattern[str], tokenizer: BPETokenizerLoader) -> int:
    """Count the tokens of a vocabulary whose text matches somewhere."""
    return sum(pattern.search(tokenizer.readable(token)) is not None for token in tokenizer.id_to_token)


# ---------------------------------------------------------------- what texts cost


def passages() -> dict[str, str]:
    """Return one passage in five languages, by the language's English name."""
    return tomllib.loads(Path(__file__).with_name("passages.toml").read_text(encoding="utf-8"))


def own_vocabularies(text: str, merge_counts: Sequence[int] = OWN_MERGES) -> dict[str, BPETokenizerLoader]:
    """Learn from a text by both kinds of rule, words and bytes; fewer merges where the text has no more pairs.

    Pairs seen once are merged too, as a novel would run out of others before 10,000.
    """
    found = {}
    for title, splitting in OWN_RULES.items():
        whole = train_bpe(text, max(merge_counts), splitting=splitting, min_frequency=1)
        for count in sorted({min(count, len(whole.merges)) for count in merge_counts}):
            shorter = replace(whole, merges=whole.merges[:count], applications=whole.applications[:count])
            found[f"{title} {count:,}"] = BPETokenizerLoader(shorter)
    return found


def token_costs(
    samples: Mapping[str, Sequence[str]], tokenizers: Mapping[str, BPETokenizerLoader]
) -> dict[str, dict[str, float]]:
    """Return tokens per 100 characters, the mean of the samples, by kind of text and by vocabulary.

    >>> from tokembed import train_bpe
    >>> tokenizer = BPETokenizerLoader(train_bpe("low low low lower", num_merges=2))
    >>> token_costs({"few": ["low low"], "many": ["世界"]}, {"words 2": tokenizer})["many"]
    {'words 2': 350.0}
    """
    return {
        kind: {
            name: sum(text_statistics(tokenizer, text).tokens_per_100_characters for text in texts) / len(texts)
            for name, tokenizer in tokenizers.items()
        }
        for kind, texts in samples.items()
    }


def describe_vocabulary_costs(
    held_out: HeldOut, published: Mapping[str, BPETokenizerLoader], code_file: Path | None = None
) -> Finding:
    """Report the tokens per 100 characters of eight kinds of text, in our vocabularies and in published ones."""
    foreign = {language: [text] for language, text in passages().items() if language != "English"}
    named = {MODELS[name]: tokenizer for name, tokenizer in published.items()}
    costs = token_costs(domain_samples(held_out, code_file) | foreign, own_vocabularies(held_out.training) | named)
    names = list(costs["prose"])
    widths = [max(len(name), 5) + 2 for name in names]
    lines = ["tokens per 100 characters, by vocabulary"]
    lines.append(f"  {'':<12}" + "".join(f"{name:>{width}}" for name, width in zip(names, widths, strict=True)))
    for kind, by_name in costs.items():
        lines.append(
            f"  {kind:<12}" + "".join(f"{by_name[name]:>{width}.0f}" for name, width in zip(names, widths, strict=True))
        )
    lines += textwrap.wrap(cost_of_chinese(named), 100)
    note = (
        "words, bytes: so many merges, learned by the rules words (which drops spaces and capitals) and gpt2. "
        f"Published: {', '.join(f'{MODELS[name]} is {name}' for name in published)}. Prose: {held_out.rule}. Languages: one "
        "passage, translated."
    )
    rows = [(kind, name, f"{cost:.3f}") for kind, by_name in costs.items() for name, cost in by_name.items()]
    return Finding("vocabulary_costs", costs, lines, note, ("kind", "vocabulary", "tokens_per_100_characters"), rows)


def cost_of_chinese(tokenizers: Mapping[str, BPETokenizerLoader]) -> str:
    """Say what a passage costs in Chinese, and why, in the first and the last of some vocabularies."""
    chinese, english = (passages()[language] for language in ("Chinese", "English"))
    num_bytes = len(chinese.encode()) / len(chinese)
    said = [f"A character of the Chinese passage is {num_bytes:.1f} bytes, each a token where no merge joins them."]
    for name in dict.fromkeys([next(iter(tokenizers)), list(tokenizers)[-1]]):
        tokenizer = tokenizers[name]
        in_chinese, in_english = text_statistics(tokenizer, chinese), text_statistics(tokenizer, english)
        said.append(
            f"{name} has {num_tokens_with(HAN, tokenizer):,} tokens with a Chinese character among {tokenizer.vocab_size:,}, "
            f"and takes {in_chinese.tokens_per_100_characters:.0f} tokens per 100 characters: "
            f"{in_chinese.num_tokens / in_english.num_tokens:.1f} times what the same passage takes in English."
        )
    return " ".join(said)
