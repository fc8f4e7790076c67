"""`mlx-cards prompt`: the exact prompt, before anything is loaded."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import registry
from loader.cli import common
from loader.cli.plan import size_of
from loader.errors import CheckpointError
from loader.messages import conversation, matched
from loader.prompt import Prompt, Segment, render
from loader.resize import Detail, ImagePlan, Size, plan_image
from loader.source import describe

if TYPE_CHECKING:
    from registry.cards import Card

_COLOURS = {"literal": "cyan", "image": "magenta", "text": None}


@click.command()
@click.argument("name")
@common.text
@common.images
@common.system
@common.messages
@click.option(
    "--tools", "tools_file", metavar="FILE", help="Tools that the model may call: a JSON list of functions."
)
@common.detail
@common.max_tokens
@common.private
@click.option("--continue", "leave_open", is_flag=True, help="Leave the last message open.")
@click.option("--expanded", is_flag=True, help="Write what the processor makes of each image in full.")
@click.option(
    "--checkpoint",
    metavar="FOLDER",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Count the text's tokens, too, with this checkpoint's tokenizer.",
)
@click.option(
    "--compare",
    is_flag=True,
    help="Say how the checkpoint's own template and mlx-vlm differ.",
)
@common.as_json
def prompt(
    name: str,
    question: str | None,
    images: tuple[str, ...],
    system: str | None,
    file: str | None,
    tools_file: str | None,
    detail: Detail,
    max_image_tokens: int | None,
    allow_private_urls: bool,
    leave_open: bool,
    expanded: bool,
    checkpoint: Path | None,
    compare: bool,
    as_json: bool,
) -> None:
    """Show the prompt that model NAME gets, byte for byte, and how many positions it takes.

    Images are paths, URLs or sizes (WxH). The prompt goes to standard output, exactly as it is when
    that is no terminal; on one it is coloured, and each image has the number of its tokens beside it.
    All other counts go to standard error.

    \b
    mlx-cards prompt qwen2.5-vl-32b -p "What is this?" -i photo.jpg
    mlx-cards prompt smolvlm2-500m -p "What is this?" -i 640x480 --expanded
    mlx-cards prompt gemma3-4b --messages conversation.json --json
    """
    if compare and checkpoint is None:
        raise click.UsageError("--compare needs the checkpoint to compare with: --checkpoint FOLDER.")
    if compare and tools_file is not None:
        raise click.UsageError("--compare has no tools: the others are asked without. Leave one out.")
    card = registry.card(name)
    messages = conversation(common.conversation(question, file), len(images), system)
    tools = None if tools_file is None else common.listed(tools_file, "--tools", "tools")
    rendered = render(card, messages, tools=tools, continue_final_message=leave_open)
    sources = matched(rendered.images, images)
    plans = [
        plan_image(card, *_size(source, allow_private_urls), detail, max_image_tokens) for source in sources
    ]
    tally = _Tally(card, rendered, sources, plans, _text_tokens(rendered, checkpoint))
    shown = _expanded(card, rendered, plans) if expanded else rendered
    others = _others(card, checkpoint, messages, leave_open) if compare and checkpoint else {}
    if as_json:
        counts = iter(plan.image_tokens for plan in plans)
        segments = [
            {**segment._asdict(), **({"image_tokens": next(counts)} if segment.kind == "image" else {})}
            for segment in shown.segments
        ]
        data = {"name": card.name, "prompt": shown.text, "segments": segments, **tally.to_dict()}
        common.print_json({**data, "compare": others} if compare else data)
        return
    if sys.stdout is not None and sys.stdout.isatty():
        click.echo(_coloured(shown.segments, plans))
    else:
        click.echo(shown.text.encode("utf-8"), nl=False)  # to the byte: no colours, no newline of ours
    for line in (*tally.lines(), *_compared(rendered.text, others)):
        click.echo(line, err=True)


@dataclass(frozen=True, slots=True)
class _Tally:
    """What a prompt takes of the context."""

    card: Card
    prompt: Prompt
    sources: Sequence[Any]
    plans: Sequence[ImagePlan]
    text_tokens: int | None
    """Positions of everything but images, None without a tokenizer."""

    @property
    def image_tokens(self) -> int:
        return sum(plan.image_tokens for plan in self.plans)

    @property
    def context(self) -> int | None:
        return None if self.card.model is None else self.card.model.context

    @property
    def total(self) -> int | None:
        """All positions of the prompt, None where they are not established."""
        extra = [0 if plan.tokens is None else plan.tokens - plan.image_tokens for plan in self.plans]
        unknown = self.text_tokens is None or any(plan.tokens is None for plan in self.plans)
        return None if unknown else (self.text_tokens or 0) + self.image_tokens + sum(extra)

    def to_dict(self) -> dict[str, Any]:
        left = None if self.total is None or self.context is None else self.context - self.total
        return {
            "images": [
                {"from": describe(source), **plan.to_dict()}
                for source, plan in zip(self.sources, self.plans, strict=True)
            ],
            "image_tokens": self.image_tokens,
            "text_tokens": self.text_tokens,
            "total_tokens": self.total,
            "context": self.context,
            "context_left": left,
            "warnings": list(self.prompt.warnings),
        }

    def lines(self) -> list[str]:
        """The same for people."""
        said = [*self.prompt.warnings]
        said += [
            f"{common.printable(describe(source))}: {plan.note}"
            for source, plan in zip(self.sources, self.plans, strict=True)
        ]
        parts = [_counted(self.image_tokens)]
        if self.text_tokens is None:
            parts.append("text not counted (--checkpoint FOLDER has a tokenizer)")
        elif self.total is None:
            parts.append(f"{self.text_tokens:,} others, and marks in images that the card does not count")
        else:
            parts.append(f"{self.total - self.image_tokens:,} others")
        if self.context is not None:
            used = self.image_tokens + (self.text_tokens or 0) if self.total is None else self.total
            at_most = "at most " if self.total is None else ""
            parts.append(f"{at_most}{self.context - used:,} of {self.context:,} positions left")
        return [*said, ", ".join(parts)]


def _expanded(card: Card, rendered: Prompt, plans: Sequence[ImagePlan]) -> Prompt:
    from loader.prompt.expand import expand

    return expand(card, rendered, plans)


def _text_tokens(rendered: Prompt, checkpoint: Path | None) -> int | None:
    """Positions of everything but the images, by the checkpoint's own tokenizer."""
    if checkpoint is None:
        return None
    from loader.prompt.encode import Encoder, tokenizer_of

    # In each placeholder one token is replaced by those that the plan counts.
    return len(Encoder(tokenizer_of(checkpoint)).encode(rendered)) - len(rendered.images)


