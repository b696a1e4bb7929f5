from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from scripts import PRELUDE, SCRIPT, run

from tokembed import Embeddings
from tokembed.skipgram.distributed import share_of_sum

FLAGS = ("--dataset", "pydocs", "--num-merges", "1000", "--embedding-dim", "32", "--workers", "1")
CHECKPOINT = "models/checkpoints/01_tokenization/pydocs.safetensors"


def launch(folder: Path, *arguments: str, processes: int = 2) -> subprocess.Popen[str]:
    """Start the training script as several processes, in a project of their own."""
    launcher = folder / "launch.py"
    launcher.write_text(PRELUDE.replace("socket.getaddrinfo = socket.create_connection = refuse", ""))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    environment = {name: value for name, value in os.environ.items() if name != "TOKEMBED_RAW_DIR"}
    return subprocess.Popen(
        [*torchrun, str(launcher), str(SCRIPT), *FLAGS, *arguments],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def last_loss(output: str) -> float:
    return float(re.findall(r"loss ([\d.]+)", output)[-1])


def loss_of_one_process(folder: Path, epochs: str) -> float:
    """Train in this process: `torchrun` would start the same."""
    done = run(folder, *FLAGS, "--epochs", epochs)
    assert done.returncode == 0, done.stderr
    return last_loss(done.stdout)


def assert_two_learned_what_one_learns(folder: Path, output: str, epochs: str) -> None:
    assert output.count("saved  ") == 1, "one process speaks"
    embeddings = Embeddings.load(folder / CHECKPOINT)
    assert embeddings.similarity("list", "tuple") > 0.3
    # Over seeds one process spreads by 0.2 %; the mean of the tables instead of their weighted sum is 3 % off.
    assert last_loss(output) == pytest.approx(loss_of_one_process(folder, epochs), rel=0.015)


@pytest.mark.endurance
def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    job = launch(tmp_path, "--epochs", "4")
    output, errors = job.communicate(timeout=300)
    assert job.returncode == 0, errors
    assert_two_learned_what_one_learns(tmp_path, output, "4")


def workers_of(job: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the job's processes that train; the launcher's other children may end while they are looked at."""

    def command(process: psutil.Process) -> str:
        try:
            return " ".join(process.cmdline())
        except psutil.NoSuchProcess:  # or a zombie, which is a kind of it
            return ""

    return [child for child in psutil.Process(job.pid).children() if "launch.py" in command(child)]


@pytest.mark.parametrize("epochs", ["8", pytest.param("30", marks=pytest.mark.endurance)])
def test_a_process_that_dies_ends_the_job_and_a_restart_learns_what_one_process_learns(tmp_path: Path, epochs: str) -> None:
    job = launch(tmp_path, "--epochs", epochs)
    workers: list[psutil.Process] = []
    deadline = time.monotonic() + 120
    while not (tmp_path / CHECKPOINT).exists() and job.poll() is None and time.monotonic() < deadline:
        if len(workers) < 2:
            workers = workers_of(job)
        time.sleep(0.01)
    assert len(workers) == 2
    workers[1].send_signal(signal.SIGKILL)
    output, errors = job.communicate(timeout=120)
    assert job.returncode != 0
    assert "has died" in errors or "SIGKILL" in errors
    assert "saved  " not in output
    job = launch(tmp_path, "--epochs", epochs, "--resume")
    output, errors = job.communicate(timeout=120)
    assert job.returncode == 0, errors
    assert "resuming   after epoch" in output
    assert f"{epochs}/{epochs}" in output
    assert f" 1/{epochs}" not in output
    assert_two_learned_what_one_learns(tmp_path, output, epochs)


@pytest.mark.parametrize("size", [2, 8, 64])
def test_the_weight_of_a_sum_of_moves_lies_between_mean_and_sum(size: int) -> None:
    weights = share_of_sum(torch.tensor([0.0, 1e-3, 0.1, 1.0, 10.0, 1e6]), size)
    assert torch.all(weights[:-1] >= weights[1:])
    assert weights[0] == pytest.approx(1.0, abs=0.01)
    assert weights[-1] == pytest.approx(1 / size)
