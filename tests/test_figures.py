from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from PIL import Image

from tokembed import BPETokenizerLoader, train_bpe
from tokembed.analysis import rare_words
from tokembed.analysis.domains import KindOfText
from tokembed.analysis.experiments import ObjectiveRun, TrainingProgress
from tokembed.analysis.geometry import Heatmap
from tokembed.analysis.projection import Projection
from tokembed.analysis.rare_words import RareWordScore
from tokembed.analysis.senses import Polysemy, Uses, known_senses
from tokembed.analysis.tokenization import Progression, Subword
from tokembed.figures import benchmarks, canvas, chips, geometry, moving, tokenization, training
from tokembed.vectors.embeddings import unit_rows

RANDOM = np.random.default_rng(0)
KINDS = [
    KindOfText("numbers", [110.0, 90.0], ["1", "</w>", "<0xE6>", "<0x9C>", "<0xAA>"]),
    KindOfText("URLs", [10.0], ["h", "<0x2F>", "</w>"]),
    KindOfText("prose", [20.0, 30.0], ["the</w>"]),
]
PROGRESS = [(0, np.nan, np.nan, np.nan, np.nan), (1, 2.0, np.nan, np.nan, 0.9), (2, 2.5, np.nan, np.nan, 0.8)]
STEPS = [
    {"name": name, "seconds": seconds, "over_previous": factor}
    for name, seconds, factor in (("naive", 5.5, 1.0), ("cache", 2.0, 2.75), ("split", 1.9, 1.05), ("C library", 2.1e-3, 905.0))
]
FIGURES = {
    "merge_progression": lambda: tokenization.plot_merge_progression(
        Progression(np.linspace(5, 1.3, 200), [(0, ["l", "o", "</w>", "未", "</w>"]), (9, ["lo</w>", "␣a", "\U0010fffe"])])
    ),
    "merge_progression of nothing": lambda: tokenization.plot_merge_progression(Progression(np.array([2.0]), [])),
    "token_lengths": lambda: tokenization.plot_token_lengths({"1": 5, "2": 3, "3": 2, "4+": 40}),
    "token_lengths of nothing": lambda: tokenization.plot_token_lengths({"1": 0, "2": 0, "3": 0, "4+": 0}),
    "top_subwords": lambda: tokenization.plot_top_subwords(
        [Subword("the", 9, True), Subword("未", 5, False), Subword("\U0010fffe$", 3, True)]
    ),
    "domains": lambda: tokenization.plot_domains(KINDS),
    "vocabulary": lambda: tokenization.plot_vocabulary_efficiency([(500, 40.0), (1000, 30.0)]),
    "vocabulary of one": lambda: tokenization.plot_vocabulary_efficiency([(3, 4.0)]),
    "vocabulary_costs": lambda: tokenization.plot_vocabulary_costs(
        {kind: {"words 2,000": 28.0, "GPT-4o": 322.4} for kind in ("prose", "Python code", "numbers", "URLs", "Chinese")}
    ),
    "vocabulary_costs of one": lambda: tokenization.plot_vocabulary_costs({"prose": {"GPT-2": 22.0}}),
    "a token of half a million characters": lambda: tokenization.plot_top_subwords([Subword("a" * 500_000, 2, True)]),
    "a neighbour of as many": lambda: geometry.plot_neighbours([("$ü" * 250_000, [("a" * 500_000, 0.5)])]),
    "heatmap": lambda: geometry.plot_heatmap(Heatmap(np.eye(3) - 0.1, ["a", "b", "c"], ["x", "x", "y"], -0.1)),
    "projection beside the untrained one": lambda: geometry.plot_projection(
        Projection(np.eye(4, 2), list("abcd"), ["x", "x", None, None], title="A finding. " * 12, before=np.eye(4, 2))
    ),
    "projection of one place": lambda: geometry.plot_projection(
        Projection(np.zeros((4, 2)), list("abcd"), ["x", "x", None, None])
    ),
    "dimensions": lambda: training.plot_dimensions([(10, 0.8, 0.2), (10, 0.82, 0.2), (25, 0.83, 0.21)]),
    "training progress": lambda: training.plot_training_progress(
        TrainingProgress(PROGRESS, "ice", [(1, ["a", "b" * 90]), (2, ["snow", "b" * 90])])
    ),
    "training progress without neighbours": lambda: training.plot_training_progress(TrainingProgress(PROGRESS)),
    "ladder": lambda: benchmarks.plot_ladder(STEPS),
    "objectives": lambda: training.plot_objectives(
        [ObjectiveRun("full softmax", 500, [7.0], 2.0, 0.7), ObjectiveRun("5 negatives", 6, [3.0], 0.1, 0.7)]
    ),
    "rare words": lambda: training.plot_rare_words(
        [
            RareWordScore(0, 5, dict.fromkeys(rare_words.KINDS, 0.9)),
            RareWordScore(5, 0, dict.fromkeys(rare_words.KINDS, np.nan)),
        ]
    ),
    "senses": lambda: geometry.plot_senses([lesson("light", True), lesson("left", False)]),
    "token_table": lambda: tokenization.plot_token_table(
        [("Chinese", "未来", ["<0xE6>", "</w>"]), ("code $x$", "a_b" * 30, ["a"] * 90)]
    ),
}


