"""The pages' tables, made from the committed file of results.

Each table stands in the README or in `docs/benchmarks.md` between two markers, `<!-- results: name -->` and `<!-- end -->`;
`filled` puts them there.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tokembed.analysis.experiments import QUOTED
from tokembed.analysis.vocabularies import MODELS
from tokembed.benchmarks import processes
from tokembed.benchmarks.claims import Results, claim_rows
from tokembed.benchmarks.training import SCORES, TrainingRun, by_name, mean_and_margin, median_of, speed_ratios

Rows = Sequence[Sequence[str]]

_BLOCK = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


SAME_OBJECTS = "warm, the same str objects"

# Of the ladder's steps, as the first description of the project had them.
CLAIMED_FACTORS = {
    "word cache": "50×", "merge ranks": "5×", "precompiled split": "1.5×", "best-pair merging": "1.6×",
    "unknown-token cache": "1.04×", "local variables": "1.04×",
}  # fmt: skip


def filled(text: str, results: Results) -> str:
    """Return a text whose blocks hold the tables made from the results; raise `ValueError` for a name without a table."""

    def block(match: re.Match[str]) -> str:
        name = match.group(2)
        if name not in TABLES:
            raise ValueError(f"there is no table {name!r}: choose from {', '.join(TABLES)}")
        return f"{match.group(1)}\n{TABLES[name](results)}\n{match.group(3)}"

    return _BLOCK.sub(block, text)


def table(heading: str, rows: Rows) -> str:
    """Return a Markdown table; the columns' names are separated by bars."""
    names = [name.strip() for name in heading.split("|")]
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:,.1f} ms" if seconds < 0.1 else f"{seconds * 1e3:,.0f} ms"


