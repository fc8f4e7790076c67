"""Which grid of square tiles an image is stretched onto.

Four orders on the same grids, each as its own source has it, to the float:

- difference, with tie=area: `find_closest_aspect_ratio` of mlx-vlm 0.7.10 (models/internvl_chat/processor.py)
- difference, with tie=half: `get_optimal_tiled_canvas` of transformers 5.23
  (models/got_ocr2/image_processing_pil_got_ocr2.py), and mlx-vlm's models/deepseekocr, deepseekocr_2,
  unlimited_ocr and lfm2_vl
- quotient: `_find_closest_aspect_ratio` of mlx-vlm (models/plamo2vl/processing.py)
- gap: `Llama4ImageProcessor._get_best_resolution` of mlx-vlm (models/llama4/processing_llama4.py)
- most: `_calc_hd_transform_size` of mlx-vlm (models/phi3_v/processing_phi3_v.py)
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from loader.errors import ImageError
from loader.resize.plan import Size

if TYPE_CHECKING:
    from registry.tiles import StretchTiles


def choose_grid(parameters: StretchTiles, size: Size) -> Size:
    """Columns and rows of tiles for an image of this size."""
    return _ORDERS[parameters.choose](parameters, size)


@functools.cache
def _grids(least: int, most: int) -> tuple[tuple[int, int, float], ...]:
    """All (columns, rows, aspect ratio) of `least` to `most` tiles, those with fewer tiles first."""
    # A set, filled in this order: among grids of one area upstream takes what the set says, and where two
    # of them are equally near (1x2 and 2x1 at 5:4, if there are no others) the last of them wins.
    found = {
        (cols, rows)
        for tiles in range(least, most + 1)
        for cols in range(1, tiles + 1)
        for rows in range(1, tiles + 1)
        if least <= cols * rows <= most
    }
    ordered = sorted(found, key=lambda grid: grid[0] * grid[1])
    return tuple((cols, rows, cols / rows) for cols, rows in ordered)


def _difference(parameters: StretchTiles, size: Size) -> Size:
    """The grid whose aspect ratio differs least."""
    aspect = size[0] / size[1]
    best, least = (1, 1), math.inf
    for cols, rows, ratio in _grids(parameters.min_tiles, parameters.max_tiles):
        off = abs(aspect - ratio)
        if off < least:
            best, least = (cols, rows), off
        elif off == least and _later_wins(parameters, size, best, (cols, rows)):
            best = cols, rows
    return best


def _quotient(parameters: StretchTiles, size: Size) -> Size:
    """The grid whose aspect ratio is the smallest factor away."""
    aspect = size[0] / size[1]
    best, most = (1, 1), -math.inf
    for cols, rows, ratio in _grids(parameters.min_tiles, parameters.max_tiles):
        like = aspect / ratio if aspect < ratio else ratio / aspect
        if like > most:
            best, most = (cols, rows), like
        elif like == most and _later_wins(parameters, size, best, (cols, rows)):
            best = cols, rows
    return best


def _later_wins(parameters: StretchTiles, size: Size, best: Size, later: Size) -> bool:
    area, tile = size[0] * size[1], parameters.tile**2
    covered = tile * later[0] * later[1]
    if parameters.tie == "half":
        return 2 * area > covered
    return abs(area - covered) < abs(area - tile * best[0] * best[1])


def _gap(parameters: StretchTiles, size: Size) -> Size:
    """The grid on which the image, enlarged without stretching, leaves the narrowest border."""
    (width, height), tile = size, parameters.tile
    best, least = (1, 1), math.inf
    for cols, rows, _ in _grids(parameters.min_tiles, parameters.max_tiles):
        wide, high = cols * tile, rows * tile
        scale = min(wide / width, high / height)
        gap = abs(width * scale - wide) + abs(height * scale - high)
        if gap < least:
            best, least = (cols, rows), gap
    return best


def _most(parameters: StretchTiles, size: Size) -> Size:
    """The grid with the most tiles along the longer side that leaves enough for the other one."""
    aspect = max(size) / min(size)
    along = 1
    while (along + 1) * math.ceil((along + 1) / aspect) <= parameters.max_tiles:
        along += 1
    across = math.ceil(int(along * parameters.tile / aspect) / parameters.tile)
    if not across:
        raise ImageError(
            f"An image of {size[0]}x{size[1]} is {aspect:.0f} times as long as wide, and nothing of it is "
            "left when it is scaled to the model's tiles. Cut it into pieces."
        )
    return (along, across) if size[0] >= size[1] else (across, along)


_ORDERS: dict[str, Callable[[StretchTiles, Size], Size]] = {
    "difference": _difference,
    "quotient": _quotient,
    "gap": _gap,
    "most": _most,
}
