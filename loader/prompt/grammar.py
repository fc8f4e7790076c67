"""Interprets a card's grammar (registry/grammar.py says what each field means)."""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from loader.errors import MessageError
from loader.messages import Message, Part, Picture
from loader.prompt.check import check_image, check_option, unknown_role
from loader.prompt.segments import Prompt, Segment
from registry.grammar import Turn

if TYPE_CHECKING:
    from registry.cards import Card
    from registry.grammar import Prompt as Grammar
    from registry.grammar import Reasoning

_DATE = re.compile(r"\{date:([^}]*)\}")
_PLAIN = Turn()
_new = tuple.__new__


class Writer:
    """One rendering: the grammar, the options in force, and what is written so far."""

    def __init__(self, card: Card, now: datetime.datetime | None, options: dict[str, bool]) -> None:
        assert card.prompt is not None  # noqa: S101  # a card has a grammar or a template
        self.card = card
        self.grammar: Grammar = card.prompt
        self.now = now
        self.generation = self.grammar.generation
        self.image_label = ""
        self.roles: Mapping[Any, Turn] = self.grammar.roles
        self.default_system = self.grammar.default_system
        self.segments: list[Segment] = []
        self.images: list[Any] = []
        if options or self.grammar.options:
            self._apply(options)

    def _apply(self, options: dict[str, bool]) -> None:
        known = self.grammar.options
        for name, value in options.items():
            check_option(self.card, name, value, known)
        for name, option in known.items():
            change = option.when_true if options.get(name, option.default) else option.when_false
            if change.generation is not None:
                self.generation = change.generation
            if change.image_label is not None:
                self.image_label = change.image_label
            if change.roles:
                self.roles = {**self.roles, **change.roles}
            if change.without_default_system:
                self.default_system = None

    def write(self, messages: list[Message], generate: bool, leave_open: bool) -> Prompt:
        """The prompt. `leave_open`: the last turn is to be continued."""
        grammar = self.grammar
        self._literal(grammar.bos)
        carried = self._system(messages)
        first = 1 if messages[0].role == "system" else 0
        last_user, carrier = len(messages), -1
        if grammar.reasoning is not None or carried is not None:
            users = [i for i, message in enumerate(messages) if message.role == "user"]
            last_user = users[-1] if users else last_user
            carrier = -1 if carried is None else self._carrier(users)
        generate = generate and (grammar.generation_after_assistant or messages[-1].role != "assistant")
        for i in range(first, len(messages)):
            message = messages[i]
            turn = self._turn(message.role, i, i - first)
            self._literal(turn.open)
            if i == carrier and carried is not None:
                self.segments += carried
                self._literal(grammar.system_separator)
            final = i == len(messages) - 1
            if grammar.reasoning is not None and message.role == "assistant":
                message = self._reasoned(message, grammar.reasoning, after=i > last_user, final=final)
            self._content(message, i, turn, self.segments, leave_open=leave_open and final)
            if not (leave_open and final):
                last = final and not generate and turn.close_last is not None
                self._literal(turn.close_last or "" if last else turn.close)
        if generate and not leave_open:
            self._literal(self.generation)
        return Prompt(tuple(self.segments), tuple(self.images))

    def _literal(self, text: str) -> None:
        if text:
            self.segments.append(self._dated(text) if "{" in text else _own("literal", text))

    def _dated(self, text: str) -> Segment:
        if "{date:" not in text:
            return _own("literal", text)
        now = self.now or datetime.datetime.now()  # the reader's own day is meant
        return Segment("literal", _DATE.sub(lambda match: now.strftime(match[1]), text))

    def _system(self, messages: list[Message]) -> list[Segment] | None:
        """Write the system turn, or return its text where a user turn carries it."""
        grammar = self.grammar
        given = messages[0] if messages[0].role == "system" else None
        if given is not None and grammar.system == "refuse":
            raise MessageError(
                f"{self.card.id} takes no system message. Put the instruction into the user's.",
                message=0,
            )
        if given is None and not self._wants_default(messages):
            return None
        turn = self.roles.get("system", _PLAIN)
        content: list[Segment] = []
        if given is not None:
            self._content(given, 0, turn, content)
        if given is None or not any(segment.kind == "text" for segment in content):
            if given is not None and grammar.empty_system == "skip":
                return None
            if given is None or grammar.empty_system == "default":
                content = [self._dated(self.default_system)] if self.default_system else []
        if grammar.system != "turn":
            return content
        self._literal(turn.open)
        self.segments += content
        self._literal(turn.close)
        return None

    def _wants_default(self, messages: list[Message]) -> bool:
        """Whether the default system text holds for a conversation that does not begin with any."""
        grammar = self.grammar
        if self.default_system is None:
            return False
        if grammar.default_system_if == "absent":
            return not any(message.role == "system" for message in messages)
        if grammar.default_system_if == "no_images":
            return not any(isinstance(part, Picture) for message in messages for part in message.parts)
        return True

    def _carrier(self, users: list[int]) -> int:
        """The user turn that carries the system text."""
        if not users:
            raise MessageError(
                f"{self.card.id} puts system text at the head of a user message, and there "
                "is none. Add a user message.",
                message=0,
            )
        return users[0] if self.grammar.system == "first_user" else users[-1]

    def _turn(self, role: str, i: int, place: int) -> Turn:
        """The grammar of one turn; `place` counts without the system message."""
        grammar, turn = self.grammar, self.roles.get(role)
        if turn is None:
            raise unknown_role(self.card, role, self.roles, i)
        if role == "system":
            if grammar.later_system == "refuse":
                raise MessageError(
                    f"Message {i} is a system message, and {self.card.id} takes one only at the start. "
                    "Move it there, or make it part of a user message.",
                    message=i,
                )
            if grammar.later_system_turn is not None:
                return grammar.later_system_turn
        if grammar.alternate and (role == "user") != (place % 2 == 0):
            raise MessageError(
                f"Message {i} comes from {role!r} out of turn: {self.card.id} takes user and "
                "assistant messages in alternation, user first. Merge or reorder the messages.",
                message=i,
            )
        return turn

    def _reasoned(self, message: Message, grammar: Reasoning, *, after: bool, final: bool) -> Message:
        """An assistant message without its reasoning, which is written here where it belongs.

        `after`: the message stands after the last user turn; `final`: it is the last one.
        """
        reasoning, answer = _split_reasoning(message, grammar)
        if not after and grammar.history == "drop":
            reasoning = ""
        framed = reasoning or (
            grammar.empty == "always"
            or (grammar.empty == "after_question" and after)
            or (grammar.empty == "last" and after and final)
        )
        if not framed:
            return answer
        if not reasoning and grammar.none is not None:
            self._literal(grammar.none)
        else:
            self._literal(grammar.open)
            if reasoning:
                self.segments.append(Segment("text", reasoning))
            self._literal(grammar.close)
        return _without_leading_newlines(answer)

    def _content(
        self, message: Message, i: int, turn: Turn, out: list[Segment], *, leave_open: bool = False
    ) -> None:
        """Write the parts of one turn, with what joins them, at the end of `out`."""
        join: Any = self.grammar.join if turn.join is None else turn.join
        start, before = len(out), "start"
        for j, part in self._arranged(message.parts, turn):
            if join:
                kind = "text" if isinstance(part, str) else "image"
                if between := join.get(f"{before} {kind}"):
                    out.append(_own("literal", between))
                before = kind
            if not isinstance(part, str):
                self._image(out, part, message.role, i, j)
            elif text := part.strip() if turn.trim == "parts" else part:
                out.append(_typed(text))
        if join and not leave_open and (after := join.get(f"{before} end")):
            out.append(_own("literal", after))
        if turn.trim == "turn":
            out[start:] = _turn_trimmed(out[start:])

    def _arranged(self, parts: tuple[Part, ...], turn: Turn) -> Iterable[tuple[int, Part]]:
        """The parts with their numbers, in the order of the family."""
        moved = self.grammar.images
        if moved == "inline" and turn.trim != "ends":
            return enumerate(parts)
        numbered = list(enumerate(parts))
        if moved == "first" or (moved == "first_of_two" and len(parts) == 2):
            numbered.sort(key=_is_text)
        return _ends_trimmed(numbered) if turn.trim == "ends" else numbered

    def _image(self, out: list[Segment], part: Picture, role: str, i: int, j: int) -> None:
        self.images.append(part.source)
        number = len(self.images)
        image = check_image(self.card, role, self.grammar.image_roles, number, (i, j))
        if self.image_label:
            out.append(Segment("literal", self.image_label.replace("{n}", str(number))))
        placeholder = image.placeholder
        if "{" in placeholder:
            placeholder = placeholder.replace("{n}", str(number))
        out.append(_own("image", placeholder))


