"""Vision-model cards for MLX: know before you load.

    import registry
    registry.names()                          # ("qwen2-vl-2b", ...)
    registry.card("qwen2.5-vl-32b")           # the card, as that model sees it
    registry.resolve("qwen2.5-vl-32b@6bit")   # which checkpoint, and why
    registry.load("qwen2.5-vl-32b")           # a VisionModel

Importing this package costs milliseconds: no mlx, transformers, numpy, PIL or jinja2.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loader.device import Device
    from loader.model import VisionModel
    from registry.cards import Card
    from registry.choice import Choice

__all__ = ["card", "families", "load", "names", "resolve"]


def names() -> tuple[str, ...]:
    """Full names of all models, in natural order: those of this package and of the user's own cards.

    Retired models are left out. Raises CardError for a folder of cards that is not there.
    """
    from registry.catalog import all_cards

    return all_cards().names()


def families() -> tuple[str, ...]:
    """Ids of all cards, in natural order. Otherwise as `names`."""
    from registry.catalog import all_cards

    return all_cards().families()


def card(name: str) -> Card:
    """The card as `name` sees it: a model (its overrides applied), a family, an alias, a hub
    repository or a `model_type` of config.json.

    Raises UnknownModelError with up to three suggestions, as a name never resolves to a neighbour;
    CardError for a card that is wrong; UnsupportedFeatureError for a model that is retired.
    """
    from registry.catalog import all_cards

    return all_cards().card(all_cards().find(name).without_quantization())


def resolve(name: str, *, quantization: str = "auto", device: Device | str | None = None) -> Choice:
    """Which checkpoint `name` means: "qwen2.5-vl-32b", "qwen2.5-vl-32b@6bit" or a hub repository.

    `quantization="auto"` takes the finest whose weights leave room on `device` (None: this
    machine; a name such as "m4-max-64gb"). Nothing is downloaded.

    Raises UnknownModelError, also for a family, and UnsupportedFeatureError where the model has no such
    quantization, or no conversion at all is known.
    """
    from registry.catalog import all_cards
    from registry.choice import choose

    return choose(all_cards(), name, quantization=quantization, device=device)


def load(name: str | os.PathLike[str], **options: Any) -> VisionModel:
    """Load a model by name, hub repository or checkpoint folder; options and errors as in `loader.load`."""
    import loader

    return loader.load(name, **options)
