"""The scripts that show trained vectors, run as a user runs them."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image
from test_scripts import SCRIPT, VISUALIZE_MERGES, files_in, run

from tokembed import load_corpus
from tokembed.figures import canvas, tokenization
from tokembed.pages import report
from tokembed.vectors import storage

VISUALIZE = SCRIPT.with_name("visualize_embeddings.py")
FIGURES = ("similarity_distribution", "similarity_heatmap", "nearest_neighbours", "projection_tsne", "training_progress")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose vectors of pydocs are trained."""
    folder = tmp_path_factory.mktemp("trained")
    done = run(folder, "--dataset", "pydocs", "--epochs", "6", "--workers", "1")
    assert done.returncode == 0, done.stderr
    return folder


def test_every_figure_is_drawn_with_its_numbers_and_the_kinds_are_there(trained: Path) -> None:
    done = run(trained, "--dataset", "pydocs", "--queries", "list", "error", script=VISUALIZE)
    assert done.returncode == 0, done.stderr
    folder = trained / "visualizations/plots/01_tokenization"
    for name in FIGURES:
        assert (folder / f"{name}.csv").stat().st_size > 50
        with Image.open(folder / f"{name}.png") as image:
            assert image.width == 1200
    found = re.search(r"within kinds ([-\d.]+), between them ([-\d.]+), p = ([\d.]+)", done.stdout)
    assert found
    within, between, p_value = map(float, found.groups())
    assert within > between
    assert p_value < 0.01
    with open(folder / "nearest_neighbours.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["query"] for row in rows] == ["list"] * 5 + ["error"] * 5
    assert "\n    6   " in done.stdout, "the history has every epoch"
    followed = re.findall(r"nearest to “(\w+)” after so many epochs\n((?: +\d+  .*\n?)+)", done.stdout)
    (word, lines), *_ = followed
    assert [int(line.split()[0]) for line in lines.splitlines()] == [1, 2, 5, 6]
    rows = storage.read_neighbours(trained / "models/checkpoints/01_tokenization/pydocs.safetensors")
    assert len(rows) == 6
    assert f"    6  {', '.join(rows[-1][word])}" in lines


def test_the_same_checkpoint_gives_the_same_numbers(trained: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        done = run(trained, "--dataset", "pydocs", "--output-dir", tmp_path / name, "--projection", "pca", script=VISUALIZE)
        assert done.returncode == 0, done.stderr
    tables = sorted(path.name for path in (tmp_path / "first").glob("*.csv"))
    assert "projection_pca.csv" in tables
    for name in tables:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_comparisons_train_and_are_drawn(tmp_path: Path) -> None:
    flags = ("--dataset", "pydocs", "--num-merges", "300", "--epochs", "1", "--dimensions", "--softmax")
    done = run(tmp_path, *flags, script=VISUALIZE)
    assert done.returncode == 0, done.stderr
    assert "full softmax" in done.stdout
    assert "(92 %)" in done.stdout, "what is quoted stands beside what is measured"
    assert {"dimension_comparison.png", "softmax_comparison.png", "softmax_comparison.csv"} <= files_in(tmp_path)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--dataset", "wikitext2"), "train_embeddings.py --dataset wikitext2"),
        (("--dataset", "pydocs", "--queries", " "), "no vector for ' '"),
        (("--dataset", "pydocs", "--perplexity", "0"), "--perplexity must be a number above 0, not 0"),
        (("--dataset", "pydocs", "--perplexity", "nan"), "--perplexity must be a number above 0, not nan"),
        (("--checkpoint", "none.safetensors"), "no trained vectors in none.safetensors"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_line_before_anything_is_drawn(
    trained: Path, tmp_path: Path, flags: tuple[str, ...], message: str
) -> None:
    done = run(trained, *flags, "--output-dir", tmp_path, script=VISUALIZE)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert files_in(tmp_path) == set()


def test_vectors_of_one_number_are_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    flags = ("--dataset", "pydocs", "--num-merges", "50", "--max-tokens", "5000", "--epochs", "1", "--embedding-dim", "1")
    assert run(tmp_path, *flags).returncode == 0
    done = run(tmp_path, "--dataset", "pydocs", "--output-dir", tmp_path / "plots", script=VISUALIZE)
    assert done.returncode == 2
    assert "vectors of 1 dimension" in done.stderr
    assert files_in(tmp_path / "plots") == set()


def test_a_query_that_is_no_token_is_shown_with_the_tokens_it_is_composed_of(trained: Path, tmp_path: Path) -> None:
    flags = ("--dataset", "pydocs", "--queries", "list", "xyzzy", "--output-dir", tmp_path)
    done = run(trained, *flags, script=VISUALIZE)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^  xyzzy \(from its n-grams\) ", done.stdout, re.MULTILINE)
    assert re.search(r"^  list +\w", done.stdout, re.MULTILINE)


def test_the_report_holds_every_figure_in_one_file(trained: Path) -> None:
    folder = trained / "plots"
    done = run(trained, "--dataset", "pydocs", "--output-dir", folder, script=VISUALIZE)
    assert done.returncode == 0, done.stderr
    page, missing = report.report_page(folder, "a <title>", ["corpus & settings", "caf\udce9.txt"])
    assert {entry.name for entry in report.entries()} == {*missing, *(path.stem for path in folder.glob("*.png"))}
    assert page.count("data:image/png;base64,") == len(report.entries()) - len(missing)
    assert "a &lt;title&gt;" in page
    assert "caf\\udce9.txt" in page, "a file's name need not be valid text"
    assert "the numbers (80 rows, one in 2 shown)" in page
    assert not re.search(r'(src|href)="(?!data:)', page), "nothing is fetched"
    assert all(len(re.findall(r"[.?]\s+[A-Z]", entry.look_for)) == 1 for entry in report.entries()), "two sentences each"


def test_a_figure_left_by_an_earlier_run_is_in_no_report_of_this_one(tmp_path: Path) -> None:
    for name, seconds in (("token_lengths", 1_000_000_000), ("top_subwords", 2_000_000_000)):
        canvas.save(
            tokenization.plot_token_lengths({"1": 5, "2": 3, "3": 2, "4+": 40}), tmp_path, name, "a caption", source="a text"
        )
        os.utime(tmp_path / f"{name}.png", (seconds, seconds))
    page, missing = report.report_page(tmp_path, "a report", [], "a text", since=1_500_000_000)
    assert "token_lengths" in missing
    assert "top_subwords" not in missing
    assert 'alt="Top subwords: Most tokens are longer than three characters"' in page, "alt texts say the finding"


def test_a_figure_of_another_text_is_named_when_replaced_and_is_in_no_report(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "plots"
    (tmp_path / "mine.txt").write_text(load_corpus("pydocs").text[:9_000], encoding="utf-8")
    flags = ("--num-merges", "100", "--output-dir", folder)
    assert run(trained, "--dataset", tmp_path / "mine.txt", *flags, script=VISUALIZE_MERGES).returncode == 0
    shutil.copy(folder / "top_subwords.png", folder / "dimension_comparison.png")
    replaced = run(trained, "--dataset", "pydocs", *flags, script=VISUALIZE_MERGES)
    assert "replacing  figures of mine in" in replaced.stdout
    source = canvas.source_of(folder / "top_subwords.png")
    assert source.startswith("pydocs ")
    _, missing = report.report_page(folder, "a report", [], source)
    assert "dimension_comparison" in missing
    assert "top_subwords" not in missing


def test_the_report_opens_in_a_browser(trained: Path, tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs chromium")
    folder = trained / "plots"
    run(trained, "--dataset", "pydocs", "--output-dir", folder, script=VISUALIZE)
    page, _ = report.report_page(folder, "a report", [])
    (tmp_path / "report.html").write_text(page, encoding="utf-8")
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", (tmp_path / "report.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.count("<figure>") == page.count("<figure>")
