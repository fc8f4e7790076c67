"""What bounds the caller or the card sets, and how they are kept.

A bound acts in one of two ways. Strategies of one picture keep it by themselves: the processor is handed
a smaller picture. Where the processor cuts or fills whatever it is handed, it has an attribute that
limits it (`image.lever` in the card), and that is lowered for the call, step by step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from loader.errors import ImageError, UnsupportedFeatureError
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


class Settled(NamedTuple):
    """The images of one call."""

    geometries: list[Geometry]
    setting: Setting | None
    """What the processor is set to for all of them, because they are processed together."""
    unseen: bool
    """Whether, left as it is, the processor would write tokens that it makes no picture for."""


def settled(image: Image, sizes: Sequence[Size], bounds: Bounds, *, exactly: bool = False) -> Settled:
    """What becomes of the images of one call, each within `bounds` as far as the family can.

    `exactly`: the processor is left as it is, whatever it does.
    """
    module, plan = import_module(STRATEGIES[image.resize.kind]), strategy(image.resize.kind)
    full = best = [plan(image.resize, size, bounds) for size in sizes]
    setting = None
    if image.lever is not None and not exactly:
        for parameters in module.smaller(image.resize):
            over = _excess(best, bounds)
            if not over:
                break
            lower = [plan(parameters, size, bounds) for size in sizes]
            # Fewer tiles may be of another shape: nothing is to become more for it, in no image.
            fewer = all(it.image_tokens <= was.image_tokens for it, was in zip(lower, full, strict=True))
            if fewer and _excess(lower, bounds) < over:
                best, setting = lower, (image.lever, _changed(image.resize, parameters))
    return Settled(best, setting, any(it.unseen_tokens for it in full))


def _excess(geometries: Sequence[Geometry], bounds: Bounds) -> int:
    """How much is beyond the bounds, or unseen, over all images; 0: nothing is."""
    excess = 0
    for geometry in geometries:
        wide, high = geometry.seen or geometry.resizes[-1]
        excess += geometry.unseen_tokens
        if bounds.tokens is not None:
            excess += max(geometry.image_tokens - bounds.tokens, 0)
        if bounds.pixels is not None:
            excess += max(wide * high - bounds.pixels, 0)
    return excess


def made_of(image: Image, size: Size, setting: Setting | None) -> Geometry | None:
    """What the processor, so set, makes of a picture of this size; None: it refuses it.

    Apart from whether it would leave such a picture as it is, which depends on more than the outcome.
    """
    parameters = image.resize
    if setting is not None:
        module = import_module(STRATEGIES[parameters.kind])
        parameters = next(it for it in module.smaller(parameters) if _changed(image.resize, it) == setting[1])
    try:
        geometry = strategy(parameters.kind)(parameters, size, Bounds())
    except ImageError:
        return None
    return dataclasses.replace(geometry, stays=True)


def exceeds(geometry: Geometry, bounds: Bounds) -> list[str]:
    """The bounds that an image does not keep, in words."""
    over = []
    wide, high = geometry.seen or geometry.resizes[-1]
    if bounds.tokens is not None and geometry.image_tokens > bounds.tokens:
        over.append(f"{bounds.tokens:,} tokens")
    if bounds.pixels is not None and wide * high > bounds.pixels:
        over.append(f"{bounds.pixels:,} pixels")
    return over


def room_for(context: int | None, text: int, answer: int) -> int | None:
    """Positions of a context that text and answer leave to images; None: the context is not known.

    Who sets a high limit to the answer means that there is none, so it takes no more than half of it.
    """
    if context is None:
        return None
    left = max(context - text, 0)
    return left - min(answer, left // 2)


def fair_share(tokens: Sequence[int], room: int) -> int:
    """The most that each image may take so that all fit into `room`; small ones keep what they have."""
    left, cap = room, 0
    for taken, count in zip(sorted(tokens), range(len(tokens), 0, -1), strict=True):
        cap = max(1, left // count)
        if taken > cap:
            break
        left -= taken
    return cap


def _changed(before: Any, after: Any) -> int:
    """The value of the one parameter that differs."""
    values = [
        (getattr(before, field.name), getattr(after, field.name)) for field in dataclasses.fields(before)
    ]
    return next(new for old, new in values if new != old)  # type: ignore[no-any-return]
