"""Stretched onto a grid of square tiles; InternVL, Aya Vision, Llama 4, LFM2-VL, Phi-3, DeepSeek-OCR.

Which grid: `loader.resize.choose_grid`, with the sources of the orders. The pictures and tokens follow

- InternVL: `dynamic_preprocess` of mlx-vlm 0.7.10 (models/internvl_chat/processor.py)
- Aya Vision: `GotOcr2ImageProcessorPil` of transformers 5.23 and mlx-vlm's models/aya_vision
- Llama 4: `Llama4ImageProcessor`, `Llama4Processor` of mlx-vlm (models/llama4/processing_llama4.py)
- LFM2-VL: `Lfm2VlNumpyImageProcessor` of mlx-vlm (models/lfm2_vl/processing_lfm2_vl.py)
- Phi-3: `Phi3VImageProcessor` of mlx-vlm (models/phi3_v/processing_phi3_v.py), which stretches; Microsoft's
  own pads
- DeepSeek-OCR, Unlimited-OCR: `tokenize_with_images` of mlx-vlm (models/deepseekocr, deepseekocr_2,
  unlimited_ocr)
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from loader.errors import ImageError
from loader.resize.choose_grid import choose_grid
from loader.resize.plan import Bounds, Geometry, Size
from loader.resize.views import centred, overview_of, patches_of, tokens_of

if TYPE_CHECKING:
    from registry.tiles import Kept, Overview, StretchTiles


def stretch_tiles(parameters: StretchTiles, size: Size, bounds: Bounds) -> Geometry:
    """A grid of tiles and, as the family has it, an overview; bounds act by way of `smaller`."""
    del bounds
    if parameters.kept:
        return _kept(parameters, parameters.kept, size)
    if parameters.uncut_side and parameters.overview and max(size) <= parameters.uncut_side:
        return _alone(parameters, parameters.overview, size)
    return _cut(parameters, size)


def smaller(parameters: StretchTiles) -> Iterator[StretchTiles]:
    """The same with fewer tiles at most, step by step down to `min_tiles`.

    In the real processors this is `image_processor.dynamic_max_num` (InternVL), `.max_patches` (Aya Vision,
    Llama 4), `.max_tiles` (LFM2-VL) or `.num_crops` (Phi-3), and the argument `max_patches` of a call
    (DeepSeek-OCR 2). DeepSeek-OCR and Unlimited-OCR have the number in their code.
    """
    for most in range(parameters.max_tiles - 1, parameters.min_tiles - 1, -1):
        yield dataclasses.replace(parameters, max_tiles=most)


def _cut(parameters: StretchTiles, size: Size) -> Geometry:
    """The grid of tiles, and the overview in its square."""
    cols, rows = choose_grid(parameters, size)
    tile, tiles = parameters.tile, cols * rows
    whole = tile * cols, tile * rows
    tokens = tokens_of(parameters, tile, cols, rows) + parameters.separators
    patches = tiles * patches_of(parameters, tile)
    overview = overview_of(parameters, tiles)
    pictured = overview is not None and overview.fit != "absent"
    unseen = 0
    if overview:
        tokens += tokens_of(parameters, overview.side)
        patches += pictured * patches_of(parameters, overview.side)
        unseen = 0 if pictured else tokens_of(parameters, overview.side)
    return Geometry(
        (whole,),
        tokens,
        patches,
        tiles=tiles + pictured,
        rows=rows,
        cols=cols,
        unseen_tokens=unseen,
        # An overview is made of what the processor is given, which should be the image itself.
        stays=whole == size or (not pictured and choose_grid(parameters, whole) == (cols, rows)),
    )


def _alone(parameters: StretchTiles, overview: Overview, size: Size) -> Geometry:
    """The overview of an image that is too small to be cut."""
    canvas = overview.side, overview.side
    fitted, offset = (canvas, (0, 0)) if overview.fit == "stretch" else centred(size, canvas)
    return Geometry(
        (fitted,),
        tokens_of(parameters, overview.side) + parameters.separators,
        patches_of(parameters, overview.side),
        offset,
        None if fitted == canvas else canvas,
        rows=1,
        cols=1,
        stays=fitted == size,  # at any other size it might be cut after all
    )


def _kept(parameters: StretchTiles, kept: Kept, size: Size) -> Geometry:
    """One picture with the image's own aspect ratio, alone or as the overview of a grid of tiles."""
    factor, tile = parameters.patch * parameters.merge, parameters.tile
    fitted = _fitted(kept, factor, size)
    # The encoder pads every picture to the largest that there is, and can take no larger one.
    most = max(kept.max_tokens * parameters.merge**2, patches_of(parameters, tile))
    if fitted[0] * fitted[1] > most * parameters.patch**2:
        raise ImageError(
            f"An image of {size[0]}x{size[1]} would become one of {fitted[0]}x{fitted[1]}, and that has more "
            f"than the {most:,} patches that the model takes. Cut it into pieces."
        )
    tokens = fitted[0] // factor * (fitted[1] // factor)
    if not _large(parameters, kept, size):
        stays = _fitted(kept, factor, fitted) == fitted and not _large(parameters, kept, fitted)
        return Geometry((fitted,), tokens, most, rows=1, cols=1, stays=stays)
    cols, rows = choose_grid(parameters, size)
    whole = tile * cols, tile * rows
    return Geometry(
        (whole,),
        tokens_of(parameters, tile, cols, rows) + tokens,
        (cols * rows + 1) * most,
        tiles=cols * rows + 1,
        rows=rows,
        cols=cols,
        stays=whole == size,
    )


def _large(parameters: StretchTiles, kept: Kept, size: Size) -> bool:
    """Whether the image is cut. A short side counts as a patch at least, not as a token."""
    factor, patch = parameters.patch * parameters.merge, parameters.patch
    wide, high = (max(patch, round(side / factor) * factor) for side in size)
    return wide * high > kept.uncut_tokens * factor**2


def _fitted(kept: Kept, factor: int, size: Size) -> Size:
    """Both sides multiples of `factor`, the area between the two bounds as far as `factor` lets it."""
    width, height = size
    least, most = kept.min_tokens * factor**2, kept.max_tokens * factor**2
    wide, high = (max(factor, round(side / factor) * factor) for side in size)
    if wide * high > most:
        shrink = math.sqrt((height * width) / most)
        return _floored(width / shrink, factor), _floored(height / shrink, factor)
    if wide * high < least:
        enlarge = math.sqrt(least / (height * width))
        return math.ceil(width * enlarge / factor) * factor, math.ceil(height * enlarge / factor) * factor
    return wide, high


def _floored(side: float, factor: int) -> int:
    return max(factor, math.floor(side / factor) * factor)
