"""Overlapping crops, averaged into the positions of the overview; Moondream 2 and 3.

Follows `select_crop_grid` and `create_crops` of mlx-vlm 0.7.10 (models/moondream3/image_crops.py, the same
in moondream2), and models/moondream3/vision.py for the positions, which are always those of the overview.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from loader.resize.plan import Bounds, Geometry, Size

if TYPE_CHECKING:
    from registry.crops import MergedCrops


def merged_crops(parameters: MergedCrops, size: Size, bounds: Bounds) -> Geometry:
    """A grid of overlapping crops and one overview; bounds act by way of `smaller`, on patches alone.

    Upstream cuts each crop from the caller's pixels and stretches it by itself. The size that is given
    is the whole grid's: the ends of an image whose aspect the grid has not are stretched more.
    """
    del bounds
    side = parameters.tile // parameters.patch
    rows, cols = _grid(parameters, size)
    tiles = rows * cols + 1
    return Geometry(
        (_extent(parameters, rows, cols),),
        side**2,
        tiles * side**2,
        tiles=tiles,
        rows=rows,
        cols=cols,
        stays=False,  # the overview is made of the caller's pixels
    )


def smaller(parameters: MergedCrops) -> Iterator[MergedCrops]:
    """The same with fewer crops at most, step by step; the last is the overview alone.

    In the real processor this is `max_crops`, of the processor itself.
    """
    for most in range(parameters.max_tiles - 1, 0, -1):
        yield dataclasses.replace(parameters, max_tiles=most)


def _extent(parameters: MergedCrops, rows: int, cols: int) -> Size:
    """Width and height of the grid, in pixels; of the overview where there is no grid."""
    margins = 2 * parameters.margin * parameters.patch
    step = parameters.tile - margins
    return max(cols, 1) * step + margins, max(rows, 1) * step + margins


def _grid(parameters: MergedCrops, size: Size) -> tuple[int, int]:
    """The rows and columns whose shape and size come nearest to the image's, few rather than many."""
    width, height = size
    aspect = width / height
    best, least = (0, 0), math.inf
    for rows in range(1, parameters.max_tiles):
        for cols in range(1, (parameters.max_tiles - 1) // rows + 1):
            wide, high = _extent(parameters, rows, cols)
            shape = abs(math.log(aspect / (cols / rows)))
            scale = abs(math.log(min(high / height, wide / width)))
            # Upstream's weights; in its order, because a sum of floats depends on it.
            score = shape + 0.5 * scale + 0.1 * (rows * cols + 1)
            if score < least:
                best, least = (rows, cols), score
    return best