def lesson(word: str, is_told_apart: bool) -> Polysemy:
    uses = tuple(Uses([], unit_rows(RANDOM.uniform(0, 1, (number, 3)))) for number in (9, 5))
    p_value = 0.01 if is_told_apart else 0.5
    return Polysemy(word, known_senses()[word], uses, np.array([0.6, 0.0, 0.8]), 0.5, 0.7, 0.9, p_value, [])


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_drawn_without_a_warning_or_a_missing_glyph(name: str, tmp_path: Path) -> None:
    axes = FIGURES[name]()
    assert isinstance(axes, Axes)
    canvas.save(axes, tmp_path, "figure", "A caption that tells the corpus, the settings and the seed. " * 3)
    with Image.open(tmp_path / "figure.png") as image:
        assert image.width == 1200
        assert np.asarray(image.convert("L")).std() > 5
    for panel in axes.figure.axes:
        for text in [panel.title, panel._left_title, panel.xaxis.label, *panel.texts]:
            box = Text.get_window_extent(text)
            assert not text.get_text() or (box.x0 >= -1 and box.x1 <= 1201), f"{text.get_text()!r} is clipped"


def test_axes_given_are_drawn_into() -> None:
    axes = Figure().add_subplot()
    assert tokenization.plot_domains(KINDS, ax=axes) is axes
    assert tokenization.plot_merge_progression(Progression(np.array([2.0, 1.5]), [(0, ["a"])]), ax=axes) is axes


def test_a_character_that_no_font_has_is_named() -> None:
    assert canvas.drawable("a\U0010fffe") == "a[U+10FFFE]"
    assert canvas.drawable("naïve") == "naïve"


def test_a_character_that_any_installed_font_has_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pen = TTGlyphPen(None)
    for place, corner in enumerate([(100, 0), (900, 0), (500, 800)]):
        (pen.lineTo if place else pen.moveTo)(corner)
    pen.closePath()
    font = FontBuilder(unitsPerEm=1000, isTTF=True)
    font.setupGlyphOrder([".notdef", "shape"])
    font.setupCharacterMap({ord("未"): "shape"})
    font.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "shape": pen.glyph()})
    font.setupHorizontalMetrics({".notdef": (1000, 0), "shape": (1000, 100)})
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": "Of-A Test", "styleName": "Regular"})
    font.setupOS2(usWeightClass=400)
    font.setupPost()
    font.save(tmp_path / "font.ttf")
    entry = font_manager.ttfFontProperty(font_manager.get_font(tmp_path / "font.ttf"))
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [*font_manager.fontManager.ttflist, entry])
    try:
        canvas._font_of.cache_clear()
        assert canvas.drawable("a未\U0010fffe") == "a未[U+10FFFE]"
        axes = tokenization.plot_top_subwords([Subword("未", 5, True)])
        canvas.save(axes, tmp_path, "figure", "")  # a missing glyph would be a warning, an error here
        geometry.plot_projection(
            Projection(np.eye(4, 2), ["未", "a", "b", "c"], ["未", "未", None, None])
        )  # measures its labels
    finally:
        canvas._font_of.cache_clear()