def _others(card: Card, checkpoint: Path, messages: Sequence[Any], leave_open: bool) -> dict[str, str]:
    """What others make of the conversation: the checkpoint's own template, and mlx-vlm."""
    from loader.backend import upstream_prompt
    from loader.checkpoint.template import chat_template
    from loader.prompt.upstream import plain, render_checkpoint

    template = chat_template(checkpoint)
    if template is None:
        raise CheckpointError(
            f"{checkpoint} ships no chat template, so there is nothing to compare with. "
            "Leave --compare out, or give a folder with chat_template.jinja."
        )
    own = render_checkpoint(card, template, messages, leave_open=leave_open)
    return {"checkpoint": own.text, "mlx-vlm": upstream_prompt(checkpoint, plain(messages))}


def _compared(ours: str, others: dict[str, str]) -> list[str]:
    from loader.prompt.upstream import differing_line

    said = []
    for name, text in others.items():
        found = differing_line(ours, text)
        if found is None:
            said.append(f"{name} says the same")
        else:
            line, our, their = found
            said.append(f"{name} differs in line {line}: {their!r} instead of {our!r}")
    return [common.printable(line) for line in said]


def _size(source: Any, allow_private_urls: bool) -> Size:
    """Width and height of an image: messages may hold anything, the command line holds text."""
    if isinstance(source, str):
        return size_of(source, allow_private_urls)
    from loader.image import open_image

    return open_image(source, allow_private_urls=allow_private_urls).size


def _coloured(segments: Sequence[Segment], plans: Sequence[ImagePlan]) -> str:
    """For a terminal: each kind of segment in its colour, each image with the number of its tokens."""
    counts = iter(plan.image_tokens for plan in plans)
    out = []
    for kind, text in segments:
        out.append(click.style(common.printable(text), fg=_COLOURS[kind]))
        if kind == "image":
            out.append(click.style(f"[{_counted(next(counts))}]", fg=_COLOURS[kind], dim=True))
    return "".join(out)


def _counted(tokens: int) -> str:
    return f"{tokens:,} image token{'s' * (tokens != 1)}"
