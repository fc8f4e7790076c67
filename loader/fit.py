"""An image and its plan -> the pixels that the model's own processor would make of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import PIL.Image

from loader.parts import parts
from loader.resize import made_of
from loader.resize.views import centred

if TYPE_CHECKING:
    from loader.image import Opened
    from loader.resize import ImagePlan, Size
    from loader.rgb import Box
    from registry.cards import Card

Resample = Literal["bilinear", "bicubic", "lanczos"]

_FILTERS = {
    "bilinear": PIL.Image.Resampling.BILINEAR,
    "bicubic": PIL.Image.Resampling.BICUBIC,
    "lanczos": PIL.Image.Resampling.LANCZOS,
}

WHOLE_PIXELS = 16_000_000
"""Up to here a crop is cut from the whole resized image, which is exact. Beyond, only the part that
stays is computed: a strip of 1 x 12,000 pixels would otherwise pass through an image of gigabytes."""


def fit_opened(opened: Opened, plan: ImagePlan, card: Card, *, exact: bool = False) -> PIL.Image.Image:
    """The picture that the processor is given for `plan`, decoded no larger than that takes.

    `exact`: every pixel is decoded, and what comes out is to the bit what the processor would make.
    """
    image = card.image
    assert image is not None  # noqa: S101  # there would be no plan
    if plan.stays:
        # Every further step is made of the first.
        picture, box = opened.pixels(None if exact else plan.resizes[0])
        return fit_image(picture, plan, image.resample, box)
    picture, box = opened.pixels(None if exact else _needed(plan, card))
    if picture.size == plan.source:
        return picture
    # The processor works everything out anew, from the picture that it is given.
    wanted = made_of(image, plan.source, plan.setting)
    for size in _whole_sizes(box):
        if made_of(image, size, plan.setting) == wanted:
            return _resized(picture, size, _FILTERS[image.resample], box)
    del picture  # before it is decoded once more
    return opened.pixels().image


def fit_image(
    image: PIL.Image.Image, plan: ImagePlan, resample: Resample, box: Box | None = None
) -> PIL.Image.Image:
    """`image` (upright RGB) resampled and cropped as `plan` says, as the processor is to be given it.

    `box` is the part of `image` that is the picture; None: all of it. What has its size already is
    `image` itself, and so is what the processor would not make the same of (`plan.stays`).
    """
    chosen = _FILTERS[resample]
    if not plan.stays:
        return _resized(image, image.size if box is None else _whole_sizes(box)[0], chosen, box)
    for size in plan.resizes[:-1]:
        image, box = _resized(image, size, chosen, box), None
    wide, high = plan.resizes[-1]
    left, top = plan.offset
    left, top = max(left, 0), max(top, 0)  # what is padded, the processor pads
    right, bottom = min(left + plan.width, wide), min(top + plan.height, high)
    if wide * high <= WHOLE_PIXELS:
        image = _resized(image, (wide, high), chosen, box)
        return (
            image if (right - left, bottom - top) == (wide, high) else image.crop((left, top, right, bottom))
        )
    # Pillow takes this box in single precision: close to the whole image's crop, not equal to it.
    x, y, end, foot = box or (0, 0, *image.size)
    across, down = (end - x) / wide, (foot - y) / high
    part = (x + left * across, y + top * down, min(x + right * across, end), min(y + bottom * down, foot))
    return image.resize((right - left, bottom - top), chosen, box=part)


def _needed(plan: ImagePlan, card: Card) -> Size:
    """The largest size, on each side, that the processor resamples the caller's picture to."""
    wide, high = plan.resizes[0]
    overview = parts(plan, card).overview
    if overview is None or overview.size is None:  # in the image's own shape it is smaller than the tiles
        return wide, high
    across, down = overview.size if overview.fit == "stretch" else centred(plan.source, overview.size)[0]
    return max(wide, across), max(high, down)


def _whole_sizes(box: Box) -> tuple[Size, Size]:
    """The picture's size in whole pixels, where it ends within one: rounded down, and up."""
    wide, high = box[2] - box[0], box[3] - box[1]
    return (max(int(wide), 1), max(int(high), 1)), (math.ceil(wide), math.ceil(high))


def _resized(
    image: PIL.Image.Image, size: Size, chosen: PIL.Image.Resampling, box: Box | None
) -> PIL.Image.Image:
    """The picture in `box`, not copied where it is there already."""
    whole = 0, 0, *image.size
    return image if image.size == size and box in (None, whole) else image.resize(size, chosen, box=box)
