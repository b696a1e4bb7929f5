"""What goes wrong outside of the program: killed processes, full disks, closed pipes, odd environments, two runs at once."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY, unmeasured_environment
from test_scripts import BENCHMARK, CROSS_DOMAIN, EVERY_SCRIPT, PRELUDE, SCRIPT, TOKENIZER, TRAIN_BPE, VISUALIZE_MERGES

from tokembed import BPEModel, Embeddings, files

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the faults are made by means that only POSIX systems have")

FOLDERS = ("data/processed/01_tokenization", "models/checkpoints/01_tokenization", "visualizations/plots/01_tokenization")
VISUALIZE_EMBEDDINGS = SCRIPT.with_name("visualize_embeddings.py")
SHORT_JOB = ("--dataset", "pydocs", "--epochs", "1", "--embedding-dim", "8", "--num-merges", "200")

# Faults that the first argument names, switched on in the script's own process before it begins.
FAULTS = """
import os, resource, sys
kind, _, value = sys.argv.pop(1).partition("=")
def refuse_writing(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and arguments[0].startswith(value):
        if arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise PermissionError(13, "Permission denied", arguments[0])
if kind == "full_disk":
    import numba, torch, matplotlib.font_manager  # what they keep for themselves is there already
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(value), int(value)))
elif kind == "read_only":
    sys.addaudithook(refuse_writing)
elif kind == "not_installed":
    class Hiding:
        def __init__(self, finder):
            self.finder = finder
        def find_spec(self, name, path=None, target=None):
            return None if name.partition(".")[0] == value else self.finder.find_spec(name, path, target)
    sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
elif kind == "one_core":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
"""


def run(
    folder: Path, *arguments: str | Path, fault: str = "none", script: Path = SCRIPT, prefix: str = "", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """Run a script in a project folder of its own, under a fault; `prefix` is shell text around the command."""
    kept = unmeasured_environment()
    command = [sys.executable, "-c", FAULTS + PRELUDE, fault, str(script), *map(str, arguments)]
    if prefix:
        command = ["bash", "-c", prefix, "bash", *command]
    return subprocess.run(command, cwd=folder, env=kept | environment, capture_output=True, check=False, timeout=300)


def only_line(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return the one line of stderr, but for what is said of compiling."""
    lines = [line for line in done.stderr.decode().splitlines() if not line.startswith("compil")]
    assert len(lines) == 1, done.stderr.decode()
    return lines[0]


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---------------------------------------------------------------- killed, full, refused


@pytest.mark.parametrize(
    ("program", "arguments", "outcome"),
    [
        ("kill.py", ("--times", "50"), r"\b50 kills, .* 0 damaged"),
        ("fuzz.py", ("--files", "4000"), r"\b4,000 files, 0 faults"),
        ("soak.py", ("--minutes", "1"), r"operations in 1 min, each checked"),
    ],
    ids=["killed", "damaged files", "one minute of everything"],
)
def test_nothing_is_lost_or_believed_or_leaked(program: str, arguments: tuple[str, ...], outcome: str) -> None:
    """Each time with another seed, which the programs take, so that a failure can be repeated."""
    seed = str(time.time_ns() % 100_000)
    command = [sys.executable, str(REPOSITORY / "tests" / program), *arguments, "--seed", seed]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, f"--seed {seed}: {done.stdout}{done.stderr}"
    assert re.search(outcome, done.stdout), done.stdout


@pytest.mark.parametrize("room", [0, 1000, 30_000, 200_000])
def test_a_full_disk_is_one_line_and_status_1_and_loses_nothing(tmp_path: Path, room: int) -> None:
    """No file may grow beyond `room` bytes: that is how a disk is when it is full."""
    assert run(tmp_path, *SHORT_JOB).returncode == 0
    before = contents(tmp_path)
    done = run(tmp_path, *SHORT_JOB, "--embedding-dim", "400", "--num-merges", "1000", fault=f"full_disk={room}")
    assert done.returncode == 1, done.stderr.decode()
    assert re.match(r"error: .*(File too large|EFBIG|[Tt]oo large)", only_line(done))
    after = contents(tmp_path)
    assert {path: after[path] for path in before} == before
    assert not [path.name for path in after if path.name.startswith(".")], "a temporary file was left"


