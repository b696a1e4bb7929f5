"""The scripts, run for the tests: in this process, which has everything imported and compiled, or in one of their own."""

from __future__ import annotations

import contextlib
import functools
import io
import runpy
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from conftest import REPOSITORY, unmeasured_environment

from tokembed import cli, device, files

SCRIPT = REPOSITORY / "phase3_embeddings" / "train_embeddings.py"
TRAIN_BPE = REPOSITORY / "phase1_bpe" / "train_bpe.py"
VISUALIZE_MERGES = REPOSITORY / "phase1_bpe" / "visualize_merges.py"
TOKENIZER = REPOSITORY / "phase2_analysis" / "tokenizer.py"
CROSS_DOMAIN = REPOSITORY / "phase2_analysis" / "cross_domain_test.py"
BENCHMARK = REPOSITORY / "phase3_embeddings" / "benchmark_tokenizer.py"
EVALUATE = SCRIPT.with_name("evaluate_embeddings.py")
EVERY_SCRIPT = sorted(path for folder in REPOSITORY.glob("phase*") for path in folder.glob("*.py"))
# A training whose every file is there after a second, and the same on every machine.
SHORT_JOB = ("--dataset", "pydocs", "--epochs", "1", "--embedding-dim", "8", "--num-merges", "200", "--workers", "1")

# A project of its own in the current directory, no network, no accelerator: then the script itself.
PRELUDE = """
import runpy, signal, socket, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that runs the tests in the background has it ignored
from tokembed import device
from tokembed import files
files.project_root = Path.cwd
device.find_accelerator = lambda: None
def refuse(*_, **__):
    raise OSError("no network in tests")
socket.getaddrinfo = socket.create_connection = refuse
script = sys.argv[1]
sys.argv = sys.argv[1:]
runpy.run_path(script, run_name="__main__")
"""


@functools.cache
def main_of(script: Path) -> Callable[[Sequence[str] | None], int]:
    """Return a script's `main`."""
    main: Callable[[Sequence[str] | None], int] = runpy.run_path(str(script), run_name=script.stem)["main"]
    return main


def _no_network(*_: object, **__: object) -> None:
    raise OSError("no network in tests")


def run(
    folder: Path, *arguments: str | Path, raw: Path | None = None, script: Path = SCRIPT, given: bytes = b""
) -> subprocess.CompletedProcess[str]:
    """Run a script in this process as its last lines do, in a project folder of its own, and return what a shell would see.

    An exception that a script leaves to the interpreter, which would print a traceback, fails the test that called.
    """
    argv = [str(argument) for argument in arguments]
    printed, complained = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(files, "project_root", Path.cwd)
        patch.setattr(device, "find_accelerator", lambda: None)
        patch.setattr(socket, "getaddrinfo", _no_network)
        patch.setattr(socket, "create_connection", _no_network)
        patch.setattr(sys, "argv", [str(script), *argv])
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given), encoding="utf-8"))
        patch.delenv("NO_COLOR", raising=False)
        patch.delenv("TOKEMBED_RAW_DIR", raising=False)
        if raw:
            patch.setenv("TOKEMBED_RAW_DIR", str(raw))
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(complained):
            try:
                status = cli.run(main_of(script), argv)
            except SystemExit as error:  # argparse's: --help, or a mistyped flag
                status = error.code if isinstance(error.code, int) else int(error.code is not None)
    output, errors = (stream.buffer.getvalue().decode() for stream in (printed, complained))  # type: ignore[attr-defined]
    return subprocess.CompletedProcess([str(script), *argv], status, output, errors)


def start(
    folder: Path, *arguments: str | Path, script: Path = SCRIPT, before: str = "", prefix: str = "", **environment: str
) -> subprocess.Popen[bytes]:
    """Start a script in a process and a project folder of its own.

    `before` is Python code that it begins with, and `prefix` shell text around the command, `"$@"`.
    """
    command = [sys.executable, "-u", "-c", before + PRELUDE, str(script), *map(str, arguments)]
    if prefix:
        command = ["bash", "-c", prefix, "bash", *command]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=folder, env=unmeasured_environment() | environment, **pipes)  # type: ignore[call-overload]


def run_in_process_of_its_own(
    folder: Path, *arguments: str | Path, script: Path = SCRIPT, before: str = "", prefix: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a script to its end as `start` starts it: for what only a process can show."""
    job = start(folder, *arguments, script=script, before=before, prefix=prefix, **environment)
    output, errors = job.communicate(timeout=300)
    return subprocess.CompletedProcess(job.args, job.returncode, output.decode(errors="replace"), errors.decode())


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}
