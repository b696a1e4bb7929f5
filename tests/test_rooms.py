"""The order of the house: what may import what, and what the core must not know."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from conftest import REPOSITORY

PACKAGE = REPOSITORY / "tokembed"
# An import leads from a higher floor to a lower one, or stays in its room.
FLOORS = (
    {"files"},
    {"device", "native"},
    {"corpora"},
    {"bpe", "skipgram"},
    {"vectors"},
    {"cli"},
    {"workspace"},
    {"scale"},
    {"analysis"},
    {"figures"},
    {"pages", "benchmarks"},
)
CORE = {"corpora", "bpe", "skipgram", "vectors"}
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
MODULES = {
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
IN_CORE = {name: path for name, path in MODULES.items() if name.count(".") and name.split(".")[1] in CORE}
SCRIPTS = {path.stem for folder in REPOSITORY.glob("phase*") for path in folder.glob("*.py")}


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports_of(path: Path, *, for_types: bool) -> Iterator[str]:
    """Yield what a module imports, wherever in it: ours by their modules, others by their packages."""
    pending: list[ast.AST] = [tree_of(path)]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not for_types:
            continue
        pending.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else node.module


def room_of(module: str) -> str:
    return module.split(".")[1]


@pytest.mark.parametrize("module", [name for name in MODULES if name != "tokembed"])
def test_imports_lead_down_or_stay_in_their_room(module: str) -> None:
    for target in imports_of(MODULES[module], for_types=True):
        if target.startswith("tokembed."):
            is_below = FLOOR_OF[room_of(target)] < FLOOR_OF[room_of(module)]
            assert is_below or room_of(target) == room_of(module), f"{module} imports {target}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {
        name: {target for target in imports_of(path, for_types=False) if target in MODULES and target != "tokembed"}
        for name, path in MODULES.items()
        if path.name != "__init__.py"  # these name modules, and import them only when asked
    }
    TopologicalSorter(graph).prepare()  # raises CycleError, with the circle


def test_every_room_stands_on_a_floor() -> None:
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert rooms - {"__init__"} == set(FLOOR_OF)


@pytest.mark.parametrize("module", IN_CORE)
def test_the_core_draws_nothing(module: str) -> None:
    packages = {target.partition(".")[0] for target in imports_of(MODULES[module], for_types=True)}
    assert not packages & {"matplotlib", "sklearn", "argparse"}


@pytest.mark.parametrize("module", IN_CORE)
def test_the_core_prints_nothing_and_knows_no_command_line(module: str) -> None:
    for node in ast.walk(tree_of(MODULES[module])):
        assert not (isinstance(node, ast.Name) and node.id == "print"), f"print in line {node.lineno}"
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and ">>> print" not in node.value:
            flag = re.search(r"(?<![\w-])--(?!logdir)[a-z][a-z-]+", node.value)  # --logdir is TensorBoard's
            assert not flag, f"a flag in line {node.lineno}: {flag}"
            assert not [name for name in SCRIPTS - {"tokenizer", "report"} if name + ".py" in node.value], node.lineno


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("tokembed.analysis.")])
def test_analysis_computes_without_drawing_and_without_the_desk(module: str) -> None:
    targets = set(imports_of(MODULES[module], for_types=True))
    assert not [name for name in targets if name.startswith(("matplotlib", "tokembed.cli", "tokembed.workspace"))]


@pytest.mark.parametrize("module", [name for name in MODULES if name.split(".")[1:2] in (["analysis"], ["figures"], ["pages"])])
def test_what_is_shown_is_printed_by_scripts_only(module: str) -> None:
    assert not [node for node in ast.walk(tree_of(MODULES[module])) if isinstance(node, ast.Name) and node.id == "print"]


def test_the_house_stays_small() -> None:
    entries = [path for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    assert len(entries) <= 16
    assert len([path for path in IN_CORE.values() if path.name != "__init__.py"]) <= 34
    lines = {name: path.read_text(encoding="utf-8").count("\n") for name, path in MODULES.items()}
    assert {name: count for name, count in lines.items() if count > 400} == {}
