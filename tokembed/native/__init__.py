"""The C library behind the fast engines: where it is, and the signature of everything in it.

Read `tokembed.h` first, then the C file of a subject. `build.py` compiles them, when the package is installed or, if no library
is found, once when it is first needed. `objects.py` wraps what they offer in classes that take arrays and check them. Without a
library (no compiler, or `TOKEMBED_NATIVE=0`) the Python twins do the work.
"""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Iterator
from ctypes import POINTER, Structure, c_bool, c_double, c_float, c_int32, c_int64, c_size_t, c_ssize_t, c_uint64, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

from tokembed.native import build

NO_MEMORY, TOO_LONG, SURROGATE = -1, -2, -3
FAMILIES = ("words", "gpt2", "cl100k", "o200k")
MAX_KEPT = 1000
SHORT_TEXT = 1 << 17
UTF8_SLACK = 16
BLOCK_TOKENS = 8192

_log = logging.getLogger(__name__)  # without a handler, Python writes warnings to stderr as they are


class Rule(Structure):
    """`tk_rule`."""

    _fields_ = (("kinds", c_void_p), ("family", c_int32), ("keeps_last_spaces", c_int32), ("max_digits", c_int64))


class VocabSettings(Structure):
    """`tk_vocab_settings`."""

    _fields_ = (
        ("rule", Rule), ("symbol_ids", c_void_p), ("lower_steps", c_void_p), ("end_of_word", c_int32), ("byte_base", c_int32),
        ("unknown", c_int32), ("ids_are_ranks", c_int32), ("numbers_pieces", c_int32), ("checks_pieces", c_int32),
        ("merges", c_void_p), ("pieces", c_void_p), ("piece_starts", c_void_p), ("piece_ids", c_void_p),
        ("num_merges", c_size_t), ("num_pieces", c_size_t),
    )  # fmt: skip


class PythonFunctions(Structure):
    """`tk_python`."""

    _fields_ = (("as_utf8", c_void_p), ("as_ucs4", c_void_p), ("length", c_void_p), ("ids", c_void_p))


class Words(Structure):
    """`tk_words`."""

    _fields_ = (("symbols", c_void_p), ("starts", c_void_p), ("counts", c_void_p), ("num_words", c_size_t))


class SkipGram(Structure):
    """`tk_skipgram`."""

    _fields_ = (
        ("target_table", c_void_p), ("context_table", c_void_p), ("keep_below", c_void_p), ("thresholds", c_void_p),
        ("aliases", c_void_p), ("vocab_size", c_size_t), ("dim", c_size_t), ("window_size", c_size_t),
        ("num_negatives", c_size_t),
    )  # fmt: skip


class Block(Structure):
    """`tk_block`."""

    _fields_ = (
        ("ids", c_void_p), ("num_ids", c_size_t), ("first", c_size_t), ("last", c_size_t), ("key", c_uint64),
        ("seed", c_uint64), ("first_rate", c_float), ("last_rate", c_float),
    )  # fmt: skip


#: Every function, in the order of the header: what it returns, and what it takes.
SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "tk_level": (c_int32, []),
    "tk_vocab_new": (c_void_p, [POINTER(VocabSettings)]),
    "tk_vocab_free": (None, [c_void_p]),
    "tk_derive_merges": (c_bool, [c_void_p, c_void_p, c_size_t, c_void_p, c_int32, c_void_p]),
    "tk_encoder_new": (c_void_p, [c_void_p, c_size_t, POINTER(PythonFunctions)]),
    "tk_encoder_free": (None, [c_void_p]),
    "tk_encoder_bytes": (c_size_t, [c_void_p]),
    "tk_encoder_read": (c_size_t, [c_void_p, c_void_p, c_void_p, c_void_p]),
    "tk_encode": (c_ssize_t, [c_void_p, c_void_p, c_size_t, c_void_p]),
    "tk_encode_texts": (c_ssize_t, [c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_void_p]),
    "tk_utf8": (c_ssize_t, [c_void_p, c_size_t, c_void_p]),
    "tk_learner_new": (c_void_p, [POINTER(Words), c_size_t, c_size_t, c_int64]),
    "tk_learner_free": (None, [c_void_p]),
    "tk_learn": (c_ssize_t, [c_void_p, c_size_t]),
    "tk_learner_read": (None, [c_void_p, c_void_p, c_void_p]),
    "tk_train": (c_int64, [POINTER(SkipGram), POINTER(Block), POINTER(c_double)]),
}
#: Called with Python's lock held, since it takes a str.
LOCKED_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "tk_encode_ascii": (c_ssize_t, [c_void_p, ctypes.py_object]),
    "tk_encode_str": (c_ssize_t, [c_void_p, ctypes.py_object]),
}


@cache
def library() -> Any:
    """Return the library for this processor, built if there is none; None if `TOKEMBED_NATIVE=0` or nothing can build it."""
    if os.environ.get("TOKEMBED_NATIVE") == "0":
        return None
    folder = _find() or _build()
    if folder is None:
        return None
    try:
        loaded = _load(folder / build.library_name("baseline"))
        better = [folder / build.library_name(level) for level in build.levels()[1 : 1 + loaded.tk_level()]]
        return next((_load(path) for path in reversed(better) if path.exists()), loaded)
    except OSError as error:  # as of a library that was damaged
        _log.warning("no C library: %s", error)
        return None


@cache
def locked_library() -> Any:
    """Return the same library, whose functions are called with Python's lock held."""
    return _with_signatures(ctypes.PyDLL(library()._name), LOCKED_SIGNATURES)


def why_not() -> str:
    """Return why there is no library, for people; "" if there is one."""
    if library() is not None:
        return ""
    return "TOKEMBED_NATIVE=0" if os.environ.get("TOKEMBED_NATIVE") == "0" else "nothing could compile the C library"


def _folders() -> Iterator[Path]:
    """Yield where libraries may be: in the package, in the user's cache."""
    yield build.SOURCES / "built"
    cache_folder = os.environ.get("XDG_CACHE_HOME") or (Path.home() / ".cache" if os.environ.get("HOME") else None)
    if cache_folder:
        yield Path(cache_folder, "tokembed")


def _find() -> Path | None:
    return next((folder for folder in _folders() if (folder / build.library_name("baseline")).exists()), None)


def _build() -> Path | None:
    """Compile the library into the first folder that can be written to; say so, in a line, or why it can't be done."""
    if build.find_compiler() is None:
        _log.warning("no C library: %s", build.ADVICE)
        return None
    _log.warning("compiling the C library, once")
    problem: object = "there is no folder to keep it in"
    for folder in _folders():
        try:
            build.build(folder)
            return folder
        except build.CompilerError as error:
            problem = error
            break
        except OSError as error:
            problem = error
    _log.warning("no C library: %s", problem)
    return None


def _load(path: Path) -> Any:
    return _with_signatures(ctypes.CDLL(str(path)), SIGNATURES)


def _with_signatures(loaded: Any, signatures: dict[str, tuple[Any, list[Any]]]) -> Any:
    for name, (returns, takes) in signatures.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = returns, takes
    return loaded
