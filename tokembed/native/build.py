"""Compile the C library: called by the build hook when the package is installed, and by the loader if it finds none.

It imports nothing of this package, so that the hook can load it by its path.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

SOURCES = Path(__file__).parent
#: Levels of x86-64 to compile for, the oldest processors first. Other processors have one level.
X86_LEVELS = {"baseline": "x86-64", "v3": "x86-64-v3", "v4": "x86-64-v4"}
FLAGS = ["-std=gnu11", "-O3", "-ffp-contract=fast", "-fPIC", "-shared", "-s", "-Wno-psabi"]
ADVICE = "install a C compiler (gcc or clang; or `pip install ziglang`) to run some hundred times faster"


class CompilerError(Exception):
    """There is no compiler, or it failed; the message is one line."""


def find_compiler() -> list[str] | None:
    """Return the command of a C compiler that runs: `$CC`, or else cc, gcc, clang, or the one in the package ziglang."""
    candidates = [shlex.split(given)] if (given := os.environ.get("CC")) else [["cc"], ["gcc"], ["clang"]]
    if not given and importlib.util.find_spec("ziglang"):
        candidates.append([sys.executable, "-m", "ziglang", "cc"])
    return next((command for command in candidates if shutil.which(command[0]) and _runs(command)), None)


def _runs(command: list[str]) -> bool:
    """Tell whether a compiler is one: macOS has a `cc` that only says how to install it."""
    return subprocess.run([*command, "--version"], capture_output=True, check=False).returncode == 0


def levels() -> list[str]:
    """Return the levels of this kind of processor, the oldest first."""
    return [*X86_LEVELS] if platform.machine().lower() in ("x86_64", "amd64") else ["baseline"]


@cache
def _digest() -> str:
    sources = hashlib.sha256(f"{sys.platform} {platform.machine()}".encode())
    for path in sorted([*SOURCES.glob("*.[ch]"), Path(__file__)]):
        sources.update(path.read_bytes())
    return sources.hexdigest()[:12]


def library_name(level: str) -> str:
    """Return the file name of a level's library. It tells sources and machines apart: no stale library is ever loaded."""
    return f"libtokembed-{level}-{_digest()}.so"


def build(folder: Path) -> list[Path]:
    """Compile the library for each level that the compiler knows, side by side, into a folder; return those there are.

    Raises
    ------
    CompilerError
        There is no compiler, or it failed.
    OSError
        The folder can't be written to.
    """
    if (folder / library_name("baseline")).exists():
        return [folder / name for name in map(library_name, levels()) if (folder / name).exists()]
    compiler = find_compiler()
    if compiler is None:
        raise CompilerError(ADVICE)
    folder.mkdir(parents=True, exist_ok=True)
    # Compiled beside its place and renamed, so that no process loads half a library; the baseline, which tells that all are
    # there, comes last.
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        runs = {level: _start(compiler, level, Path(temporary, library_name(level))) for level in reversed(levels())}
        outputs = {level: run.communicate()[0] for level, run in runs.items()}
        if runs["baseline"].returncode:
            line = next(iter(outputs["baseline"].splitlines()), f"status {runs['baseline'].returncode}")
            raise CompilerError(f"{shlex.join(compiler)} failed ({line:.120}): {ADVICE}")
        for old in folder.glob("libtokembed-*.so"):
            if not old.stem.endswith(_digest()):
                old.unlink(missing_ok=True)
        made = [library_name(level) for level, run in runs.items() if run.returncode == 0]
        return [Path(temporary, name).replace(folder / name) for name in made]


def _start(compiler: list[str], level: str, target: Path) -> subprocess.Popen[str]:
    flags = [*FLAGS]
    if level in X86_LEVELS and len(levels()) > 1:
        march = X86_LEVELS[level]
        flags.append("-march=" + (march.replace("-", "_") if "ziglang" in compiler else march))
    command = [*compiler, *flags, "-o", str(target), *map(str, sorted(SOURCES.glob("*.c"))), "-lm"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
