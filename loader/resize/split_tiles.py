"""Scaled until the longest edge fits, cut into square tiles, one overview added; SmolVLM, Idefics3.

Follows `SmolVLMImageProcessorPil` and `Idefics3ImageProcessorPil` of transformers 5.23, which are the same,
step by step, because their integer roundings decide the number of tiles.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from loader.resize.plan import Bounds, Geometry, Size

if TYPE_CHECKING:
    from registry.tiles import SplitTiles

CEILING = 4096
"""Upstream's absolute bound on either side after the first scaling."""


def split_tiles(parameters: SplitTiles, size: Size, bounds: Bounds) -> Geometry:
    """A grid of tiles and one overview; bounds act by way of `smaller`, every image is scaled to one edge."""
    del bounds
    tile = parameters.tile
    scaled, (width, height) = _resizes(parameters, size)
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
        # The overview is made of the grid, so only a grid that would be scaled once more is another image.
        stays=_resizes(parameters, (width, height)) == ((width, height), (width, height)),
    )


def smaller(parameters: SplitTiles) -> Iterator[SplitTiles]:
    """The same with a longest edge of fewer whole tiles, step by step down to one.

    In the real processor this is `image_processor.size["longest_edge"]`.
    """
    for tiles in range((parameters.longest_edge - 1) // parameters.tile, 0, -1):
        yield dataclasses.replace(parameters, longest_edge=tiles * parameters.tile)


def _resizes(parameters: SplitTiles, size: Size) -> tuple[Size, Size]:
    """The size with the longest edge, and the one of whole tiles."""
    scaled = _below(_longest(size, parameters.longest_edge), CEILING)
    return scaled, _whole_tiles(scaled, parameters.tile)


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