WRITERS = [(TRAIN_BPE, 0), (VISUALIZE_MERGES, 2), (CROSS_DOMAIN, 2), (SCRIPT, 1)]


@pytest.mark.parametrize(("script", "place"), WRITERS, ids=lambda value: getattr(value, "stem", ""))
def test_a_folder_that_must_not_be_written_is_one_line_and_status_1(tmp_path: Path, script: Path, place: int) -> None:
    folder = tmp_path / FOLDERS[place]
    done = run(tmp_path, "--dataset", "pydocs", "--num-merges", "200", fault=f"read_only={folder}", script=script)
    assert done.returncode == 1, done.stderr.decode()
    assert "Permission denied" in only_line(done)


def test_an_abandoned_temporary_file_goes_and_a_fresh_one_stays(tmp_path: Path) -> None:
    abandoned, fresh, another = (tmp_path / name for name in (".file.aaaa.tmp.txt", ".file.bbbb.tmp.txt", ".file.tmp"))
    of_safetensors = tmp_path / ".tmpVMMij2"
    for path in (abandoned, fresh, another, of_safetensors):
        path.write_text("half of it")
    for path in (abandoned, another, of_safetensors):
        os.utime(path, (0, 0))
    files.write_atomic(tmp_path / "file.txt", "whole")
    assert {path.name for path in tmp_path.glob("*")} == {fresh.name, another.name, of_safetensors.name, "file.txt", "project"}
    files.write_atomic(tmp_path / "vectors.safetensors", b"")
    assert not of_safetensors.exists()


def test_three_runs_at_once_all_finish_and_leave_whole_files(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PRELUDE, str(SCRIPT), *SHORT_JOB, "--epochs", "3"]
    environment = {name: value for name, value in os.environ.items() if name != "TOKEMBED_RAW_DIR"}
    jobs = [subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=-1, stderr=-1) for _ in range(3)]
    for job in jobs:
        _, errors = job.communicate(timeout=300)
        assert job.returncode == 0, errors.decode()
    assert BPEModel.load(tmp_path / FOLDERS[0] / "pydocs_bpe_200.json").merges
    assert len(Embeddings.load(tmp_path / FOLDERS[1] / "pydocs.safetensors")) > 200
    assert not [path for path in contents(tmp_path) if path.name.startswith(".")]


# ---------------------------------------------------------------- signals, pipes


def interrupted(folder: Path, script: Path, arguments: tuple[str, ...], seconds: float) -> tuple[int, str]:
    """Start a script, press `Ctrl-C` so long after its first line; return its status and stderr."""
    environment = unmeasured_environment()
    command = [sys.executable, "-u", "-c", PRELUDE, str(script), *arguments]
    job = subprocess.Popen(command, cwd=folder, env=environment, stdout=-1, stderr=-1)
    assert job.stdout is not None
    job.stdout.readline()
    time.sleep(seconds)
    job.send_signal(signal.SIGINT)
    _, errors = job.communicate(timeout=120)
    return job.returncode, errors.decode()


@pytest.mark.parametrize("seconds", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        (SCRIPT, ("--dataset", "pydocs", "--epochs", "400")),
        (BENCHMARK, ("--dataset", "pydocs")),
        (VISUALIZE_EMBEDDINGS, ("--dataset", "pydocs", "--dimensions")),
    ],
    ids=lambda value: getattr(value, "stem", ""),
)
def test_ctrl_c_ends_with_one_line_and_status_130(
    tmp_path: Path, script: Path, arguments: tuple[str, ...], seconds: float
) -> None:
    status, errors = interrupted(tmp_path, script, arguments, seconds)
    assert (status, "Traceback" in errors) == (130, False), errors
    assert errors.rstrip().endswith("interrupted")
    assert not [path for path in contents(tmp_path) if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("prefix", "status"),
    [
        ('"$@" >&-', 0),
        ('"$@" >&- 2>&- <&-', 0),
        ('"$@" > /dev/full', 1),
        ('"$@" 2>&1 | head -c 1; exit ${PIPESTATUS[0]}', 0),
    ],
    ids=["no stdout", "no terminal at all", "full", "closed pipe"],
)
def test_output_that_nobody_takes_is_no_traceback(tmp_path: Path, prefix: str, status: int) -> None:
    done = run(tmp_path, *SHORT_JOB, prefix=prefix)
    assert done.returncode == status, done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr


