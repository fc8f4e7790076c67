"""An overview and, of large images, a grid of slices, each of about one area; MiniCPM-V 4.6 and 4.7.

Follows `MiniCPMVImageProcessor.slice_image` of mlx-vlm 0.7.10 (models/minicpmv4_6/
processing_minicpmv4_6.py) to the float, in its mode of 16 patches for a token.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from loader.resize.plan import Bounds, Geometry, Size

if TYPE_CHECKING:
    from registry.crops import Slices


def slices(parameters: Slices, size: Size, bounds: Bounds) -> Geometry:
    """One picture of any aspect, or an overview and a grid of slices; bounds act by way of `smaller`.

    No side has an upper bound: of a small image that is long and narrow upstream makes a strip with one
    token for each patch x merge pixels of its length.
    """
    del bounds
    area = (parameters.patch * parameters.merge) ** 2
    grid = _grid(parameters, size)
    if grid is None:
        picture = _picture(parameters, size)
        tokens = picture[0] * picture[1] // area
        stays = _grid(parameters, picture) is None and _picture(parameters, picture) == picture
        return Geometry((picture,), tokens, tokens * parameters.merge**2, rows=0, cols=0, stays=stays)
    cols, rows = grid
    overview = _picture(parameters, size)
    # Upstream's first rounding makes the image divisible by the grid.
    part = _whole(size[0], cols) / cols, _whole(size[1], rows) / rows
    wide, high = _picture(parameters, part)
    tokens = (overview[0] * overview[1] + rows * cols * wide * high) // area
    return Geometry(
        ((wide * cols, high * rows),),
        tokens,
        tokens * parameters.merge**2,
        tiles=rows * cols + 1,
        rows=rows,
        cols=cols,
        overview_tokens=overview[0] * overview[1] // area,
        stays=False,  # the overview is made of the caller's pixels
    )


def smaller(parameters: Slices) -> Iterator[Slices]:
    """The same with fewer slices at most, step by step; the last is one picture.

    In the real processor this is `image_processor.max_slice_nums`.
    """
    for most in range(parameters.max_tiles - 1, 0, -1):
        yield dataclasses.replace(parameters, max_tiles=most)


def _grid(parameters: Slices, size: Size) -> tuple[int, int] | None:
    """Columns and rows nearest to the image's aspect, of about as many slices as its area needs."""
    width, height = size
    most = parameters.max_tiles
    needed = min(math.ceil(width * height / float(parameters.tile**2)), most)
    if needed <= 1:
        return None
    aspect = math.log(width / height)
    best, least = (1, 1), math.inf
    for count in (needed - 1, needed, needed + 1):
        if count == 1 or count > most:
            continue
        for cols in range(1, count + 1):
            if count % cols == 0:
                error = abs(aspect - math.log(cols / (count // cols)))
                if error < least:
                    best, least = (cols, count // cols), error
    return best


def _picture(parameters: Slices, size: tuple[float, float]) -> Size:
    """The size with the area of a tile and the image's aspect, larger or smaller than the image."""
    factor = parameters.patch * parameters.merge
    ratio = size[0] / max(size[1], 1)
    height = int(parameters.tile / math.sqrt(max(ratio, 1e-6)))
    return _whole(int(height * ratio), factor), _whole(height, factor)


def _whole(length: float, factor: int) -> int:
    """The nearest multiple, a half to even as upstream rounds, at least one."""
    return max(round(length / factor) * factor, factor)
