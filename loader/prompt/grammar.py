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
from loader.prompt.tools import calls, definitions
from loader.prompt.trimming import ends_trimmed, split_reasoning, turn_trimmed, without_leading_newlines
from registry.grammar import Turn

if TYPE_CHECKING:
    from loader.tools import Tool
    from registry.cards import Card
    from registry.grammar import Prompt as Grammar
    from registry.grammar import Reasoning
    from registry.tools import ToolDefinitions, ToolResults

_DATE = re.compile(r"\{date:([^}]*)\}")
_PLAIN = Turn()
_TRIMMED = Turn(trim="ends")
_new = tuple.__new__


class Writer:
    """One rendering: the grammar, the options in force, and what is written so far."""

    def __init__(
        self,
        card: Card,
        now: datetime.datetime | None,
        options: dict[str, bool],
        tools: tuple[Tool, ...] = (),
    ) -> None:
        """`tools` are only given where the card says how they are written."""
        assert card.prompt is not None  # noqa: S101  # a card has a grammar or a template
        self.card = card
        self.tools = tools
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
        says_tools = grammar.tools is not None
        for i in range(first, len(messages)):
            message = messages[i]
            if says_tools and message.role == "tool" and (results := self._results()) is not None:
                self._result(messages, i, results, leave_open=leave_open)
                continue
            turn = self._turn(message.role, i, i - first)
            self._literal(turn.open)
            if i == carrier and carried is not None:
                self.segments += carried
                self._literal(grammar.system_separator)
            final = i == len(messages) - 1
            if grammar.reasoning is not None and message.role == "assistant":
                message = self._reasoned(message, grammar.reasoning, after=i > last_user, final=final)
            before = len(self.segments) if says_tools else 0
            self._content(message, i, turn, self.segments, leave_open=leave_open and final)
            if says_tools and message.calls:
                self._calls(message, i, before, leave_open=leave_open and final)
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
        wants_default = given is None and self._wants_default(messages)
        if given is None and not wants_default and not self.tools:
            return None
        turn = self.roles.get("system", _PLAIN)
        tools = self._definitions() if self.tools else None
        content: list[Segment] = []
        if given is not None:
            follows = tools is not None and tools.place == "before_text"
            self._content(given, 0, turn, content, before="tools" if follows else "start")
        if given is None or not any(segment.kind == "text" for segment in content):
            if given is not None and grammar.empty_system == "skip" and not self.tools:
                return None
            if given is None or grammar.empty_system == "default":
                default = self.default_system if given is not None or wants_default else None
                content = [self._dated(default)] if default else []
        if tools is not None:
            content = self._with_tools(tools, content, turn)
        if grammar.system != "turn":
            return content
        self._literal(turn.open)
        self.segments += content
        self._literal(turn.close)
        return None

    def _definitions(self) -> ToolDefinitions | None:
        """How tools are defined."""
        return self.grammar.tools.definitions if self.grammar.tools is not None else None

    def _with_tools(self, rule: ToolDefinitions, content: list[Segment], turn: Turn) -> list[Segment]:
        """The system turn's content together with the definitions of tools."""
        defined = list(definitions(rule, self.tools))
        separator = [_own("literal", rule.separator)] if content else []
        if content and rule.place == "after_text":
            return [*content, *separator, *defined]
        join: Any = self.grammar.join if turn.join is None else turn.join
        start = join.get("start text")
        return [*([_own("literal", start)] if start else []), *defined, *separator, *content]

    def _results(self) -> ToolResults | None:
        return self.grammar.tools.results if self.grammar.tools is not None else None

    def _result(self, messages: list[Message], i: int, rule: ToolResults, *, leave_open: bool) -> None:
        """Write what a tool returned; results in a row share a turn."""
        before = messages[i - 1] if i else None
        if before is None or not (before.calls or before.role == "tool"):
            raise MessageError(
                f"Message {i} is the result of a tool, and no call stands before it. Put it after the "
                "assistant message with the call in its tool_calls.",
                message=i,
            )
        final = i == len(messages) - 1
        self._literal(rule.open if before.role == "tool" else rule.turn_open + rule.open)
        self._content(messages[i], i, _TRIMMED if rule.trim else _PLAIN, self.segments)
        if not (leave_open and final):
            self._literal(rule.close)
            if final or messages[i + 1].role != "tool":
                self._literal(rule.turn_close)

    def _calls(self, message: Message, i: int, start: int, *, leave_open: bool) -> None:
        """Write the calls of an answer; its words are the segments from `start`."""
        if leave_open:
            raise MessageError(
                f"Message {i} calls tools, so its words are at an end and cannot be continued. "
                "Leave continue_final_message out.",
                message=i,
            )
        tools = self.grammar.tools
        assert tools is not None  # noqa: S101  # else loader.messages refuses them
        assert tools.calls is not None  # noqa: S101
        has_text = any(segment.kind != "literal" for segment in self.segments[start:])
        self.segments += calls(tools.calls, message.calls, has_text=has_text)

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
        reasoning, answer = split_reasoning(message, grammar)
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
        return without_leading_newlines(answer)

    def _content(
        self,
        message: Message,
        i: int,
        turn: Turn,
        out: list[Segment],
        *,
        leave_open: bool = False,
        before: str = "start",
    ) -> None:
        """Write the parts of one turn, with what joins them to each other and to what is `before` them."""
        join: Any = self.grammar.join if turn.join is None else turn.join
        start = len(out)
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
            out[start:] = turn_trimmed(out[start:])

    def _arranged(self, parts: tuple[Part, ...], turn: Turn) -> Iterable[tuple[int, Part]]:
        """The parts with their numbers, in the order of the family."""
        moved = self.grammar.images
        if moved == "inline" and turn.trim != "ends":
            return enumerate(parts)
        numbered = list(enumerate(parts))
        if moved == "first" or (moved == "first_of_two" and len(parts) == 2):
            numbered.sort(key=_is_text)
        return ends_trimmed(numbered) if turn.trim == "ends" else numbered

    def _image(self, out: list[Segment], part: Picture, role: str, i: int, j: int) -> None:
        self.images.append(part.source)
        number = len(self.images)
        roles: tuple[str, ...] = self.grammar.image_roles
        if role == "tool" and (results := self._results()) is not None and results.images:
            roles = ("tool",)
        image = check_image(self.card, role, roles, number, (i, j))
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
