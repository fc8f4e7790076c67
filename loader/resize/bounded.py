"""What the strategies of one picture share: rows of tokens, the second look, a budget.

A model's own processor plans anew on the picture that it is given. What is handed over has therefore to
be a picture that it leaves as it is, and a budget is kept by handing over a smaller one.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from loader.errors import ImageError
from loader.resize.plan import Bounds, Geometry, Size

if TYPE_CHECKING:
    from registry.grids import RowEnd

Plan = Callable[[Size], Geometry]
"""What the model's own processor does with an image of a size."""

TRIES = 9
"""Scales that are tried for a budget. One to three nearly always do; all of them are tried only for a
budget that is below the least that the model can see."""


def closed(grid: Size, row_end: RowEnd | None) -> tuple[int, int | None]:
    """Image tokens, and positions with other tokens, of a grid of `grid` columns and rows."""
    cols, rows = grid
    if row_end == "image":
        return cols * rows + rows + 2, 0
    return cols * rows, rows if row_end == "other" else None


def handed(geometry: Geometry) -> Size:
    """The size of the picture that the processor is given: the last resize, cropped to what is seen."""
    width, height = geometry.resizes[-1]
    seen = geometry.seen or (width, height)
    return min(width, seen[0]), min(height, seen[1])


def looked_at_twice(plan: Plan, geometry: Geometry) -> Geometry:
    """`geometry`, and whether the processor leaves the picture as it is when it looks at it itself."""
    size = handed(geometry)
    try:
        again = plan(size)
    except ImageError:
        return dataclasses.replace(geometry, stays=False)
    # Not compared: the offset of a crop, which is spent, and resizes that change nothing.
    same = all(step == size for step in again.resizes)
    same = same and _seen(again) == _seen(geometry) and again.image_tokens == geometry.image_tokens
    # Padding on the left is a negative offset; it has to come out anew.
    same = same and again.offset == (min(geometry.offset[0], 0), min(geometry.offset[1], 0))
    return geometry if same == geometry.stays else dataclasses.replace(geometry, stays=same)


def bounded(plan: Plan, size: Size, bounds: Bounds) -> Geometry:
    """What `plan` makes of the image, or of the largest one in its shape that keeps to `bounds`."""
    full = looked_at_twice(plan, plan(size))
    over = _excess(full, bounds)
    if over <= 1:
        return full
    wide, high = full.resizes[-1]
    best, scale = full, min(1.0, math.sqrt(wide * high / (size[0] * size[1])))
    step = math.sqrt(1 / over)
    for _ in range(TRIES):
        scale *= step
        smaller = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
        try:
            geometry = plan(smaller)
        except ImageError:
            step = 1.1
            continue
        over = _excess(geometry, bounds)
        # Tokens grow with the area; what rounding adds to that is taken off in the next try.
        step = min(math.sqrt(1 / over), 0.97)
        # So few pixels that the shape would be another one are no choice.
        alike = abs(smaller[0] * size[1] - smaller[1] * size[0]) * 8 <= size[0] * smaller[1]
        if alike and geometry.image_tokens < best.image_tokens:
            geometry = looked_at_twice(plan, geometry)
            if geometry.stays:
                best = geometry
                if over <= 1:
                    break
    # From the source in one step: the steps of a smaller image were only for finding it.
    return best if best is full else dataclasses.replace(best, resizes=best.resizes[-1:])


def _seen(geometry: Geometry) -> Size:
    return geometry.seen or geometry.resizes[-1]


def _excess(geometry: Geometry, bounds: Bounds) -> float:
    """How many times what is allowed the geometry takes; at most 1: it keeps to the bounds."""
    wide, high = _seen(geometry)
    of_tokens = geometry.image_tokens / bounds.tokens if bounds.tokens else 0.0
    return max(of_tokens, wide * high / bounds.pixels if bounds.pixels else 0.0)