def _typed(text: str) -> Segment:
    """A piece in the caller's words. Segment(...) would take twice the time."""
    return _new(Segment, ("text", text))


@functools.lru_cache(maxsize=1024)
def _own(kind: Literal["literal", "image"], text: str) -> Segment:
    """A piece in the card's own words, which come again; a caller's are not kept."""
    return Segment(kind, text)


def _is_text(numbered: tuple[int, Part]) -> bool:
    return isinstance(numbered[1], str)


def _ends_trimmed(parts: list[tuple[int, Part]]) -> list[tuple[int, Part]]:
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


def _turn_trimmed(content: list[Segment]) -> list[Segment]:
    """Without white space at both ends, that of joins included."""
    for end, strip in ((0, str.lstrip), (-1, str.rstrip)):
        while content and content[end].kind != "image":
            kind, text = content[end]
            if kept := strip(text):
                content[end] = Segment(kind, kept)
                break
            content.pop(end)
    return content


def _split_reasoning(message: Message, grammar: Reasoning) -> tuple[str, Message]:
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
    return thought.split(opens)[-1].strip("\n"), Message(message.role, (answer, *message.parts[1:]))


def _without_leading_newlines(message: Message) -> Message:
    if not message.parts or not isinstance(message.parts[0], str):
        return message
    return Message(message.role, (message.parts[0].lstrip("\n"), *message.parts[1:]))
