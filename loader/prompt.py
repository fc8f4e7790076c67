"""A conversation and a card's grammar -> the prompt, byte for byte what the model was trained on.

The fields and what each one means: registry/grammar.py. Every piece of the prompt is tagged, so that
text a caller typed is never mistaken for the family's own control tokens.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from loader.errors import MessageError, UnsupportedFeatureError, takes_no_images
from loader.messages import Message, Picture, Text, read

if TYPE_CHECKING:
    from registry.cards import Card
    from registry.grammar import Prompt as Grammar
    from registry.grammar import Turn

_DATE = re.compile(r"\{date:([^}]*)\}")


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a prompt.

    literal: the family's own text, control tokens included; image: one placeholder; text: the
    caller's words, in which nothing is meant as a control token.
    """

    kind: Literal["literal", "image", "text"]
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A rendered conversation. Placeholders are not expanded."""

    segments: tuple[Segment, ...]
    images: tuple[Any, ...]
    """One source for each placeholder, in order; None where the call's `images` hold it."""

    @property
    def text(self) -> str:
        """The whole prompt."""
        return "".join([segment.text for segment in self.segments])


def render(
    card: Card,
    messages: Sequence[Mapping[str, Any]],
    add_generation_prompt: bool = True,
    continue_final_message: bool = False,
    now: datetime.datetime | None = None,
    **options: bool,
) -> Prompt:
    """The prompt for `messages` (their shapes: loader.messages).

    `continue_final_message` leaves the last turn open and asks for no new one. `now` is what a
    family with a date in its prompt prints (default: the present). `options` are the switches of
    upstream's template that the card lists.

    Raises MessageError (with the index of message and part) for a conversation that the family
    cannot say, UnsupportedFeatureError for an option that it does not have.
    """
    return _Writer(card, now, options).write(read(messages), add_generation_prompt, continue_final_message)


