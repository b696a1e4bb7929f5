"""Compiling kernels: numba does it at first use, keeps the result on disk where it can, and is silent about both."""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

PATIENCE_SECONDS = 1.0

_log = logging.getLogger(__name__)  # without a handler, Python writes warnings to stderr as they are


@functools.cache
def can_keep_kernels() -> bool:
    """Tell whether numba finds a folder to keep kernels in: beside the package, else in the user's cache; say so if not.

    Without one its `njit(cache=True)` is an error, and kernels are recompiled in each process.
    """
    from numba import njit

    try:
        njit(cache=True)(can_keep_kernels.__wrapped__)  # looks for the folder, compiles nothing
    except RuntimeError:
        _log.warning(
            "compiled kernels can't be kept (no folder for them is writable), so every run compiles them for some seconds: "
            "set NUMBA_CACHE_DIR to a folder that is"
        )
        return False
    return True


def stand_in_for_old_names(module: str) -> Callable[[str], Any]:
    """Return a kernel module's `__getattr__`, with which numba survives what it kept of an older version.

    Its index names the classes of the arguments, and is unpickled before numba looks whether the source has changed since: a
    class that was renamed would be an error, not a recompilation.
    """

    def get(name: str) -> Any:
        if name[:1].isupper():
            return tuple
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return get


@functools.cache
def _say_once() -> None:
    kept = ": once, a few seconds, kept for the next run" if can_keep_kernels() else ""
    _log.warning("compiling kernels%s", kept)


@contextlib.contextmanager
def say_when_compiling(kernel: Any) -> Iterator[None]:
    """Log one line (once per process) if, inside the block, compiling `kernel` has not ended after `PATIENCE_SECONDS`."""
    if kernel.signatures:  # compiled or read from disk already: no timer, whose thread costs more than a short call
        yield
        return
    # A miss is counted before compiling begins; without one the kernel is only being read, which may take as long.
    timer = threading.Timer(PATIENCE_SECONDS, lambda: kernel.stats.cache_misses and _say_once())
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@functools.cache
def address_of_kernel(kernel: Any, num_arguments: int) -> int:
    """Compile a kernel that takes integers, or read it from disk; return where it is, for kernels that call it."""
    import numba

    with say_when_compiling(kernel):
        kernel.compile((numba.int64,) * num_arguments)
    compiled = next(iter(kernel.overloads.values()))
    return int(compiled.library.get_pointer_to_function(compiled.fndesc.llvm_cfunc_wrapper_name))
