"""The moving picture: a sentence from letters to tokens, merge by merge, then its words among the others on the map."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from matplotlib import font_manager
from matplotlib.colors import to_rgb
from PIL import Image, ImageDraw, ImageFont

from tokembed import files
from tokembed.analysis.geometry import Matrix
from tokembed.bpe import reference
from tokembed.bpe.splitting import END_OF_WORD
from tokembed.bpe.tokenizer import BPETokenizerLoader
from tokembed.figures.canvas import CHIPS, GROUP_COLOURS, MAIN_FONT

WIDTH, HEIGHT = 800, 400
INK, FAINT, PAPER, LINE, DOT = "#1b1b1b", "#5f5f5f", "#fdfdfb", "#c9c9c3", "#c3c9d1"
MARGIN, CHIP_HEIGHT, GAP, WORD_GAP = 40, 46, 4, 16
STEP, PAUSE, HOLD, FRAME = 130, 1300, 3200, 50  # milliseconds of a merge, a rest, the end, a frame in between
NUM_BETWEEN = 16  # frames from the sentence to the map

Boxes = list[tuple[str, float, float, float]]  # text, left, top, width of each chip


def stages(tokenizer: BPETokenizerLoader, sentence: str) -> list[tuple[int, list[tuple[str, ...]]]]:
    """Return (merges applied, the tokens of each word) at the start, and after each merge that changes the sentence.

    >>> from tokembed import train_bpe
    >>> stages(BPETokenizerLoader(train_bpe("low low low lower", num_merges=2)), "low")
    [(0, [('l', 'o', 'w', '</w>')]), (1, [('lo', 'w', '</w>')]), (2, [('low', '</w>')])]
    """
    words = reference.split(sentence, tokenizer.model.lowercase)
    found = [(0, words)]
    for rank, pair in enumerate(tokenizer.merges):
        changed = [reference.merge_word(word, pair) for word in words]
        if changed != words:
            words = changed
            found.append((rank + 1, words))
    return found


def moving_picture(
    tokenizer: BPETokenizerLoader, sentence: str, words: Sequence[str], points: Matrix
) -> list[tuple[Image.Image, int]]:
    """Return frames, each with how long it is shown in milliseconds.

    Parameters
    ----------
    words : sequence of str
        Of the map, those of the sentence among them; the more telling first, since a label needs room.
    points : array (n, 2)
        Where they lie, on any scale.
    """
    steps = stages(tokenizer, sentence)
    laid_out = [_chips([token for word in step for token in word]) for _, step in steps]
    frames = []
    for place, ((number, _), boxes) in enumerate(zip(steps, laid_out, strict=True)):
        joined = f"{number:,} of {len(tokenizer.merges):,} merges · {len(boxes)} tokens"
        frame = _frame("From letters to tokens", joined)
        _draw_chips(frame, boxes)
        frames.append((frame, PAUSE if place in (0, len(steps) - 1) else STEP))
    spots = _spots(points)
    of_sentence = [box for box in laid_out[-1] if box[0].removesuffix(END_OF_WORD) in words]
    for between in range(1, NUM_BETWEEN + 1):
        share = between / NUM_BETWEEN
        frame = _frame("From tokens to vectors", "tokens used alike lie side by side; nobody told the program what they mean")
        _draw_map(frame, words, spots, of_sentence, share * share * (3 - 2 * share))
        frames.append((frame, HOLD if between == NUM_BETWEEN else FRAME))
    return frames


def _palette() -> list[tuple[int, int, int]]:
    """Return every colour of the frames, and shades between each and what it is drawn on, for smooth edges."""
    grounds = [(PAPER, (INK, FAINT, LINE, DOT, *CHIPS, *GROUP_COLOURS)), *((chip, (INK, FAINT)) for chip in CHIPS)]
    shares = (0, 0.25, 0.5, 0.75, 1)
    return list(
        dict.fromkeys(_mixed(ground, colour, share) for ground, colours in grounds for colour in colours for share in shares)
    )


def _mixed(ground: str, colour: str, share: float) -> tuple[int, int, int]:
    """Return a ground with a share of a colour over it, 0 to 255."""
    pairs = zip(to_rgb(ground), to_rgb(colour), strict=True)
    red, green, blue = (round(255 * ((1 - share) * below + share * above)) for below, above in pairs)
    return red, green, blue


def save_gif(frames: Sequence[tuple[Image.Image, int]], path: Path) -> None:
    """Write frames as an endless GIF of one palette, in one step."""
    palette = Image.new("P", (1, 1))
    palette.putpalette([channel for colour in _palette() for channel in colour])
    first, *others = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame, _ in frames]
    with files.atomic_path(path) as temporary:
        durations = [duration for _, duration in frames]
        first.save(temporary, format="GIF", save_all=True, append_images=others, duration=durations, loop=0, optimize=True)


# ---------------------------------------------------------------- drawing


@cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    weight = "bold" if bold else "normal"
    return ImageFont.truetype(font_manager.findfont(font_manager.FontProperties(family=[MAIN_FONT], weight=weight)), size)


def _frame(title: str, note: str) -> Image.Image:
    """Return an opaque card, legible on light and dark pages, with its words."""
    frame = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    draw = ImageDraw.Draw(frame)
    draw.rectangle((0, 0, WIDTH - 1, HEIGHT - 1), outline=LINE)
    draw.text((MARGIN, 26), title, INK, _font(22, bold=True))
    draw.text((MARGIN, 58), note, FAINT, _font(15))
    return frame


def _chips(tokens: Sequence[str]) -> Boxes:
    """Lay tokens out in lines; a word is not broken where it fits a line."""
    boxes: Boxes = []
    left, top = float(MARGIN), 130.0
    start = 0  # of the word
    for token in tokens:
        width = _font(20).getlength(token.removesuffix(END_OF_WORD)) + (24 if END_OF_WORD in token else 0) + 14
        boxes.append((token, left, top, width))
        left += width + GAP
        if left - GAP > WIDTH - MARGIN:  # the word goes to the next line
            shift = boxes[start][1] - MARGIN
            top += CHIP_HEIGHT + 14
            boxes[start:] = [(each, place - shift, top, size) for each, place, _, size in boxes[start:]]
            left -= shift
        if token.endswith(END_OF_WORD):
            left += WORD_GAP - GAP
            start = len(boxes)
    return boxes


def _draw_chips(frame: Image.Image, boxes: Boxes) -> None:
    draw = ImageDraw.Draw(frame)
    for place, (token, left, top, width) in enumerate(boxes):
        draw.rounded_rectangle((left, top, left + width, top + CHIP_HEIGHT), 8, CHIPS[place % len(CHIPS)])
        text = token.removesuffix(END_OF_WORD)
        draw.text((left + 7, top + CHIP_HEIGHT / 2), text, INK, _font(20), anchor="lm")
        if token.endswith(END_OF_WORD):
            at = left + 7 + _font(20).getlength(text)
            draw.text((at + 1, top + CHIP_HEIGHT / 2 + 2), END_OF_WORD, FAINT, _font(11), anchor="lm")


def _spots(points: Matrix) -> Matrix:
    """Return places in pixels: the points fitted into the frame below its words."""
    low, high = points.min(axis=0), points.max(axis=0)
    area = np.array([[MARGIN + 30, HEIGHT - 30], [WIDTH - MARGIN - 30, 105]])
    spots: Matrix = area[0] + (points - low) / np.where(high > low, high - low, 1) * (area[1] - area[0])
    return spots


def _draw_map(frame: Image.Image, words: Sequence[str], spots: Matrix, boxes: Boxes, share: float) -> None:
    """Draw the map as it appears, and the sentence's words on the way to their places."""
    draw = ImageDraw.Draw(frame)
    fading = _mixed(PAPER, DOT, share)
    for x, y in spots:
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), fading)
    taken: list[tuple[float, float, float, float]] = []
    own = {box[0].removesuffix(END_OF_WORD): box for box in boxes}
    for word, colour in zip(own, itertools.cycle(GROUP_COLOURS)):
        _, left, top, width = own[word]
        goal = spots[words.index(word)]
        x, y = (1 - share) * np.array([left + width / 2, top + CHIP_HEIGHT / 2]) + share * goal
        draw.ellipse((x - 5, y - 5, x + 5, y + 5), colour)
        _label(draw, taken, word, (x, y), _font(17, bold=True), INK, always=True)
    if share == 1:
        goals = [spots[words.index(word)] for word in own]
        taken += [(x - 4, y - 4, x + 4, y + 4) for x, y in goals]
        for word, (x, y) in zip(words, spots, strict=True):
            if word not in own:
                _label(draw, taken, word, (x, y), _font(13), FAINT)


def _label(
    draw: ImageDraw.ImageDraw,
    taken: list[tuple[float, float, float, float]],
    word: str,
    spot: tuple[float, float],
    font: ImageFont.FreeTypeFont,
    colour: str,
    *,
    always: bool = False,
) -> None:
    """Write a word above or below its point, where nothing stands yet."""
    x, y = spot
    for anchor, shift in (("mb", -6), ("mt", 6)):
        left, top, right, bottom = draw.textbbox((x, y + shift), word, font, anchor=anchor)
        is_free = not any(
            left < box[2] + 4 and box[0] < right + 4 and top < box[3] + 1 and box[1] < bottom + 1 for box in taken
        )
        is_within = left > 6 and right < WIDTH - 6 and top > 84 and bottom < HEIGHT - 6
        if (is_free and is_within) or (always and shift > 0):
            taken.append((left, top, right, bottom))
            draw.text((x, y + shift), word, colour, font, anchor=anchor, stroke_width=2, stroke_fill=PAPER)
            return