# ---------------------------------------------------------------- environments


ENVIRONMENTS: dict[str, dict[str, Any]] = {
    "the C locale": {"LC_ALL": "C", "LANG": "C"},
    "an ASCII terminal": {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    "a Western terminal": {"PYTHONIOENCODING": "cp1252"},
    "no home": {"HOME": "/nonexistent", "XDG_CACHE_HOME": "/nonexistent"},
    "a dumb terminal": {"TERM": "dumb", "COLUMNS": "20", "NO_COLOR": "1"},
    "one core": {"fault": "one_core"},
    "any hash seed": {"PYTHONHASHSEED": "12345"},
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_main_job_gives_the_same_vectors_in_any_environment(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "two words, ünïcode 未来"
    folder.mkdir()
    done = run(folder, *SHORT_JOB, "--workers", "1", **ENVIRONMENTS[name])
    assert done.returncode == 0, done.stderr.decode()
    assert b"\nsaved " in done.stdout
    (tmp_path / "plain").mkdir()
    assert run(tmp_path / "plain", *SHORT_JOB, "--workers", "1").returncode == 0
    file = f"{FOLDERS[1]}/pydocs.safetensors"
    first, second = (Embeddings.load(tmp_path / where / file) for where in ("plain", folder.name))
    assert first.vectors.tobytes() == second.vectors.tobytes()


def test_a_terminal_without_the_characters_gets_their_numbers(tmp_path: Path) -> None:
    done = run(tmp_path, "--dataset", "pydocs", "未来", script=TOKENIZER, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr.decode()
    assert b"\\u672a" in done.stdout or b"<0xE6>" in done.stdout


def test_kernels_that_cannot_be_kept_are_compiled_anew_with_one_line(tmp_path: Path) -> None:
    package = tmp_path / "site" / "tokembed"
    shutil.copytree(REPOSITORY / "tokembed", package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "__pycache__").write_text("in the way: nothing can be kept here")
    code = "from tokembed import train_bpe; print(train_bpe('low low lower', 2).merges)"
    environment = {"PYTHONPATH": str(package.parent), "HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null/cache"}
    kept = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=kept | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[('l', 'o'), ('lo', 'w')]\n"
    lines = [line for line in done.stderr.splitlines() if line != "compiling kernels"]
    assert len(lines) == 1, done.stderr
    assert "NUMBA_CACHE_DIR" in lines[0]


@pytest.mark.parametrize(
    ("script", "package", "remedy"),
    [
        (SCRIPT, "safetensors", "pip install safetensors"),
        (VISUALIZE_MERGES, "matplotlib", "pip install matplotlib"),
        (SCRIPT.with_name("benchmark_training.py"), "gensim", "--group bench"),
        (TRAIN_BPE, "numba", "uv sync"),
    ],
    ids=lambda value: getattr(value, "stem", value),
)
def test_a_package_that_is_missing_is_named_with_the_command_that_installs_it(
    tmp_path: Path, script: Path, package: str, remedy: str
) -> None:
    done = run(tmp_path, "--dataset", "pydocs", fault=f"not_installed={package}", script=script)
    assert done.returncode == 2, done.stderr.decode()
    assert f"{package} is not installed" in only_line(done)
    assert remedy in only_line(done)


@pytest.mark.parametrize("script", EVERY_SCRIPT, ids=lambda path: path.name)
def test_a_mistyped_flag_is_one_line_and_status_2(tmp_path: Path, script: Path) -> None:
    done = run(tmp_path, "--no-such-flag", script=script)
    assert done.returncode == 2
    assert b"unrecognized arguments: --no-such-flag" in done.stderr
    assert b"Traceback" not in done.stderr
