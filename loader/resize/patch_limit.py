"""Shrunk to a number of patches, then cropped, padded or stretched to whole tokens; Kimi, LocateAnything.

Follows the methods `rescale` of mlx-vlm 0.7.10: models/kimi_vl/processing_kimi_vl.py (crop),
models/kimi_k25/processing_kimi_k25.py and models/kimi_k3/processing_kimi_k3.py (pad),
models/locateanything/image_processing_locateanything.py (stretch). Without a limit and with a spare column
it is `divide_to_patches` of models/inkling/processing_inkling.py, which resizes nothing.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import TYPE_CHECKING

from loader.errors import ImageError
from loader.resize.bounded import bounded, looked_at_twice
from loader.resize.plan import Bounds, Geometry, Size

if TYPE_CHECKING:
    from registry.grids import PatchLimit


def patch_limit(parameters: PatchLimit, size: Size, bounds: Bounds) -> Geometry:
    """One picture of whole tokens; a budget is kept by handing over a smaller picture.

    So is a limit of the sides that the model's own processor refuses to pass. Without any budget such an
    image is refused as there.
    """
    plan = functools.partial(_full, parameters)
    if parameters.overlong == "refuse" and bounds != Bounds():
        shrinking = dataclasses.replace(parameters, overlong="shrink")
        shrunk = bounded(functools.partial(_full, shrinking), size, bounds)
        if (checked := looked_at_twice(plan, shrunk)).stays:
            return checked
    return bounded(plan, size, bounds)


def _full(parameters: PatchLimit, size: Size) -> Geometry:
    """What the model's own processor does."""
    factor = parameters.patch * parameters.merge
    scaled = wide, high = _shrunk(parameters, size)
    resizes: tuple[Size, ...] = (scaled,)
    offset = 0, 0
    if parameters.fit == "crop":
        seen = wide - wide % factor, high - high % factor
        offset = (wide - seen[0]) // 2, (high - seen[1]) // 2
    else:
        cols = wide // factor + 1 if parameters.spare_column else math.ceil(wide / factor)
        seen = cols * factor, math.ceil(high / factor) * factor
    if parameters.fit == "stretch":
        resizes = (scaled, seen) if scaled not in (size, seen) else (seen,)
    _check(parameters, size, seen)
    grid = seen[0] // factor, seen[1] // factor
    tokens = grid[0] * grid[1]
    return Geometry(resizes, tokens, tokens * parameters.merge**2, offset, seen, grid=grid)


def _shrunk(parameters: PatchLimit, size: Size) -> Size:
    """The size within the limits; patches that are not whole do not count."""
    width, height = size
    scale = 1.0
    if parameters.max_patches:
        patches = max(1, width // parameters.patch) * max(1, height // parameters.patch)
        scale = min(scale, math.sqrt(parameters.max_patches / patches))
    if parameters.max_side and parameters.overlong == "shrink":
        edge = parameters.max_side * parameters.patch
        scale = min(scale, edge / width, edge / height)
        return min(edge, max(1, int(width * scale))), min(edge, max(1, int(height * scale)))
    return int(width * scale), int(height * scale)


def _check(parameters: PatchLimit, size: Size, seen: Size) -> None:
    """Raises ImageError for an image that the model's own processor refuses."""
    if min(seen) < 1:
        raise ImageError(
            f"An image of {size[0]}x{size[1]} is too narrow: less than the "
            f"{parameters.patch * parameters.merge} pixels of one token are left of one side. "
            "Enlarge it, or cut it into pieces."
        )
    if parameters.max_side and max(seen) // parameters.patch > parameters.max_side:
        raise ImageError(
            f"An image of {size[0]}x{size[1]} would be seen at {seen[0]}x{seen[1]}, and the model takes "
            f"sides of at most {parameters.max_side * parameters.patch:,} pixels. "
            "Scale it down, or cut it into pieces."
        )
