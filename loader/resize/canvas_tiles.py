"""Fitted unstretched into a canvas of square tiles, the rest padded; Llama 3.2 Vision, DeepSeek-VL2.

fit=corner follows `get_optimal_tiled_canvas` and `get_image_size_fit_to_canvas` of transformers 5.23
(models/mllama/image_processing_pil_mllama.py), fit=centre follows `select_best_resolution` and
`tokenize_with_images` of mlx-vlm 0.7.10 (models/deepseek_vl_v2/processing_deepsek_vl_v2.py), to the float.
The latter cuts no image of a prompt that has more than two: each is then what grids=[[1, 1]] makes of it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from loader.errors import ImageError
from loader.resize.plan import Bounds, Geometry, Size
from loader.resize.views import centred, overview_of, own_pixels, patches_of, tokens_of

if TYPE_CHECKING:
    from registry.tiles import CanvasTiles


def canvas_tiles(parameters: CanvasTiles, size: Size, bounds: Bounds) -> Geometry:
    """A canvas of tiles and, as the family has it, an overview; bounds act by way of `smaller`."""
    del bounds
    (cols, rows), fitted, offset = _placed(parameters, size)
    tile, tiles = parameters.tile, cols * rows
    canvas = tile * cols, tile * rows
    overview = overview_of(parameters, tiles)
    tokens = tokens_of(parameters, tile, cols, rows) + parameters.separators
    patches = tiles * patches_of(parameters, tile)
    # The overview is made of the image itself; beside a single tile of its own size it is the same picture.
    alike = overview is None or (tiles == 1 and (overview.side, overview.fit) == (tile, "pad"))
    if overview:
        tokens += tokens_of(parameters, overview.side)
        patches += patches_of(parameters, overview.side)
    states = None
    if parameters.cross:
        # The encoder computes on blank tiles up to the largest canvas, with one more state for each tile.
        most = max(wide * high for wide, high in parameters.grids)
        tokens, patches = 1, most * patches_of(parameters, tile)
        states = patches + most
    return Geometry(
        (fitted,),
        tokens,
        patches,
        offset,
        None if fitted == canvas else canvas,
        tiles + (overview is not None),
        rows,
        cols,
        cross_tokens=states,
        stays=fitted == size or (alike and _placed(parameters, fitted) == ((cols, rows), fitted, offset)),
    )


def smaller(parameters: CanvasTiles) -> Iterator[CanvasTiles]:
    """The same without its largest canvases, step by step down to the least.

    In the real processor of DeepSeek-VL2 this is `candidate_resolutions`, pairs of width and height in
    pixels. Nothing for Llama 3.2: with fewer tiles the same canvas has another number in the list that the
    model's embeddings go by, and its prompt would not become shorter.
    """
    if parameters.cross:
        return
    for most in sorted({cols * rows for cols, rows in parameters.grids}, reverse=True)[1:]:
        grids = tuple(grid for grid in parameters.grids if grid[0] * grid[1] <= most)
        yield dataclasses.replace(parameters, grids=grids)


def _placed(parameters: CanvasTiles, size: Size) -> tuple[Size, Size, Size]:
    """The canvas, in tiles, the size of the image on it, and where the canvas starts in the image."""
    tile = parameters.tile
    if parameters.fit == "corner":
        grid = _least_scaling(parameters, size)
        return grid, _in_corner(tile, (grid[0] * tile, grid[1] * tile), size), (0, 0)
    grid = own_pixels(parameters.grids, tile, size)
    fitted, offset = centred(size, (grid[0] * tile, grid[1] * tile))
    if not min(fitted):
        raise ImageError(
            f"An image of {size[0]}x{size[1]} is {max(size) / min(size):.0f} times as long as wide, and "
            "nothing of it is left when it is scaled to the model's tiles. Cut it into pieces."
        )
    return grid, fitted, offset


def _least_scaling(parameters: CanvasTiles, size: Size) -> Size:
    """The canvas that enlarges least, else the one that shrinks least; of several, the smallest."""
    (width, height), tile = size, parameters.tile
    best, least = parameters.grids[0], (math.inf, 0.0, 0)
    for cols, rows in parameters.grids:
        scale = min(cols * tile / width, rows * tile / height)
        # A canvas that is too small comes after all others, the less so the nearer its scale is to 1.
        rank = (scale if scale >= 1 else math.inf, -scale, cols * rows)
        if rank < least:
            best, least = (cols, rows), rank
    return best


def _in_corner(tile: int, canvas: Size, size: Size) -> Size:
    """The size on the canvas: no larger than it, enlarged only as far as one tile goes."""
    width, height = size
    wide = min(max(width, tile), canvas[0])
    high = min(max(height, tile), canvas[1])
    across, down = wide / width, high / height
    if across < down:
        return wide, min(math.floor(height * across) or 1, high)
    return min(math.floor(width * down) or 1, wide), high
