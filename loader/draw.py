"""A picture of what the model sees: the resized image, its tiles and tokens, padding and what is cut off.

Pillow alone, imported only when somebody asks for a picture. Colours are of Okabe and Ito's palette, which
the colour-blind can tell apart; nothing is said by colour alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import PIL.Image
from PIL import ImageDraw, ImageFilter

from loader.errors import takes_no_images
from loader.page import NARROW, PAGE, Panel, Swatch, joined, page, plate
from loader.parts import Box, Overview, Parts, parts
from loader.resize.views import centred

if TYPE_CHECKING:
    from loader.resize import ImagePlan, Size
    from registry.cards import Card

__all__ = ["draw"]

LARGEST = 1600
"""Pixels of the longer side of a picture, at most."""
SMALLEST_CELL = 6
"""Pixels of a drawn cell; finer ones would hide the image."""
STRIP = 4
"""Images that are more than this many times as long as wide are drawn in strips."""

_MAIN = LARGEST - 48, 1200
_TALL = LARGEST - 48, 1430
"""The most that the image may take, and one that is high and narrow."""
_BETWEEN = 20
"""Pixels between two strips."""
_STRIPS = 12
_THUMBNAIL = 200, 320
"""The longer side of the overview."""
_SMALL = 700
"""Images with a shorter longer side are enlarged, by a whole number of times."""
_AROUND = 1.0
"""How many times its own size is shown on each side of what is seen, of what is cut off there."""

_STRIPE, _GROUND = (78, 86, 98), (44, 49, 57)
_SIGN = 176, 184, 194
_LINE, _DARK, _OVERLAP = (240, 228, 66), (0, 0, 0), (86, 180, 233)


@dataclass(frozen=True, slots=True)
class Frame:
    """What is shown of the pixels that the model sees, and how large."""

    view: Box
    scale: float

    @property
    def size(self) -> Size:
        """Of the picture."""
        return max(self.x(self.view[2]), 1), max(self.y(self.view[3]), 1)

    def x(self, value: float) -> int:
        """A place across, in the picture."""
        return round((value - self.view[0]) * self.scale)

    def y(self, value: float) -> int:
        """A place down, in the picture."""
        return round((value - self.view[1]) * self.scale)

    def box(self, box: Box) -> tuple[int, int, int, int]:
        """A part, in the picture."""
        return self.x(box[0]), self.y(box[1]), self.x(box[2]), self.y(box[3])


def draw(image: PIL.Image.Image, plan: ImagePlan, card: Card) -> PIL.Image.Image:
    """What the model of `card` sees of `image` (upright RGB), for which `plan` was made.

    The picture's longer side has 600 to 1,600 pixels. Raises UnsupportedFeatureError for a family
    without vision.
    """
    if card.image is None:
        raise takes_no_images(card.name)
    seen = parts(plan, card)
    frame, cuts = framed(plan, seen)
    chosen = PIL.Image.Resampling[card.image.resample.upper()]
    main = _content(image, seen.content, frame, chosen)
    canvas = frame.box((0, 0, plan.width, plan.height))
    _dim(main, canvas)
    fine = seen.cells.side * frame.scale < SMALLEST_CELL
    if not fine:
        _draw_cells(main, *_edges(seen, frame))
    _draw_overlaps(main, seen, frame)
    _draw_borders(main, seen, frame, canvas)
    _draw_labels(main, seen, frame)
    panels = [Panel(_in_strips(main, cuts), *_caption(plan, seen, len(cuts) - 1))]
    if seen.overview:
        panels.append(_thumbnail(image, seen.overview, plan, frame, chosen))
    legend = _legend(plan, seen, frame, fine=fine)
    if len(cuts) > 2:
        way = "left to right" if main.height > main.width else "top to bottom"
        legend.append((None, f"Too long for one piece: read the strips from {way}."))
    return page(f"What {card.name} sees", panels, plan.note, legend)


def framed(plan: ImagePlan, seen: Parts) -> tuple[Frame, list[int]]:
    """How the pixels that the model sees are drawn, with cut-off ends around them; and where, along its
    longer side, the picture is cut into strips, both ends included.
    """
    left, top, right, bottom = seen.content
    more = plan.width * _AROUND, plan.height * _AROUND
    view = (
        min(0, max(left, -more[0])),
        min(0, max(top, -more[1])),
        max(plan.width, min(right, plan.width + more[0])),
        max(plan.height, min(bottom, plan.height + more[1])),
    )
    wide, high = view[2] - view[0], view[3] - view[1]
    cuts = _cuts(view, seen)
    count, longest = len(cuts) - 1, max(end - start for start, end in itertools.pairwise(cuts))
    most = _TALL if count == 1 and high > NARROW * wide else _MAIN
    beside = _THUMBNAIL[1] + 32 if seen.overview and (wide <= NARROW * high or count > 1) else 0
    gaps = (_BETWEEN + 1) * (count - 1)  # and a pixel for rounding
    if high > wide:
        scale = min((most[0] - beside - gaps) / (wide * count), most[1] / longest)
    else:
        scale = min((most[0] - beside) / longest, (most[1] - gaps) / (high * count))
    if scale > 1:
        scale = min(int(scale), math.ceil(_SMALL / max(longest, min(wide, high) * count)))
    frame = Frame(view, scale)
    return frame, [frame.y(cut) if high > wide else frame.x(cut) for cut in cuts]


def _cuts(view: Box, seen: Parts) -> list[float]:
    """Where a long image is cut into strips: between tiles or, of one picture, between tokens."""
    wide, high = view[2] - view[0], view[3] - view[1]
    upright = high > wide
    start, end = (view[1], view[3]) if upright else (view[0], view[2])
    ratio = max(wide, high) / min(wide, high)
    if ratio <= STRIP:
        return [start, end]
    tiles, cells = (seen.down, seen.cells.rows) if upright else (seen.across, seen.cells.columns)
    places = list(tiles[1:-1]) or [cell[0] for cell in cells[1:]]
    count = min(round(math.sqrt(ratio)), _STRIPS)
    step = math.ceil((len(places) + 1) / count)  # so that only the last strip is shorter
    return [start, *places[step - 1 :: step], end]


def _in_strips(drawn: PIL.Image.Image, cuts: Sequence[int]) -> PIL.Image.Image:
    """The picture cut along its longer side, the pieces side by side."""
    if len(cuts) == 2:
        return drawn
    upright = drawn.height > drawn.width
    boxes = [
        (0, start, drawn.width, end) if upright else (start, 0, end, drawn.height)
        for start, end in itertools.pairwise(cuts)
    ]
    return joined([drawn.crop(box) for box in boxes], _BETWEEN, across=upright)


def _content(
    image: PIL.Image.Image, content: Box, frame: Frame, chosen: PIL.Image.Resampling
) -> PIL.Image.Image:
    """The image where it lies, on hatching that stands for padding."""
    drawn = hatched(frame.size)
    shown = [max(content[0], frame.view[0]), max(content[1], frame.view[1])]
    shown += [min(content[2], frame.view[2]), min(content[3], frame.view[3])]
    left, top, right, bottom = frame.box((shown[0], shown[1], shown[2], shown[3]))
    across, down = image.width / (content[2] - content[0]), image.height / (content[3] - content[1])
    source = (
        max((shown[0] - content[0]) * across, 0),
        max((shown[1] - content[1]) * down, 0),
        min((shown[2] - content[0]) * across, image.width),
        min((shown[3] - content[1]) * down, image.height),
    )
    size = max(right - left, 1), max(bottom - top, 1)
    if frame.scale > 1:
        # Enlarged are the model's own pixels, not the image's.
        own = max(round(shown[2] - shown[0]), 1), max(round(shown[3] - shown[1]), 1)
        whole = frame.scale == int(frame.scale)
        image = image.resize(own, chosen, box=source, reducing_gap=3)
        piece = image.resize(size, PIL.Image.Resampling.NEAREST if whole else chosen)
    else:
        piece = image.resize(size, PIL.Image.Resampling.LANCZOS, box=source, reducing_gap=3)
    drawn.paste(piece, (left, top))
    return drawn


def hatched(size: Size) -> PIL.Image.Image:
    """What stands for pixels that are not the image's."""
    drawn = PIL.Image.new("RGB", size, _GROUND)
    pen = ImageDraw.Draw(drawn)
    for start in range(-size[1], size[0], 14):
        pen.line((start, size[1], start + size[1], 0), _STRIPE, 4)
    return drawn


