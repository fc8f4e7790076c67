"""`mlx-cards schema`: the JSON Schema of a card, for an editor where there is no clone."""

from __future__ import annotations

import click


@click.command()
def schema() -> None:
    """Print the JSON Schema of a card, as this version of the program has it.

    A card's first line tells an editor where it is: `# yaml-language-server: $schema=card.schema.json` for a
    file beside the card.

    \b
    mlx-cards schema > my-cards/card.schema.json
    """
    from registry.schema import card_schema_text

    click.echo(card_schema_text(), nl=False)
