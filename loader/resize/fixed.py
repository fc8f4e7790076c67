"""Every image becomes one picture of one size; SigLIP towers stretch it, CLIP towers crop it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loader.resize.plan import Bounds, Geometry, Size

if TYPE_CHECKING:
    from registry.grids import Fixed


def fixed(parameters: Fixed, size: Size, bounds: Bounds) -> Geometry:
    """One picture of the card's size; bounds cannot act on it."""
    del bounds
    seen = parameters.width, parameters.height
    patches = (seen[0] // parameters.patch) * (seen[1] // parameters.patch)
    if parameters.fit == "stretch":
        return Geometry((seen,), parameters.tokens, patches)
    resized = _cover(size, parameters.width)
    offset = (resized[0] - seen[0]) // 2, (resized[1] - seen[1]) // 2
    return Geometry((resized,), parameters.tokens, patches, offset, seen)


def _cover(size: Size, side: int) -> Size:
    """The size whose short edge is `side`, as transformers' `get_resize_output_image_size` rounds it."""
    width, height = size
    if width <= height:
        return side, int(side * height / width)
    return int(side * width / height), side
