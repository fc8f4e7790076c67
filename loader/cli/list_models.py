"""`mlx-cards list`: every model with its size, context and quantizations."""

from __future__ import annotations

import click

from loader.cli.common import as_json, print_json, table
from registry.cards import Card
from registry.catalog import all_cards
from registry.naming import fold


@click.command("list")
@click.argument("part", required=False)
@as_json
def list_models(part: str | None, as_json: bool) -> None:
    """List the models, or those whose name contains PART.

    \b
    mlx-cards list
    mlx-cards list qwen
    """
    cards = [card for card in all_cards().cards() if fold(part or "") in fold(card.name)]
    if as_json:
        print_json([_row(card) for card in cards])
    elif cards:
        heading = ("model", "parameters", "context", "status", "quantizations")
        rows = [heading, *(_cells(card) for card in cards)]
        stable = {row[3] for row in rows[1:]} == {""}
        table([row[:3] + row[4:] for row in rows] if stable else rows)
        models, families = len(cards), len({card.id for card in cards})
        word = "family" if families == 1 else "families"
        click.echo(f"\n{models} model{'s' * (models != 1)} of {families} {word}")
    else:
        click.echo(f"No model's name contains {part!r}. `mlx-cards list` shows all of them.")


def _row(card: Card) -> dict[str, object]:
    model = card.model
    assert model is not None  # noqa: S101  # names() holds models only
    return {
        "name": card.name,
        "family": card.id,
        "parameters": model.parameters,
        "context": model.context,
        "status": card.status if model.status is None else model.status,
        "quantizations": list(model.quantizations),
    }


def _cells(card: Card) -> tuple[str, ...]:
    row = _row(card)
    return (
        card.name,
        _count(card.model.parameters) if card.model and card.model.parameters else "",
        "" if row["context"] is None else f"{row['context']:,}",
        "" if row["status"] == "stable" else str(row["status"]),
        " ".join(card.model.quantizations if card.model else ()) or "-",
    )


def _count(parameters: int) -> str:
    return f"{parameters / 1e9:.1f} B" if parameters >= 5e7 else f"{parameters / 1e6:.1f} M"
