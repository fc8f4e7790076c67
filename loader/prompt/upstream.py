"""The prompt that a checkpoint's own chat template makes, and how it differs from the card's."""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from loader.errors import CheckpointError, MessageError, MLXCardsError
from loader.messages import Message, Text, read
from loader.prompt import render
from loader.prompt.forgery import image_tokens
from loader.prompt.sandbox import SANDBOX, TemplateError
from loader.prompt.segments import Prompt, Segment

if TYPE_CHECKING:
    from loader.checkpoint.template import ChatTemplate
    from registry.cards import Card

_IMAGE: dict[str, Any] = {"type": "image"}
PROBES: tuple[tuple[dict[str, Any], ...], ...] = (
    ({"role": "user", "content": "What is this?"},),
    ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is this?"}),
    ({"role": "user", "content": [_IMAGE, {"type": "text", "text": "What is this?"}]},),
    (
        {"role": "user", "content": [_IMAGE, {"type": "text", "text": "What is this?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]},
        {"role": "user", "content": [{"type": "text", "text": "And this?"}, _IMAGE]},
    ),
)
"""Conversations that tell chat templates apart."""
_NOW = datetime.datetime(2026, 1, 15, 12, 0)


@dataclass(frozen=True, slots=True)
class Drift:
    """A conversation for which a checkpoint's own template and the card disagree."""

    conversation: tuple[Mapping[str, Any], ...]
    line: int
    """The first line that differs, from 1."""
    card: str
    """That line as the card has it."""
    checkpoint: str
    """That line as the checkpoint's template has it."""

    def __str__(self) -> str:
        return f"line {self.line} is {self.card!r} by the card and {self.checkpoint!r} by the checkpoint"


def drift(card: Card, template: ChatTemplate) -> Drift | None:
    """The first of a few conversations that a checkpoint's own template says otherwise, None if none.

    Conversations that either of the two refuses are passed over: to refuse is not to say otherwise. Some
    templates write a text that is a list of one part in another way: to say either is to agree.
    """
    bos = template.tokens.get("bos_token", "")
    theirs = _rendered(template, [*PROBES, *map(_in_parts, PROBES)])
    for i, probe in enumerate(PROBES):
        try:
            ours = render(card, probe, now=_NOW).text
        except MLXCardsError:
            continue
        said = [
            t for t in theirs[i :: len(PROBES)] if not isinstance(t, TemplateError) and not _prints_python(t)
        ]
        # The start token is the tokenizer's where the template leaves it out.
        found = [differing_line(ours.removeprefix(bos), text.removeprefix(bos)) for text in said]
        if found and found[0] is not None and None not in found:
            return Drift(probe, *found[0])
    return None


def _in_parts(conversation: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The conversation with every text as a list of one part."""
    return [
        {"role": turn["role"], "content": [{"type": "text", "text": text}] if isinstance(text, str) else text}
        for turn in conversation
        for text in [turn["content"]]
    ]


def differing_line(ours: str, theirs: str) -> tuple[int, str, str] | None:
    """Number, from 1, and both readings of the first line that differs."""
    lines = zip_longest(ours.split("\n"), theirs.split("\n"), fillvalue="")
    for number, (our, their) in enumerate(lines, 1):
        if our != their:
            return number, our, their
    # Equal line by line, but one has a newline more at its end.
    return None if ours == theirs else (min(ours.count("\n"), theirs.count("\n")) + 2, "", "")


def _prints_python(text: str) -> bool:
    """Templates for strings print a list of parts as Python writes it."""
    return "{'type':" in text


def _rendered(
    template: ChatTemplate, conversations: Sequence[Sequence[Mapping[str, Any]]]
) -> list[str | TemplateError]:
    contexts = [
        {**template.tokens, "messages": list(conversation), "add_generation_prompt": True}
        for conversation in conversations
    ]
    try:
        return SANDBOX.render(template.source, contexts, _NOW)
    except TemplateError as error:
        return [error] * len(contexts)


def render_checkpoint(
    card: Card,
    template: ChatTemplate,
    messages: Sequence[Mapping[str, Any]],
    *,
    leave_open: bool = False,
    options: Mapping[str, bool] | None = None,
) -> Prompt:
    """The prompt by the checkpoint's own template instead of the card.

    What the caller typed cannot be told from control tokens in it, so all of it is literal, except
    for the images: image tokens in the text are refused. `options` go to the template as they are.

    Raises MessageError where the template refuses the conversation, CheckpointError where it fails
    or does not place the images.
    """
    turns = read(messages)
    images = [part.source for turn in turns for part in turn.parts if not isinstance(part, Text)]
    _refuse_image_tokens(card, turns)
    end = secrets.token_hex(8) if leave_open else ""
    last = len(turns) - 1
    context = {
        **template.tokens,
        **(options or {}),
        "messages": [_plain(turn, end if i == last else "") for i, turn in enumerate(turns)],
        "add_generation_prompt": not leave_open,
    }
    try:
        (text,) = SANDBOX.render(template.source, [context])
    except TemplateError as error:
        text = error
    if isinstance(text, TemplateError):
        if text.kind == "refused":
            raise MessageError(f"The checkpoint's own template refuses: {text}. Change the messages.")
        raise CheckpointError(
            f"The checkpoint's own chat template cannot be used: {text}. Use the card's: prompt='card'."
        )
    return Prompt(_tagged(card, text.partition(end)[0] if end else text, len(images)), tuple(images))


def _refuse_image_tokens(card: Card, turns: Sequence[Message]) -> None:
    for i, turn in enumerate(turns):
        for token in image_tokens(card.image):
            if token in turn.text:
                raise MessageError(
                    f"Message {i} holds {token!r}, which a checkpoint's own template cannot keep apart from "
                    "an image. Take it out, or use the card's prompt.",
                    message=i,
                )


def plain(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Messages in the one shape that every chat template knows, their images without sources."""
    return [_plain(turn) for turn in read(messages)]


def _plain(turn: Message, end: str = "") -> dict[str, Any]:
    """A message as transformers hands it to a template; `end` marks where the text stops."""
    content: Any = turn.text + end
    if not turn.is_string:
        content = [
            {"type": "text", "text": part.text} if isinstance(part, Text) else dict(_IMAGE)
            for part in turn.parts
        ]
        if end and content and "text" in content[-1]:
            content[-1]["text"] += end
    message = {"role": turn.role, "content": content}
    return message if turn.reasoning is None else {**message, "reasoning_content": turn.reasoning}


def _tagged(card: Card, text: str, images: int) -> tuple[Segment, ...]:
    """The text in segments, split where the template placed images."""
    image = card.image
    if image is None or not images:
        return (Segment("literal", text),)
    # The longest spelling first: the whole placeholder, or the part of it that the processor replaces.
    spellings = sorted({image.placeholder, *image_tokens(image)}, key=len, reverse=True)
    marker = next((spelling for spelling in spellings if text.count(spelling) == images), None)
    if marker is None:
        raise CheckpointError(
            f"The checkpoint's own chat template does not place its {images} images where {card.id} has "
            "them. Use the card's: prompt='card'."
        )
    pieces = [Segment("literal", piece) for piece in text.split(marker)]
    placed = [piece for literal in pieces for piece in (literal, Segment("image", marker))][:-1]
    return tuple(piece for piece in placed if piece.text)


def check_drift(
    card: Card, template: ChatTemplate, name: str, siblings: Iterable[Card], *, strict: bool
) -> str | None:
    """What to tell the caller about a checkpoint `name` whose template differs from the card's, or None.

    `siblings` are the other models of the family: one of them may say what the template says.
    Raises CheckpointError if `strict`.
    """
    found = drift(card, template)
    if found is None:
        return None
    twin = next((sibling for sibling in siblings if drift(sibling, template) is None), None)
    if twin is not None:
        todo = f"It agrees with {twin.name}: load it with card={twin.name!r}."
    else:
        todo = "Use the checkpoint's with prompt='checkpoint', or tell the maintainers of the card."
    message = f"The chat template of {name} differs from the card {card.name}: {found}. {todo}"
    if strict:
        raise CheckpointError(message)
    return message
