from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import REPOSITORY

from tokembed import compilation
from tokembed.bpe import finding


@pytest.mark.parametrize(("misses", "is_said"), [({"signature": 1}, True), ({}, False)])
def test_compiling_is_said_and_reading_compiled_kernels_is_not(
    misses: dict[str, int], is_said: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(compilation, "PATIENCE_SECONDS", 0.0)
    compilation._say_once.cache_clear()
    kernel = SimpleNamespace(signatures=[], stats=SimpleNamespace(cache_misses=misses))
    with compilation.say_when_compiling(kernel):
        for thread in threading.enumerate():
            if isinstance(thread, threading.Timer):
                thread.join()
    assert ("compiling kernels" in caplog.text) == is_said


def test_the_collector_rests_while_a_kernel_is_compiled_and_not_after_an_error() -> None:
    kernel = SimpleNamespace(signatures=[], stats=SimpleNamespace(cache_misses={}))
    with contextlib.suppress(KeyError), compilation.say_when_compiling(kernel):
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled()


@pytest.mark.endurance
def test_kernels_kept_from_an_older_version_whose_classes_had_other_names_are_recompiled(tmp_path: Path) -> None:
    """numba unpickles its index, and with it the classes of arguments, before it looks whether the source has changed."""
    shutil.copytree(REPOSITORY / "tokembed", tmp_path / "tokembed", ignore=shutil.ignore_patterns("__pycache__"))
    code = "from tokembed import train_bpe; print(train_bpe('low low lower', 2).merges)"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "kept")}

    def learn() -> str:
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, check=True)
        return done.stdout.decode()

    assert learn() == "[('l', 'o'), ('lo', 'w')]\n"
    for name in ("_learning_kernels.py", "learning.py"):
        path = tmp_path / "tokembed" / "bpe" / name
        path.write_text(path.read_text(encoding="utf-8").replace("Heap(", "Queue("), encoding="utf-8")
    assert learn() == "[('l', 'o'), ('lo', 'w')]\n"


def kept_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("write_utf8-*.o"))


@pytest.fixture
def write_utf8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Callable[..., int]]:
    """Get a small kernel as another process would, which keeps what is compiled in an empty folder."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(compilation, "_folders", lambda module: iter([tmp_path]))

    def get() -> Callable[..., int]:
        compilation.machine_code.cache_clear()
        return compilation.machine_code("tokembed.bpe._utf8_kernels", "write_utf8").call

    return get


def test_machine_code_is_compiled_once_and_again_if_its_file_is_damaged(
    write_utf8: Callable[[], Callable[..., int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def use() -> bytes:
        room = ctypes.create_string_buffer(20)
        size = write_utf8()(finding.address_of(b"\xe9\xe9z"), 1, 0, 3, ctypes.addressof(room))
        return room.raw[:size]

    compiled: list[str] = []
    compile_ = compilation._compile
    monkeypatch.setattr(compilation, "_compile", lambda module, name: compiled.append(name) or compile_(module, name))
    assert [use(), use()] == ["\xe9\xe9z".encode()] * 2
    assert compiled == ["write_utf8"]
    (kept,) = kept_files(tmp_path)
    whole = kept.read_bytes()
    for damaged in (whole[:-100], whole[:500] + b"x" + whole[501:], b""):
        kept.write_bytes(damaged)
        assert use() == "\xe9\xe9z".encode()
        assert kept.read_bytes() == whole
    assert len(compiled) == 4


def test_machine_code_of_sources_that_have_changed_is_replaced(
    write_utf8: Callable[[], Callable[..., int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_utf8()
    (old,) = kept_files(tmp_path)
    _, of_machine = compilation._fingerprint("tokembed.bpe._utf8_kernels")
    monkeypatch.setattr(compilation, "_fingerprint", lambda module: ("new", of_machine))
    write_utf8()
    assert [path.name for path in kept_files(tmp_path)] == [f"write_utf8-new-{of_machine}.o"]
    assert not old.exists()


def test_a_kernel_called_with_other_things_than_its_numbers_raises(write_utf8: Callable[[], Callable[..., int]]) -> None:
    kernel = write_utf8()
    with pytest.raises(SystemError):
        kernel(1, 2)
    with pytest.raises(TypeError):
        kernel(0, 1, 0, 0, "0")
    with pytest.raises(OverflowError):
        kernel(0, 1, 0, 0, 2**64)
    assert kernel(0, 1, 0, 0, np.int64(0)) == 0
