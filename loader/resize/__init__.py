"""The size an image will have, its tiles and tokens, before any pixel is touched.

One module for each strategy, one dict of them (budget.py). What the parameters mean: registry.crops,
registry.grids, registry.tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from loader.errors import ImageError, takes_no_images
from loader.resize.budget import (
    STRATEGIES,
    Detail,
    Settled,
    bounds_of,
    exceeds,
    fair_share,
    made_of,
    room_for,
    settled,
)
from loader.resize.plan import Bounds, Geometry, ImagePlan, Setting, Size, Strategy

if TYPE_CHECKING:
    from registry.cards import Card
    from registry.vision import Image

__all__ = [
    "STRATEGIES",
    "Bounds",
    "Detail",
    "ImagePlan",
    "Size",
    "Strategy",
    "made_of",
    "plan_image",
    "plan_images",
    "room_for",
]


def plan_image(  # noqa: PLR0917  # the published signature
    card: Card,
    width: int,
    height: int,
    detail: Detail = "auto",
    max_tokens: int | None = None,
    max_pixels: int | None = None,
) -> ImagePlan:
    """What becomes of an upright image of `width` x `height` pixels.

    `detail`: low and auto keep the card's budgets; full is exactly what the model's own processor
    does. `max_tokens` (image tokens) and `max_pixels` (pixels seen) replace the card's budget.

    Raises UnsupportedFeatureError for a family without vision, ImageError for sizes that the model's
    own processor refuses.
    """
    (plan,) = plan_images(card, [(width, height)], detail, max_tokens, max_pixels)
    return plan


def plan_images(  # noqa: PLR0917  # as plan_image
    card: Card,
    sizes: Sequence[Size],
    detail: Detail = "auto",
    max_tokens: int | None = None,
    max_pixels: int | None = None,
    room: int | None = None,
) -> list[ImagePlan]:
    """What becomes of the images of one call, in their order; arguments as for `plan_image`, each image's.

    `room` is what all of them may take of the context, in positions (`room_for`). If they would take more,
    the large ones share what the small ones leave, except with `detail="full"`.
    """
    image = card.image
    if image is None:
        raise takes_no_images(card.name)
    for width, height in sizes:
        _check_size(width, height)
    bounds = bounds_of(image, detail, max_tokens, max_pixels)
    # With every detail, the outcome is the processor's own, even one that the model cannot be given.
    exactly = detail == "full" and bounds == Bounds()
    made = settled(image, sizes, bounds, exactly=exactly)
    tokens = [geometry.image_tokens for geometry in made.geometries]
    if room is not None:  # smaller images need no more marks around their tokens
        room -= sum(_extra(image, geometry) or 0 for geometry in made.geometries)
    shared = room is not None and detail != "full" and sum(tokens) > room
    if room is not None and shared:
        share = fair_share(tokens, room)
        bounds = Bounds(min(share, bounds.tokens or share), bounds.pixels)
        made = settled(image, sizes, bounds)
    return [
        _plan(image, size, geometry, made.setting, _remarks(geometry, bounds, made, shared=shared))
        for size, geometry in zip(sizes, made.geometries, strict=True)
    ]


def _check_size(width: object, height: object) -> None:
    for side in (width, height):
        if not isinstance(side, int) or isinstance(side, bool) or side < 1:
            raise ImageError(
                f"An image of {width}x{height} has no pixels. Give width and height as whole numbers from 1."
            )


def _extra(image: Image, geometry: Geometry) -> int | None:
    """Positions of an image besides image tokens; None: not established."""
    return image.extra_tokens if geometry.extra_tokens is None else geometry.extra_tokens


def _plan(image: Image, source: Size, geometry: Geometry, setting: Setting | None, remarks: str) -> ImagePlan:
    """Everything that a plan says."""
    width, height = geometry.seen or geometry.resizes[-1]
    tokens = geometry.image_tokens
    extra = _extra(image, geometry)
    return ImagePlan(
        source=source,
        width=width,
        height=height,
        resizes=geometry.resizes,
        offset=geometry.offset,
        image_tokens=tokens,
        tokens=None if extra is None else tokens + extra,
        patches=geometry.patches,
        tiles=geometry.tiles,
        rows=geometry.rows,
        cols=geometry.cols,
        note=_note(source, geometry) + remarks,
        grid=geometry.grid,
        overview_tokens=geometry.overview_tokens,
        cross_tokens=geometry.cross_tokens,
        unseen_tokens=geometry.unseen_tokens,
        stays=geometry.stays,
        setting=setting,
    )


def _note(source: Size, geometry: Geometry) -> str:
    """What becomes of the image."""
    width, height = geometry.seen or geometry.resizes[-1]
    rows, cols = geometry.rows or 0, geometry.cols or 0
    overview = " and an overview" if geometry.tiles > rows * cols else ""
    grid = f" as {rows} x {cols} tiles{overview}" if rows and geometry.tiles > 1 else ""
    crop = ", its ends cut off" if max(geometry.offset) > 0 else ""
    seen = f"{source[0]}x{source[1]} seen at {width}x{height}{grid}{crop}"
    return f"{seen}: {geometry.image_tokens:,} image tokens"


def _remarks(geometry: Geometry, bounds: Bounds, made: Settled, *, shared: bool) -> str:
    """Why it is so, where it is not what the model's own processor does by itself."""
    said = []
    if shared:
        said.append("all images share what is left of the context")
    if made.setting is not None:
        name, value = made.setting
        why = ", as the processor makes no overview beside tiles" if made.unseen else ""
        said.append(f"{name.rpartition('.')[2]} set to {value}{why}")
    if geometry.unseen_tokens:
        said.append(f"{geometry.unseen_tokens:,} of them without a picture, so that no answer can be given")
    if over := " and ".join(exceeds(geometry, bounds)):
        said.append(f"the least this model can see, though {over} were asked for")
    return "".join(f"; {remark}" for remark in said)
