from __future__ import annotations

import doctest
import importlib
import pkgutil
import subprocess
import sys

import pytest

import tokembed

MODULES = [module.name for module in pkgutil.walk_packages(tokembed.__path__, "tokembed.")]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_every_public_name_is_there_and_documented() -> None:
    for name in tokembed.__all__:
        assert getattr(tokembed, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = tokembed.nothing


def test_importing_the_package_is_light() -> None:
    code = "import sys, tokembed; sys.exit(bool({'torch', 'numpy', 'datasets'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
