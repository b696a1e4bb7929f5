"""Compiling kernels: numba does it at first use, keeps the result on disk where it can, and is silent about both."""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections.abc import Iterator
from typing import Any

PATIENCE_SECONDS = 1.0


@functools.cache
def can_keep_kernels() -> bool:
    """Tell whether numba finds a folder to keep kernels in: beside the package, else in the user's cache; say so if not.

    Without one its `njit(cache=True)` is an error, and kernels are compiled anew in each process.
    """
    from numba import njit

    try:
        njit(cache=True)(can_keep_kernels.__wrapped__)  # looks for the folder, compiles nothing
    except RuntimeError:
        print(
            "compiled kernels can't be kept (no folder for them is writable), so every run compiles them for some seconds: "
            "set NUMBA_CACHE_DIR to a folder that is",
            file=sys.stderr,
        )
        return False
    return True


@functools.cache
def _say_once() -> None:
    kept = ": once, a few seconds, kept for the next run" if can_keep_kernels() else ""
    print(f"compiling kernels{kept}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def say_when_compiling(*kernels: Any) -> Iterator[None]:
    """Print one line to stderr (once in a process) if, inside the block, compiling has not ended after `PATIENCE_SECONDS`.

    `kernels` are those that the block calls first; once they are there, compiled or read from disk, there is nothing to say.
    """
    if all(kernel.signatures for kernel in kernels):
        yield
        return

    def speak() -> None:
        # A miss is counted before compiling begins; without one they are only being read, which may take as long.
        if any(sum(kernel.stats.cache_misses.values()) for kernel in kernels if not kernel.signatures):
            _say_once()

    timer = threading.Timer(PATIENCE_SECONDS, speak)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
