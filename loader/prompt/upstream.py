"""The prompt that a checkpoint's own chat template makes, and how it differs from the card's."""

from __future__ import annotations

import datetime
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from loader.errors import CheckpointError, MessageError, MLXCardsError, UnsupportedFeatureError
from loader.messages import Message, Picture, read
from loader.prompt import render
from loader.prompt.placed import Disguise, refuse_control_tokens, tagged
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
    card: Card | None,
    template: ChatTemplate,
    messages: Sequence[Mapping[str, Any]],
    *,
    leave_open: bool = False,
    options: Mapping[str, Any] | None = None,
    now: datetime.datetime | None = None,
) -> Prompt:
    """The prompt by the checkpoint's own template instead of the card.

    It is rendered with the words, and with tokens in their places. Where both give the same text, as they
    do unless the template reads the words, it is known what the caller typed. Where they do not, all is
    literal but for the images, and control tokens in the words are refused. Without a card, for a model of
    text, no images are looked for. `options` go to the
    template as they are; `now` is what it takes for the present.

    Raises MessageError where the template refuses the conversation, CheckpointError where it fails
    or does not place the images, UnsupportedFeatureError for an option that it does not know.
    """
    turns = read(messages)
    _check_roles(turns)
    _check_options(template, options or {})
    images = tuple(part.source for turn in turns for part in turn.parts if isinstance(part, Picture))
    end = secrets.token_hex(8) if leave_open else ""
    disguises = [Disguise(turns), Disguise(turns, bare=True)]
    contexts = [
        {
            **template.tokens,
            **(options or {}),
            "messages": [*map(_plain, said[:-1]), _plain(said[-1], end)],
            "add_generation_prompt": not leave_open,
        }
        for said in (turns, *(disguise.turns for disguise in disguises))
    ]
    text, *others = [_until(text, end) for text in _rendered_all(template, contexts, now)]
    warnings = _unsaid_reasoning(template, turns)
    for disguise, other in zip(disguises, others, strict=True):
        segments = disguise.segments(other)
        if "".join(segment.text for segment in segments) == text:
            lost = disguise.lost(other)
            warnings += tuple(
                f"The words of message {i} have no place in the checkpoint's template." for i in lost
            )
            return Prompt(tagged(card, segments, len(images)), images, warnings)
    refuse_control_tokens(card, template, turns)
    return Prompt(tagged(card, [Segment("literal", text)], len(images)), images, warnings)


def _check_roles(turns: Sequence[Message]) -> None:
    """Templates print roles as they are: one may not bring tokens or lines of its own."""
    for i, turn in enumerate(turns):
        if not turn.role.isidentifier():
            raise MessageError(
                f"Message {i} has the role {turn.role!r}, which is no word. Write a role such as 'user'.",
                message=i,
            )


def _check_options(template: ChatTemplate, options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        if not re.search(rf"\b{re.escape(name)}\b", template.source):
            raise UnsupportedFeatureError(
                f"The checkpoint's own template has no option {name!r}. Check its spelling, or leave it out."
            )
        if not isinstance(value, (bool, int, float, str)):
            raise UnsupportedFeatureError(
                f"{name}={value!r} cannot be handed to a template. Pass a boolean, a number or text."
            )


def _rendered_all(
    template: ChatTemplate, contexts: Sequence[dict[str, Any]], now: datetime.datetime | None
) -> list[str]:
    """What the template makes of the words, then of their disguises ("" where it refuses those)."""
    try:
        text, *others = SANDBOX.render(template.source, contexts, now)
    except TemplateError as error:
        text, others = error, []
    if isinstance(text, TemplateError):
        if text.kind == "refused":
            raise MessageError(f"The checkpoint's own template refuses: {text}. Change the messages.")
        raise CheckpointError(
            f"The checkpoint's own chat template cannot be used: {text}. Use the card's: prompt='card'."
        )
    return [text, *("" if isinstance(other, TemplateError) else other for other in others)]


def _until(text: str, end: str) -> str:
    """A text without what follows the last message, whose words end with `end`."""
    if end and text and end not in text:
        raise CheckpointError(
            "The checkpoint's own chat template does not write the last message out, so it cannot be "
            "continued. Use the card's: prompt='card'."
        )
    return text.partition(end)[0] if end else text


def _unsaid_reasoning(template: ChatTemplate, turns: Sequence[Message]) -> tuple[str, ...]:
    if "reasoning_content" in template.source:
        return ()
    return tuple(
        f"The reasoning of message {i} has no place in the checkpoint's template."
        for i, turn in enumerate(turns)
        if turn.reasoning
    )


def plain(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Messages in the one shape that every chat template knows, their images without sources."""
    return [_plain(turn) for turn in read(messages)]


def _plain(turn: Message, end: str = "") -> dict[str, Any]:
    """A message as transformers hands it to a template; `end` marks where the text stops."""
    content: Any = turn.text + end
    if not turn.is_string:
        content = [
            {"type": "text", "text": part} if isinstance(part, str) else dict(_IMAGE) for part in turn.parts
        ]
        if end and content and "text" in content[-1]:
            content[-1]["text"] += end
        elif end:
            content.append({"type": "text", "text": end})
    message = {"role": turn.role, "content": content}
    return message if turn.reasoning is None else {**message, "reasoning_content": turn.reasoning}


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
