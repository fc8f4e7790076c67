"""An image and its plan -> the pixels that the model's own processor would make of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import PIL.Image

if TYPE_CHECKING:
    from loader.resize import ImagePlan

Resample = Literal["bilinear", "bicubic", "lanczos"]

_FILTERS = {
    "bilinear": PIL.Image.Resampling.BILINEAR,
    "bicubic": PIL.Image.Resampling.BICUBIC,
    "lanczos": PIL.Image.Resampling.LANCZOS,
}

WHOLE_PIXELS = 16_000_000
"""Up to here a crop is cut from the whole resized image, which is exact. Beyond, only the part that
stays is computed: a strip of 1 x 12,000 pixels would otherwise pass through an image of gigabytes."""


def fit_image(image: PIL.Image.Image, plan: ImagePlan, resample: Resample) -> PIL.Image.Image:
    """`image` (upright RGB) resampled and cropped as `plan` says, as the processor is to be given it.

    Where the processor would not make the same of that (`plan.stays`), it is given the image itself.
    """
    if not plan.stays:
        return image
    chosen = _FILTERS[resample]
    for size in plan.resizes[:-1]:
        image = image.resize(size, chosen)
    wide, high = plan.resizes[-1]
    left, top = plan.offset
    left, top = max(left, 0), max(top, 0)  # what is padded, the processor pads
    right, bottom = min(left + plan.width, wide), min(top + plan.height, high)
    if wide * high <= WHOLE_PIXELS:
        image = image.resize((wide, high), chosen)
        return (
            image if (right - left, bottom - top) == (wide, high) else image.crop((left, top, right, bottom))
        )
    # Pillow takes this box in single precision: close to the whole image's crop, not equal to it.
    across, down = image.width / wide, image.height / high
    box = (left * across, top * down, min(right * across, image.width), min(bottom * down, image.height))
    return image.resize((right - left, bottom - top), chosen, box=box)
