"""Panels and words on a page, in Pillow's own font: the part of loader.draw that knows no models."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import PIL.Image
from PIL import ImageDraw, ImageFont

if TYPE_CHECKING:
    from loader.resize import Size

__all__ = ["NARROW", "PAGE", "Panel", "Swatch", "joined", "page", "plate"]

Swatch = Callable[[tuple[int, int]], PIL.Image.Image]
"""A sign of the legend, drawn in a size."""

NARROW = 2.4
"""How many times as long as wide a panel is beside which, or below which, everything else stands."""
PAGE = (22, 25, 30)
_TEXT, _QUIET = (243, 244, 246), (178, 186, 196)
_MARGIN, _GAP = 24, 32
_LEAST = 640
"""Width of the words below the panels, at least."""
_COLUMN = 460
"""Width of the words beside a panel that is high and narrow."""
_TITLE, _HEAD, _BODY, _SMALL = 28, 20, 18, 16
_SIGN = 22


@dataclass(frozen=True, slots=True)
class Panel:
    """A picture with two lines above it."""

    picture: PIL.Image.Image
    title: str
    words: str


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _width(text: str, size: int) -> int:
    return round(_font(size).getlength(text))


def plate(drawn: PIL.Image.Image, box: tuple[int, int, int, int], texts: Sequence[str]) -> bool:
    """The first of `texts` that fits, on a dark plate at the top left of `box`. False: none does."""
    room = box[2] - box[0] - 20, box[3] - box[1] - 12
    for size, text in ((size, text) for text in texts for size in (20, 16, 13)):
        width, height = _width(text, size) + 14, size + 10
        if width <= room[0] and height <= room[1]:
            left, top = box[0] + 10, box[1] + 10
            pen = ImageDraw.Draw(drawn, "RGBA")
            pen.rounded_rectangle((left, top, left + width, top + height), 6, (*PAGE, 205))
            place = left + width / 2, top + height / 2
            ImageDraw.Draw(drawn).text(place, text, _TEXT, _font(size), anchor="mm")
            return True
    return False


def page(
    title: str, panels: Sequence[Panel], note: str, legend: Sequence[tuple[Swatch | None, str]]
) -> PIL.Image.Image:
    """A title, the panels, `note` and what the signs mean; beside panels that are high and narrow."""
    main = panels[0].picture
    stacks = [_panel(panel) for panel in panels]
    if main.height > NARROW * main.width:
        stacks = [stacks[0], _down([*stacks[1:], _words(_COLUMN, note, legend)], _GAP)]
        body = _across(stacks)
    else:
        body = _down(stacks, _MARGIN) if main.width > NARROW * main.height else _across(stacks)
        body = _down([body, _words(max(body.width, _LEAST), note, legend)], _MARGIN)
    head = _line(title, _TITLE, _TEXT)
    whole = _down([head, body], 16)
    drawn = PIL.Image.new("RGB", (whole.width + 2 * _MARGIN, whole.height + 2 * _MARGIN), PAGE)
    drawn.paste(whole, (_MARGIN, _MARGIN))
    return drawn


def _panel(panel: Panel) -> PIL.Image.Image:
    head = [_line(panel.title, _HEAD, _TEXT), _line(panel.words, _SMALL, _QUIET)]
    return _down([_down(head, 2), panel.picture], 10)


def _words(width: int, note: str, legend: Sequence[tuple[Swatch | None, str]]) -> PIL.Image.Image:
    """The note, and below it the legend, its entries one after the other."""
    rows = [_down([_line(text, _BODY, _TEXT) for text in _wrapped(note, _BODY, width)], 0)]
    row: list[PIL.Image.Image] = []
    entries = [_entry(sign, text, width) for sign, text in legend]
    for entry in entries:
        if row and sum(one.width + _GAP for one in row) + entry.width > width:
            rows.append(_across(row))
            row = []
        row.append(entry)
    if row:
        rows.append(_across(row))
    return _down(rows, 8)


def _entry(sign: Swatch | None, text: str, width: int) -> PIL.Image.Image:
    indent = _SIGN + 10 if sign else 0
    lines = _down([_line(part, _SMALL, _QUIET) for part in _wrapped(text, _SMALL, width - indent)], 2)
    if sign is None:
        return lines
    return _across([sign((_SIGN, _SIGN)), lines], 10)


def _wrapped(text: str, size: int, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and _width(longer, size) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _line(text: str, size: int, colour: tuple[int, int, int]) -> PIL.Image.Image:
    drawn = PIL.Image.new("RGB", (_width(text, size) + 2, round(size * 1.4)), PAGE)
    ImageDraw.Draw(drawn).text((0, drawn.height // 2), text, colour, _font(size), anchor="lm")
    return drawn


def _across(pictures: Sequence[PIL.Image.Image], gap: int = _GAP) -> PIL.Image.Image:
    return joined(pictures, gap, across=True)


def _down(pictures: Sequence[PIL.Image.Image], gap: int) -> PIL.Image.Image:
    return joined(pictures, gap, across=False)


def joined(pictures: Sequence[PIL.Image.Image], gap: int, *, across: bool) -> PIL.Image.Image:
    """Pictures in a row or a column, all of them at its left or top."""
    gaps = gap * (len(pictures) - 1)
    wide, high = [one.width for one in pictures], [one.height for one in pictures]
    size: Size = (sum(wide) + gaps, max(high)) if across else (max(wide), sum(high) + gaps)
    drawn = PIL.Image.new("RGB", size, PAGE)
    place = 0
    for one in pictures:
        drawn.paste(one, (place, 0) if across else (0, place))
        place += gap + (one.width if across else one.height)
    return drawn
