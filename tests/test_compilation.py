from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

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
