"""Both sides become multiples of a factor, the area stays within two bounds; Qwen-VL and its kin.

Follows `_smart_resize_image` of mlx-vlm 0.7.10 (models/qwen3_vl/processing_qwen3_vl.py) to the float,
rounding to even included, so that every size comes out as the processor's own. Its kin are the other
functions `smart_resize` of mlx-vlm's models: ERNIE 4.5, Falcon-OCR, GLM-4V (and of transformers 5.23,
image_processing_pil_glm4v.py), HunyuanVL, MiniMax M3 and PaddleOCR-VL; the fields say where they differ.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

from loader.errors import ImageError
from loader.resize.bounded import bounded, closed, looked_at_twice
from loader.resize.plan import Bounds, Geometry, Size

if TYPE_CHECKING:
    from registry.grids import SmartResize


def smart_resize(parameters: SmartResize, size: Size, bounds: Bounds) -> Geometry:
    """One picture of (width / patch) x (height / patch) patches, merge x merge of them a token."""
    plan = functools.partial(_full, parameters)
    if parameters.longest_edge or parameters.row_end:
        return bounded(plan, size, bounds)
    full = looked_at_twice(plan, plan(size))
    most = _most_pixels(parameters, bounds)
    if most >= parameters.max_pixels:
        return full
    sides = _with_budget(parameters, _prepared(parameters, size), most)
    within = looked_at_twice(plan, _geometry(parameters, (sides,)))
    # Enlarging to the least area may overshoot what the processor makes of an image that it leaves small.
    return full if full.image_tokens < within.image_tokens else within


def _full(parameters: SmartResize, size: Size) -> Geometry:
    """What the model's own processor does."""
    prepared = _prepared(parameters, size)
    sides = _sides(parameters, prepared, parameters.max_pixels)
    steps = (prepared, sides) if parameters.longest_edge and prepared not in (size, sides) else (sides,)
    return _geometry(parameters, steps)


def _geometry(parameters: SmartResize, steps: tuple[Size, ...]) -> Geometry:
    cols, rows = (side // parameters.patch for side in steps[-1])
    grid = cols // parameters.merge, rows // parameters.merge
    tokens, extra = closed(grid, parameters.row_end)
    return Geometry(steps, tokens, cols * rows, grid=grid, extra_tokens=extra)


def _most_pixels(parameters: SmartResize, bounds: Bounds) -> int:
    """The upper bound in force: the model's, the caller's, but never below the model's lower one."""
    most = parameters.max_pixels
    if bounds.tokens is not None:
        most = min(most, bounds.tokens * (parameters.patch * parameters.merge) ** 2)
    if bounds.pixels is not None:
        most = min(most, bounds.pixels)
    return max(most, parameters.min_pixels)


def _prepared(parameters: SmartResize, size: Size) -> Size:
    """The size that the rest is worked out from. Raises ImageError for an overlong image."""
    width, height = size
    most, factor = parameters.max_aspect, parameters.patch * parameters.merge
    if parameters.short_side == "enlarge" and min(size) < factor:
        scale = max(factor / height, factor / width)
        width, height = int(width * scale), int(height * scale)
    elif parameters.short_side == "enlarge_rounded":
        if height < factor:
            width, height = round(width * factor / height), factor
        if width < factor:
            width, height = factor, round(height * factor / width)
    if max(width, height) / min(width, height) <= most:
        return _between_edges(parameters, (width, height))
    if parameters.overlong == "widen":
        return (width, width // most) if width > height else (height // most, height)
    raise ImageError(
        f"An image of {size[0]}x{size[1]} is {max(size) / min(size):.0f} times as long as wide, and the "
        f"model takes at most {most}. Cut it into pieces."
    )


def _between_edges(parameters: SmartResize, size: Size) -> Size:
    """Both sides between two edges where the aspect allows it, the longest edge counting for more."""
    least, most = parameters.shortest_edge, parameters.longest_edge
    if least is None or most is None or (least <= min(size) and max(size) <= most):
        return size
    aspect = size[0] / size[1]
    edge = least if min(size) < least else most
    if size[0] < size[1]:
        width, height = edge, int(edge / aspect)
    else:
        width, height = int(edge * aspect), edge
    if width > most:
        width, height = most, int(most / aspect)
    if height > most:
        width, height = int(most * aspect), most
    return width, height


def _sides(parameters: SmartResize, size: Size, most: int) -> Size:
    """Multiples of the factor, of an area from min_pixels to `most`."""
    width, height = size
    factor = parameters.patch * parameters.merge
    least = factor if parameters.short_side == "one" else 0
    wide = max(least, round(width / factor) * factor)
    high = max(least, round(height / factor) * factor)
    if wide * high > most:
        return _shrunk(parameters, size, most)
    return (wide, high) if wide * high >= parameters.min_pixels else _enlarged(parameters, size)


def _shrunk(parameters: SmartResize, size: Size, most: int) -> Size:
    width, height = size
    factor = parameters.patch * parameters.merge
    shrink = math.sqrt((height * width) / most)
    across, down = width / shrink, height / shrink
    if parameters.whole_pixels:
        across, down = int(across), int(down)
    return max(factor, math.floor(across / factor) * factor), max(factor, math.floor(down / factor) * factor)


def _enlarged(parameters: SmartResize, size: Size) -> Size:
    width, height = size
    factor = parameters.patch * parameters.merge
    enlarge = math.sqrt(parameters.min_pixels / (height * width))
    across, down = width * enlarge, height * enlarge
    if parameters.whole_pixels:
        across, down = int(across), int(down)
    return max(factor, math.ceil(across / factor) * factor), max(factor, math.ceil(down / factor) * factor)


def _with_budget(parameters: SmartResize, size: Size, most: int) -> Size:
    """As `_sides`, in a shape that the processor takes at its second look: with a budget it is ours."""
    factor = parameters.patch * parameters.merge
    wide, high = _sides(parameters, size, most)
    if wide * high < parameters.min_pixels:
        wide, high = _enlarged(parameters, size)
    wide = min(wide, parameters.max_aspect * high // factor * factor)
    high = min(high, parameters.max_aspect * wide // factor * factor)
    if wide * high < parameters.min_pixels:
        # Cut to the longest shape there is, or cut to whole pixels: one more row or column makes up for it.
        wide, high = (wide, high + factor) if wide > high else (wide + factor, high)
    return wide, high
