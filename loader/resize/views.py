"""What the tile strategies share: tokens of a view, an image centred on a square, the pixels of a grid."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from loader.resize.plan import Size

if TYPE_CHECKING:
    from registry.tiles import CanvasTiles, Overview, StretchTiles

    Tiles = StretchTiles | CanvasTiles


def tokens_of(parameters: Tiles, side: int, cols: int = 1, rows: int = 1) -> int:
    """Image tokens of `cols` x `rows` squares of `side` pixels that make one grid of tokens."""
    # A side that is no multiple of patch x merge is rounded down to patches and then up to tokens.
    per_side = -(-(side // parameters.patch) // parameters.merge)
    return (per_side * cols + parameters.row_ends) * per_side * rows


def patches_of(parameters: Tiles, side: int) -> int:
    """Patches of one square of `side` pixels."""
    return (side // parameters.patch) ** 2


def overview_of(parameters: Tiles, tiles: int) -> Overview | None:
    """The overview that an image of so many tiles gets."""
    overview = parameters.overview
    return overview if overview and (tiles > 1 or overview.when == "always") else None


def centred(size: Size, canvas: Size) -> tuple[Size, Size]:
    """The size that fits into `canvas`, and where the canvas starts in it: Pillow's `ImageOps.pad`.

    One side of the size is 0 where the image is so long that nothing of it is left.
    """
    (width, height), (wide, high) = size, canvas
    aspect, wanted = width / height, wide / high
    if aspect > wanted:
        fitted = wide, round(height / width * wide)
    elif aspect < wanted:
        fitted = round(width / height * high), high
    else:
        fitted = canvas
    left, top = round((wide - fitted[0]) * 0.5), round((high - fitted[1]) * 0.5)
    return fitted, (-left, -top)


def own_pixels(grids: Iterable[Size], tile: int, size: Size) -> Size:
    """The grid that keeps most of the image's own pixels, and of those the one with the least border."""
    width, height = size
    best, most, least = (1, 1), -1, 0
    for cols, rows in grids:
        wide, high = cols * tile, rows * tile
        scale = min(wide / width, high / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        border = wide * high - kept
        if kept > most or (kept == most and border < least):
            best, most, least = (cols, rows), kept, border
    return best
