"""What goes wrong outside of the program: killed processes, full disks, closed pipes, odd environments, two runs at once."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import soak
from conftest import REPOSITORY
from scripts import (
    BENCHMARK,
    CROSS_DOMAIN,
    SCRIPT,
    SHORT_JOB,
    TOKENIZER,
    TRAIN_BPE,
    VISUALIZE_MERGES,
    run,
    run_in_process_of_its_own,
    start,
)

from tokembed import BPEModel, Embeddings, cli, files

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the faults are made by means that only POSIX systems have")
endurance = pytest.mark.endurance

FOLDERS = ("data/processed/01_tokenization", "models/checkpoints/01_tokenization", "visualizations/plots/01_tokenization")
VISUALIZE_EMBEDDINGS = SCRIPT.with_name("visualize_embeddings.py")
SPOKEN_JOB = ("--show-steps", "2", "--text", "low low lower")  # of train_bpe.py: prints, and imports nothing heavy

# Code that a script's own process begins with.
NOT_INSTALLED = """
import sys
class Hiding:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] == {package!r} else self.finder.find_spec(name, path, target)
sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
"""
ONE_CORE = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"


def only_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one line of stderr, but for what is said of compiling."""
    lines = [line for line in done.stderr.splitlines() if not line.startswith("compil")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextlib.contextmanager
def no_file_larger_than(num_bytes: int) -> Iterator[None]:
    """Let no file grow beyond a size: that is how a disk is when it is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class _Refusal:
    """Refuses to open files for writing below a folder, while there is one: a hook stays until its process ends."""

    folder: str | None = None

    def __init__(self) -> None:
        sys.addaudithook(self._on_event)

    def _on_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" or not isinstance(arguments[0], str) or not arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
        if self.folder and arguments[0].startswith(self.folder):
            raise PermissionError(13, "Permission denied", arguments[0])


@pytest.fixture(scope="session")
def refusal() -> _Refusal:
    return _Refusal()


# ---------------------------------------------------------------- killed, full, refused


@pytest.mark.parametrize(
    ("program", "arguments", "outcome"),
    [
        pytest.param("kill.py", ("--times", "5"), r"\b5 kills, .* 0 damaged", id="killed"),
        pytest.param("fuzz.py", ("--files", "300"), r"\b300 files, 0 faults", id="damaged files"),
        pytest.param("soak.py", ("--minutes", "0.05"), r"operations in 0.05 min, each checked", id="everything"),
        pytest.param("kill.py", ("--times", "50"), r"\b50 kills, .* 0 damaged", id="killed 50 times", marks=endurance),
        pytest.param("fuzz.py", ("--files", "4000"), r"\b4,000 files, 0 faults", id="4,000 damaged files", marks=endurance),
        pytest.param(
            "soak.py", ("--minutes", "1"), r"in 1 min, .* MB, growing by", id="a minute of everything", marks=endurance
        ),
    ],
)
def test_nothing_is_lost_or_believed_or_leaked(program: str, arguments: tuple[str, ...], outcome: str) -> None:
    """Each time with another seed, which the programs take, so that a failure can be repeated."""
    seed = str(time.time_ns() % 100_000)
    command = [sys.executable, str(REPOSITORY / "tests" / program), *arguments, "--seed", seed]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, f"--seed {seed}: {done.stdout}{done.stderr}"
    assert re.search(outcome, done.stdout), done.stdout


def test_growing_memory_is_told_from_memory_that_varies() -> None:
    seconds = [float(second) for second in range(600)]
    varying = [400 + 5 * (second % 7) for second in range(600)]
    growth, error = soak.slope(seconds, varying)
    assert abs(growth) - 2 * error < soak.MAX_SLOPE
    growth, error = soak.slope(seconds, [value + second / 60 for second, value in enumerate(varying)])
    assert growth == pytest.approx(10, abs=1)
    assert growth - 2 * error > soak.MAX_SLOPE


@pytest.mark.parametrize("room", [0, 1000, 30_000, 200_000])
def test_a_full_disk_is_one_line_and_status_1_and_loses_nothing(tmp_path: Path, short_project: Path, room: int) -> None:
    shutil.copytree(short_project, tmp_path, dirs_exist_ok=True)
    before = contents(tmp_path)
    with no_file_larger_than(room):
        done = run(tmp_path, *SHORT_JOB, "--embedding-dim", "400", "--num-merges", "1000")
    assert done.returncode == 1, done.stderr
    assert re.match(r"error: .*(File too large|EFBIG|[Tt]oo large)", only_line(done))
    after = contents(tmp_path)
    assert {path: after[path] for path in before} == before
    assert not [path.name for path in after if path.name.startswith(".")], "a temporary file was left"


WRITERS = [(TRAIN_BPE, 0), (VISUALIZE_MERGES, 2), (CROSS_DOMAIN, 2), (SCRIPT, 1)]


@pytest.mark.parametrize(("script", "place"), WRITERS, ids=lambda value: getattr(value, "stem", ""))
def test_a_folder_that_must_not_be_written_is_one_line_and_status_1(
    tmp_path: Path, refusal: _Refusal, monkeypatch: pytest.MonkeyPatch, script: Path, place: int
) -> None:
    monkeypatch.setattr(refusal, "folder", str(tmp_path / FOLDERS[place]))
    done = run(tmp_path, "--dataset", "pydocs", "--num-merges", "200", script=script)
    assert done.returncode == 1, done.stderr
    assert re.fullmatch(r"error: [^\[\]]+(?<!\.tmp): Permission denied", only_line(done))


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
    jobs = [start(tmp_path, *SHORT_JOB, "--epochs", "3") for _ in range(3)]
    for job in jobs:
        _, errors = job.communicate(timeout=300)
        assert job.returncode == 0, errors.decode()
    assert BPEModel.load(tmp_path / FOLDERS[0] / "pydocs_bpe_200.json").merges
    assert len(Embeddings.load(tmp_path / FOLDERS[1] / "pydocs.safetensors")) > 200
    assert not [path for path in contents(tmp_path) if path.name.startswith(".")]


# ---------------------------------------------------------------- signals, pipes


def interrupted(
    folder: Path, script: Path, arguments: tuple[str, ...], seconds: float, number: int = signal.SIGINT
) -> tuple[int, str]:
    """Start a script, press `Ctrl-C` (or send another signal) so long after its first line; return its status and stderr."""
    job = start(folder, *arguments, script=script)
    assert job.stdout is not None
    job.stdout.readline()
    time.sleep(seconds)
    started = psutil.Process(job.pid).children(recursive=True)
    job.send_signal(number)
    _, errors = job.communicate(timeout=120)
    assert not psutil.wait_procs(started, timeout=10)[1], "what it had started has ended, too"
    return job.returncode, errors.decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        (SCRIPT, ("--dataset", "pydocs", "--epochs", "400")),
        pytest.param(SCRIPT.with_name("report.py"), ("--dataset", "pydocs"), marks=endurance),
        pytest.param(VISUALIZE_EMBEDDINGS, ("--dataset", "pydocs", "--softmax"), marks=endurance),
        pytest.param(BENCHMARK, ("--dataset", "pydocs"), marks=endurance),
    ],
    ids=lambda value: getattr(value, "stem", ""),
)
def test_another_signal_ends_as_ctrl_c_does_and_nothing_goes_on(
    tmp_path: Path, script: Path, arguments: tuple[str, ...], number: signal.Signals
) -> None:
    status, errors = interrupted(tmp_path, script, arguments, 0.4, number)
    assert (status, "Traceback" in errors) == (128 + number, False), errors
    assert errors.rstrip().endswith("interrupted")
    assert not [path for path in contents(tmp_path) if path.name.startswith(".")]


def test_a_signal_that_is_ignored_stays_so_and_one_that_is_heeded_is_heeded_again_afterwards() -> None:
    earlier = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        handlers: list[object] = []
        assert cli.run(lambda _: len(handlers.append(signal.getsignal(signal.SIGHUP)) or []), []) == 0
        assert handlers == [signal.SIG_IGN]
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        assert cli.run(lambda _: os.kill(os.getpid(), signal.SIGHUP) or 0, []) == 128 + signal.SIGHUP
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, earlier)


@pytest.mark.parametrize(
    "seconds", [pytest.param(0.0, marks=endurance), 0.3, pytest.param(1.0, marks=endurance)], ids=lambda value: f"{value} s"
)
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
    ("script", "arguments"),
    [(TRAIN_BPE, SPOKEN_JOB), pytest.param(SCRIPT, SHORT_JOB, marks=endurance)],
    ids=lambda value: getattr(value, "stem", ""),
)
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
def test_output_that_nobody_takes_is_no_traceback(
    tmp_path: Path, prefix: str, status: int, script: Path, arguments: tuple[str, ...]
) -> None:
    done = run_in_process_of_its_own(tmp_path, *arguments, script=script, prefix=prefix)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


# ---------------------------------------------------------------- environments


ENVIRONMENTS: dict[str, dict[str, Any]] = {
    "the C locale": {"LC_ALL": "C", "LANG": "C"},
    "an ASCII terminal": {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    "a Western terminal": {"PYTHONIOENCODING": "cp1252"},
    "no home": {"HOME": "/nonexistent", "XDG_CACHE_HOME": "/nonexistent"},
    "a dumb terminal": {"TERM": "dumb", "COLUMNS": "20", "NO_COLOR": "1"},
    "one core": {"before": ONE_CORE},
    "any hash seed": {"PYTHONHASHSEED": "12345"},
}
EVERYTHING_AT_ONCE = {
    name: value for environment in ENVIRONMENTS.values() for name, value in environment.items()
} | ENVIRONMENTS["an ASCII terminal"]


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param(EVERYTHING_AT_ONCE, id="all of it at once"),
        *(pytest.param(environment, id=name, marks=endurance) for name, environment in ENVIRONMENTS.items()),
    ],
)
def test_the_main_job_gives_the_same_vectors_in_any_environment(
    tmp_path: Path, short_project: Path, environment: dict[str, Any]
) -> None:
    folder = tmp_path / "two words, ünïcode 未来"
    folder.mkdir()
    done = run_in_process_of_its_own(folder, *SHORT_JOB, **environment)
    assert done.returncode == 0, done.stderr
    assert "\nsaved " in done.stdout
    file = f"{FOLDERS[1]}/pydocs.safetensors"
    first, second = (Embeddings.load(where / file) for where in (short_project, folder))
    assert first.vectors.tobytes() == second.vectors.tobytes()


def test_a_terminal_without_the_characters_gets_their_numbers(tmp_path: Path) -> None:
    flags = ("--dataset", "pydocs", "--num-merges", "200")
    done = run_in_process_of_its_own(tmp_path, *flags, "未来", script=TOKENIZER, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "\\u672a" in done.stdout or "<0xE6>" in done.stdout


@pytest.mark.parametrize(
    ("script", "package", "remedy"),
    [
        (SCRIPT, "safetensors", "pip install safetensors"),
        (VISUALIZE_MERGES, "matplotlib", "pip install matplotlib"),
        (SCRIPT.with_name("benchmark_training.py"), "gensim", "--group bench"),
    ],
    ids=lambda value: getattr(value, "stem", value),
)
def test_a_package_that_is_missing_is_named_with_the_command_that_installs_it(
    tmp_path: Path, script: Path, package: str, remedy: str
) -> None:
    before = NOT_INSTALLED.format(package=package)
    done = run_in_process_of_its_own(tmp_path, "--dataset", "pydocs", script=script, before=before)
    assert done.returncode == 2, done.stderr
    assert f"{package} is not installed" in only_line(done)
    assert remedy in only_line(done)
