"""The few facts that the README quotes and no benchmark measures."""

from __future__ import annotations

import string
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np

from tokembed.benchmarks.encoding import hit_rate
from tokembed.benchmarks.timing import seconds_of
from tokembed.benchmarks.training import score
from tokembed.bpe.tokenizer import BPETokenizerLoader
from tokembed.corpora.sources import load_corpus
from tokembed.skipgram import sampling
from tokembed.skipgram.settings import TrainingConfig
from tokembed.vectors.evaluation import evaluate_word_pairs
from tokembed.workspace import token_ids_for, tokenizer_for, trained_embeddings


def measure_facts(training_script: Path) -> dict[str, Any]:
    """Return sizes, rates and memory, of the novel with 2,000 merges, and of WikiText-2 with 10,000; and how well the vectors
    of the first command agree with people.
    """
    import resource  # Unix has it alone

    from gensim.test.utils import datapath

    novel, wiki, config = load_corpus("frankenstein"), load_corpus("wikitext2"), TrainingConfig()
    tokenizer, _, _ = tokenizer_for(novel, 2000)
    large, path, _ = tokenizer_for(wiki, 10_000)
    ids, _, _ = token_ids_for(wiki, large, path)
    counts = sampling.count_tokens(ids, large.vocab_size, config.min_count)
    subprocess.run([sys.executable, str(training_script), "--dataset", "wikitext2"], check=True, capture_output=True)
    subprocess.run([sys.executable, str(training_script), "--dataset", "frankenstein"], check=True, capture_output=True)
    _, embeddings = trained_embeddings("frankenstein")
    judged = evaluate_word_pairs(embeddings, datapath("wordsim353.tsv"))
    random = np.random.default_rng(0)
    words = ["".join(random.choice(list(string.ascii_lowercase), random.integers(1, 4))) for _ in range(75_000)]
    modules = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:60]
    warm = BPETokenizerLoader(tokenizer.model)
    warm.encode(novel.text)
    return {
        "epochs": config.epochs,
        "alphabet": len(tokenizer.model.alphabet),
        "vocabulary_wikitext2": int(np.count_nonzero(counts)),
        "pairs_wikitext2": sampling.pairs_per_token(counts, config.window_size, config.subsample) * int(counts.sum()),
        "warm_rate": len(novel.text.split()) / min(seconds_of(warm.encode, novel.text) for _ in range(5)),
        "hits_code": _hit_rate(tokenizer, "\n".join(module.read_text(encoding="utf-8") for module in modules)),
        "hits_random": _hit_rate(tokenizer, " ".join(words)),
        "novel_scores": score(embeddings),
        "novel_known_pairs": [judged.num_known, judged.num_pairs],
        "peak_bytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
    }


def _hit_rate(tokenizer: BPETokenizerLoader, text: str) -> float:
    """Return the share of pieces found in an empty cache in one pass over a text."""
    fresh = BPETokenizerLoader(tokenizer.model)
    fresh.encode(text)
    info = fresh.tokenize_word.cache_info()
    return hit_rate(info.hits, info.misses)
