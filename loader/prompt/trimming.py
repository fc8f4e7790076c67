"""White space that templates strip, and reasoning that they take out of an answer's text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loader.messages import Message, Part
from loader.prompt.segments import Segment

if TYPE_CHECKING:
    from registry.grammar import Reasoning


def ends_trimmed(parts: list[tuple[int, Part]]) -> list[tuple[int, Part]]:
    """Text parts without white space before the first and after the last thing that can be seen."""
    out = list(parts)
    for order, strip in ((range(len(out)), str.lstrip), (range(len(out) - 1, -1, -1), str.rstrip)):
        for place in order:
            number, part = out[place]
            if not isinstance(part, str):
                break
            out[place] = number, strip(part)
            if part.strip():
                break
    return out


def turn_trimmed(content: list[Segment]) -> list[Segment]:
    """Without white space at both ends, that of joins included."""
    for end, strip in ((0, str.lstrip), (-1, str.rstrip)):
        while content and content[end].kind != "image":
            kind, text = content[end]
            if kept := strip(text):
                content[end] = Segment(kind, kept)
                break
            content.pop(end)
    return content


def split_reasoning(message: Message, grammar: Reasoning) -> tuple[str, Message]:
    """The reasoning in an assistant message, and the message without it."""
    if message.reasoning is not None:
        return message.reasoning.strip("\n"), message
    if not grammar.tagged:
        return "", message
    opens, closes = grammar.open.strip(), grammar.close.strip()
    first = message.parts[0] if message.parts else None
    if not isinstance(first, str) or closes not in first:
        return "", message
    thought, *_, rest = first.split(closes)
    answer = rest.lstrip("\n")
    return thought.split(opens)[-1].strip("\n"), Message(
        message.role, (answer, *message.parts[1:]), calls=message.calls
    )


def without_leading_newlines(message: Message) -> Message:
    if not message.parts or not isinstance(message.parts[0], str):
        return message
    parts = (message.parts[0].lstrip("\n"), *message.parts[1:])
    return Message(message.role, parts, calls=message.calls)
