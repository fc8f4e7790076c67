"""docs/models.md: every model, from the cards."""

from __future__ import annotations

from collections.abc import Iterator

from registry.cards import Card
from tools.generate import facts
from tools.generate.markdown import table

HEAD = """\
<!-- Made by `make generated` from registry/models. -->
# Supported models
{families} families have a card, and {models} models a name, which `registry.load`, `create_llm` and every
command take. The family's link leads to its card, which has the sources of all this.

- *photo*: image tokens of a photo of 4032x3024 pixels: with the budget that the card recommends
  (`detail="auto"`), and as the model's own processor makes them (`detail="full"`).
- *quantizations*: MLX conversions that the card lists, each to be had as `name@quantization`. `none`: convert
  the original, and load the folder.
- Whether it fits your machine: [What fits](fits.md), or `mlx-cards fit`.
- Prompts and plans are exact for all of them. Answers depend on the backend, which has faults with some:
  [What the backend cannot do yet](guide.md#what-the-backend-cannot-do-yet).

"""
HEADS = (
    "model",
    "family",
    ">parameters",
    ">context",
    ">photo, auto",
    ">photo, full",
    "quantizations",
    "licence",
)


def page() -> str:
    """The text of docs/models.md."""
    cards, families = facts.models(), facts.catalog().families()
    head = HEAD.format(models=len(cards), families=len(families))
    rest = [*_unnamed(set(families) - {card.id for card in cards}), ""]
    return head + "\n".join([*table(HEADS, (tuple(_cells(card)) for card in cards)), *rest])


def _unnamed(families: set[str]) -> Iterator[str]:
    if families:
        links = ", ".join(f"[{family}](../registry/models/{family}.yaml)" for family in sorted(families))
        yield f"\nCards that name no model, for prompts, plans and checkpoints in a folder: {links}."


def _cells(card: Card) -> Iterator[str]:
    model = card.model
    assert model is not None  # noqa: S101  # models() has nothing else
    yield f"`{card.name}`{'' if _status(card) == 'stable' else f' ({_status(card)})'}"
    yield f"[{card.title}](../registry/models/{card.id}.yaml)"
    yield facts.parameters(card)
    yield facts.context(card)
    yield facts.photo_tokens(card, "auto")
    yield facts.photo_tokens(card, "full")
    yield " ".join(model.quantizations) or "none"
    yield model.license or card.license


def _status(card: Card) -> str:
    return (card.model.status if card.model is not None else None) or card.status
