"""Padded to a square at its right or bottom, then cut into windows; Step 3.

Follows `ImagePatcher` and `Step3VLProcessor` of mlx-vlm 0.7.10 (models/step3p7/processing_step3p7.py). The
square is always padded first and scaled then; sizes here are those of the image within it, rounded. Its
windows are counted as upstream's `num_patches` counts them, without the overview: the two are handed to the
encoder apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loader.resize.plan import Bounds, Geometry, Size

if TYPE_CHECKING:
    from registry.tiles import Windows

SLACK = 0.2
"""One more window is taken when the side goes beyond the last by more than this part of a window."""


def windows(parameters: Windows, size: Size, bounds: Bounds) -> Geometry:
    """A square of windows and an overview; a smaller image has fewer windows, which is how bounds act."""
    side = _shrunk(parameters, max(size))
    count = _windows(parameters, side)
    fewer = count
    while fewer and not _within(parameters, fewer, bounds):
        # One window would be smaller than an image that needs none.
        fewer = fewer - 1 if fewer > _fewest(parameters) else 0
    if fewer < count:
        return _cut(parameters, size, (), fewer, stays=True)
    first = (_content(size, side),) if side < max(size) else ()
    # The overview is made before the windows are scaled, and padding is scaled with the image.
    square = size[0] == size[1] and (not count or count * parameters.tile == side)
    return _cut(parameters, size, first, count, stays=square)


def _cut(parameters: Windows, size: Size, first: tuple[Size, ...], count: int, *, stays: bool) -> Geometry:
    """`count` windows a side, or the overview alone."""
    seen = count * parameters.tile or parameters.overview
    last = _content(size, seen)
    return Geometry(
        (*first, last),
        _tokens(parameters, count),
        count**2 * (parameters.tile // parameters.patch) ** 2
        + (parameters.overview // parameters.patch) ** 2,
        seen=None if last == (seen, seen) else (seen, seen),
        tiles=count**2,
        rows=count,
        cols=count,
        overview_tokens=_tokens(parameters, 0),
        stays=stays or last == size,
    )


def _shrunk(parameters: Windows, side: int) -> int:
    """The side of the square, brought to the largest that there may be."""
    most = parameters.max_side
    return int(side * (most / side)) if side > most else side


def _windows(parameters: Windows, side: int) -> int:
    """Windows along a side."""
    if side <= parameters.overview:
        return 0
    whole = side / parameters.tile
    return int(whole) + (whole - int(whole) > SLACK)


def _fewest(parameters: Windows) -> int:
    """The fewest windows along a side that an image can have at all."""
    return parameters.overview // parameters.tile + 1


def _within(parameters: Windows, count: int, bounds: Bounds) -> bool:
    tokens, pixels = bounds.tokens, bounds.pixels
    return (tokens is None or _tokens(parameters, count) <= tokens) and (
        pixels is None or (count * parameters.tile) ** 2 <= pixels
    )


def _tokens(parameters: Windows, count: int) -> int:
    window, overview = (
        (side // parameters.patch // parameters.merge) ** 2 for side in (parameters.tile, parameters.overview)
    )
    return count**2 * window + overview


def _content(size: Size, side: int) -> Size:
    """The image's own size in its square, when that has `side`."""
    longest = max(size)
    return max(1, round(size[0] * side / longest)), max(1, round(size[1] * side / longest))