def test_a_caption_may_hold_what_is_no_text_and_explains_the_characters_that_are_named(tmp_path: Path) -> None:
    axes = tokenization.plot_top_subwords([Subword("\U0010fffe", 5, True)])
    canvas.save(axes, tmp_path, "figure", "caf\udce9.txt: a corpus.")
    caption = axes.figure.get_supxlabel()
    assert caption.startswith("caf\\udce9.txt: a corpus. [U+…]: the Unicode number")


def test_kinds_of_text_come_in_ascending_order_as_multiples_of_prose_in_one_colour() -> None:
    axes = tokenization.plot_domains(KINDS)
    bars = [container.patches[0] for container in axes.containers]
    assert [bar.get_width() for bar in bars] == pytest.approx([0.4, 1.0, 4.0])
    assert len({bar.get_facecolor() for bar in bars}) == 1
    assert [label.get_text() for label in axes.get_yticklabels()] == ["URLs", "prose", "numbers"]
    assert axes.get_title("left") == "4.0 times as many tokens for numbers as for prose of the same length"
    assert tokenization.plot_domains(KINDS[1:]).get_title("left") == "No kind of text takes more tokens than prose"


def test_a_sentence_is_drawn_as_its_tokens_after_each_number_of_merges() -> None:
    stages = [(0, ["l", "o", "w", "</w>"]), (2, ["low", "</w>"]), (3, ["low</w>"])]
    above = tokenization.plot_merge_progression(Progression(np.array([4.0, 3.0, 2.0, 1.0]), stages))
    assert above.get_xscale() == "symlog"
    below = above.figure.axes[1]
    assert [label.get_text() for label in below.get_yticklabels()] == [
        "0 merges:\n4 tokens", "2 merges:\n2 tokens", "3 merges:\n1 tokens",
    ]  # fmt: skip
    assert [text.get_text() for text in below.texts] == ["l", "o", "w", "", "low", "", "low"]


def test_bytes_stand_together_over_the_character_that_they_spell() -> None:
    tokens = ["ca", "<0xC3>", "<0xA9>", "</w>", "<0x2F>", "</w>", "<0xE2>", "<0x80>", "<0x8D>", "</w>"] * 3
    axes = tokenization.plot_token_table([("kind", "caé/", tokens)])
    said = [text.get_text() for text in axes.texts]
    assert (said.count("é"), said.count("/"), said.count("C3"), said.count("zero width\njoiner")) == (3, 3, 3, 3)
    laid_out = chips.lay_out(tokens, 1.5, 9)
    assert max(chip.left + chip.width for chip in laid_out) <= 1.5
    for group in {chip.group for chip in laid_out if chip.is_bytes}:
        assert len({chip.row for chip in laid_out if chip.group == group}) == 1
    for first, second in itertools.pairwise(laid_out):
        assert second.row > first.row or second.left >= first.left + first.width


def test_small_steps_are_drawn_with_the_one_that_they_follow_and_what_is_left_is_their_time() -> None:
    axes = benchmarks.plot_ladder(STEPS)
    assert [bar.get_width() for bar in axes.patches] == [5.5, 1.9, 2.1e-3]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["naive", "cache\n+ split", "C library"]
    assert [text.get_text().strip() for text in axes.texts] == ["5.5 s", "1.9 s (2.9×)", "2.1 ms (9e+02×)"]
    assert axes.get_title("left") == "The same text takes 2.1 ms instead of 5.5 s"


