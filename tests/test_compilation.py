from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import REPOSITORY

from tokembed import compilation


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
