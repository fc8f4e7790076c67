"""Scaled to a grid of tiles that overlap, with an overview; Molmo, Molmo 2, MolmoPoint, Jina VLM.

Follows mlx-vlm 0.7.10: `MolmoImageProcessor.image_to_patches_and_tokens` (models/molmo/
processing_molmo.py), `image_to_patches_and_grids` and `get_image_tokens` (molmo2/processing.py and
molmo_point), `ImageProcessor.process_image` (jina_vlm/image_processor.py). These compute scales in single
precision, and a tie there decides the grid; `_single` does the same without numpy.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from array import array
from collections.abc import Iterator
from typing import TYPE_CHECKING

from loader.errors import ImageError
from loader.resize.plan import Bounds, Geometry, Size
from loader.resize.smart_resize import smart_resize

if TYPE_CHECKING:
    from registry.crops import Crops


def crops(parameters: Crops, size: Size, bounds: Bounds) -> Geometry:
    """A grid of overlapping tiles and one overview; bounds act by way of `smaller`."""
    del bounds
    before = () if parameters.scaled is None else smart_resize(parameters.scaled, size, Bounds()).resizes
    source = before[-1] if before else size
    side = parameters.tile // parameters.patch
    window = side - 2 * parameters.margin
    rows, cols = _tiling(parameters, source, window)
    patches = [count * window + 2 * parameters.margin for count in (cols, rows)]
    canvas = patches[0] * parameters.patch, patches[1] * parameters.patch
    fitted = canvas if parameters.fit == "stretch" else _padded(parameters, source, canvas)
    wide, high = (_merged(parameters, count, window) for count in (cols, rows))
    overview = math.ceil(side / parameters.merge)
    tokens, extra = _tokens(parameters, wide * high, high, overview)
    tiles = rows * cols + 1
    return Geometry(
        (*before, fitted),
        tokens,
        tiles * side**2,
        offset=(-((canvas[0] - fitted[0]) // 2), -((canvas[1] - fitted[1]) // 2)),
        seen=canvas,
        tiles=tiles,
        rows=rows,
        cols=cols,
        grid=(wide, high),
        extra_tokens=extra,
        stays=False,  # the overview is made of what the tiles are made of, not of the tiles
    )


def smaller(parameters: Crops) -> Iterator[Crops]:
    """The same with fewer tiles at most, step by step.

    In the real processor this is `image_processor.max_crops`; `_image_proc.max_crops` for Jina VLM.
    """
    for most in range(parameters.max_tiles - 1, 0, -1):
        yield dataclasses.replace(parameters, max_tiles=most)


def _tokens(parameters: Crops, grid: int, rows: int, overview: int) -> tuple[int, int]:
    """Image tokens, and the other positions: both parts have a start, an end and row separators."""
    if parameters.overview == "image":
        return grid + overview**2, 4 + rows + overview
    return grid, 4 + rows + overview**2


def _merged(parameters: Crops, count: int, window: int) -> int:
    """Tokens along `count` tiles."""
    merge, margin = parameters.merge, parameters.margin
    if parameters.merge_across or count == 1:
        return math.ceil((count * window + 2 * margin) / merge)
    return 2 * math.ceil((window + margin) / merge) + (count - 2) * math.ceil(window / merge)


def _tiling(parameters: Crops, size: Size, window: int) -> tuple[int, int]:
    """The rows and columns that enlarge the image least, or shrink it least where all of them shrink it."""
    step, margins = window * parameters.patch, 2 * parameters.margin * parameters.patch
    counts = range(1, parameters.max_tiles + 1)
    # What is left of a side may be nothing, or less: upstream divides all the same.
    wide, high = size[0] - margins, size[1] - margins
    across = _single(*[count * step / wide if wide else math.inf for count in counts])
    down = _single(*[count * step / high if high else math.inf for count in counts])
    grids = _grids(parameters.max_tiles)
    scales = [min(down[rows - 1], across[cols - 1]) for rows, cols in grids]
    largest = max(scales)
    if largest < 1:
        return grids[scales.index(largest)]
    return grids[scales.index(min([scale for scale in scales if scale >= 1]))]


@functools.cache
def _grids(most: int) -> tuple[tuple[int, int], ...]:
    """Every rows and columns of at most so many tiles, in upstream's order, which decides ties."""
    counts = range(1, most + 1)
    grids = [(rows, cols) for rows in counts for cols in counts if rows * cols <= most]
    return tuple(sorted(grids, key=lambda grid: (grid[0] * grid[1], grid[0])))


def _padded(parameters: Crops, size: Size, canvas: Size) -> Size:
    """The size that the image has between its borders; refused where the overview has nothing of it."""
    if min(_fitted(size, (parameters.tile, parameters.tile))) < 1:
        raise ImageError(
            f"An image of {size[0]}x{size[1]} is so narrow that nothing is left of it in the overview, "
            f"which is {parameters.tile} pixels wide and high. Cut it into pieces."
        )
    return _fitted(size, canvas)


def _fitted(size: Size, canvas: Size) -> Size:
    """The size that fits into `canvas`, rounded down, with upstream's error of single precision."""
    scale = min(_single(canvas[0] / size[0], canvas[1] / size[1]))
    width, height = _single(size[0] * scale, size[1] * scale)
    return int(width), int(height)


def _single(*values: float) -> array[float]:
    """The values in single precision. Of one quotient or product this is what numpy's float32 gives."""
    return array("f", values)
