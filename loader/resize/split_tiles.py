"""Scaled until the longest edge fits, cut into square tiles, one overview added; SmolVLM, Idefics3.

Follows `SmolVLMImageProcessorPil` of transformers 5.23 step by step, because its integer roundings
decide the number of tiles.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from loader.resize.plan import Bounds, Geometry, Size

if TYPE_CHECKING:
    from registry.tiles import SplitTiles

CEILING = 4096
"""Upstream's absolute bound on either side after the first scaling."""


def split_tiles(parameters: SplitTiles, size: Size, bounds: Bounds) -> Geometry:
    """A grid of tiles and one overview; bounds cannot act, upstream scales every image to one edge."""
    del bounds
    tile = parameters.tile
    scaled = _below(_longest(size, parameters.longest_edge), CEILING)
    width, height = _whole_tiles(scaled, tile)
    if width <= tile and height <= tile:
        rows = cols = 0
    else:
        rows, cols = height // tile, width // tile
    tiles = rows * cols + 1
    return Geometry(
        (scaled, (width, height)),
        tiles * parameters.tokens_per_tile,
        tiles * (tile // parameters.patch) ** 2,
        tiles=tiles,
        rows=rows,
        cols=cols,
    )


def _longest(size: Size, edge: int) -> Size:
    """Scaled so that the longest edge is `edge`, the other one even."""
    width, height = size
    aspect = width / height
    if width >= height:
        short = int(edge / aspect)
        return edge, max(short + short % 2, 1)
    short = int(edge * aspect)
    return max(short + short % 2, 1), edge


def _below(size: Size, edge: int) -> Size:
    """Scaled down so that no side is longer than `edge`."""
    width, height = size
    aspect = width / height
    if width >= height and width > edge:
        return edge, max(int(edge / aspect), 1)
    if height > width and height > edge:
        return max(int(edge * aspect), 1), edge
    return size


def _whole_tiles(size: Size, tile: int) -> Size:
    """Both sides rounded up to whole tiles, the short one after the long one has been."""
    width, height = size
    aspect = width / height
    if width >= height:
        wide = math.ceil(width / tile) * tile
        return wide, math.ceil(int(wide / aspect) / tile) * tile
    high = math.ceil(height / tile) * tile
    return math.ceil(int(high * aspect) / tile) * tile, high
