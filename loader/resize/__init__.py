"""The size an image will have, its tiles and tokens, before any pixel is touched.

One module for each strategy, one dict of them. What the parameters mean: registry.crops,
registry.grids, registry.tiles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from loader.errors import ImageError, UnsupportedFeatureError, takes_no_images
from loader.resize.anyres import anyres
from loader.resize.canvas_tiles import canvas_tiles
from loader.resize.crops import crops
from loader.resize.fixed import fixed
from loader.resize.longest_edge import longest_edge
from loader.resize.merged_crops import merged_crops
from loader.resize.padded_grid import padded_grid
from loader.resize.patch_limit import patch_limit
from loader.resize.plan import Bounds, Geometry, ImagePlan, Size, Strategy
from loader.resize.quarters import quarters
from loader.resize.slices import slices
from loader.resize.smart_resize import smart_resize
from loader.resize.split_tiles import split_tiles
from loader.resize.stretch_tiles import stretch_tiles
from loader.resize.token_budget import token_budget
from loader.resize.windows import windows
from loader.sampling import whole

if TYPE_CHECKING:
    from registry.cards import Card
    from registry.vision import Image

__all__ = ["STRATEGIES", "Bounds", "Detail", "ImagePlan", "Size", "Strategy", "plan_image"]

Detail = Literal["low", "auto", "full"]

STRATEGIES: dict[str, Strategy[Any]] = {
    "anyres": anyres,
    "canvas_tiles": canvas_tiles,
    "crops": crops,
    "fixed": fixed,
    "longest_edge": longest_edge,
    "merged_crops": merged_crops,
    "padded_grid": padded_grid,
    "patch_limit": patch_limit,
    "quarters": quarters,
    "slices": slices,
    "smart_resize": smart_resize,
    "split_tiles": split_tiles,
    "stretch_tiles": stretch_tiles,
    "token_budget": token_budget,
    "windows": windows,
}
"""Strategies by the `kind` that a card names."""


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
    image = card.image
    if image is None:
        raise takes_no_images(card.name)
    if width < 1 or height < 1:
        raise ImageError(f"An image of {width}x{height} has no pixels. Check the file.")
    bounds = _bounds(image, detail, max_tokens, max_pixels)
    geometry = STRATEGIES[image.resize.kind](image.resize, (width, height), bounds)
    return _plan(image, (width, height), geometry, bounds)


def _bounds(image: Image, detail: Detail, tokens: int | None, pixels: int | None) -> Bounds:
    if detail not in ("low", "auto", "full"):
        raise UnsupportedFeatureError(f"detail={detail!r} is not known. Use low, auto or full.")
    for name, value in (("max_tokens", tokens), ("max_pixels", pixels)):
        if value is not None:
            whole(name, value, least=1)
    if tokens is not None or pixels is not None:
        return Bounds(tokens, pixels)
    if detail == "full" or image.budget is None:
        return Bounds()
    budget = image.budget
    return Bounds(budget.low if detail == "low" and budget.low else budget.tokens)


def _plan(image: Image, source: Size, geometry: Geometry, bounds: Bounds) -> ImagePlan:
    width, height = geometry.seen or geometry.resizes[-1]
    tokens = geometry.image_tokens
    extra = image.extra_tokens if geometry.extra_tokens is None else geometry.extra_tokens
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
        note=_note(source, (width, height), geometry, bounds),
        grid=geometry.grid,
        overview_tokens=geometry.overview_tokens,
        cross_tokens=geometry.cross_tokens,
        stays=geometry.stays,
    )


def _note(source: Size, seen: Size, geometry: Geometry, bounds: Bounds) -> str:
    rows, cols = geometry.rows or 0, geometry.cols or 0
    overview = " and an overview" if geometry.tiles > rows * cols else ""
    grid = f" as {rows} x {cols} tiles{overview}" if rows and geometry.tiles > 1 else ""
    crop = ", its ends cut off" if max(geometry.offset) > 0 else ""
    over = []
    if bounds.tokens is not None and geometry.image_tokens > bounds.tokens:
        over.append(f"{bounds.tokens:,} tokens")
    if bounds.pixels is not None and seen[0] * seen[1] > bounds.pixels:
        over.append(f"{bounds.pixels:,} pixels")
    least = f"; the least this model can see, though {' and '.join(over)} were asked for" if over else ""
    return (
        f"{source[0]}x{source[1]} seen at {seen[0]}x{seen[1]}{grid}{crop}: "
        f"{geometry.image_tokens:,} image tokens{least}"
    )
