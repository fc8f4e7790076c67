"""What the cards say of the classes that a checkpoint names: what a proposal starts from."""

from __future__ import annotations

from collections.abc import Iterator

from registry.cards import Card
from registry.catalog import all_cards
from registry.naming import Target


def cards() -> Iterator[Card]:
    """Every family, then every model that sees images in another way than its family."""
    catalog = all_cards()
    for family in catalog.families():
        card = catalog.card(Target(family))
        yield card
        for key in card.models:
            model = catalog.card(Target(family, key))
            if model.image != card.image or model.memory != card.memory:
                yield model


def related(model_type: str, processor: str | None, without: str | None = None) -> list[Card]:
    """The cards, but `without`, of the same classes: of this model type, then of this processor."""
    known = [card for card in cards() if not card.backend.named_only and card.id != without]
    same = [card for card in known if model_type in card.backend.model_types]
    return same + [card for card in known if card.backend.processor == processor and card not in same]
