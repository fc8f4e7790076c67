"""What bounds the caller or the card sets, and how they are kept.

A bound acts in one of two ways. Strategies of one picture keep it by themselves: the processor is handed
a smaller picture. Where the processor cuts or fills whatever it is handed, it has an attribute that
limits it (`image.lever` in the card), and that is lowered for the call, step by step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from loader.errors import UnsupportedFeatureError
from loader.resize.plan import Bounds, Geometry, Setting, Size, Strategy
from loader.sampling import whole

if TYPE_CHECKING:
    from registry.vision import Image

Detail = Literal["low", "auto", "full"]

STRATEGIES: dict[str, str] = {
    "anyres": "loader.resize.anyres",
    "canvas_tiles": "loader.resize.canvas_tiles",
    "crops": "loader.resize.crops",
    "fixed": "loader.resize.fixed",
    "longest_edge": "loader.resize.longest_edge",
    "merged_crops": "loader.resize.merged_crops",
    "padded_grid": "loader.resize.padded_grid",
    "patch_limit": "loader.resize.patch_limit",
    "quarters": "loader.resize.quarters",
    "slices": "loader.resize.slices",
    "smart_resize": "loader.resize.smart_resize",
    "split_tiles": "loader.resize.split_tiles",
    "stretch_tiles": "loader.resize.stretch_tiles",
    "token_budget": "loader.resize.token_budget",
    "windows": "loader.resize.windows",
}
"""Modules by the `kind` that a card names; each is imported when a card needs it."""


def strategy(kind: str) -> Strategy[Any]:
    """The strategy of a kind."""
    found: Strategy[Any] = getattr(import_module(STRATEGIES[kind]), kind)
    return found


def bounds_of(image: Image, detail: Detail, tokens: int | None, pixels: int | None) -> Bounds:
    """The bounds in force for one image.

    Raises UnsupportedFeatureError for a word or a number that is none.
    """
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


def settled(image: Image, sizes: Sequence[Size], bounds: Bounds) -> tuple[list[Geometry], Setting | None]:
    """What becomes of the images of one call, each within `bounds` as far as the family can.

    One setting of the processor holds for all of them, because they are processed together.
    """
    module, plan = import_module(STRATEGIES[image.resize.kind]), strategy(image.resize.kind)
    best, setting = [plan(image.resize, size, bounds) for size in sizes], None
    if image.lever is not None and hasattr(module, "smaller"):
        for parameters in module.smaller(image.resize):
            if not any(exceeds(geometry, bounds) for geometry in best):
                break
            smaller = [plan(parameters, size, bounds) for size in sizes]
            if _tokens(smaller) <= _tokens(best):
                best, setting = smaller, (image.lever, _changed(image.resize, parameters))
    return best, setting


def exceeds(geometry: Geometry, bounds: Bounds) -> list[str]:
    """The bounds that an image does not keep, in words."""
    over = []
    wide, high = geometry.seen or geometry.resizes[-1]
    if bounds.tokens is not None and geometry.image_tokens > bounds.tokens:
        over.append(f"{bounds.tokens:,} tokens")
    if bounds.pixels is not None and wide * high > bounds.pixels:
        over.append(f"{bounds.pixels:,} pixels")
    return over


def fair_share(tokens: Sequence[int], room: int) -> int:
    """The most that each image may take so that all fit into `room`; small ones keep what they have."""
    left, cap = room, 0
    for taken, count in zip(sorted(tokens), range(len(tokens), 0, -1), strict=True):
        cap = max(1, left // count)
        if taken > cap:
            break
        left -= taken
    return cap


def _tokens(geometries: Sequence[Geometry]) -> int:
    return sum(geometry.image_tokens for geometry in geometries)


def _changed(before: Any, after: Any) -> int:
    """The value of the one parameter that differs."""
    values = [
        (getattr(before, field.name), getattr(after, field.name)) for field in dataclasses.fields(before)
    ]
    return next(int(new) for old, new in values if new != old)
