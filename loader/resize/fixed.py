"""Every image becomes one picture of one size; SigLIP towers stretch it, CLIP towers crop it.

stretch and crop follow transformers 5.23 (SiglipImageProcessorPil, CLIPImageProcessorPil), which Gemma 3n,
PaliGemma, Florence-2, LLaVA and GOT resemble; pad follows `ImageProcessor.resize` of mlx-vlm 0.7.10
(models/multi_modality/multi_modality.py), pad_first `FastVLMImageProcessor` (models/fastvlm/processing.py).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from loader.resize.bounded import looked_at_twice
from loader.resize.plan import Bounds, Geometry, Size

if TYPE_CHECKING:
    from registry.grids import Fixed


def fixed(parameters: Fixed, size: Size, bounds: Bounds) -> Geometry:
    """One picture of the card's size; bounds cannot act on it."""
    del bounds
    geometry = _full(parameters, size)
    if parameters.fit == "pad":
        return looked_at_twice(functools.partial(_full, parameters), geometry)
    return geometry


def _full(parameters: Fixed, size: Size) -> Geometry:
    """What the model's own processor does."""
    seen = parameters.width, parameters.height
    patches = (seen[0] // parameters.patch) * (seen[1] // parameters.patch)
    if parameters.fit == "stretch":
        return Geometry((seen,), parameters.tokens, patches)
    if parameters.fit == "crop":
        resized = _cover(size, parameters.width)
        offset = (resized[0] - seen[0]) // 2, (resized[1] - seen[1]) // 2
        return Geometry((resized,), parameters.tokens, patches, offset, seen)
    least = parameters.least if parameters.fit == "pad" else 1
    longest = max(size)
    wide, high = (max(int(side / longest * parameters.width), least) for side in size)
    offset = -((seen[0] - wide) // 2), -((seen[1] - high) // 2)
    # A picture that was scaled first and padded then has other pixels than one padded first.
    stays = parameters.fit == "pad"
    return Geometry(((wide, high),), parameters.tokens, patches, offset, seen, stays=stays)


def _cover(size: Size, side: int) -> Size:
    """The size whose short edge is `side`, as transformers' `get_resize_output_image_size` rounds it."""
    width, height = size
    if width <= height:
        return side, int(side * height / width)
    return int(side * width / height), side
