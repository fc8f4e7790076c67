"""`mlx-cards new`: a card and its goldens from a checkpoint."""

from __future__ import annotations

from pathlib import Path

import click

from loader.cli import common


@click.command()
@click.argument("source", metavar="FOLDER|REPOSITORY")
@click.option("--id", "family", metavar="ID", help="The family's id.  [default: the model type]")
@click.option("--revision", metavar="REV", help="A branch, tag or commit of the hub repository.")
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
    mlx-cards new ./my-checkpoint
    mlx-cards new mlx-community/Acme-VL-7B-4bit --id acme-vl
    """
    from loader.new import new as write

    made = write(source, family=family, revision=revision, output=output, goldens=goldens, force=force)
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
        click.echo(str(path))
    for kind, lines in (("TODO", made.todos), ("note", made.notes), ("said otherwise", made.unsaid)):
        for line in lines:
            click.echo(common.printable(f"{kind}: {line}"), err=True)
    click.echo(f"Next: mlx-cards validate {made.card}", err=True)
