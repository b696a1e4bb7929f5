"""The clock: contenders timed in turn, with their spread, and what a time depends on: the machine and the versions."""

from __future__ import annotations

import contextlib
import gc
import importlib.metadata
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tokembed.device import available_cores

PEERS = ("gigatoken", "tokie", "snaptokens", "tiktoken", "tokenizers", "rustbpe", "gensim")

Given = TypeVar("Given")


@dataclass(frozen=True)
class Timing:
    """Wall-clock seconds of repeated runs of one thing; `spread` is half the range of their middle half, over the median."""

    name: str
    median: float
    best: float
    spread: float
    seconds: list[float]

    @classmethod
    def of(cls, name: str, seconds: list[float]) -> Timing:
        """Summarize the seconds of all runs.

        >>> timing = Timing.of("sorting", [4.0, 3.0, 5.0, 9.0, 1.0])
        >>> timing.median, timing.best, timing.spread
        (4.0, 1.0, 0.25)
        """
        ordered, quarter, median = sorted(seconds), len(seconds) // 4, statistics.median(seconds)
        return cls(name, median, ordered[0], (ordered[-1 - quarter] - ordered[quarter]) / 2 / median, seconds)


def seconds_of(call: Callable[[Given], object], given: Given) -> float:
    """Return the wall-clock seconds of one call."""
    start = time.perf_counter()
    call(given)
    return time.perf_counter() - start


def fresh(text: str) -> str:
    """Return an equal str that no one has seen."""
    return (text + " ")[:-1]


def time_alternating(
    contenders: Mapping[str, Callable[[Any], object]], prepare: Mapping[str, Callable[[int], Any]], rounds: int
) -> list[Timing]:
    """Time each contender once per round; who goes first changes with every round.

    A contender takes what its `prepare` made before the clock started, given the round's number.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            given = prepare[name](number)
            gc.collect()
            seconds[name].append(seconds_of(contenders[name], given))
            del given
    return [Timing.of(name, values) for name, values in seconds.items()]


def timing_lines(timings: Sequence[Timing], num_bytes: int, num_words: int) -> list[str]:
    """Return timings of one text as a table, the first being ours."""
    lines = [f"  {'':<12}{'median':>10}{'spread':>9}{'MB/s':>8}{'M words/s':>11}{'to ours':>9}"]
    for timing in timings:
        rates = f"{num_bytes / timing.median / 1e6:>9.0f}{num_words / timing.median / 1e6:>11.2f}"
        over = timing.median / timings[0].median
        lines.append(f"  {timing.name:<12}{timing.median * 1e3:>7.1f} ms{timing.spread:>8.0%}{rates}{over:>8.2f}x")
    return lines


def machine() -> dict[str, Any]:
    """Return what a time depends on: processor, cores, versions, commit."""
    versions = {}
    for package in ("numpy", "torch", *PEERS):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "processor": _processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": available_cores(),
        "python": platform.python_version(),
        "versions": versions,
        "commit": _commit(),
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
