"""The pages' figures: tables made from a committed file of results, with what was claimed beside what was measured.

Each table stands in the README or in `docs/benchmarks.md` between two markers, `<!-- results: name -->` and `<!-- end -->`;
`filled` puts them there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tokembed.benchmarks.claims import claim_rows
from tokembed.benchmarks.training import SCORES, TrainingRun, mean_and_margin, median_of, speed_ratios

Results = Mapping[str, Any]

_BLOCK = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def filled(text: str, results: Results) -> str:
    """Return a text whose blocks hold the tables made from the results.

    Raises
    ------
    ValueError
        A block whose name is no table's.
    """

    def block(match: re.Match[str]) -> str:
        name = match.group(2)
        if name not in TABLES:
            raise ValueError(f"there is no table {name!r}: choose from {', '.join(TABLES)}")
        return f"{match.group(1)}\n{TABLES[name](results)}\n{match.group(3)}"

    return _BLOCK.sub(block, text)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:,.1f} ms" if seconds < 0.1 else f"{seconds * 1e3:,.0f} ms"


def _encoders(results: Results) -> str:
    own = results["tokenizer"]
    names = [timing["name"] for timing in own["cold"]]
    cases = ("cold", "warm, a fresh str each call", "warm, the same str objects")
    medians = [[timing["median"] for timing in own[case]] for case in cases]
    rows = [[f"encode, {case}", *_with_best(values)] for case, values in zip(cases, medians, strict=True)]
    return table(["", *(_versioned(name, own["machine"]["versions"]) for name in names)], rows)


def _learning(results: Results) -> str:
    own = results["tokenizer"]["learning"]
    medians = [timing["median"] for timing in own]
    return table(["", *(timing["name"] for timing in own)], [["learn 10,000 merges", *_with_best(medians)]])


def _with_best(seconds: Sequence[float]) -> list[str]:
    return [f"**{_milliseconds(each)}**" if each == min(seconds) else _milliseconds(each) for each in seconds]


def _versioned(name: str, versions: Mapping[str, str]) -> str:
    return f"{name} {'.'.join(versions[name].split('.')[:2])}" if name in versions else name


CLAIMED_FACTORS = {
    "word cache": "50×",
    "merge ranks": "5×",
    "precompiled split": "1.5×",
    "best-pair merging": "1.6×",
    "unknown-token cache": "1.04×",
    "local variables": "1.04×",
}


def _ladder(results: Results) -> str:
    rows = []
    for step in results["tokenizer"]["ladder"]:
        gains = f"{step['over_naive']:,.0f}×", f"{step['over_previous']:.2f}×"
        rows.append([step["name"], _milliseconds(step["seconds"]), *gains, CLAIMED_FACTORS.get(step["name"], "")])
    return table(["step", "time", "to naive", "to the step before", "claimed"], rows)


def _sizes(results: Results) -> str:
    rows = []
    for run in results["tokenizer"]["sizes"]:
        over = [f"{run['naive_seconds'] / run[key]:,.0f}×" if run["naive_seconds"] else "" for key in _TIMES]
        rates = [f"{run['words'] / run[key] / 1e6:.2f} M" for key in _TIMES]
        rows.append(
            [f"{run['words']:,}", f"{run['tokens']:,}", rates[0], over[0], rates[1], over[1], f"{run['first_pass_rate']:.1%}",
             f"{run['four_passes_rate']:.1%}", f"{run['distinct_words']:,}", f"{run['cache_bytes'] / 1e6:.2f} MB"]
        )  # fmt: skip
    heading = ["words", "tokens", "`encode`, words/s", "to naive", "`encode_array`, words/s", "to naive"]
    heading += ["cache hits, one pass", "four passes", "words in it", "memory"]
    return table(heading, rows)


_TIMES = ("encode_seconds", "array_seconds")


def _runs(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[TrainingRun]]:
    runs = [TrainingRun(**row) for row in rows]
    return {name: [run for run in runs if run.name == name] for name in dict.fromkeys(run.name for run in runs)}


def _scores(runs: Sequence[TrainingRun]) -> list[str]:
    intervals = (mean_and_margin([getattr(run, key) for run in runs]) for key in SCORES)
    return [f"{mean:.3f} ± {margin:.3f}" for mean, margin in intervals]


def _training(results: Results) -> str:
    rows, ratios = [], []
    for corpus, title in (("wikitext2", "WikiText-2"), ("frankenstein", "*Frankenstein*")):
        contenders = _runs(results[f"training_{corpus}"]["runs"])
        for name, runs in contenders.items():
            speed, pairs = median_of(runs, "tokens_per_second"), median_of(runs, "pairs_per_token")
            rows.append([title, name, f"{speed:,.0f}", f"{speed * pairs:,.0f}", f"{pairs:.3f}", *_scores(runs)])
        middle, low, high = speed_ratios(*contenders.values())
        ratios.append(f"on {title} {middle:.1f} times as fast, the median of {len(runs)} turns ({low:.1f} to {high:.1f})")
    heading = ["", "", "tokens/s", "pairs/s", "pairs a token", *SCORES.values()]
    return f"{table(heading, rows)}\ntokembed is {', '.join(ratios)}.\n"


def _presets(results: Results) -> str:
    rows = []
    for name, runs in _runs(results["presets"]["runs"]).items():
        shown = f"`--preset {name}`" if "," not in name else name
        rows.append(
            [shown, f"{median_of(runs, 'seconds'):.0f} s", f"{median_of(runs, 'tokens_per_second'):,.0f}", *_scores(runs)]
        )
    return table(["", "training", "tokens/s", *SCORES.values()], rows)


def _softmax(results: Results) -> str:
    quoted = {"full softmax": ("100 %", "100 %"), "5 negatives": ("92 %", "1.25 %"), "10 negatives": ("95 %", "2.5 %"),
              "20 negatives": ("98 %", "5 %")}  # fmt: skip
    runs = results["softmax"]
    rows = []
    for run in runs:
        time, quality = run["seconds_per_epoch"] / runs[0]["seconds_per_epoch"], (run["auc"] - 0.5) / (runs[0]["auc"] - 0.5)
        claim = quoted[run["name"]]
        rows.append(
            [run["name"], f"{run['num_outputs']:,}", f"{run['seconds_per_epoch']:.2f} s", f"{time:.1%}", claim[1],
             f"{run['auc']:.3f}", f"{quality:.0%}", claim[0]]
        )  # fmt: skip
    heading = [
        "",
        "rows a pair is scored against",
        "an epoch",
        "time",
        "quoted",
        "synonym AUC",
        "quality",
        "quoted",
    ]
    return table(heading, rows)


def _claims(results: Results) -> str:
    return table(["claim", "claimed", "measured", ""], [list(row) for row in claim_rows(results)])


TABLES: dict[str, Callable[[Results], str]] = {
    "encoders": _encoders,
    "learning": _learning,
    "ladder": _ladder,
    "sizes": _sizes,
    "training": _training,
    "presets": _presets,
    "softmax": _softmax,
    "claims": _claims,
}