def _dim(drawn: PIL.Image.Image, canvas: tuple[int, int, int, int]) -> None:
    """Everything outside `canvas`, which the model does not see."""
    mask = PIL.Image.new("L", drawn.size, 185)
    mask.paste(0, canvas)
    drawn.paste(PAGE, mask=mask)


def _edges(seen: Parts, frame: Frame) -> tuple[list[int], list[int]]:
    """Places of the lines between cells, across and down."""
    columns = {frame.x(end) for span in seen.cells.columns for end in span}
    rows = {frame.y(end) for span in seen.cells.rows for end in span}
    return sorted(columns), sorted(rows)


def _draw_cells(drawn: PIL.Image.Image, columns: Sequence[int], rows: Sequence[int]) -> None:
    """Fine lines, light on dark parts and dark on light ones."""
    if not (columns and rows):
        return  # of a thin image in much padding, LLaVA-NeXT keeps no token of the tiles
    mask = PIL.Image.new("L", drawn.size)
    pen = ImageDraw.Draw(mask)
    faint = 95 if min(columns[1] - columns[0], rows[1] - rows[0]) >= 12 else 70
    for x in columns:
        pen.line((x, rows[0], x, rows[-1]), faint)
    for y in rows:
        pen.line((columns[0], y, columns[-1], y), faint)
    around = drawn.convert("L").filter(ImageFilter.BoxBlur(6))
    ink = around.point(lambda value: 0 if value > 120 else 255).convert("RGB")
    drawn.paste(ink, mask=mask)


