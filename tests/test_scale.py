"""Shards counted and encoded apart give what one machine makes, and what was done is not done again."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from conftest import unmeasured_environment
from scripts import PRELUDE, TRAIN_BPE, run
from test_shards import write_shards

from tokembed import BPETokenizerLoader, load_corpus, workspace
from tokembed.corpora.shards import Shard
from tokembed.scale import parts

NUM_MERGES = 300


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, pydocs: str) -> Path:
    """A corpus in ten shards, two of each kind."""
    folder = tmp_path_factory.mktemp("scale") / "corpus"
    write_shards(folder, pydocs[:60_000], 10)
    return folder


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Do what Ray's workers do in this process, in another order; list the shards whose text was read."""
    from tokembed.corpora.shards import FileShard
    from tokembed.scale import ray_engine

    read: list[str] = []
    chunks = FileShard.chunks

    def noted(shard: FileShard, size: int) -> Iterator[str]:
        read.append(shard.name)
        yield from chunks(shard, size)

    def here(shards: Sequence[Shard], job: Callable[[Shard], bytes], _: str) -> Iterator[tuple[Shard, bytes]]:
        monkeypatch.setattr(FileShard, "chunks", noted)
        for shard in reversed(shards):
            yield shard, job(shard)
        monkeypatch.setattr(FileShard, "chunks", chunks)

    monkeypatch.setattr(ray_engine, "cluster", contextlib.nullcontext)
    monkeypatch.setattr(ray_engine, "_on_workers", here)
    return read


def one_machines(folder: Path) -> tuple[BPETokenizerLoader, np.ndarray[Any, Any]]:
    """Return the tokenizer and the ids that are made without workers."""
    corpus = load_corpus(folder)
    tokenizer, path, _ = workspace.tokenizer_for(corpus, NUM_MERGES)
    return tokenizer, workspace.token_ids_for(corpus, tokenizer, path)[0]


def assert_parts_are_one_machines(made: Path, folder: Path) -> None:
    tokenizer, ids = one_machines(folder)
    manifest = parts.read_manifest(made)
    found = parts.read_tokenizer(made, manifest)
    assert (found.merges, found.fingerprint) == (tokenizer.merges, tokenizer.fingerprint)
    assert manifest.corpus == load_corpus(folder).fingerprint
    assert np.array_equal(np.concatenate(parts.map_share(made, manifest, 0, 1).arrays), ids)
    assert np.array_equal(parts.read_counts(made, found.vocab_size)[0], np.bincount(ids, minlength=found.vocab_size))
    assert not list(made.rglob("*.tmp*"))


