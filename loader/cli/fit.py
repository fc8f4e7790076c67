"""`mlx-cards fit`: which of all models run on a machine, each in the best quantization that fits."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from loader.cli import memory
from loader.cli.common import as_json, print_json, table
from loader.errors import ImageError
from registry.choice import PHOTO, gigabytes
from registry.naming import natural

if TYPE_CHECKING:
    from loader.capacity import Capacity
    from loader.device import Device
    from loader.resize import Size
    from registry.cards import Card

ANSWER = 512
"""Tokens of the answer, as `mlx-cards run` writes unless told otherwise."""
_SIZE = re.compile(r"([1-9]\d{0,5})x([1-9]\d{0,5})")
_MEGAPIXELS = re.compile(r"(\d{1,3}(?:\.\d+)?)mp")
HEADING = ("model", "quantization", "verdict", "needs", "share", "largest image")


def _image(_context: click.Context, parameter: click.Parameter, value: str | None) -> Size:
    if value is None:
        return PHOTO
    if match := _SIZE.fullmatch(value.lower()):
        return int(match[1]), int(match[2])
    match = _MEGAPIXELS.fullmatch(value.lower())
    if match is None or not float(match[1]):
        raise click.BadParameter(f"{value!r} is no size; write 12mp or 4032x3024.", param=parameter)
    height = math.sqrt(float(match[1]) * 1e6 * 3 / 4)
    return round(height * 4 / 3), round(height)


@click.command()
@memory.device
@click.option(
    "--image",
    metavar="SIZE",
    callback=_image,
    help="The image that is asked about: 4032x3024, or 12mp, in the shape 4:3.  [default: 4032x3024]",
)
@memory.context
@as_json
def fit(device: str | None, image: Size, context: int | None, as_json: bool) -> None:
    """Rank all models by what runs on a machine, with a question about one image.

    Models that fit come first, the largest at the top. Each is shown in the finest quantization that leaves
    room, as `load` chooses it; share is the part of the memory that the GPU may use.

    \b
    mlx-cards fit
    mlx-cards fit --device m4-pro-24gb
    mlx-cards fit --device m1-8gb --image 12mp --context 8k --json
    """
    from loader.device import find

    machine = find(device)
    fitted = [(card, _fitted(card, machine, image, context)) for card in _cards()]
    rows = sorted(((card, found) for card, found in fitted if not isinstance(found, str)), key=_rank)
    left_out = {card.name: why for card, why in fitted if isinstance(why, str)}
    if as_json:
        models = [_data(card, capacity) for card, capacity in rows]
        print_json({"device": machine.name, "image": list(image), "models": models, "left_out": left_out})
        return
    table([HEADING, *(_cells(card, capacity) for card, capacity in rows)])
    running = sum(_runs(card, capacity) for card, capacity in rows)
    where = f"{gigabytes(machine.room)} on {machine.name}{'' if machine.measured else ' (estimate)'}"
    size = f"{image[0]}x{image[1]}"
    click.echo(f"\n{running} of {len(fitted)} models fit {where}, with an image of {size}")
    for why, number in Counter(left_out.values()).items():
        click.echo(f"{number} left out: {why}")


def _cards() -> list[Card]:
    from registry.catalog import all_cards

    return all_cards().cards()


def _fitted(card: Card, device: Device, image: Size, context: int | None) -> Capacity | str:
    """The best quantization of a model; or why it cannot be asked at all."""
    from loader.capacity import best, together
    from loader.memory import Request

    longest = card.model.context if card.model is not None else None
    if context is not None and longest is not None and context > longest:
        return "released for a shorter context"
    request = Request(card, () if card.image is None else (image,), ANSWER, context=context)
    try:
        return best(replace(request, planned=together(request)), device)
    except ImageError:
        return "an image of this shape or size is refused"


def _runs(card: Card, capacity: Capacity) -> bool:
    return _converted(card) and capacity.estimate.verdict == "fits"


def _converted(card: Card) -> bool:
    return card.model is not None and bool(card.model.quantizations)


def _rank(row: tuple[Card, Capacity]) -> tuple[Any, ...]:
    """What can be loaded by its name, then by verdict, then the largest model."""
    from loader.capacity import ORDER

    card, capacity = row
    parameters = card.model.parameters if card.model is not None else None
    verdict = ORDER.index(capacity.estimate.verdict)
    return not _converted(card), verdict, -(parameters or 0), natural(card.name)


def _data(card: Card, capacity: Capacity) -> dict[str, Any]:
    assert card.model is not None  # noqa: S101  # names() holds models only
    return {"name": card.name, "parameters": card.model.parameters, **capacity.to_dict()}


def _cells(card: Card, capacity: Capacity) -> tuple[str, ...]:
    return (
        card.name,
        capacity.quantization or "none published",
        capacity.estimate.verdict,
        memory.taken(capacity.estimate),
        f"{capacity.share:.0%}",
        memory.largest_words(capacity),
    )
