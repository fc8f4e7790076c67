"""What the pages about models say of one: its size, what it makes of a photo, the memory it takes."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

from loader.capacity import Capacity, capacities, together
from loader.device import find
from loader.errors import ImageError
from loader.memory import Request
from loader.resize import Detail, ImagePlan, plan_image
from registry.cards import Card
from registry.catalog import CARDS, Catalog
from registry.choice import PHOTO, gigabytes

ANSWER = 512
"""Tokens of an answer, as `generate` writes unless told otherwise."""
DEVICES = (
    "m1-8gb",
    "m4-16gb",
    "m4-pro-24gb",
    "m3-max-36gb",
    "m4-max-64gb",
    "m4-max-128gb",
    "m3-ultra-512gb",
)
"""One machine for each amount of memory that the verdict is shown for."""
HEADS = (
    "quantization",
    ">weights",
    ">in all",
    *(device.rpartition("-")[2].replace("gb", " GB") for device in DEVICES),
)
"""Of `memory_rows`."""


@functools.cache
def catalog() -> Catalog:
    """The cards of this repository, and none of the user's own."""
    return Catalog(CARDS, trusted=True)


@functools.cache
def models() -> tuple[Card, ...]:
    """Every card as each of its models sees it, in natural order."""
    return tuple(catalog().card(catalog().find(name)) for name in catalog().names())


def models_of(family: str) -> list[Card]:
    """The models of one card."""
    return [card for card in models() if card.id == family]


def parameters(card: Card) -> str:
    """How many there are, in words; nothing where the card does not say."""
    count = card.model.parameters if card.model is not None else None
    if count is None:
        return ""
    return f"{count / 1e9:.1f} B" if count >= 5e7 else f"{count / 1e6:.1f} M"


def context(card: Card) -> str:
    """Positions that the model was released for."""
    positions = card.model.context if card.model is not None else None
    return "" if positions is None else f"{positions:,}"


def plan(card: Card, width: int, height: int, detail: Detail) -> ImagePlan | None:
    """What becomes of an image; None where the family refuses its shape."""
    try:
        return plan_image(card, width, height, detail=detail)
    except ImageError:
        return None


def photo_tokens(card: Card, detail: Detail) -> str:
    """Image tokens of a photo of 12 megapixels."""
    if card.image is None:
        return "none"
    made = plan(card, *PHOTO, detail)
    return "refused" if made is None else f"{made.image_tokens:,}"


def memory_rows(card: Card) -> Iterator[tuple[str, ...]]:
    """For each quantization: its weights, a question about a photo in all, and the verdict on each device."""
    request = Request(card, () if card.image is None else (PHOTO,), ANSWER)
    request = Request(card, request.images, ANSWER, planned=together(request))
    on_devices = [list(capacities(request, find(device))) for device in DEVICES]
    for found in zip(*on_devices, strict=True):
        yield _memory_row(found)


def _memory_row(found: Sequence[Capacity]) -> tuple[str, ...]:
    made = found[0].estimate  # the bytes are the same on all devices
    weights = "unknown" if made.weights is None else gigabytes(made.weights)
    total = gigabytes(made.at_least)
    if made.total is None:
        total = "unknown" if made.weights is None else f"over {total}"
    verdicts = (capacity.estimate.verdict for capacity in found)
    return found[0].quantization or "", weights, total, *verdicts