def _draw_overlaps(drawn: PIL.Image.Image, seen: Parts, frame: Frame) -> None:
    """Bands that two tiles see."""
    if not seen.overlap:
        return
    mask = PIL.Image.new("L", drawn.size)
    for x in seen.across[1:-1]:
        mask.paste(90, (frame.x(x - seen.overlap), 0, frame.x(x + seen.overlap), mask.height))
    for y in seen.down[1:-1]:
        mask.paste(90, (0, frame.y(y - seen.overlap), mask.width, frame.y(y + seen.overlap)))
    drawn.paste(_OVERLAP, mask=mask)


def _draw_borders(
    drawn: PIL.Image.Image, seen: Parts, frame: Frame, canvas: tuple[int, int, int, int]
) -> None:
    """Strong lines between tiles, and around what is seen where the picture shows more."""
    pen = ImageDraw.Draw(drawn)
    lines = [(frame.x(x), canvas[1], frame.x(x), canvas[3]) for x in seen.across[1:-1]]
    lines += [(canvas[0], frame.y(y), canvas[2], frame.y(y)) for y in seen.down[1:-1]]
    for colour, width in ((_DARK, 5), (_LINE, 3)):
        for line in lines:
            pen.line(line, colour, width)
    if canvas != (0, 0, *drawn.size):
        pen.rectangle((canvas[0] - 3, canvas[1] - 3, canvas[2] + 2, canvas[3] + 2), outline=_DARK, width=5)
        pen.rectangle((canvas[0] - 2, canvas[1] - 2, canvas[2] + 1, canvas[3] + 1), outline=_LINE, width=3)


def _draw_labels(drawn: PIL.Image.Image, seen: Parts, frame: Frame) -> None:
    """What each tile costs, where the tile has room for it."""
    if len(seen.tiles) == 1 and not seen.overview:
        return
    for number, tile in enumerate(seen.tiles, start=1):
        if tile.tokens is not None:
            texts = [f"{tile.tokens:,} tokens", f"{tile.tokens:,}"]
        elif seen.states:
            texts = [f"{seen.states:,} states", f"{seen.states:,}"]
        else:
            texts = [f"tile {number}", f"{number}"]
        plate(drawn, frame.box(tile.box), texts)


