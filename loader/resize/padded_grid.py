"""Kept in shape and padded to a grid of tokens; GLM-5-Next and DeepSeek-V4.1.

Whole tokens follow `smart_resize` and `_resize_geometry` of mlx-vlm 0.7.10 (models/glm5_next/processing.py),
whole patches `plan_image_grid` (models/deepseek_v41/processing_deepseek_v41.py) and Pillow's `ImageOps.pad`.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

from loader.errors import ImageError
from loader.resize.bounded import bounded, closed
from loader.resize.plan import Bounds, Geometry, Size

if TYPE_CHECKING:
    from registry.grids import PaddedGrid


def padded_grid(parameters: PaddedGrid, size: Size, bounds: Bounds) -> Geometry:
    """One picture and its padding; a budget is kept by handing over a smaller picture."""
    way = _in_whole_tokens if parameters.whole == "tokens" else _in_whole_patches
    return bounded(functools.partial(way, parameters), size, bounds)


def _geometry(parameters: PaddedGrid, content: Size, seen: Size, offset: Size) -> Geometry:
    cols, rows = (side // parameters.patch for side in seen)
    grid = math.ceil(cols / parameters.merge), math.ceil(rows / parameters.merge)
    tokens, extra = closed(grid, parameters.row_end)
    return Geometry((content,), tokens, cols * rows, offset, seen, grid=grid, extra_tokens=extra)


def _in_whole_tokens(parameters: PaddedGrid, size: Size) -> Geometry:
    """The largest canvas within the budget, the picture at its left and top."""
    width, height = size
    factor = parameters.patch * parameters.merge
    seen = _aligned(size, factor)
    if seen[0] * seen[1] < parameters.min_pixels:
        enlarge = math.sqrt(parameters.min_pixels / (width * height))
        seen = _aligned((math.ceil(width * enlarge), math.ceil(height * enlarge)), factor)
    if seen[0] * seen[1] > parameters.max_tokens * factor**2:
        seen = _largest(size, factor, parameters.max_tokens)
    scale = min(seen[1] / height, seen[0] / width)
    if width * height >= parameters.min_pixels:
        scale = min(1.0, scale)
    content = _clamped(width * scale, seen[0]), _clamped(height * scale, seen[1])
    return _geometry(parameters, content, seen, (0, 0))


def _largest(size: Size, factor: int, most: int) -> Size:
    """The canvas of the largest picture whose canvas has at most `most` tokens."""
    width, height = size
    best = factor, factor
    low, high = 1, height
    # A wider picture never has a smaller canvas, so halving finds the last height that fits.
    while low <= high:
        middle = (low + high) // 2
        canvas = _aligned((max(1, math.floor(width * middle / height)), middle), factor)
        if canvas[0] * canvas[1] <= most * factor**2:
            best, low = canvas, middle + 1
        else:
            high = middle - 1
    return best


def _aligned(size: Size, factor: int) -> Size:
    return math.ceil(size[0] / factor) * factor, math.ceil(size[1] / factor) * factor


def _clamped(side: float, most: int) -> int:
    return max(1, min(most, math.floor(side)))


def _in_whole_patches(parameters: PaddedGrid, size: Size) -> Geometry:
    """A canvas of whole patches, the picture in its middle."""
    width, height = size
    if width * height < parameters.min_pixels:
        ratio = (parameters.min_pixels / (width * height)) ** 0.5
        width, height = int(width * ratio), int(height * ratio)
    canvas = _aligned((width, height), parameters.patch)
    cells = (math.ceil(side // parameters.patch / parameters.merge) for side in canvas)
    tokens, _ = closed((next(cells), next(cells)), parameters.row_end)
    if min(canvas) and tokens > parameters.max_tokens:
        canvas = _solved(parameters, (width, height))
    content = _contained(size, canvas) if min(canvas) else (0, 0)
    if min(content) < 1:
        raise ImageError(
            f"An image of {size[0]}x{size[1]} has nothing left of its short side when it is scaled as the "
            "model wants it. Cut it into pieces."
        )
    offset = -round((canvas[0] - content[0]) * 0.5), -round((canvas[1] - content[1]) * 0.5)
    return _geometry(parameters, content, canvas, offset)


def _solved(parameters: PaddedGrid, size: Size) -> Size:
    """The largest canvas in the picture's shape with max_tokens, its rows closed and enclosed by two."""
    width, height = size
    cell = parameters.patch * parameters.merge
    ratio = height / width
    most = parameters.max_tokens
    cols = math.sqrt((most - 2) / ratio + 0.25) - 0.5
    rows = cols * ratio
    if cols < 1:
        return cell, (most - 2) // 2 * cell
    if rows < 1:
        return (most - 3) * cell, cell
    scale = min(math.floor(cols) * cell / width, math.floor(rows) * cell / height)
    patch = parameters.patch
    return math.floor(width * scale / patch) * patch, math.floor(height * scale / patch) * patch


def _contained(size: Size, canvas: Size) -> Size:
    """The picture as large as the canvas takes it, as Pillow's `ImageOps.contain` rounds it."""
    shape, wanted = size[0] / size[1], canvas[0] / canvas[1]
    if shape > wanted:
        return canvas[0], round(size[1] / size[0] * canvas[0])
    if shape < wanted:
        return round(size[0] / size[1] * canvas[1]), canvas[1]
    return canvas
