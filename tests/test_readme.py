"""What the pages tell people to type works: code blocks and commands run."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY, has_vocabularies
from scripts import run

from tokembed.benchmarks import large_texts, matrix
from tokembed.corpora import vocabularies

PAGES = [
    *(
        REPOSITORY / name
        for name in ("README.md", "docs/phases.md", "docs/training.md", "docs/benchmarks.md", "CONTRIBUTING.md")
    ),
    *(
        REPOSITORY / "docs" / name
        for name in ("walkthrough.md", "scale.md", "claims.md", "design.md", "troubleshooting.md", "lecture.md")
    ),
]


def commands_of(page: Path) -> list[str]:
    """Return the commands of a page that run a script, in its order, those inside of sentences too."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"^(?:.*\| )?uv run [^\n#]*phase[^\n#]*|(?<=`)uv run [^`]*phase[^`]*(?=`)", text, re.MULTILINE)
    return list(dict.fromkeys(command.strip() for command in found))


def words_of(command: str) -> tuple[Path, list[str]]:
    """Return the script that a command runs, and its arguments."""
    words = shlex.split(command.rpartition("| ")[2])
    place = next(index for index, word in enumerate(words) if word.startswith("phase"))
    return REPOSITORY / words[place], words[place + 1 :]


COMMANDS = sorted({command for page in PAGES for command in commands_of(page)})


def test_the_readmes_code_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    printed = io.StringIO()
    for block in re.findall(r"```python\n(.*?)```", PAGES[0].read_text(encoding="utf-8"), re.DOTALL):
        with contextlib.redirect_stdout(printed):
            exec(block, namespace)
    assert "statement</w>" in printed.getvalue()
    assert len(re.findall(r"\('\w+</w>', \d\.\d+\)", printed.getvalue())) == 3, "neighbours of a word"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_pages_is_understood(command: str) -> None:
    script, arguments = words_of(command)
    assert script.is_file()
    if script.stem in ("benchmark_tokenizer", "benchmark_training"):
        assert "uv run --group bench python " in command, "its peers are there"
    runpy.run_path(str(script))["parse_args"](arguments)


def in_this_process(checkout: Path, raw: Path) -> Callable[..., subprocess.CompletedProcess[Any]]:
    """Return a `subprocess.run` that runs the checkout's scripts here, and of equal other commands only the first."""
    really_run, known = subprocess.run, {}

    def run_here(command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[Any]:
        if command[0] == sys.executable and Path(command[1]).is_relative_to(checkout):
            return run(checkout, *command[2:], raw=raw, script=Path(command[1]))
        if tuple(command) not in known:
            known[tuple(command)] = really_run(command, **options)
        return known[tuple(command)]

    return run_here


@pytest.mark.parametrize("num_pages", [2, pytest.param(4, marks=pytest.mark.endurance)], ids=["to use", "to measure too"])
def test_every_command_of_the_pages_runs_in_its_order_on_small_texts(
    tmp_path: Path, small_raw: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, num_pages: int
) -> None:
    """All in this process, scripts that scripts start too; of other commands that they repeat, one is really run."""
    checkout = tmp_path / "checkout"
    for name in ("tokembed", "phase1_bpe", "phase2_analysis", "phase3_embeddings", "docs"):  # the compiled library comes along
        shutil.copytree(REPOSITORY / name, checkout / name)
    shutil.copy(PAGES[0], checkout)
    shutil.copy(small_raw / "wikitext2" / "train.txt", checkout / "my_large_text.txt")
    monkeypatch.setenv("PYTHONPATH", str(checkout))  # of what the scripts start themselves
    monkeypatch.setattr(subprocess, "run", in_this_process(checkout, small_raw))
    gc.freeze()  # benchmarks collect garbage before each run: not in all that the tests before have imported
    request.addfinalizer(gc.unfreeze)
    num_run = 0
    for command in dict.fromkeys(command for page in PAGES[:num_pages] for command in commands_of(page)):
        if "torchrun" in command:  # several processes: test_distributed.py starts them
            continue
        if "benchmark_tokenizer.py --large" in command and find_spec("gigatoken") is None:
            continue
        if "--compare" in command and not has_vocabularies():
            continue
        script, arguments = words_of(command)
        given = b"or a line at a time\n" if "|" in command else b""
        with monkeypatch.context() as patch:
            if script.name == "benchmark_tokenizer.py":  # one published vocabulary and kind of text do
                patch.setattr(vocabularies, "PUBLISHED", {"r50k_base": vocabularies.PUBLISHED["r50k_base"]})
                patch.setattr(matrix, "KINDS", ("numbers",))
                for module in (matrix, large_texts):
                    patch.setattr(module, "text_of", lambda kind: " ".join(map(str, range(5000))))
                patch.setattr(large_texts, "enlarged", lambda text, num_bytes: text)
            done = run(checkout, *arguments, raw=small_raw, script=checkout / script.relative_to(REPOSITORY), given=given)
        assert (done.returncode, bool(done.stdout)) == (0, True), f"{command}\n{done.stderr}"
        num_run += 1
    made = {path.name for path in checkout.rglob("*") if path.is_file()}
    assert {"tokens.html", "explorer.html", "report.html"} <= made
    if num_pages == 2:
        return
    assert num_run > 20
    results = json.loads(next(checkout.rglob("benchmark_tokenizer.json")).read_text(encoding="utf-8"))
    assert {"machine", "text", "learning", "encoders", "ladder", "sizes"} < set(results)
    assert all(len(timing["seconds"]) == 5 for each in results["encoders"] for timing in each["timings"])
    assert {"dimension_comparison.png", "softmax_comparison.png"} <= made
    assert {"frankenstein.safetensors", "wikitext2.safetensors", "my_large_text.safetensors"} <= made


def test_there_are_commands_for_every_script() -> None:
    named = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    missing = [path.name for folder in REPOSITORY.glob("phase*") for path in folder.glob("*.py") if path.name not in named]
    assert missing == []


def test_the_readme_is_short_and_every_link_of_the_pages_leads_somewhere() -> None:
    assert len(PAGES[0].read_text(encoding="utf-8").splitlines()) <= 150
    for page in [*PAGES, *(REPOSITORY / "docs").glob("*.md")]:
        for target, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8")):
            path = page.parent / target if target else page
            assert path.exists(), f"{page.name}: {target}"
            if anchor:
                headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
                assert anchor in {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}, (
                    f"{page.name}: {anchor}"
                )


def test_every_figure_and_module_that_the_pages_name_is_made_or_there() -> None:
    page = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    sources = [
        path
        for folder in ("tokembed", "phase1_bpe", "phase2_analysis", "phase3_embeddings")
        for path in (REPOSITORY / folder).rglob("*.*")
    ]
    code = "".join(path.read_text(encoding="utf-8") for path in sources if path.suffix in {".py", ".toml"})
    figures = set(re.findall(r"(\w+)\.png", page))
    assert {name for name in figures if f'"{name}' not in code} == set()
    modules = set(re.findall(r"`(?:\w+/)*(_?\w+)\.py`", page))
    assert len(modules) > 20
    names = {path.stem for path in [*sources, *(REPOSITORY / "tests").glob("*.py"), *REPOSITORY.glob("*.py")]}
    assert modules <= names
