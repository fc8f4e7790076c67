"""`mlx-cards prompt`: the exact prompt, before anything is loaded."""

from __future__ import annotations

import sys

import click

import registry
from loader.cli import common
from loader.messages import conversation, matched
from loader.prompt import Segment, render

_COLOURS = {"literal": "cyan", "image": "magenta", "text": None}


@click.command()
@click.argument("name")
@common.text
@common.images
@common.system
@common.messages
@click.option("--continue", "leave_open", is_flag=True, help="Leave the last message open.")
@common.as_json
def prompt(
    name: str,
    question: str | None,
    images: tuple[str, ...],
    system: str | None,
    file: str | None,
    leave_open: bool,
    as_json: bool,
) -> None:
    """Show the prompt that model NAME gets, byte for byte; placeholders are not expanded.

    Images are counted, not opened.

    \b
    mlx-cards prompt qwen2.5-vl-32b -p "What is this?" -i photo.jpg
    mlx-cards prompt gemma3-4b --messages conversation.json
    """
    asked = common.conversation(question, file)
    card = registry.card(name)
    rendered = render(card, conversation(asked, len(images), system), continue_final_message=leave_open)
    matched(rendered.images, images)
    if as_json:
        segments = [{"kind": s.kind, "text": s.text} for s in rendered.segments]
        common.print_json({"name": card.name, "prompt": rendered.text, "segments": segments})
    elif sys.stdout.isatty():
        click.echo("".join(_coloured(segment) for segment in rendered.segments))
    else:
        sys.stdout.write(rendered.text)  # to the byte: no colours, no newline of ours


def _coloured(segment: Segment) -> str:
    text = common.printable(segment.text)
    return click.style(text, fg=_COLOURS[segment.kind]) if text else ""