def test_panels_of_vocabularies_have_one_scale_and_bars_that_are_the_numbers_and_differ_in_grey() -> None:
    costs = {"prose": {"words 2,000": 28.0, "GPT-2": 22.0}, "Chinese": {"words 2,000": 322.0, "GPT-2": 208.0}}
    panels = tokenization.plot_vocabulary_costs(costs).figure.axes
    assert [panel.get_title("left") for panel in panels] == list(costs)
    assert [[bar.get_width() for bar in panel.patches] for panel in panels] == [[28, 22], [322, 208]]
    assert [text.get_text() for text in panels[1].texts] == ["322", "208"]
    assert len({panel.get_xlim() for panel in panels}) == 1
    own, published = panels[0].patches
    assert (bool(own.get_hatch()), bool(published.get_hatch())) == (True, False)


def luminance(colour: object) -> float:
    channels = np.array(to_rgb(colour))
    return float(
        np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)
    )


def contrast(first: object, second: object) -> float:
    dark, light = sorted((luminance(first), luminance(second)))
    return (light + 0.05) / (dark + 0.05)


def test_small_text_has_a_contrast_of_at_least_four_and_a_half() -> None:
    axes = geometry.plot_neighbours([("a", [("b", 0.9), ("c", 0.5)])])
    for cell in axes.patches:
        *colour, alpha = cell.get_facecolor()
        background = alpha * np.array(colour) + 1 - alpha
        inside = [text for text in axes.texts if cell.get_bbox().contains(*text.get_position())]
        assert len(inside) == 2
        assert all(contrast(text.get_color(), background) >= 4.5 for text in inside)
    assert all(contrast(canvas.ink(colour), "white") >= 4.5 for colour in canvas.GROUP_COLOURS)


def test_every_word_of_a_kind_has_a_label_and_no_labels_overlap() -> None:
    points = np.random.default_rng(1).normal(size=(90, 2))
    words = [f"word{place}" for place in range(90)]
    groups = [("first", "second", None)[place % 3] for place in range(90)]
    axes = geometry.plot_projection(Projection(points, words, groups))
    labels = [text for text in axes.texts if isinstance(text, Annotation)]
    assert {word for word, group in zip(words, groups, strict=True) if group} <= {label.get_text() for label in labels}
    axes.figure.draw_without_rendering()
    boxes = [Text.get_window_extent(label) for label in labels]  # of the words, without their lines
    assert not any(first.overlaps(second) for first, second in itertools.combinations(boxes, 2))


def test_no_bars_label_is_below_the_legend() -> None:
    sizes = [
        {"words": words, "naive_seconds": 1.0, "encode_seconds": 0.01, "array_seconds": array_seconds,
         "first_pass_rate": 0.5, "four_passes_rate": 0.9, "cache_bytes": 100_000}
        for words, array_seconds in ((1000, 1 / 3972), (10_000, 1 / 3000))
    ]  # fmt: skip
    axes = benchmarks.plot_tokenizer_results(sizes, [{"name": "tokembed", "median": 1.0}], 1000)
    axes.figure.draw_without_rendering()
    for panel in axes.figure.axes[:2]:
        legend = panel.get_legend().get_window_extent()
        assert panel.texts
        assert not [text for text in panel.texts if text.get_window_extent().overlaps(legend)]


def test_senses_that_do_not_differ_are_said_not_to_and_all_panels_have_one_scale() -> None:
    first = geometry.plot_senses([lesson("light", True), lesson("left", False)])
    panels = first.figure.axes
    assert [panel.get_title("left") for panel in panels] == ["“light”: told apart", "“left”: not told apart"]
    assert len({(panel.get_xlim(), panel.get_ylim()) for panel in panels}) == 1
    assert first.get_xlim() == first.get_ylim()


def test_the_heatmap_is_white_at_the_mean_between_kinds_its_diagonal_blank_and_each_kind_framed() -> None:
    axes = geometry.plot_heatmap(Heatmap(np.full((3, 3), 0.2) + np.eye(3), list("abc"), list("xxy"), 0.15))
    (image,) = axes.images
    assert np.array_equal(np.ma.getmaskarray(np.ma.masked_invalid(image.get_array())), np.eye(3, dtype=bool))
    assert image.colorbar.extend == "both"
    assert sum(image.get_clim()) / 2 == pytest.approx(0.15)
    assert [(frame.get_xy(), frame.get_width()) for frame in axes.patches] == [((-0.5, -0.5), 2), ((1.5, 1.5), 1)]


