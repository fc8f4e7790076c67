"""From a name to one checkpoint: which quantization, from which repository, and why."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from loader.errors import UnsupportedFeatureError

if TYPE_CHECKING:
    from loader.device import Device
    from registry.cards import Card, Model, Quantization, Weights
    from registry.catalog import Catalog

CHECKPOINTS = Path(__file__).parent / "checkpoints"
"""Checkpoints that are part of this package."""
PHOTO = (4032, 3024)
"""What a quantization is chosen for: a question about one photo of 12 megapixels."""
ROOM_SHARE = 0.9
"""Part of the working set that this may take, so that there is room for a longer talk. A choice of this
project, not a measurement: the memory estimate of the request itself is what decides."""
WEIGHTS_SHARE = 0.8
"""The same for the weights alone, where the rest is not known."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One checkpoint, chosen."""

    card: Card
    """The card as the chosen model sees it."""
    model: str
    """Full name of the model."""
    quantization: str
    """For example "6bit"."""
    repository: str | None
    """Hub repository; None: the checkpoint comes with this package."""
    folder: Path | None
    """Where that is; None: it is in the repository."""
    revision: str | None
    """Commit that the card pins; None: the newest one is resolved to a commit when loading."""
    why: str
    """Why this quantization, in one sentence."""


def choose(catalog: Catalog, name: str, *, quantization: str, device: Device | str | None) -> Choice:
    """The checkpoint that `name` means on `device` (None: this machine).

    Raises UnknownModelError, or UnsupportedFeatureError where no conversion is known.
    """
    target = catalog.model_of(name)
    if quantization != "auto":
        if target.quantization not in {None, quantization.lower()}:
            raise UnsupportedFeatureError(
                f"{name} is {target.quantization}, and quantization={quantization!r} asks for another. "
                "Leave one of them out."
            )
        target = catalog.find(f"{name.partition('@')[0]}@{quantization}")
    return choose_for(catalog.card(target.without_quantization()), target.quantization, device)


def choose_for(card: Card, quantization: str | None, device: Device | str | None) -> Choice:
    """A checkpoint of the model that `card` is seen as; None takes the finest that leaves room.

    Raises UnsupportedFeatureError where no conversion is known.
    """
    model = card.model
    assert model is not None  # noqa: S101  # the callers never pass a family
    if not model.quantizations:
        raise UnsupportedFeatureError(
            f"No MLX conversion of {card.name} is known. "
            f"Convert {model.source} with mlx_vlm.convert and load the folder."
        )
    if quantization is not None:
        chosen, why = quantization, "It was asked for."
    else:
        chosen, why = _best(card, model, device)
    weights = _weights(model, chosen)
    folder = None if weights.folder is None else CHECKPOINTS / weights.folder
    return Choice(card, card.name, chosen, weights.repository, folder, weights.revision, why)


def _weights(model: Model, quantization: str) -> Weights:
    return next(w for q, w in model.quantizations.items() if q == quantization)


def _best(card: Card, model: Model, device: Device | str | None) -> tuple[str, str]:
    """The finest quantization that leaves room, else the coarsest; and why.

    What other programs hold at the moment does not count: a name should mean the same tomorrow.
    """
    from loader.device import find
    from registry.cards import PRECISION

    machine = replace(find(device), in_use=0)
    limit = f"the {gigabytes(machine.working_set)} that the GPU may use on {machine.name} (estimate)"
    fine_to_coarse = sorted(model.quantizations, key=PRECISION.index, reverse=True)
    for quantization in fine_to_coarse:
        if model.quantizations[quantization].bytes is None:
            continue
        needed, complete = _needed(card, model, quantization, machine)
        if needed <= machine.working_set * (ROOM_SHARE if complete else WEIGHTS_SHARE):
            rest = "" if complete else " and what is not known of it"
            return quantization, (
                "The finest that leaves room: with a photo of 12 megapixels it takes "
                f"{gigabytes(needed)}{rest} of {limit}."
            )
    smallest = fine_to_coarse[-1]
    if model.quantizations[smallest].bytes is None:
        return smallest, (
            f"The smallest there is; its weights are of unknown size, and may or may not fit {limit}."
        )
    needed, _ = _needed(card, model, smallest, machine)
    return smallest, (
        f"The smallest there is; with a photo of 12 megapixels it takes {gigabytes(needed)}, "
        f"which leave little or no room in {limit}."
    )


def _needed(card: Card, model: Model, quantization: Quantization, machine: Device) -> tuple[int, bool]:
    """Bytes of a question about a photo, and whether that is all of it."""
    from loader.memory.request import Request
    from loader.memory.totals import compute

    images = () if card.image is None else (PHOTO,)
    weights = model.quantizations[quantization].bytes
    asked = Request(card, images, 512, quantization=quantization, weights=weights, weights_source="computed")
    made = compute(asked, machine)
    return made.at_least, made.total is not None


def gigabytes(size: int) -> str:
    """A number of bytes in units of 10^9, as Apple and the hub count them; a small one in millions."""
    return f"{size / 1e9:.1f} GB" if size >= 5e7 else f"{size / 1e6:.1f} MB"
