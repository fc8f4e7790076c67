"""Both sides become multiples of a factor, the area stays within two bounds; Qwen-VL and its kin.

Follows `_smart_resize_image` of mlx-vlm 0.7.10 (models/qwen3_vl/processing_qwen3_vl.py) to the
float, rounding to even included, so that every size comes out as the processor's own.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from loader.errors import ImageError
from loader.resize.plan import Bounds, Geometry, Size

if TYPE_CHECKING:
    from registry.grids import SmartResize


def smart_resize(parameters: SmartResize, size: Size, bounds: Bounds) -> Geometry:
    """One picture of (width / patch) x (height / patch) patches, merge x merge of them a token."""
    width, height = size
    aspect = max(size) / min(size)
    if aspect > parameters.max_aspect:
        raise ImageError(
            f"An image of {width}x{height} is {aspect:.0f} times as long as wide, and the model takes "
            f"at most {parameters.max_aspect}. Cut it into pieces."
        )
    factor = parameters.patch * parameters.merge
    most = _most_pixels(parameters, factor, bounds)
    wide, high = round(width / factor) * factor, round(height / factor) * factor
    if wide * high > most:
        shrink = math.sqrt((height * width) / most)
        wide = max(factor, math.floor(width / shrink / factor) * factor)
        high = max(factor, math.floor(height / shrink / factor) * factor)
    # Not `elif`: what a small budget rounds down to may be less than the model takes.
    if wide * high < parameters.min_pixels:
        enlarge = math.sqrt(parameters.min_pixels / (height * width))
        wide = math.ceil(width * enlarge / factor) * factor
        high = math.ceil(height * enlarge / factor) * factor
    if most < parameters.max_pixels:
        # With a budget the shape is ours to choose: one that the processor takes at its second look.
        wide = min(wide, parameters.max_aspect * high // factor * factor)
        high = min(high, parameters.max_aspect * wide // factor * factor)
    patches = (wide // parameters.patch) * (high // parameters.patch)
    return Geometry(((wide, high),), patches // parameters.merge**2, patches)


def _most_pixels(parameters: SmartResize, factor: int, bounds: Bounds) -> int:
    """The upper bound in force: the model's, the caller's, but never below the model's lower one."""
    most = parameters.max_pixels
    if bounds.tokens is not None:
        most = min(most, bounds.tokens * factor**2)
    if bounds.pixels is not None:
        most = min(most, bounds.pixels)
    return max(most, parameters.min_pixels)
