"""From a name to one checkpoint: which quantization, from which repository, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loader.errors import UnsupportedFeatureError

if TYPE_CHECKING:
    from loader.device import Device
    from registry.cards import Card, Model, Weights
    from registry.catalog import Catalog

WEIGHTS_SHARE = 0.8
"""Part of the working set that weights may take, so that cache and activations keep the rest.

A choice of this project, not a measurement: the memory estimate of a request is what decides."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One checkpoint, chosen."""

    card: Card
    """The card as the chosen model sees it."""
    model: str
    """Full name of the model."""
    quantization: str
    """For example "6bit"."""
    repository: str
    """Hub repository."""
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
    card = catalog.card(target.without_quantization())
    model = card.model
    assert model is not None  # noqa: S101  # model_of never returns a family
    if not model.quantizations:
        raise UnsupportedFeatureError(
            f"No MLX conversion of {card.name} is known. "
            f"Convert {model.source} with mlx_vlm.convert and load the folder."
        )
    if target.quantization is not None:
        chosen, why = target.quantization, "It was asked for."
    else:
        chosen, why = _best(model, device)
    weights = _weights(model, chosen)
    return Choice(card, card.name, chosen, weights.repository, weights.revision, why)


def _weights(model: Model, quantization: str) -> Weights:
    return next(w for q, w in model.quantizations.items() if q == quantization)


def _best(model: Model, device: Device | str | None) -> tuple[str, str]:
    """The finest quantization whose weights leave room, else the coarsest; and why."""
    from loader.device import find
    from registry.cards import PRECISION

    machine = find(device)
    room = int(machine.working_set * WEIGHTS_SHARE)
    fine_to_coarse = sorted(model.quantizations, key=PRECISION.index, reverse=True)
    for quantization in fine_to_coarse:
        size = model.quantizations[quantization].bytes
        if size is not None and size <= room:
            return quantization, (
                f"The finest whose weights ({gigabytes(size)}) take at most {WEIGHTS_SHARE:.0%} of the "
                f"{gigabytes(machine.working_set)} that the GPU may use on {machine.name} (estimate)."
            )
    smallest = fine_to_coarse[-1]
    size = model.quantizations[smallest].bytes
    if size is None:
        leave = "its weights are of unknown size, and may or may not fit"
    else:
        leave = f"its weights of {gigabytes(size)} leave little or no room in"
    return smallest, (
        f"The smallest there is; {leave} the {gigabytes(machine.working_set)} that the GPU may use on "
        f"{machine.name} (estimate)."
    )


def gigabytes(size: int) -> str:
    """A number of bytes in units of 10^9, as Apple and the hub count them."""
    return f"{size / 1e9:.1f} GB"