class _Writer:
    """One rendering: the grammar, the options in force, and what is written so far."""

    def __init__(self, card: Card, now: datetime.datetime | None, options: dict[str, bool]) -> None:
        self.card = card
        self.grammar: Grammar = card.prompt
        self.now = now
        self.generation = self.grammar.generation
        self.image_label = ""
        self.segments: list[Segment] = []
        self.images: list[Any] = []
        self._apply(options)

    def _apply(self, options: dict[str, bool]) -> None:
        known = self.grammar.options
        for name in options:
            if name not in known:
                have = ", ".join(known) or "none"
                raise UnsupportedFeatureError(
                    f"{self.card.id} has no prompt option {name!r}. Its options are: {have}."
                )
        for name, option in known.items():
            on = options.get(name, option.default)
            change = option.when_true if on else option.when_false
            if change.generation is not None:
                self.generation = change.generation
            if change.image_label is not None:
                self.image_label = change.image_label

    def write(self, messages: list[Message], generate: bool, leave_open: bool) -> Prompt:
        """The prompt. `leave_open`: the last turn is to be continued."""
        given = messages[0] if messages[0].role == "system" else None
        turns = list(enumerate(messages))[1 if given else 0 :]
        last_user = max((i for i, message in turns if message.role == "user"), default=len(messages))

        self._literal(self.grammar.bos)
        carried = self._system(given)
        for place, (i, message) in enumerate(turns):
            turn = self._turn(message, i, place)
            self._literal(turn.open)
            if carried and message.role == "user":
                self._system_text(given)
                self._literal(self.grammar.system_separator)
                carried = False
            final = i == len(messages) - 1
            answer = self._reasoned(message, i, last_user, final=final)
            self._content(answer, i, trim=turn.trim, leave_open=leave_open and final)
            if not (leave_open and final):
                self._literal(turn.close)
        if carried:
            raise MessageError(
                f"{self.card.id} puts system text at the head of the first user message, and there "
                "is none. Add a user message.",
                message=0,
            )
        if generate and not leave_open:
            self._literal(self.generation)
        return Prompt(tuple(self.segments), tuple(self.images))

    def _literal(self, text: str) -> None:
        if not text:
            return
        if "{date:" in text:
            now = self.now or datetime.datetime.now()  # the reader's own day is meant
            text = _DATE.sub(lambda match: now.strftime(match[1]), text)
        self.segments.append(Segment("literal", text))

    def _system(self, given: Message | None) -> bool:
        """Write the system turn; True if its text waits for the first user turn instead."""
        grammar = self.grammar
        if given is not None and grammar.system == "refuse":
            raise MessageError(
                f"{self.card.id} takes no system message. Put the instruction into the user's.",
                message=0,
            )
        if given is None and grammar.default_system is None:
            return False
        if grammar.system == "first_user":
            return True
        turn = grammar.roles["system"]
        self._literal(turn.open)
        self._system_text(given, trim=turn.trim)
        self._literal(turn.close)
        return False

    def _system_text(self, given: Message | None, *, trim: bool = False) -> None:
        if given is None:
            self._literal(self.grammar.default_system or "")
        else:
            self._content(given, 0, trim=trim)

    def _turn(self, message: Message, i: int, place: int) -> Turn:
        """The grammar of one turn; `place` counts without the system message."""
        role, grammar = message.role, self.grammar
        if role == "system" and grammar.later_system == "refuse":
            raise MessageError(
                f"Message {i} is a system message, and {self.card.id} takes one only at the start. "
                "Move it there, or make it part of a user message.",
                message=i,
            )
        turn = next((turn for name, turn in grammar.roles.items() if name == role), None)
        if turn is None:
            raise MessageError(
                f"Message {i} has the role {role!r}, which {self.card.id} does not know. "
                f"Its roles are: {', '.join(grammar.roles)}.",
                message=i,
            )
        if grammar.alternate and (role == "user") != (place % 2 == 0):
            raise MessageError(
                f"Message {i} comes from {role!r} out of turn: {self.card.id} takes user and "
                "assistant messages in alternation, user first. Merge or reorder the messages.",
                message=i,
            )
        return turn

    def _reasoned(self, message: Message, i: int, last_user: int, *, final: bool) -> Message:
        """An assistant message without its reasoning, which is written here where it is kept."""
        grammar = self.grammar.reasoning
        if grammar is None or message.role != "assistant":
            return message
        reasoning, answer = _split_reasoning(message, grammar.open.strip(), grammar.close.strip())
        # After the last user turn: the final answer always has the frame, earlier ones when they reasoned.
        if (i > last_user and (final or reasoning)) or (grammar.history == "keep" and reasoning):
            self._literal(grammar.open)
            self._text(reasoning)
            self._literal(grammar.close)
            return _without_leading_newlines(answer)
        return answer

    def _content(self, message: Message, i: int, *, trim: bool, leave_open: bool = False) -> None:
        """The parts of one turn with what joins them."""
        parts = list(enumerate(message.parts))
        if self.grammar.images == "first":
            parts.sort(key=lambda numbered: isinstance(numbered[1], Text))
        join, before = self.grammar.join, "start"
        for j, part in parts:
            kind = "text" if isinstance(part, Text) else "image"
            self._literal(join.get(f"{before} {kind}", ""))  # type: ignore[call-overload]
            if isinstance(part, Text):
                self._text(part.text.strip() if trim else part.text)
            else:
                self._image(part, message.role, i, j)
            before = kind
        if not leave_open:
            self._literal(join.get(f"{before} end", ""))  # type: ignore[call-overload]

    def _text(self, text: str) -> None:
        if text:
            self.segments.append(Segment("text", text))

    def _image(self, part: Picture, role: str, i: int, j: int) -> None:
        image = self.card.image
        if image is None:
            raise takes_no_images(self.card.name)
        if role not in self.grammar.image_roles:
            raise MessageError(
                f"Part {j} of message {i} is an image in a {role} message, where {self.card.id} takes "
                "none. Move it to a user message.",
                message=i,
                part=j,
            )
        self.images.append(part.source)
        number = len(self.images)
        if image.max_images is not None and number > image.max_images:
            raise MessageError(
                f"Part {j} of message {i} is image {number}, and {self.card.name} takes at most "
                f"{image.max_images}. Leave some out.",
                message=i,
                part=j,
            )
        self._literal(self.image_label.replace("{n}", str(number)))
        self.segments.append(Segment("image", image.placeholder.replace("{n}", str(number))))


def _split_reasoning(message: Message, opens: str, closes: str) -> tuple[str, Message]:
    """The reasoning in an assistant message, and the message without it."""
    if message.reasoning is not None:
        return message.reasoning.strip("\n"), message
    first = message.parts[0] if message.parts else None
    if not isinstance(first, Text) or closes not in first.text:
        return "", message
    thought, *_, rest = first.text.split(closes)
    answer = Text(rest.lstrip("\n"))
    return thought.split(opens)[-1].strip("\n"), Message(message.role, (answer, *message.parts[1:]))


def _without_leading_newlines(message: Message) -> Message:
    if not message.parts or not isinstance(message.parts[0], Text):
        return message
    return Message(message.role, (Text(message.parts[0].text.lstrip("\n")), *message.parts[1:]))
