"""Cut into four quarters, each scaled by itself, with an overview; Idefics2.

Follows `Idefics2ImageProcessorPil` of transformers 5.23 (models/idefics2/image_processing_pil_idefics2.py:
`split_images`, `get_resize_output_image_size`, `pad`) and `Idefics2Processor` of mlx-vlm 0.7.10.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

from loader.errors import ImageError
from loader.resize.plan import Bounds, Geometry, Size

if TYPE_CHECKING:
    from registry.tiles import Quarters


def quarters(parameters: Quarters, size: Size, bounds: Bounds) -> Geometry:
    """Four quarters and an overview, or that alone; bounds act by way of `smaller`."""
    del bounds
    overview = _scaled(parameters, size)
    if not parameters.split:
        patches = _patches(parameters, [overview])
        stays = _scaled(parameters, overview) == overview
        return Geometry((overview,), parameters.tokens_per_tile, patches, rows=1, cols=1, stays=stays)
    width, height = size
    if min(size) < 2:
        raise ImageError(
            f"An image of {width}x{height} cannot be cut into four quarters, as the model's own processor "
            "does. Give one that is at least 2 pixels wide and high."
        )
    # Of an odd side the second half is the longer one, and is scaled by itself.
    first = _scaled(parameters, (width // 2, height // 2))
    last = _scaled(parameters, (width - width // 2, height - height // 2))
    right = _scaled(parameters, (width - width // 2, height // 2))
    left = _scaled(parameters, (width // 2, height - height // 2))
    whole = first[0] + right[0], first[1] + left[1]
    pictures = [first, right, left, last, overview]
    return Geometry(
        (whole,),
        len(pictures) * parameters.tokens_per_tile,
        _patches(parameters, pictures),
        tiles=len(pictures),
        rows=2,
        cols=2,
        stays=whole == size,  # the overview is made of the image itself
    )


def smaller(parameters: Quarters) -> Iterator[Quarters]:
    """The overview alone: `image_processor.do_image_splitting` of the real processor."""
    if parameters.split:
        yield dataclasses.replace(parameters, split=False)


def _scaled(parameters: Quarters, size: Size) -> Size:
    """Shrunk to the longest edge, then stretched to the shortest one where it is less."""
    width, height = size
    aspect, most = width / height, parameters.longest_edge
    if width >= height and width > most:
        width, height = most, int(most / aspect)
    elif height > width and height > most:
        width, height = int(most * aspect), most
    return max(width, parameters.shortest_edge), max(height, parameters.shortest_edge)


def _patches(parameters: Quarters, pictures: list[Size]) -> int:
    """Patches of all pictures, each padded to the widest and the highest."""
    wide = max(width for width, _ in pictures) // parameters.patch
    high = max(height for _, height in pictures) // parameters.patch
    return len(pictures) * wide * high
