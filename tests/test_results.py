"""The pages' figures are those of the committed file of results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import REPOSITORY
from test_scripts import SCRIPT, run

from tokembed.benchmarks import claims, results

COLLECT = SCRIPT.with_name("collect_results.py")


PAGES = ("README.md", "docs/benchmarks.md", "docs/claims.md", "docs/scale.md", "docs/training.md")


@pytest.fixture(scope="module")
def committed() -> dict[str, object]:
    loaded: dict[str, object] = json.loads((REPOSITORY / "docs/results.json").read_text(encoding="utf-8"))
    return loaded


def test_the_pages_tables_are_made_from_the_results(tmp_path: Path, committed: dict[str, object]) -> None:
    text = "".join((REPOSITORY / page).read_text(encoding="utf-8") for page in PAGES)
    assert results.filled(text, committed) == text
    assert all(f"<!-- results: {name} -->" in text for name in results.TABLES)
    done = run(tmp_path, "--check", script=COLLECT)
    assert done.returncode == 0, done.stderr


def test_a_figure_that_drifted_is_found(tmp_path: Path, committed: dict[str, object]) -> None:
    text = (REPOSITORY / "docs/benchmarks.md").read_text(encoding="utf-8")
    drifted = tmp_path / "README.md"
    drifted.write_text(text.replace("4.517", "4.900", 1), encoding="utf-8")
    done = run(tmp_path, "--check", "--page", drifted, script=COLLECT)
    assert done.returncode == 1
    assert "4.900" in done.stderr
    assert drifted.read_text(encoding="utf-8").count("4.900") == 1, "--check changes nothing"


def test_verdicts_change_with_the_figures(committed: dict[str, object]) -> None:
    before = {row[0]: row[-1] for row in claims.claim_rows(committed)}
    changed = json.loads(json.dumps(committed))
    changed["facts"]["peak_bytes"] = 600_000_000
    for run_ in changed["softmax"]:
        run_["seconds_per_epoch"] = 1.0
    after = {row[0]: row[-1] for row in claims.claim_rows(changed)}
    assert (before["memory"], after["memory"]) == ("met", "not met")
    assert after["time saved by 10 negatives"] == "not met"
    assert len(before) == len(after) >= 20


def test_a_table_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no table 'nothing'"):
        results.filled("<!-- results: nothing -->\n<!-- end -->", {})


def test_without_benchmarks_collecting_names_what_is_missing(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("nothing", encoding="utf-8")
    done = run(tmp_path, "--page", readme, script=COLLECT)
    assert done.returncode == 2
    assert "benchmark_tokenizer.json" in done.stderr
