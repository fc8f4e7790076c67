"""Shrunk until the longest edge fits, then stretched up to whole tokens, in one step; Pixtral, Mistral 3.

Follows `get_resize_output_image_size` of mlx-vlm 0.7.10 (models/pixtral/image_processing_pixtral.py). The
processor (models/pixtral/processing_pixtral.py) closes each row with a token of its own kind.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from loader.errors import ImageError
from loader.resize.bounded import bounded, closed
from loader.resize.plan import Bounds, Geometry, Size

if TYPE_CHECKING:
    from registry.grids import LongestEdge


def longest_edge(parameters: LongestEdge, size: Size, bounds: Bounds) -> Geometry:
    """One picture of whole tokens; a budget is kept by handing over a smaller picture."""
    return bounded(functools.partial(_full, parameters), size, bounds)


def _full(parameters: LongestEdge, size: Size) -> Geometry:
    """What the model's own processor does."""
    width, height = size
    # Divided by a quotient, not multiplied: the floats decide between a column more and one less.
    ratio = max(size) / parameters.longest_edge
    if ratio > 1:
        width, height = int(width / ratio), int(height / ratio)
    if min(width, height) < 1:
        raise ImageError(
            f"An image of {size[0]}x{size[1]} has nothing left of its short side when its long one is "
            f"{parameters.longest_edge} pixels, as the model wants it. Cut it into pieces."
        )
    factor = parameters.patch * parameters.merge
    grid = (width - 1) // factor + 1, (height - 1) // factor + 1
    tokens, extra = closed(grid, parameters.row_end)
    patches = grid[0] * grid[1] * parameters.merge**2
    seen = grid[0] * factor, grid[1] * factor
    return Geometry((seen,), tokens, patches, grid=grid, extra_tokens=extra)