def train_bpe(where: Path, folder: Path | str, *more: str) -> str:
    done = run(
        where, "--dataset", str(folder), "--num-merges", str(NUM_MERGES), "--engine", "ray", "--parts", "parts", *more,
        script=TRAIN_BPE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_workers_make_what_one_machine_makes(folder: Path, project: Path, workers: list[str]) -> None:
    assert "10 shards" in train_bpe(project, folder)
    assert len(workers) == 20, "each shard is read twice: to count it and to encode it"
    assert_parts_are_one_machines(project / "parts", folder)


def test_what_is_done_is_not_done_again(folder: Path, tmp_path: Path, project: Path, workers: list[str]) -> None:
    corpus = shutil.copytree(folder, tmp_path / "corpus")
    train_bpe(project, corpus)
    workers.clear()
    output = train_bpe(project, corpus)
    assert (workers, "10 counts kept" in output, "10 parts kept" in output) == ([], True, True)

    (corpus / "05.txt").write_text("another text, and so other merges, perhaps", encoding="utf-8")
    output = train_bpe(project, corpus)
    assert "05.txt has changed" in output
    assert (workers.count("05.txt"), "9 counts kept" in output) == (2, True)
    assert_parts_are_one_machines(project / "parts", corpus)

    next((project / "parts").glob("07*.npy")).write_bytes(b"damaged")
    assert "9 parts kept" in train_bpe(project, corpus)
    assert_parts_are_one_machines(project / "parts", corpus)


def test_parts_train_as_the_text_does(folder: Path, project: Path, workers: list[str]) -> None:
    train_bpe(project, folder)
    flags = ("--epochs", "2", "--embedding-dim", "16", "--workers", "1")
    losses = []
    for source in (("--parts", "parts"), ("--dataset", str(folder), "--num-merges", str(NUM_MERGES))):
        done = run(project, *source, *flags)
        assert done.returncode == 0, done.stderr
        losses.append(float(re.findall(r"loss ([\d.]+)", done.stdout)[-1]))
    assert losses[0] == pytest.approx(losses[1], rel=0.01), "windows end where a part does"
    resumed = run(project, "--parts", "parts", *flags, "--resume")
    assert (resumed.returncode, "after epoch 2" in resumed.stdout) == (0, True), resumed.stderr
    done = run(project, "--parts", "parts", "--dataset", "pydocs")
    assert (done.returncode, "--parts has its text" in done.stderr) == (2, True)


@pytest.mark.parametrize("splitting", ["gpt2"])
def test_a_byte_level_rule_works_as_well(folder: Path, project: Path, workers: list[str], splitting: str) -> None:
    train_bpe(project, folder, "--splitting", splitting)
    manifest = parts.read_manifest(project / "parts")
    ids = np.concatenate(parts.map_share(project / "parts", manifest, 0, 1).arrays)
    corpus = load_corpus(folder)
    tokenizer, path, was_kept = workspace.tokenizer_for(corpus, NUM_MERGES, splitting=splitting)
    assert was_kept
    assert np.array_equal(workspace.token_ids_for(corpus, tokenizer, path)[0], ids)


def test_each_process_needs_the_parts_of_its_share_alone(
    folder: Path, tmp_path: Path, project: Path, workers: list[str]
) -> None:
    train_bpe(project, folder)
    made = project / "parts"
    manifest = parts.read_manifest(made)
    whole = np.concatenate(parts.map_share(made, manifest, 0, 1).arrays)
    for size in (2, 3, 7):
        streams = []
        for rank in range(size):
            node = tmp_path / f"node{size}{rank}"
            node.mkdir()
            for stretch in parts.share_of(manifest.parts, rank, size):
                shutil.copy(made / stretch.part.file, node)
            streams.append(parts.map_share(node, manifest, rank, size))
        assert max(stream.size for stream in streams) - min(stream.size for stream in streams) <= 1
        assert np.array_equal(np.concatenate([array for stream in streams for array in stream.arrays]), whole)
    with pytest.raises(parts.PartsError, match=r"process 1 of 2 trains on are not in .*copy 06"):
        parts.map_share(tmp_path / "node20", manifest, 1, 2)


def test_a_damaged_folder_of_parts_is_told(folder: Path, project: Path, workers: list[str]) -> None:
    made = project / "parts"
    with pytest.raises(parts.PartsError, match=r"manifest.json is not there: train_bpe.py --engine ray"):
        parts.read_manifest(made)
    train_bpe(project, folder)
    manifest = parts.read_manifest(made)
    path = made / manifest.parts[3].file
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    with pytest.raises(parts.PartsError, match=r"03\.jsonl.* is damaged .*not the part that the manifest lists"):
        parts.map_share(made, manifest, 0, 1)
    good = json.loads((made / "manifest.json").read_text(encoding="utf-8"))
    first = good["parts"][0]
    edited = [
        None,
        5,
        [],
        "",
        {"format": 1},
        {**good, "format": 2},
        {**good, "parts": 3},
        {**good, "corpus": 7},
        {**good, "more": 1},
    ]
    changes = {"tokens": ["5", -1, 1.5, None, True], "crc32": ["", None], "file": [None, 3], "shard": [None], "sha256": [1]}
    edited += [{**good, "parts": [{**first, key: value}]} for key, values in changes.items() for value in values]
    for text in [*map(json.dumps, edited), "[" * 100_000, '{"format"', "\udc80"]:
        (made / "manifest.json").write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(parts.PartsError, match="damaged"):
            parts.read_manifest(made)


def test_damaged_counts_of_parts_are_told_and_damaged_counts_of_shards_are_counted_again(
    folder: Path, project: Path, workers: list[str]
) -> None:
    train_bpe(project, folder)
    made = project / "parts"
    vocab_size = parts.read_tokenizer(made, parts.read_manifest(made)).vocab_size
    whole = (made / "counts.npy").read_bytes()
    dice = random.Random(0)
    for size in range(0, 130, 3):
        damaged = bytearray(whole)
        damaged[size] = dice.randrange(256)
        for data in (whole[:size], bytes(damaged)):
            (made / "counts.npy").write_bytes(data)
            with contextlib.suppress(parts.PartsError):  # or read, if the byte means nothing
                assert parts.read_counts(made, vocab_size).shape == (2, vocab_size)
    (made / "counts.npy").write_bytes(whole)
    kept = sorted((made / "counts").glob("*.parquet"))
    for number, path in enumerate(kept[:6]):
        damaged = bytearray(path.read_bytes())
        damaged[4 + number * (len(damaged) - 5) // 6] ^= 1 << number
        path.write_bytes(damaged[: len(damaged) // 2] if number == 3 else b"" if number == 4 else damaged)
    swapped = kept[6].read_bytes()
    kept[6].write_bytes(kept[7].read_bytes())
    kept[7].write_bytes(swapped)
    workers.clear()
    output = train_bpe(project, folder)
    assert re.search("[23] counts kept", output), "a flipped bit may be one that says nothing, such as of statistics"
    assert_parts_are_one_machines(made, folder)


def test_ray_takes_shards_only_and_says_how_it_is_installed(
    folder: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run(project, "--dataset", "pydocs", "--engine", "ray", script=TRAIN_BPE)
    assert (done.returncode, "pydocs is one text" in done.stderr) == (2, True)
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    done = run(project, "--dataset", str(folder), "--engine", "ray", script=TRAIN_BPE)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "`uv sync --group scale`" in done.stderr


# ---------------------------------------------------------------- with Ray itself: `uv run --group scale pytest -m endurance`


def start_with_ray(where: Path, folder: Path) -> subprocess.Popen[bytes]:
    """Start the script in a process and a project of its own, with the sockets that Ray's processes talk by."""
    pytest.importorskip("ray", reason="needs Ray: uv run --group scale pytest -m endurance tests/test_scale.py")
    prelude = PRELUDE.replace("socket.getaddrinfo = socket.create_connection = refuse", "")
    command = [sys.executable, "-u", "-c", prelude, str(TRAIN_BPE), "--dataset", str(folder), "--num-merges", str(NUM_MERGES)]
    return subprocess.Popen(
        [*command, "--engine", "ray", "--parts", str(where / "parts")],
        cwd=where, env=unmeasured_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def ray_workers(job: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Return the processes that do the shards of a job."""
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(job.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if " ".join(child.cmdline()).startswith("ray::Map"):  # Ray's own helpers are called ray:: too
                    found.append(child)
    return found


@pytest.mark.endurance
def test_ray_makes_what_one_machine_makes_though_workers_are_killed(folder: Path, tmp_path: Path, project: Path) -> None:
    job = start_with_ray(project, folder)
    kills, draw = 0, random.Random(1)
    output: list[bytes] = []
    waiter = threading.Thread(target=lambda: output.extend(job.communicate()))
    waiter.start()
    while job.poll() is None:
        for victim in ray_workers(job) if kills < 10 else []:
            with contextlib.suppress(psutil.NoSuchProcess):
                os.kill(victim.pid, signal.SIGKILL)
                kills += 1
        time.sleep(draw.random())
    waiter.join()
    assert job.returncode == 0, output[1].decode()
    assert kills > 0
    assert_parts_are_one_machines(project / "parts", folder)


@pytest.mark.endurance
def test_a_killed_driver_goes_on_where_it_stood(folder: Path, tmp_path: Path, project: Path) -> None:
    job = start_with_ray(project, folder)
    while job.poll() is None and len(list((project / "parts").glob("*.ids.npy"))) < 3:
        time.sleep(0.02)
    job.kill()
    job.communicate()
    time.sleep(5)  # its workers notice, and end
    done = {path: path.stat().st_mtime_ns for path in (project / "parts").rglob("*[yt]") if path.suffix in (".npy", ".parquet")}
    assert len(done) >= 13
    job = start_with_ray(project, folder)
    output, errors = job.communicate()
    assert job.returncode == 0, errors.decode()
    assert b"10 counts kept" in output
    assert {path: path.stat().st_mtime_ns for path in done} == done, "nothing that was done is done again"
    assert_parts_are_one_machines(project / "parts", folder)
