"""`mlx-cards new`: a card and its goldens from a checkpoint."""

from __future__ import annotations

from pathlib import Path

import click

from loader.cli import common


@click.command()
@click.argument("source", metavar="FOLDER|REPOSITORY")
@click.option("--id", "family", metavar="ID", help="The family's id.  [default: the model type]")
@click.option("--revision", metavar="REV", help="A branch, tag or commit of the hub repository.")
@click.option("--copy-of", metavar="REPOSITORY", help="The hub repository that the folder was copied from.")
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("my-cards"),
    show_default=True,
    help="Where the card goes.",
)
@click.option(
    "--goldens",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where its goldens go.  [default: golden/ in the output folder]",
)
@click.option("--force", is_flag=True, help="Replace files that are there.")
@common.as_json
def new(
    source: str,
    family: str | None,
    revision: str | None,
    copy_of: str | None,
    output: Path,
    goldens: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Write a card for a family from one checkpoint of it: a folder, or a hub repository.

    No weights are read and no code of the checkpoint runs. The prompt's grammar is inferred by asking the
    chat template, the resize strategy by asking the processor where mlx-vlm has it. What is not known is
    left as a TODO with the reason.

    \b
    mlx-cards new ./my-checkpoint --copy-of acme/Acme-VL-7B
    mlx-cards new mlx-community/Acme-VL-7B-4bit --id acme-vl
    """
    from loader.new import new as write
    from registry.catalog import CARDS

    made = write(
        source,
        family=family,
        revision=revision,
        copy_of=copy_of,
        output=output,
        goldens=goldens,
        force=force,
    )
    if as_json:
        common.print_json(
            {
                "card": str(made.card),
                "goldens": made.goldens and str(made.goldens),
                "template": made.template and str(made.template),
                "todos": made.todos,
                "notes": made.notes,
                "unsaid": made.unsaid,
            }
        )
        return
    for path in filter(None, (made.card, made.goldens, made.template)):
        click.echo(_near(path))
    for kind, lines in (("TODO", made.todos), ("note", made.notes), ("said otherwise", made.unsaid)):
        for line in lines:
            click.echo(common.printable(f"{kind}: {line}"), err=True)
    command = "tools/validate" if made.card.parent.resolve() == CARDS.resolve() else "mlx-cards validate"
    click.echo(f"Next: {command} {_near(made.card)}", err=True)


def _near(path: Path) -> str:
    """A path as one types it from here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
