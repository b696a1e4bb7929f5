"""Tokens as coloured blocks: laid out in rows of a width, then drawn; bytes over the character that they spell."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from tokembed.analysis.tokenization import byte_groups
from tokembed.bpe.splitting import END_OF_WORD
from tokembed.figures.canvas import CHIPS, GREY, drawable, text_width

PAD, GAP, WORD_GAP, END = 0.04, 0.02, 0.07, 0.028  # inches: beside a label, between blocks, behind a word, a word's end
BYTE_COLOUR = "#fbd9a6"
GROUNDS = (CHIPS[0], *CHIPS[2:])  # of other tokens: none is orange
BYTE = re.compile(r"<0x([0-9A-F]{2})>")
NAME_CHARACTERS = 10  # in a line of a character's name


@dataclass(frozen=True)
class Chip:
    """A token's block: its label, its place in inches, and, of bytes, the character they spell."""

    label: str
    left: float
    width: float
    row: int
    end: float  # of that width, what shows that a word ends here; 0 if it goes on
    is_bytes: bool
    group: int  # blocks of one group spell one character
    spelled: str


def lay_out(tokens: Sequence[str], width: float, size: float, *, spell: bool = False) -> list[Chip]:
    """Place tokens, as people read them, in rows; the bytes of a character stay together.

    With `spell`, a character of one byte is its block's label, else that byte's number, for a bracket below to spell.
    """
    chips: list[Chip] = []
    left, row = 0.0, 0
    for group, (spelled, members) in enumerate(byte_groups(tokens)):
        labels = [spelled] if spell and spelled and len(members) == 1 else [_label(token, spelled) for token in members]
        blocks = [_block(token, label, size, group, spelled) for token, label in zip(members, labels, strict=True)]
        needed = sum(block.width + GAP for block in blocks)
        if left and left + needed > width:
            left, row = 0.0, row + 1
        for block in blocks:
            chips.append(replace(block, left=left, row=row))
            left += block.width + (WORD_GAP if block.end else GAP)
    return chips


def _label(token: str, spelled: str) -> str:
    return " ".join(BYTE.findall(token)) if spelled else drawable(token.removesuffix(END_OF_WORD))


def _block(token: str, label: str, size: float, group: int, spelled: str) -> Chip:
    end = END if token.endswith(END_OF_WORD) else 0.0
    width = text_width(label, size) + (2 * PAD if label else 0.0) + end
    return Chip(label, 0.0, width, 0, end, bool(spelled), group, spelled)


def draw_chips(ax: Axes, chips: Sequence[Chip], tops: Sequence[float], height: float, size: float, scale: float = 1.0) -> None:
    """Draw blocks in axes whose units are inches across; row r begins at `tops[r]` and is so high, in the axes' units.

    The end of a word is a dark bar.
    """
    colours = 0
    for chip in chips:
        colour = BYTE_COLOUR if chip.is_bytes else GROUNDS[colours % len(GROUNDS)]
        colours += not chip.is_bytes and bool(chip.label)
        top, left, width = tops[chip.row], chip.left * scale, chip.width * scale
        flat: dict[str, Any] = {"linewidth": 0, "clip_on": False}
        ax.add_patch(Rectangle((left, top - height), width, height, facecolor=colour, **flat))
        if chip.end:
            edge = chip.end * scale
            ax.add_patch(Rectangle((left + width - edge, top - height), edge, height, facecolor=GREY, **flat))
            width -= edge
        style: dict[str, Any] = {"fontsize": size * scale, "ha": "center", "va": "center_baseline"}
        ax.text(left + width / 2, top - height / 2, chip.label, **style)


def draw_brackets(ax: Axes, chips: Sequence[Chip], tops: Sequence[float], height: float, size: float) -> None:
    """Draw, below the bytes of each character, a bracket and the character, or its name where no font has it."""
    for group in dict.fromkeys(chip.group for chip in chips if chip.is_bytes):
        members = [chip for chip in chips if chip.group == group]
        first, last = members[0], members[-1]
        right = last.left + last.width - last.end
        low = tops[first.row] - height - 0.035
        ax.plot([first.left, first.left, right, right], [low, low - 0.035, low - 0.035, low], color=GREY, linewidth=0.8)
        style: dict[str, Any] = {"ha": "center", "va": "top", "linespacing": 1.0}
        label, is_name = character_label(first.spelled)
        style |= {"fontsize": size - 2, "fontstyle": "italic", "color": GREY} if is_name else {"fontsize": size + 1}
        ax.text((first.left + right) / 2, low - 0.06, label, **style)


def character_label(character: str) -> tuple[str, bool]:
    r"""Return a character as it can be drawn, and whether that is its name, in two lines at most, or its number.

    >>> character_label("é"), character_label("\u200d")
    (('é', False), ('zero width\njoiner', True))
    """
    if drawable(character) == character:
        return character, False
    name = unicodedata.name(character[0], "").lower()
    if not name or "ideograph" in name or len(name) > 2 * NAME_CHARACTERS or len(character) > 1:
        return drawable(character).strip("[]"), True
    first, _, rest = name.rpartition(" ") if len(name) > NAME_CHARACTERS else ("", "", name)
    return f"{first}\n{rest}".strip(), True