def _medians(timings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return each contender's median, the best in bold."""
    seconds = [timing["median"] for timing in timings]
    return [f"**{_milliseconds(each)}**" if each == min(seconds) else _milliseconds(each) for each in seconds]


KNOWN_FIRST = {"tokembed": 0, "tiktoken": 1}  # what readers know stands beside ours


def _headline(results: Results) -> str:
    """Return five measurements, each with its worst case."""
    own, trained = results["tokenizer"], _runs(results["training_wikitext2"]["runs"])
    middle, low, _ = speed_ratios(*trained.values())
    runs = {(each["vocabulary"], each["case"]): _by_contender(each["timings"]) for each in own["encoders"]}
    encoded = [runs[name, case] for name in MODELS for case in ("cold", "warm, a fresh str each call") if (name, case) in runs]
    over = {peer: [run[peer] / run["tokembed"] for run in encoded] for peer in ("tiktoken", "gigatoken")}
    ratios, learned = [cell["ratio"] for cell in own["matrix"]], _by_contender(own["learning"])
    worst, num_ahead = min(own["matrix"], key=lambda cell: cell["ratio"]), sum(ratio >= 1 for ratio in ratios)
    of_people = [score for score in SCORES if score != "synonym_auc"]
    best, on_novel = _runs(results["presets"]["runs"])["best"], results["facts"]["novel_scores"]
    known, judged = results["facts"]["novel_known_pairs"]
    at_best = " and ".join(f"{mean_and_margin([getattr(run, score) for run in best])[0]:.2f}" for score in of_people)
    at_worst = " and ".join(f"{round(on_novel[score], 2) + 0.0:.2f}" for score in of_people)
    names = " and ".join(SCORES[score] for score in of_people)
    rows = [
        [
            "encode WikiText-2, 10.8 MB, by GPT's vocabularies",
            f"{min(over['tiktoken']):.0f} to {max(over['tiktoken']):.0f} times tiktoken's speed",
            f"{min(over['gigatoken']):.2f} times gigatoken's, the fastest peer's (at best {max(over['gigatoken']):.2f})",
        ],
        [
            "encode nine kinds of text, 60 characters to 1 MB, new and known",
            f"faster than gigatoken in {num_ahead} of {len(ratios)} combinations of text, size, vocabulary",
            f"{worst['ratio']:.2f} times its speed ({worst['kind']}, {worst['case']}, {worst['size']:,} characters)",
        ],
        [
            "learn 10,000 merges from WikiText-2",
            f"{learned['tokembed'] * 1e3:,.0f} ms, {learned['tokenizers'] / learned['tokembed']:.0f} times `tokenizers`' speed",
            f"{learned['gigatoken'] / learned['tokembed']:.1f} times as fast as gigatoken",
        ],
        [
            "train on WikiText-2, gensim's settings",
            f"{middle:.1f} times gensim's speed, the median of {len(trained['tokembed'])} turns",
            f"{low:.1f} times; the scores are about equal",
        ],
        [
            f"agree with people ({names}, Spearman)",
            f"{at_best}, WikiText-2, `--preset best`",
            f"{at_worst}, the first command: the novel has the words of {known} of {judged} pairs",
        ],
    ]
    return table("what | measured | and at worst", rows)


def _by_contender(timings: Rows) -> dict[str, float]:
    return {timing["name"]: timing["median"] for timing in timings}  # type: ignore[call-overload]


def _encoders(results: Results) -> str:
    """Return published vocabularies by the encoders that all of them are compared with; below, the rule "words" by ours."""
    own = results["tokenizer"]
    runs = [each for each in own["encoders"] if each["case"] != SAME_OBJECTS]
    published = [each for each in runs if each["vocabulary"] in MODELS]
    timings = [sorted(each["timings"], key=lambda timing: KNOWN_FIRST.get(timing["name"], 2)) for each in published]
    names = _with_versions(own, [timing["name"] for timing in timings[0]])
    rows = [
        [f"{MODELS[each['vocabulary']]}, `{each['vocabulary']}`", each["case"], *_medians(own_timings)]
        for each, own_timings in zip(published, timings, strict=True)
    ]
    rows += [
        [
            f"another rule: {each['vocabulary']}",
            each["case"],
            _milliseconds(each["timings"][0]["median"]),
            *[""] * (len(names) - 1),
        ]
        for each in runs
        if each["vocabulary"].startswith("words")
    ]
    return table("|".join(["vocabulary", "", *names]), rows)


def _matrix(results: Results) -> str:
    """Return, by kind of text, the least and the greatest ratio to gigatoken over the vocabularies, by case and size."""
    cells = results["tokenizer"]["matrix"]
    columns: dict[str, Callable[[Results], bool]] = {
        "first megabyte": lambda cell: cell["case"] == "first text",
        "60 new characters": lambda cell: cell["case"] == "new text" and cell["size"] == 60,
        "1,000": lambda cell: cell["case"] == "new text" and cell["size"] == 1_000,
        "64,000": lambda cell: cell["case"] == "new text" and cell["size"] == 64_000,
        "a million or all": lambda cell: cell["case"] == "new text" and cell["size"] > 64_000,
        "the same 64,000 again": lambda cell: cell["case"] == "known text" and cell["size"] == 64_000,
        "a batch of 400 each": lambda cell: cell["case"] == "new texts, in a batch",
    }
    rows = []
    for kind in dict.fromkeys(cell["kind"] for cell in cells):
        ratios = [[cell["ratio"] for cell in cells if cell["kind"] == kind and choose(cell)] for choose in columns.values()]
        rows.append([kind, *(f"{min(each):.2f} to {max(each):.2f}" if each else "" for each in ratios)])
    every = [cell["ratio"] for cell in cells]
    worst = min(cells, key=lambda cell: cell["ratio"])
    num_ahead, num_low = sum(ratio >= 1 for ratio in every), sum(ratio < 0.7 for ratio in every)
    where = f"{worst['kind']}, {worst['vocabulary']}, {worst['case']}, {worst['size']:,} characters"
    summary = f"Of {len(every)} cells {num_ahead} are at 1 or above and {num_low} below 0.7; "
    summary += f"the median is {statistics.median(every):.2f}, the worst {worst['ratio']:.2f} ({where})."
    return "\n\n".join([table("|".join(["text", *columns]), rows), summary])


def _peers(results: Results) -> str:
    """Return our own merges by all encoders; under the rule "words" by those that can have it."""
    own = results["tokenizer"]
    rows = [each for each in own["encoders"] if each["vocabulary"] not in MODELS]
    names = max(([timing["name"] for timing in each["timings"]] for each in rows), key=len)
    names = sorted(names, key=lambda name: KNOWN_FIRST.get(name, 2))
    shown = []
    for each in rows:
        medians = dict(zip([timing["name"] for timing in each["timings"]], _medians(each["timings"]), strict=True))
        shown.append([each["vocabulary"], each["case"], *(medians.get(name, "") for name in names)])
    return table("|".join(["merges", "", *_with_versions(own, names)]), shown)


def _with_versions(own: Results, names: Sequence[str]) -> list[str]:
    versions = own["machine"]["versions"]
    return [f"{name} {'.'.join(versions[name].split('.')[:2])}" if name in versions else name for name in names]


def _learning(results: Results) -> str:
    own = results["tokenizer"]["learning"]
    return table("|".join(["", *(timing["name"] for timing in own)]), [["learn 10,000 merges", *_medians(own)]])


def _large_texts(results: Results) -> str:
    """Return, by text, what each task took and, in brackets, how many times as fast as gigatoken that is."""
    runs = results["large_texts"]["runs"]
    tasks, rows = list(dict.fromkeys(run["task"] for run in runs)), dict[tuple[str, int], dict[str, str]]()
    for run in runs:
        row = rows.setdefault((run["kind"], run["num_bytes"]), {})
        row[""] = f"{run['kind']}, {run['num_bytes'] / 1e6:,.0f} MB, {run['num_distinct']:,} distinct pieces"
        row[run["task"]] = f"{run['seconds']:,.2f} s ({run['ratio']:.2f})"
    shown = [[row.get(task, "") for task in ["", *tasks]] for row in rows.values()]
    return table("|".join(["text", *tasks]), shown)


def _ladder(results: Results) -> str:
    rows = [
        [step["name"], _milliseconds(step["seconds"]), f"{step['over_naive']:,.0f}×", f"{step['over_previous']:.2f}×",
         CLAIMED_FACTORS.get(step["name"], "")]
        for step in results["tokenizer"]["ladder"]
    ]  # fmt: skip
    return table("step | time | to naive | to the step before | claimed", rows)


def _sizes(results: Results) -> str:
    def rate_and_gain(run: Mapping[str, Any], key: str) -> list[str]:
        gain = f"{run['naive_seconds'] / run[key]:,.0f}×" if run["naive_seconds"] else ""
        return [f"{run['words'] / run[key] / 1e6:.2f} M", gain]

    rows = [
        [f"{run['words']:,}", f"{run['tokens']:,}", *rate_and_gain(run, "encode_seconds"), *rate_and_gain(run, "array_seconds"),
         f"{run['first_pass_rate']:.1%}", f"{run['four_passes_rate']:.1%}", f"{run['distinct_words']:,}",
         f"{run['cache_bytes'] / 1e6:.2f} MB"]
        for run in results["tokenizer"]["sizes"]
    ]  # fmt: skip
    heading = "words | tokens | `encode`, words/s | to naive | `encode_array`, words/s | to naive | cache hits, one pass"
    return table(heading + " | four passes | words in it | memory", rows)


def _runs(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[TrainingRun]]:
    return by_name([TrainingRun(**row) for row in rows])


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
    heading = "|".join(["", "", "tokens/s", "pairs/s", "pairs per token", *SCORES.values()])
    why = "Each turn has a ratio of its own, of two trainings side by side, so the medians above need not divide to theirs."
    return f"{table(heading, rows)}\ntokembed is {', '.join(ratios)}. {why}\n"


def _presets(results: Results) -> str:
    rows = [
        [name if "," in name else f"`--preset {name}`", f"{median_of(runs, 'seconds'):.0f} s",
         f"{median_of(runs, 'tokens_per_second'):,.0f}", *_scores(runs)]
        for name, runs in _runs(results["presets"]["runs"]).items()
    ]  # fmt: skip
    return table("|".join(["", "training", "tokens/s", *SCORES.values()]), rows)


def _processes(results: Results) -> str:
    rows = processes.rows([processes.ProcessesRun(**run) for run in results["processes"]["runs"]])
    return table(" |  | tokens/s | to as many threads | loss of the last epoch | loss on text held out", rows)


def _batches(results: Results) -> str:
    """Return the threads and torch's sizes of batches; losses with what they are above the threads'."""
    runs = _runs(results["batches"]["runs"])
    threads, rows = runs["threads"], []
    for name, own in runs.items():
        slower = statistics.median(a.tokens_per_second / b.tokens_per_second for a, b in zip(threads, own, strict=True))
        row = [name, f"{median_of(own, 'tokens_per_second'):,.0f}", "" if own is threads else f"{slower:.1f}"]
        for key in ("loss", "held_out_loss"):
            mean, base = (statistics.mean(getattr(run, key) for run in each) for each in (own, threads))
            row.append(f"{mean:.3f}" + ("" if own is threads else f" ({mean / base - 1:+.1%})"))
        rows.append([*row, *_scores(own)])
    heading = "|".join(["", "tokens/s", "times slower", "loss while training", "held-out loss after it", *SCORES.values()])
    return table(heading, rows)


def _unseen(results: Results) -> str:
    """Return the scores of unseen words: means over the draws that took words out, and over seeds with the text as it is."""
    runs, rows = results["unseen"]["runs"], []
    for what, is_drawn in (("words taken out", True), ("words that WikiText-2 lacks", False)):
        for name in dict.fromkeys(run["name"] for run in runs):
            own = [run for run in runs if run["name"] == name and bool(run["draw"]) == is_drawn]
            cells = []
            for key in ("wordsim353", "simlex999"):
                mean = statistics.mean(run["spearman"][key] for run in own)
                pairs = sum({run["draw"]: run["num_pairs"][key] for run in own}.values())
                cells.append(f"{mean:.3f} ({pairs} pairs)")
            title = "`--preset best`" if name == "tokembed" else name
            rows.append([what, title, f"{statistics.median(run['seconds'] for run in own):.0f} s", *cells])
    return table(" |  | training | WordSim-353 | SimLex-999", rows)


def _softmax(results: Results) -> str:
    runs = results["softmax"]
    seconds, auc = runs[0]["seconds_per_epoch"], runs[0]["auc"] - 0.5
    rows = [
        [run["name"], f"{run['num_outputs']:,}", f"{run['seconds_per_epoch']:.3f} s",
         f"{run['seconds_per_epoch'] / seconds:.1%}", QUOTED[run["name"]][1],
         f"{run['auc']:.3f}", f"{(run['auc'] - 0.5) / auc:.0%}", QUOTED[run["name"]][0]]
        for run in runs
    ]  # fmt: skip
    return table(" | rows scored per pair | per epoch | time | quoted | synonym AUC | quality | quoted", rows)


def _retrieval(results: Results) -> str:
    found = results["retrieval"]
    rows = [[row["name"], f"{row['whole']:.2f}", f"{row['own_words']:.2f}"] for row in found["rows"]]
    rows.append(["chance", *[f"{found['chance']:.2f}"] * 2])
    asked = f"{found['num_whole']:,} paragraphs of {found['num_articles']} articles are asked whole"
    summary = f"{asked}, and {found['num_own_words']:,} of them by their own words.\n"
    return "\n".join([table("right at first, by | the whole paragraph | its own words alone", rows), summary])


def _claims(results: Results) -> str:
    return table("claim | claimed | measured | ", claim_rows(results))


TABLES: dict[str, Callable[[Results], str]] = {
    "headline": _headline,
    "encoders": _encoders,
    "peers": _peers,
    "matrix": _matrix,
    "learning": _learning,
    "large_texts": _large_texts,
    "ladder": _ladder,
    "sizes": _sizes,
    "training": _training,
    "batches": _batches,
    "presets": _presets,
    "processes": _processes,
    "unseen": _unseen,
    "softmax": _softmax,
    "retrieval": _retrieval,
    "claims": _claims,
}
