"""In a prompt of a checkpoint's own template: which pieces the caller typed, and where the images are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from loader.errors import CheckpointError, MessageError
from loader.messages import Message
from loader.prompt.forgery import any_of, image_tokens, spelled
from loader.prompt.opaque import Opaque
from loader.prompt.segments import Segment

if TYPE_CHECKING:
    from loader.checkpoint.template import ChatTemplate
    from registry.cards import Card


class Disguise:
    """A conversation with tokens for its words; `bare`: with their white space, which templates strip."""

    def __init__(self, turns: Sequence[Message], *, bare: bool = False) -> None:
        self._opaque: Opaque[tuple[int, str]] = Opaque()
        self._bare = bare
        self.turns = [self._turn(turn, i) for i, turn in enumerate(turns)]

    def _turn(self, turn: Message, i: int) -> Message:
        parts = tuple(self._hidden(part, i) if isinstance(part, str) else part for part in turn.parts)
        reasoning = None if turn.reasoning is None else self._hidden(turn.reasoning, i)
        return Message(turn.role, parts, reasoning, turn.is_string)

    def _hidden(self, text: str, i: int) -> str:
        core = text.strip() if self._bare else text
        return text.replace(core, self._opaque.token((i, core)), 1) if core else text

    def segments(self, rendered: str) -> list[Segment]:
        """What a template made of it, with the words in their places again."""
        return [
            Segment("literal", piece) if meaning is None else Segment("text", meaning[1])
            for piece, meaning in self._opaque.split(rendered)
        ]

    def lost(self, rendered: str) -> list[int]:
        """Numbers of the messages of which nothing is in it."""
        said = {meaning[0] for _, meaning in self._opaque.split(rendered) if meaning is not None}
        return sorted({i for i, _ in self._opaque.meanings.values()} - said)


def refuse_control_tokens(card: Card | None, template: ChatTemplate, turns: Sequence[Message]) -> None:
    """Raises MessageError for a word that could act as a control token."""
    reserved = image_tokens(card.image if card else None)
    pattern = any_of(token.strip() for token in template.special_tokens() | reserved)
    for i, turn in enumerate(turns):
        found = pattern and pattern.search(f"{turn.text}\0{turn.reasoning or ''}")
        if found:
            raise MessageError(
                f"Message {i} holds {found[0]!r}, a control token, and the checkpoint's own template changes "
                "the words, so that it cannot be kept apart. Take it out.",
                message=i,
            )


def tagged(card: Card | None, segments: Sequence[Segment], images: int) -> tuple[Segment, ...]:
    """The segments, their literals split where the template placed images."""
    image = card.image if card else None
    if card is None or image is None or not images:
        return tuple(segments)
    # The longest spelling first: the whole placeholder, or the part of it that the processor replaces.
    spellings = sorted({image.placeholder, *image_tokens(image)}, key=len, reverse=True)
    literals = [segment.text for segment in segments if segment.kind == "literal"]
    for spelling in spellings:
        marker = re.compile(spelled(spelling))
        if sum(len(marker.findall(text)) for text in literals) == images:
            return tuple(piece for segment in segments for piece in _split(segment, marker))
    raise CheckpointError(
        f"The checkpoint's own chat template does not place images where {card.id} has them. "
        "Use the card's: prompt='card'."
    )


def _split(segment: Segment, marker: re.Pattern[str]) -> Iterator[Segment]:
    """A literal segment in pieces, an image for each marker; others as they are."""
    if segment.kind != "literal":
        yield segment
        return
    done = 0
    for match in marker.finditer(segment.text):
        if before := segment.text[done : match.start()]:
            yield Segment("literal", before)
        yield Segment("image", match[0])
        done = match.end()
    if rest := segment.text[done:]:
        yield Segment("literal", rest)
