"""What the README and CONTRIBUTING tell people to type works: code blocks run, commands are understood."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
import shlex
from pathlib import Path

import pytest
from conftest import REPOSITORY

PAGES = [REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md")]
COMMANDS = sorted(
    {
        line.split("#")[0].strip()
        for page in PAGES
        for block in re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
        for line in block.splitlines()
        if "phase" in line
    }
)


def test_the_readmes_code_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    printed = io.StringIO()
    for block in re.findall(r"```python\n(.*?)```", PAGES[0].read_text(encoding="utf-8"), re.DOTALL):
        with contextlib.redirect_stdout(printed):
            exec(block, namespace)
    assert "CacheInfo(hits=" in printed.getvalue()
    assert {"vectors.safetensors", "vectors.txt", "tokenizer.json", "projector"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_pages_is_understood(command: str) -> None:
    words = shlex.split(re.sub(r"^.*?\|", "", command))  # what is piped into it does not matter
    place = next(index for index, word in enumerate(words) if word.startswith("phase"))
    script = REPOSITORY / words[place]
    assert script.is_file()
    assert words[:2] == ["uv", "run"]
    if "/benchmark_tokenizer" in command or "/benchmark_training" in command:
        assert words[2:4] == ["--group", "bench"], "its peers are there"
    runpy.run_path(str(script))["parse_args"](words[place + 1 :])


def test_there_are_commands_for_every_script() -> None:
    named = " ".join(COMMANDS) + PAGES[0].read_text(encoding="utf-8")
    missing = [path.name for folder in REPOSITORY.glob("phase*") for path in folder.glob("*.py") if path.name not in named]
    assert missing == []


def test_every_figure_and_module_that_the_readme_names_is_made_or_there() -> None:
    page = PAGES[0].read_text(encoding="utf-8")
    sources = [
        path
        for folder in ("tokembed", "phase1_bpe", "phase2_analysis", "phase3_embeddings")
        for path in (REPOSITORY / folder).glob("*.*")
    ]
    code = "".join(path.read_text(encoding="utf-8") for path in sources if path.suffix in {".py", ".toml"})
    figures = set(re.findall(r"(\w+)\.png", page))
    assert {name for name in figures if f'"{name}' not in code} == set()
    modules = set(re.findall(r"`(?:tokembed/)?(_?\w+)\.py`", page))
    assert len(modules) > 20
    names = {path.stem for path in sources}
    assert modules <= names
