"""What all figures share: one palette, fonts, axes, and one way to save.

The palette is Okabe and Ito's, which colour-blind readers can tell apart; what is compared differs in lightness, hatching or
shape too, so that it can be read in grey. A title that makes a claim is chosen by the data; the others say what is shown.
"""

from __future__ import annotations

import csv
import io
import itertools
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from tokembed import files
from tokembed.analysis.finding import Finding

BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, YELLOW = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442",
)  # fmt: skip
GREY, LIGHT_GREY = "#555555", "#DDDDDD"
GROUP_COLOURS = (VERMILION, BLUE, GREEN, PURPLE, ORANGE, SKY, GREY)
GROUP_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
CHIPS = ("#cfe6fa", "#fde5c4", "#c9f0dc", "#fbd3d3", "#e0dcfa")  # grounds of tokens, in turn

WIDTH, HEIGHT, DPI = 8.0, 4.5, 150  # inches; 1200 pixels across
FONT_SIZE, SMALL = 11, 9
LABEL_CHARACTERS = 24  # of a token at most, in a label
MAIN_FONT = "DejaVu Sans"  # comes with matplotlib


def group_styles(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return a colour and a marker for each group, by its place."""
    return dict(zip(names, zip(itertools.cycle(GROUP_COLOURS), itertools.cycle(GROUP_MARKERS)), strict=False))


def ink(colour: str) -> str:
    """Return a colour dark enough for small text on white (a contrast of 4.5 to 1)."""
    red, green, blue = to_rgb(colour)
    return to_hex((0.6 * red, 0.6 * green, 0.6 * blue))


# ---------------------------------------------------------------- axes


def new_axes(height: float = HEIGHT) -> Axes:
    """Return the axes of a new figure."""
    return panels(1, height)[0]


def panels(columns: int, height: float, rows: int = 1, **ratios: Sequence[float]) -> list[Axes]:
    """Return the axes of a new figure of panels, row by row, without pyplot's global state.

    The ratios, `height_ratios` and `width_ratios`, are those of matplotlib's grids; without them all panels are of one size.
    """
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(rows, columns, **ratios)
    all_axes = [figure.add_subplot(grid[place // columns, place % columns]) for place in range(rows * columns)]
    for axes in all_axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color=LIGHT_GREY, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=SMALL)
    return all_axes


def label_axes(axes: Axes, title: str, x: str, y: str) -> None:
    """Set a figure's words: a title that says what is shown, and axes with their units."""
    axes.set_title(title, fontsize=FONT_SIZE + 1, loc="left", fontweight="bold")
    axes.set_xlabel(x, fontsize=FONT_SIZE)
    axes.set_ylabel(y, fontsize=FONT_SIZE)


# ---------------------------------------------------------------- saving


def save(
    axes: Axes | None,
    folder: Path,
    name: str,
    caption: str,
    heading: Sequence[str] = (),
    rows: Iterable[Sequence[object]] = (),
    source: str = "",
) -> None:
    """Write the figure of these axes as `name.png` and its table as `name.csv`, each in one step; the folder is created.

    Without axes there is nothing to draw; without a heading no table is written: the numbers are kept elsewhere. The caption
    stands below the figure: corpus, settings, seed. The `source` is written into the file, see `source_of`.
    """
    if axes is not None:
        _write_png(axes, folder / f"{name}.png", caption, source)
    if heading:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(heading)
        writer.writerows(rows)
        files.write_atomic(folder / f"{name}.csv", text.getvalue())


def save_finding(found: Finding, plot: Callable[[Any], Axes], folder: Path, caption: str, source: str = "") -> list[str]:
    """Draw and save what was found, its note behind the caption; return its name in a list, or none if there is no figure."""
    axes = None if found.data is None else plot(found.data)
    save(axes, folder, found.name, f"{caption} {found.note}".strip(), found.heading, found.rows, source)
    return [] if axes is None else [found.name]


def source_of(image: Path) -> str:
    """Return which text and splitting rule a saved figure was made from, as the scripts tell it; "" if it does not say."""
    return _written_in(image, "Source")


def title_of(image: Path) -> str:
    """Return a saved figure's title, which says what is seen; "" if it does not say."""
    return _written_in(image, "Title")


def _written_in(image: Path, name: str) -> str:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(image) as opened:
            return str(opened.info.get(name, ""))
    except UnidentifiedImageError:
        return ""


def other_sources(folder: Path, source: str) -> list[str]:
    """Return the names of the texts, other than that of `source`, that figures in a folder were made from."""
    found = {source_of(image) for image in folder.glob("*.png")} - {source, ""}
    return sorted({each.partition(" ")[0] for each in found})


def _write_png(axes: Axes, path: Path, caption: str, source: str) -> None:
    figure = axes.figure
    assert isinstance(figure, Figure)
    caption = drawable(files.encodable(caption))
    if any("[U+" in text.get_text() for text in figure.findobj(Text)):
        caption += " [U+…]: the Unicode number of a character that is invisible, or in none of the fonts installed here."
    width = int(figure.get_size_inches()[0] * 15)
    figure.supxlabel("\n".join(textwrap.wrap(caption, width)), fontsize=SMALL - 1, color=GREY, x=0.01, ha="left")
    texts = figure.findobj(Text)
    for text in texts:  # a legend's, say
        if (shown := "\n".join(map(drawable, text.get_text().split("\n")))) != text.get_text():
            text.set_text(shown)
        text.set_parse_math(False)  # a dollar sign is a dollar sign
    choose_fonts(figure)
    title = " ".join(axes.get_title("left").split())
    about = {"Title": files.encodable(title), "Description": caption, "Source": files.encodable(source)}
    with files.atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", metadata=about)


# ---------------------------------------------------------------- fonts and labels


@cache
def _font_of(character: str) -> str | None:
    """Return the first installed font that draws a character: matplotlib's own, then sans serifs, then all others."""
    regular = [font for font in font_manager.fontManager.ttflist if font.style == "normal" and font.weight in (400, "normal")]
    # Last Resort, which comes with matplotlib, has a box for every character.
    installed = {font.name for font in regular if not font.name.startswith("Last Resort")}
    for family in sorted(installed, key=lambda name: (name != MAIN_FONT, "Sans" not in name, name)):
        # In a list, since a string is parsed, and a hyphen in it has a meaning.
        face = font_manager.get_font(font_manager.findfont(font_manager.FontProperties(family=[family])))
        # A colour font has the character, but no outline of it.
        if face.get_char_index(ord(character)) and (character.isspace() or face.load_char(ord(character)).width):
            return family
    return None


def fonts_of(texts: Iterable[str]) -> list[str]:
    """Return the fonts that these texts need to be measured and drawn in: matplotlib's own, then others for what it lacks."""
    characters = sorted(set("".join(texts)))
    return list(dict.fromkeys([MAIN_FONT, *(font for each in characters if each.isprintable() and (font := _font_of(each)))]))


def choose_fonts(figure: Figure) -> None:
    """Have each text of a figure in the fonts that it needs, before it is measured or drawn."""
    texts = figure.findobj(Text)
    families = fonts_of(text.get_text() for text in texts)
    for text in texts:
        text.set_fontfamily(families)


@cache
def _advance(character: str) -> float:
    face = font_manager.get_font(font_manager.findfont(font_manager.FontProperties(family=[_font_of(character) or MAIN_FONT])))
    face.set_size(100, 72)
    return float(face.load_char(ord(character)).linearHoriAdvance) / 65536 / 100


def text_width(text: str, size: float) -> float:
    """Return how wide text of a size in points is, in inches, before anything is drawn.

    >>> 0.3 < text_width("token", 9) < 0.4
    True
    """
    return sum(map(_advance, text)) * size / 72


def drawable(text: str) -> str:
    """Return text with each character that is invisible or in no installed font replaced by its number: never an empty box.

    >>> drawable("a\\U0010fffe\\u200d")
    'a[U+10FFFE] [U+200D]'
    """

    def shown(character: str) -> str:
        is_visible = not unicodedata.category(character).startswith("C")
        return character if is_visible and _font_of(character) else f"[U+{ord(character):04X}]"

    return "".join(map(shown, text)).replace("][U+", "] [U+")


def label_width(label: str) -> float:
    """Return about how many letters wide a label is: a Chinese character takes the room of nearly two.

    >>> label_width("word"), label_width("未来")
    (4.0, 3.6)
    """
    return sum(1.8 if unicodedata.east_asian_width(each) in "WF" else 1.0 for each in label)


def token_label(token: str) -> str:
    """Return a token as a label: drawable, and its end left out where it is long (a token may be as long as the corpus).

    >>> token_label("creature"), token_label("ha" * 250_000), token_label("\\U0010fffe" * 9)
    ('creature', 'hahahahahahahahahahahah…', '[U+10FFFE] [U+10FFFE]…')
    """
    label = drawable(token if len(token) <= LABEL_CHARACTERS else token[: LABEL_CHARACTERS - 1] + "…")
    if len(label) <= LABEL_CHARACTERS:
        return label
    return label[: max(label.rfind("]", 0, LABEL_CHARACTERS) + 1, label.find("]") + 1)] + "…"  # numbers are kept whole
