"""A grid of tokens in the image's shape, as large as a budget allows; Gemma 4, Muse, Phi-4, Nemotron.

Each grid follows a function to the float. Of mlx-vlm 0.7.10, in models/:
fill_down     gemma4/processing_gemma4.py, `get_aspect_ratio_preserving_size`
fill_nearest  minicpmo/processing_minicpmo.py, `_find_best_resize`
shape         muse_glimmer/processing_muse_glimmer.py, `smart_resize`; muse_spark/image_processing.py
rows          phi4mm/processing_phi4mm.py, `preprocess`
even          nemotron_h_nano_omni/image_processing_nemotron_h_nano_omni.py, `_compute_target_patches`
And of transformers 5.23:
fill_up       models/siglip2/image_processing_pil_siglip2.py, `get_image_size_for_max_num_patches` (Phi-4)
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from loader.errors import ImageError
from loader.resize.bounded import bounded, looked_at_twice
from loader.resize.plan import Bounds, Geometry, Size

if TYPE_CHECKING:
    from registry.grids import TokenBudget


def token_budget(parameters: TokenBudget, size: Size, bounds: Bounds) -> Geometry:
    """One picture of whole tokens.

    A budget is kept by handing over a smaller picture, but not with the grids that fill: there the
    processor would enlarge it again, and only `smaller` parameters help.
    """
    plan = functools.partial(_full, parameters)
    if parameters.grid.startswith("fill_"):
        return looked_at_twice(plan, plan(size))
    return bounded(plan, size, bounds)


def smaller(parameters: TokenBudget) -> Iterator[TokenBudget]:
    """The same with fewer tokens, step by step: `max_soft_tokens` of the processor's image_processor."""
    for tokens in sorted(parameters.budgets, reverse=True):
        if parameters.min_tokens <= tokens < parameters.max_tokens:
            yield dataclasses.replace(parameters, max_tokens=tokens)


def _full(parameters: TokenBudget, size: Size) -> Geometry:
    """What the model's own processor does."""
    wide, high = GRIDS[parameters.grid](parameters, size)
    if min(wide, high) < 1:
        raise ImageError(
            f"An image of {size[0]}x{size[1]} has nothing left of its short side when it is scaled as the "
            "model wants it. Cut it into pieces."
        )
    cells, merge = wide * high // parameters.merge**2, parameters.merge
    patches = (parameters.max_tokens if parameters.padded else cells) * merge**2
    seen = wide * parameters.patch, high * parameters.patch
    grid = None if parameters.tokens else (wide // merge, high // merge)
    return Geometry((seen,), parameters.tokens or cells, patches, grid=grid)


def _fill_down(parameters: TokenBudget, size: Size) -> Size:
    width, height = size
    side, merge = parameters.patch * parameters.merge, parameters.merge
    scale = math.sqrt(parameters.max_tokens * side**2 / (width * height))
    cols, rows = math.floor(scale * width / side), math.floor(scale * height / side)
    if rows == 0 and cols > 0:
        cols, rows = min(width // height, parameters.max_tokens), 1
    elif cols == 0 and rows > 0:
        cols, rows = 1, min(height // width, parameters.max_tokens)
    return cols * merge, rows * merge


def _fill_up(parameters: TokenBudget, size: Size) -> Size:
    side, merge = parameters.patch * parameters.merge, parameters.merge

    def grid(scale: float) -> Size:
        return max(1, math.ceil(size[0] * scale / side)), max(1, math.ceil(size[1] * scale / side))

    # Upstream halves until the scale is known to 1e-5, and no further.
    low, high = 1e-6, 100.0
    while high - low >= 1e-5:
        middle = (low + high) / 2
        cols, rows = grid(middle)
        if cols * rows <= parameters.max_tokens:
            low = middle
        else:
            high = middle
    cols, rows = grid(low)
    return cols * merge, rows * merge


def _fill_nearest(parameters: TokenBudget, size: Size) -> Size:
    side, merge = parameters.patch * parameters.merge, parameters.merge
    edge = math.isqrt(parameters.max_tokens) * side
    ratio = size[0] / size[1]
    height = int(edge / math.sqrt(max(ratio, 1e-6)))
    width = int(height * ratio)
    return max(round(width / side), 1) * merge, max(round(height / side), 1) * merge


def _shape(parameters: TokenBudget, size: Size) -> Size:
    side, merge = parameters.patch * parameters.merge, parameters.merge
    across, down = size[0] / side, size[1] / side
    ratio = across / down
    for beyond, bound in (
        (across * down > parameters.max_tokens, parameters.max_tokens),
        (across * down < parameters.min_tokens, parameters.min_tokens),
    ):
        if beyond:
            down = math.sqrt(bound / ratio)
            across = down * ratio
    # A set, as upstream has it: of two grids that distort alike, its order decides.
    around = set(
        itertools.product((math.floor(down), math.ceil(down)), (math.floor(across), math.ceil(across)))
    )
    fitting = [
        (rows, cols)
        for rows, cols in around
        if min(rows, cols) >= 1 and parameters.min_tokens <= rows * cols <= parameters.max_tokens
    ]
    wanted = size[1] / size[0]
    rows, cols = min(
        fitting or [(max(1, round(down)), max(1, round(across)))],
        key=lambda grid: abs(grid[0] / grid[1] - wanted),
    )
    return cols * merge, rows * merge


def _rows(parameters: TokenBudget, size: Size) -> Size:
    side, merge = parameters.patch * parameters.merge, parameters.merge
    cells = max((size[0] // side) * (size[1] // side), 1)
    most = min(max(cells, parameters.min_tokens), parameters.max_tokens)
    aspect = size[0] / size[1]
    rows = int(math.sqrt(most / aspect))
    cols = int(rows * aspect)
    while rows * cols > most:
        rows, cols = (rows - 1, cols) if rows > cols else (rows, cols - 1)
    return max(cols, 1) * merge, max(rows, 1) * merge


def _even(parameters: TokenBudget, size: Size) -> Size:
    merge, patch = parameters.merge, parameters.patch
    most, least = parameters.max_tokens * merge**2, parameters.min_tokens * merge**2
    cols, rows = round(size[0] / patch + 0.5), round(size[1] / patch + 0.5)
    scale = min(math.sqrt(most / (rows * cols)), 1.0)
    rows, cols = math.floor(scale * rows), math.floor(scale * cols)
    if min(rows, cols) < 1:
        return 0, 0
    if rows * cols < least < most:
        enlarge = math.sqrt(least / (rows * cols))
        rows, cols = math.ceil(enlarge * rows), math.ceil(enlarge * cols)
    rows = _whole(rows, merge, most // cols)
    return _whole(cols, merge, most // rows), rows


def _whole(patches: int, merge: int, most: int) -> int:
    """Rounded up to whole tokens where `most` patches allow it, else down."""
    up = math.ceil(patches / merge) * merge
    return up if patches == up or up <= most else max(merge, up - merge)


GRIDS: dict[str, Callable[[TokenBudget, Size], Size]] = {
    "fill_down": _fill_down,
    "fill_up": _fill_up,
    "fill_nearest": _fill_nearest,
    "shape": _shape,
    "rows": _rows,
    "even": _even,
}
"""Columns and rows of patches, by the name that a card's `grid` has."""
