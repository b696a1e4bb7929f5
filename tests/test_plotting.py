from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from tokembed import plotting

FIGURES = {
    "merge_progression": lambda: plotting.plot_merge_progression(np.linspace(5, 1.3, 200)),
    "merge_progression of nothing": lambda: plotting.plot_merge_progression(np.array([2.0])),
    "token_lengths": lambda: plotting.plot_token_lengths({"1": 5, "2": 3, "3": 2, "4+": 40}),
    "token_lengths of nothing": lambda: plotting.plot_token_lengths({"1": 0, "2": 0, "3": 0, "4+": 0}),
    "top_subwords": lambda: plotting.plot_top_subwords([("the", 9, True), ("未", 5, False), ("\U0010fffe$", 3, True)]),
    "domains": lambda: plotting.plot_domains({"prose": [20.0, 30.0], "numbers": [110.0]}),
    "vocabulary": lambda: plotting.plot_vocabulary_efficiency([(500, 40.0), (1000, 30.0)]),
    "vocabulary of one": lambda: plotting.plot_vocabulary_efficiency([(3, 4.0)]),
    "token_table": lambda: plotting.plot_token_table(
        [("Chinese", "未来", ["<0xE6>", "</w>"]), ("code $x$", "a_b" * 30, ["a"] * 90)]
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_drawn_without_a_warning_or_a_missing_glyph(name: str, tmp_path: Path) -> None:
    axes = FIGURES[name]()
    assert isinstance(axes, Axes)
    plotting.save_figure(axes, tmp_path / "figure.png", "A caption that tells the corpus, the settings and the seed. " * 3)
    with Image.open(tmp_path / "figure.png") as image:
        assert image.width == 1200
        assert np.asarray(image.convert("L")).std() > 5


def test_axes_given_are_drawn_into() -> None:
    axes = Figure().add_subplot()
    assert plotting.plot_domains({"prose": [1.0]}, ax=axes) is axes


def test_a_character_that_no_font_has_is_named() -> None:
    assert plotting.drawable("a\U0010fffe") == "a[U+10FFFE]"
    assert plotting.drawable("naïve") == "naïve"


def test_the_bars_are_the_numbers() -> None:
    axes = plotting.plot_token_lengths({"1": 5, "2": 3, "3": 2, "4+": 40})
    assert [patch.get_height() for patch in axes.patches] == [5, 3, 2, 40]