def test_the_heatmaps_legend_is_in_the_order_of_its_rows_and_below_its_longest_word() -> None:
    words = ["пользовательском", *map(str, range(5))]
    axes = geometry.plot_heatmap(Heatmap(np.eye(6), words, list("dcbaef"), 0.0))
    axes.figure.draw_without_rendering()
    legend = axes.get_legend()
    assert sorted(legend.texts, key=lambda text: (-round(text.get_window_extent().y0), text.get_window_extent().x0)) == [
        text for name in "dcbaef" for text in legend.texts if text.get_text() == name
    ]
    lowest = min(label.get_window_extent().y0 for label in axes.get_xticklabels())
    assert legend.get_window_extent().y1 < lowest


def test_few_words_of_no_kind_have_labels_and_the_untrained_map_is_beside_without_any() -> None:
    points = np.random.default_rng(1).normal(size=(60, 2))
    kinds = ["x" if place < 20 else None for place in range(60)]
    axes = geometry.plot_projection(Projection(points, [f"w{place}" for place in range(60)], kinds, before=points))
    assert 20 <= len(axes.texts) <= 20 + geometry.NUM_GREY_LABELS
    _, small = axes.figure.axes
    assert (small.get_title("left"), list(small.texts)) == ("Before training", [])


def test_the_bars_are_the_numbers() -> None:
    axes = tokenization.plot_token_lengths({"1": 5, "2": 3, "3": 2, "4+": 40})
    assert [patch.get_height() for patch in axes.patches] == [5, 3, 2, 40]


def test_a_figure_and_its_table_are_saved_together_and_a_table_without_a_figure_alone(tmp_path: Path) -> None:
    axes = tokenization.plot_vocabulary_efficiency([(500, 40.0)])
    canvas.save(axes, tmp_path / "new", "both", "a caption", ("merges", "tokens"), [(500, 40.0)])
    assert (tmp_path / "new" / "both.csv").read_text() == "merges,tokens\n500,40.0\n"
    canvas.save(None, tmp_path / "new", "table", "", ("a",), [])
    canvas.save(axes, tmp_path / "new", "figure", "")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["both.csv", "both.png", "figure.png", "table.csv"]


def test_the_moving_picture_merges_as_the_tokenizer_does_and_ends_on_the_map(tmp_path: Path) -> None:
    text = "low low low lower lower newest newest widest"
    tokenizer = BPETokenizerLoader(train_bpe(text, num_merges=12))
    sentence = "the lowest slower newest"
    steps = moving.stages(tokenizer, sentence)
    for number, words in steps:
        fewer = BPETokenizerLoader(replace(tokenizer.model, merges=tokenizer.model.merges[:number], applications=[]))
        known = [token for token in fewer.tokenize(sentence) if not token.startswith("<0x")]
        assert [token for word in words for token in word if token in fewer.token_to_id] == known
    frames = moving.moving_picture(tokenizer, sentence, ["newest", "low", "wide"], np.array([[0.0, 0], [1, 1], [2, 0]]))
    moving.save_gif(frames, tmp_path / "moving.gif")
    with Image.open(tmp_path / "moving.gif") as image:
        assert (image.size, image.n_frames) == ((moving.WIDTH, moving.HEIGHT), len(frames))
        assert len(frames) == len(steps) + moving.NUM_BETWEEN
        assert image.info["loop"] == 0


def test_training_progress_of_a_text_without_synonyms_has_no_panel_for_them() -> None:
    nan = float("nan")
    rows = [(0, nan, 0.0, nan, nan), (1, 3.5, 0.9, nan, nan), (2, 3.1, 0.5, nan, nan)]
    drawn = training.plot_training_progress(TrainingProgress(rows, "", [])).figure.axes
    assert [axes.get_title(loc="left") for axes in drawn] == ["Loss: lower is better", "Similarity of words"]
    with_synonyms = [(epoch, loss, cosine, cosine, 0.6) for epoch, loss, cosine, *_ in rows]
    assert len(training.plot_training_progress(TrainingProgress(with_synonyms, "", [])).figure.axes) == 3