def _thumbnail(
    image: PIL.Image.Image, overview: Overview, plan: ImagePlan, main: Frame, chosen: PIL.Image.Resampling
) -> Panel:
    """The overview."""
    wide, high = size = overview.size or plan.source
    side = min(max(max(size) * main.scale if overview.size else 0, _THUMBNAIL[0]), _THUMBNAIL[1])
    if not overview.size:
        side = _THUMBNAIL[1]
    content: Box = (0, 0, wide, high)
    if overview.fit == "centre":
        fitted, (x, y) = centred(plan.source, size)
        content = (-x, -y, max(fitted[0], 1) - x, max(fitted[1], 1) - y)
    elif overview.fit == "corner":
        longest = max(plan.source)
        content = (0, 0, *(max(edge * wide / longest, 1) for edge in plan.source))  # type: ignore[assignment]
    frame = Frame((0, 0, wide, high), side / max(size))
    drawn = _content(image, content, frame, chosen)
    count = overview.cells
    if count and min(drawn.size) / count >= SMALLEST_CELL:
        edges = [[side * number // count for number in range(count + 1)] for side in drawn.size]
        _draw_cells(drawn, edges[0], edges[1])
    words = f"the whole image in {wide}x{high} pixels" if overview.size else "the whole image"
    texts = [f"{overview.tokens:,} tokens", f"{overview.tokens:,}"]
    if overview.tokens and not plate(drawn, (0, 0, *drawn.size), texts):
        words += f", {overview.tokens:,} tokens"
    return Panel(drawn, "Overview", words)


def _caption(plan: ImagePlan, seen: Parts, strips: int) -> tuple[str, str]:
    """The words above the image."""
    drawn = f", drawn in {strips} strips" if strips > 1 else ""
    count = len(seen.tiles)
    tokens = f"{len(seen.cells.columns)} x {len(seen.cells.rows)} image tokens"
    if count == 1:
        own = seen.tiles[0].tokens is not None and seen.cells.unit == "token"
        pixels = f"{plan.width}x{plan.height} pixels"
        return f"One picture{drawn}", f"{pixels}, {tokens}" if own else pixels
    rows, cols = len(seen.down) - 1, len(seen.across) - 1
    shape = " in a row" if rows == 1 else " in a column" if cols == 1 else f", {rows} rows of {cols}"
    pixels = f"{seen.tile[0]}x{seen.tile[1]} pixels"
    if seen.tokens_per_tile is not None:
        words = f"{pixels} and {seen.tokens_per_tile:,} image tokens each"
    else:
        words = f"{pixels} each, {tokens} together" if seen.cells.unit == "token" else f"{pixels} each"
    return f"{count} tiles{shape}{drawn}", words


def _legend(plan: ImagePlan, seen: Parts, frame: Frame, *, fine: bool) -> list[tuple[Swatch | None, str]]:
    """What the signs in the picture mean, and what it cannot show."""
    side = round(seen.cells.side)
    what = "image token" if seen.cells.unit == "token" else "patch of the encoder"
    said: list[tuple[Swatch | None, str]] = []
    if fine:
        said.append((None, f"One {what} is {side}x{side} pixels, too small to draw here."))
    else:
        said.append((_cell_swatch, f"one {what}, {side}x{side} pixels"))
    if len(seen.tiles) > 1:
        said.append((_border_swatch, "border of a tile"))
    if seen.overlap and len(seen.tiles) > 1:
        said.append((_overlap_swatch, "seen by both neighbours"))
    left, top, right, bottom = seen.content
    if left > 0 or top > 0 or right < plan.width or bottom < plan.height:
        said.append((hatched, "padding"))
    if left < 0 or top < 0 or right > plan.width or bottom > plan.height:
        whole = (right - left) * (bottom - top)
        kept = (min(right, plan.width) - max(left, 0)) * (min(bottom, plan.height) - max(top, 0))
        hidden = min(left, top) < min(frame.view[:2]) or right > frame.view[2] or bottom > frame.view[3]
        rest = ", not all of it shown" if hidden else ""
        said.append((_dim_swatch, f"cut off, {max(1 - kept / whole, 0.001):.1%} of the image{rest}"))
    if seen.states:
        said.append((None, "The language model attends to the encoder's states, not to image tokens."))
    elif seen.rest:
        said.append((None, f"{seen.rest:,} more image tokens stand for no pixels."))
    elif seen.overview and seen.overview.tokens == plan.image_tokens:
        said.append((None, "The tiles are averaged into the overview's tokens."))
    elif seen.cells.unit == "patch":
        said.append((None, "Image tokens have no places of their own in the image."))
    return said


def _swatch(paint: Callable[[PIL.Image.Image], None]) -> Swatch:
    def made(size: Size) -> PIL.Image.Image:
        drawn = PIL.Image.new("RGB", size, (128, 136, 146))
        paint(drawn)
        return drawn

    return made


def _paint_cells(drawn: PIL.Image.Image) -> None:
    drawn.paste(_GROUND, (0, 0, *drawn.size))
    pen = ImageDraw.Draw(drawn)
    for place in range(1, drawn.width, 9):
        pen.line((place, 0, place, drawn.height), _SIGN)
        pen.line((0, place, drawn.width, place), _SIGN)


def _paint_border(drawn: PIL.Image.Image) -> None:
    pen = ImageDraw.Draw(drawn)
    for colour, width in ((_DARK, 5), (_LINE, 3)):
        pen.line((drawn.width // 2, 0, drawn.width // 2, drawn.height), colour, width)


_cell_swatch = _swatch(_paint_cells)
_border_swatch = _swatch(_paint_border)
_overlap_swatch = _swatch(lambda drawn: drawn.paste(_OVERLAP, mask=PIL.Image.new("L", drawn.size, 150)))
_dim_swatch = _swatch(lambda drawn: _dim(drawn, (0, 0, 0, 0)))
