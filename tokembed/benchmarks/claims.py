"""What is often claimed for such a project, beside what was measured: `claims.toml` has the claims, this module the figures.

No verdict is written down: each follows from the figures, and changes with them.
"""

from __future__ import annotations

import itertools
import statistics
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Results = Mapping[str, Any]


def claim_rows(results: Results) -> list[list[str]]:
    """Return each claim, what was claimed, what was measured, and the verdict."""
    figures = figures_of(results)
    claims = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))["claim"]
    return [[each["claim"], each["claimed"], each["measured"].format(**figures), verdict(each, figures)] for each in claims]


def verdict(claim: Mapping[str, Any], figures: Mapping[str, Any]) -> str:
    """Return the text of the first condition that holds.

    >>> verdict({"verdicts": [["seconds", "<=", 120, "beaten"]]}, {"seconds": 121})
    'not met'
    """
    for name, relation, bound, text in claim["verdicts"]:
        if figures[name] <= bound if relation == "<=" else figures[name] >= bound:
            return str(text.format(**figures))
    return str(claim.get("otherwise", "not met"))


def figures_of(results: Results) -> dict[str, Any]:
    """Return the figures that the claims are about, from the benchmarks' results."""
    own, facts = results["tokenizer"], results["facts"]
    sizes, softmax = own["sizes"], {run["name"]: run for run in results["softmax"]}
    novel, wiki = sizes[2], sizes[3]
    naive = max((run for run in sizes if run["naive_seconds"]), key=lambda run: run["words"])  # the largest it finished
    python_factor, native_factor = (naive["naive_seconds"] / naive[key] for key in ("encode_seconds", "array_seconds"))
    tokens = [run["tokens"] for run in sizes]
    hits = {key: [100 * run[key] for run in sizes[:3]] for key in ("first_pass_rate", "four_passes_rate")}
    one_pass, four_passes = hits["first_pass_rate"], hits["four_passes_rate"]
    word_bytes = wiki["cache_bytes"] / wiki["distinct_words"]
    balanced = [run["seconds"] for run in results["presets"]["runs"] if run["name"] == "balanced"]
    full, ten = softmax["full softmax"], softmax["10 negatives"]
    quality = [100 * (softmax[f"{k} negatives"]["auc"] - 0.5) / (full["auc"] - 0.5) for k in (5, 10, 20)]
    time_saved = full["seconds_per_epoch"] / ten["seconds_per_epoch"]
    return {
        "alphabet": facts["alphabet"],
        "vocabulary": facts["alphabet"] + 2000,
        "tokens": tokens,
        "tokens_error": max(abs(a / b - 1) for a, b in zip(tokens[:3], (1_609, 15_603, 113_317), strict=True)),
        "python_factor": python_factor,
        "native_factor": native_factor,
        "cold_rate": novel["words"] / novel["encode_seconds"] / 1e6,
        "warm_rate": facts["warm_rate"] / 1e6,
        "wiki_seconds": wiki["encode_seconds"],
        "wiki_native_ms": 1e3 * wiki["array_seconds"],
        "wiki_gain": 1.7 / wiki["array_seconds"],
        "one_pass": " / ".join(f"{rate:.1f}" for rate in one_pass),
        "one_pass_least": min(one_pass),
        "four_passes": " / ".join(f"{rate:.1f}" for rate in four_passes),
        "four_passes_least": min(four_passes),
        "hits_code": facts["hits_code"],
        "hits_random": facts["hits_random"],
        "cache_factor": next(step["over_previous"] for step in own["ladder"] if step["name"] == "word cache"),
        "word_bytes": word_bytes,
        "cache_megabytes": word_bytes / 10,
        "exponent": results["scaling"]["exponents"]["encoding"],
        "learning": own["learning"][0]["median"],
        "pairs": facts["pairs_wikitext2"] / 1e6,
        "pairs_error": abs(facts["pairs_wikitext2"] / 10e6 - 1),
        "novel_epoch": ten["seconds_per_epoch"],
        "wiki_epoch": statistics.median(balanced) / facts["epochs"],
        "peak": facts["peak_bytes"] / 1e6,
        "large_vocabulary": facts["vocabulary_wikitext2"],
        "scores_saved": facts["vocabulary_wikitext2"] / 11,
        "time_saved": time_saved,
        "quality": quality,
        "quality_error": max(abs(a - b) for a, b in zip(quality, (92, 95, 98), strict=True)),
        "quality_rise": min(later - earlier for earlier, later in itertools.pairwise(quality)),
        "least_factor": min(native_factor, time_saved),
    }
