"""`mlx-cards check`: whether a checkpoint is what its card says, and whether the model sees."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from loader.cli import common

if TYPE_CHECKING:
    from loader.check import Line

FOUND = 1
COLOURS = {"pass": "green", "warn": "yellow", "fail": "red", "skip": None}


@click.command()
@click.argument("name", metavar="NAME|REPOSITORY|FOLDER")
@click.option("--card", metavar="NAME", help="The model that a folder or a repository holds.")
@click.option("--no-weights", is_flag=True, help="Compare files and settings only; no model is loaded.")
@click.option("--revision", metavar="REV", help="A branch, tag or commit of the hub repository.")
@click.option(
    "--trust-remote-code",
    is_flag=True,
    help="Let Python inside the checkpoint run with your rights.",
)
@common.as_json
def check(
    name: str,
    card: str | None,
    no_weights: bool,
    revision: str | None,
    trust_remote_code: bool,
    as_json: bool,
) -> None:
    """Compare a checkpoint with its card, then ask the model whether it sees.

    A line for each check. fail: answers would be wrong, or there would be none; warn: a fact differs that
    no answer depends on; skip: it could not be checked. The exit code is 1 where anything failed.

    \b
    mlx-cards check qwen2.5-vl-7b@4bit
    mlx-cards check ./my-checkpoint --card smolvlm2-500m --no-weights
    """
    from loader.check import check as lines_of

    lines = []
    for line in lines_of(
        name,
        card=card,
        weights=not no_weights,
        revision=revision,
        trust_remote_code=trust_remote_code,
        progress=not as_json,
    ):
        lines.append(line)
        if not as_json:
            _show(line)
    failed = sum(line.status == "fail" for line in lines)
    if as_json:
        common.print_json({"name": name, "ok": not failed, "lines": [line.to_dict() for line in lines]})
    else:
        click.echo(_summary(lines), err=True)
    if failed:
        sys.exit(FOUND)


def _show(line: Line) -> None:
    status = click.style(line.status, fg=COLOURS[line.status])
    click.echo(f"{status}  {line.check}: {common.printable(line.said)}")


def _summary(lines: list[Line]) -> str:
    counts = {status: sum(line.status == status for line in lines) for status in COLOURS}
    return ", ".join(f"{number} {status}" for status, number in counts.items() if number)
