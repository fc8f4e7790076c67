"""What several subcommands share: options, JSON output, messages from a file."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from loader.errors import MessageError

F = TypeVar("F", bound=Callable[..., Any])

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
text = click.option("-p", "--prompt", "question", metavar="TEXT", help="The question.")
images = click.option(
    "-i",
    "--image",
    "images",
    multiple=True,
    metavar="SOURCE",
    help="A path or URL; may be repeated.",
)
system = click.option("--system", metavar="TEXT", help="A system message.")
messages = click.option(
    "--messages", "file", metavar="FILE", help="A conversation as JSON; - reads standard input."
)
detail = click.option(
    "--detail",
    type=click.Choice(["low", "auto", "full"]),
    default="auto",
    show_default=True,
    help="Image budget: the card's small one, its recommended one, or none.",
)
max_tokens = click.option(
    "--max-image-tokens", type=click.IntRange(1), metavar="N", help="Image tokens for one image."
)

private = click.option(
    "--allow-private-urls", is_flag=True, help="Follow image URLs into private networks, too."
)


_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """Text for a terminal: what strangers wrote (file names, models, prompts) must not steer it."""
    return _UNPRINTABLE.sub("\ufffd", text)


def print_json(data: Any) -> None:
    """Data on standard output, readable by people too, in characters that it can be written in."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    utf = encoding.lower().replace("-", "").startswith("utf")
    click.echo(json.dumps(data, indent=2, ensure_ascii=not utf, default=str))


def conversation(question: str | None, file: str | None) -> str | Sequence[Any]:
    """What the user asks: `-p TEXT` or `--messages FILE`, exactly one of them."""
    if (question is None) == (file is None):
        raise click.UsageError("Give the question with -p TEXT or a conversation with --messages FILE.")
    if question is not None:
        return question
    assert file is not None  # noqa: S101  # one of the two is there
    return listed(file, "--messages", "messages")


def listed(file: str, option: str, what: str) -> list[Any]:
    """The JSON list in a file, `what` being listed there. Raises MessageError for anything else."""
    if file == "":
        raise click.UsageError(f"{option} needs the path of a file; - reads standard input.")
    try:
        raw = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
        data = json.loads(raw)
    except OSError as error:
        raise MessageError(f"{file} cannot be read: {error.strerror}. Check the path.") from error
    except (ValueError, RecursionError) as error:
        why = {UnicodeDecodeError: "it is no UTF-8 text", RecursionError: "it is nested too deeply"}
        raise MessageError(
            f"{file} is not JSON: {why.get(type(error), error)}. "
            f"Write a list of {what}, as chat APIs take them."
        ) from error
    if not isinstance(data, list):
        raise MessageError(f"{file} holds no list of {what}. Begin with [ and a {what.removesuffix('s')}.")
    return data


def table(rows: Sequence[Sequence[str]]) -> None:
    """Rows in aligned columns, the first row as a heading."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for number, row in enumerate(rows):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        click.echo(line if number else click.style(line, bold=True))
