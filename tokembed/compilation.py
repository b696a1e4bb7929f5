"""Say so when a kernel is compiled: numba does it at first use, keeps the result on disk, and is silent about it."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

PATIENCE_SECONDS = 1.0


@contextlib.contextmanager
def say_when_compiling(*kernels: Any) -> Iterator[None]:
    """Print one line to stderr if, inside the block, compiling has not ended after `PATIENCE_SECONDS`.

    `kernels` are those that the block calls first; once they are compiled in this process there is nothing to say.
    """
    if all(kernel.signatures for kernel in kernels):
        yield
        return

    def speak() -> None:
        if not all(kernel.signatures for kernel in kernels):
            print("compiling kernels: once, a few seconds, kept for the next run", file=sys.stderr, flush=True)

    timer = threading.Timer(PATIENCE_SECONDS, speak)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
