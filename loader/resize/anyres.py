"""Fitted into the best of some grids of tiles; LLaVA-NeXT, LLaVA-OneVision, Granite Vision 3 and 4.

The pixels follow `LlavaNextImageProcessorPil` and `LlavaOnevisionImageProcessorPil` of transformers 5.23
(`get_image_patches`, `select_best_resolution`, `get_patch_output_size`), the tokens follow
`_get_unpadded_features` of mlx-vlm 0.7.10 (models/llava_next/processing_llava_next.py and the same in
granite_vision, granite4_vision and llava_onevision), both to the float.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from loader.resize.plan import Bounds, Geometry, Size

if TYPE_CHECKING:
    from registry.crops import Anyres

SLACK = 1.1
"""Upstream lets the sides of the token grid be this much larger before it scales them down."""


def anyres(parameters: Anyres, size: Size, bounds: Bounds) -> Geometry:
    """A grid of tiles with borders of padding, and one overview; bounds act by way of `smaller`."""
    del bounds
    tile = parameters.tile
    cols, rows = _best(parameters, size)
    canvas = cols * tile, rows * tile
    fitted = _fitted(size, canvas)
    side = tile // parameters.patch // parameters.merge
    wide, high = _without_padding(size, (cols * side, rows * side))
    if parameters.shrink_above is not None:
        ratio = math.sqrt(wide * high / (parameters.shrink_above * side**2))
        if ratio > SLACK:
            wide, high = int(wide // ratio), int(high // ratio)
    tiles = cols * rows + 1
    return Geometry(
        (fitted,),
        side**2 + (wide + 1) * high,
        tiles * (tile // parameters.patch) ** 2,
        offset=(-((canvas[0] - fitted[0]) // 2), -((canvas[1] - fitted[1]) // 2)),
        seen=canvas,
        tiles=tiles,
        rows=rows,
        cols=cols,
        grid=(wide, high),
        stays=False,  # the overview is made of the caller's pixels
    )


def smaller(parameters: Anyres) -> Iterator[Anyres]:
    """The same with fewer tiles at most, step by step: the list without its largest grids.

    In the real processor this is `image_processor.image_grid_pinpoints`, pairs of height and width in
    pixels. Models that leave out the padding themselves (LLaVA-OneVision, Granite Vision 4) read the list
    once more from `model.config.image_grid_pinpoints`, which must be set with it.
    """
    for most in sorted({cols * rows for cols, rows in parameters.grids}, reverse=True)[1:]:
        grids = tuple(grid for grid in parameters.grids if grid[0] * grid[1] <= most)
        yield dataclasses.replace(parameters, grids=grids)


def _best(parameters: Anyres, size: Size) -> tuple[int, int]:
    """The grid that keeps most of the image's own pixels, then the one with the least padding."""
    width, height = size
    tile, own = parameters.tile, width * height
    best, most, least = parameters.grids[0], -1, 0
    for grid in parameters.grids:
        wide, high = grid[0] * tile, grid[1] * tile
        scale = min(wide / width, high / height)
        kept = min(int(width * scale) * int(height * scale), own)
        waste = wide * high - kept
        if kept > most or (kept == most and waste < least):
            best, most, least = grid, kept, waste
    return best


def _fitted(size: Size, canvas: Size) -> Size:
    """The size that fits into `canvas`, the free side rounded up."""
    width, height = size
    across, down = canvas[0] / width, canvas[1] / height
    if across < down:
        return canvas[0], min(math.ceil(height * across), canvas[1])
    return min(math.ceil(width * down), canvas[0]), canvas[1]


def _without_padding(size: Size, grid: Size) -> Size:
    """The token grid without the rows or columns that saw only padding."""
    width, height = size
    cols, rows = grid
    if width / height > cols / rows:
        kept = int(round(height * (cols / width), 7))
        return cols, rows - (rows - kept) // 2 * 2
    kept = int(round(width * (rows / height), 7))
    return cols - (cols - kept) // 2 * 2, rows
