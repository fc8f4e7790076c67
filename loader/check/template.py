"""The checkpoint's own chat template against the card, by the conversations of loader.prompt.upstream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from loader.check.line import Line
from loader.checkpoint.template import chat_template
from loader.errors import CheckpointError
from loader.prompt.upstream import PROBES, drift
from registry.catalog import all_cards
from registry.naming import Target

if TYPE_CHECKING:
    from registry.cards import Card


def check(card: Card, folder: Path) -> Iterator[Line]:
    """One line: the first conversation that is said otherwise, with both readings."""
    try:
        template = chat_template(folder)
    except CheckpointError as error:
        yield Line("template", "fail", str(error))
        return
    if template is None:
        yield Line("template", "skip", "the checkpoint ships none; the card's is used")
        return
    found = drift(card, template)
    if found is None:
        yield Line(
            "template", "pass", f"it says {len(PROBES)} conversations as the card does, or refuses them"
        )
        return
    catalog = all_cards()
    siblings = (catalog.card(Target(card.id, key)) for key in card.models if key != card.key)
    twin = next((sibling.name for sibling in siblings if drift(sibling, template) is None), None)
    todo = f"; it agrees with {twin}: --card {twin}" if twin else ""
    yield Line("template", "fail", f"{found}{todo}", found.card, found.checkpoint)
