"""Reads calls of tools out of an answer, in the form that a card describes.

What is malformed stays text: a model may write anything, and nothing of it is an error here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from loader.errors import MessageError
from loader.prompt.tools import can_write_tools, no_tools
from loader.tools import DECODER, NAME, Tool, ToolCall, from_json, read_tools, to_json

if TYPE_CHECKING:
    from registry.cards import Card
    from registry.tools import ToolCalls, ToolElements

MOST_CALLS = 128
"""Places of one answer where a call may begin. Each is looked at by itself, however long the answer is."""
_SPACE = re.compile(r"\s*")
_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "integer": (int,),
    "number": (int, float),
}
_PYTHON: Mapping[str, bool | None] = {"True": True, "False": False, "None": None}


def parse_tool_calls(
    card: Card, text: str, tools: Sequence[Mapping[str, Any]] = ()
) -> tuple[str, tuple[ToolCall, ...]]:
    """An answer without its calls, and the calls; the whole text where there are none.

    `tools` are those that the model was offered. Where a family writes arguments without quotes, their
    schemas tell the number 3 from the text "3". A thought that the answer begins with calls nothing.

    Raises UnsupportedFeatureError where the card does not say how calls are written.
    """
    if not can_write_tools(card):
        raise no_tools(card)
    return read_answer(card, text, read_tools(tools))


def read_answer(card: Card, text: str, tools: Sequence[Tool]) -> tuple[str, tuple[ToolCall, ...]]:
    """As `parse_tool_calls`, with tools that are read already."""
    grammar = card.prompt
    rule = grammar.tools.calls if grammar is not None and grammar.tools is not None else None
    if grammar is None or rule is None:
        return text, ()
    begin = 0
    if grammar.reasoning is not None:
        begin = text.find(grammar.reasoning.close.strip()) + 1
    schemas = {tool.name: tool.parameters for tool in tools}
    calls: list[ToolCall] = []
    kept, done = [], 0
    for start, end, call in _found(rule, text, begin, schemas):
        calls.append(call)
        kept.append(text[done:start])
        done = end
    if not calls:
        return text, ()
    return "".join([*kept, text[done:]]).strip(), tuple(calls)


def _found(
    rule: ToolCalls, text: str, begin: int, schemas: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[int, int, ToolCall]]:
    """Each call with where it begins and ends."""
    opens, closes = _loose(rule.open), _loose(rule.close)
    for _ in range(MOST_CALLS):
        opened = opens.search(text, begin)
        if opened is None:
            return
        begin = opened.end()
        if rule.elements is None:
            found = _object(text, begin)
        else:
            following = opens.search(text, begin)  # no value holds what opens a call
            limit = len(text) if following is None else following.start()
            found = _elements(rule, rule.elements, text[:limit], begin, schemas)
        closed = None if found is None else closes.match(text, _after_space(text, found[1]))
        if found is not None and closed is not None and _is_plain(found[0].arguments):
            begin = closed.end()
            yield opened.start(), begin, found[0]


def _object(text: str, begin: int) -> tuple[ToolCall, int] | None:
    """A call that is JSON, and where it ends."""
    try:
        value, end = DECODER.raw_decode(text, _after_space(text, begin))
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not isinstance(name := value.get("name"), str):
        return None
    arguments = value.get("arguments", {})
    if isinstance(arguments, str):
        arguments = from_json(arguments)
    if NAME.fullmatch(name) is None or not isinstance(arguments, dict):
        return None
    return ToolCall(name, arguments), end


def _elements(
    rule: ToolCalls,
    marks: ToolElements,
    text: str,
    begin: int,
    schemas: Mapping[str, Mapping[str, Any]],
) -> tuple[ToolCall, int] | None:
    """A call whose name and arguments have marks of their own, and where it ends."""
    name = NAME.match(text, begin)
    named = name and _loose(marks.name_close).match(text, _after_space(text, name.end()))
    if name is None or named is None:
        return None
    opens, between, closes = map(_loose, (marks.argument_open, marks.value_open, marks.value_close))
    follows = re.compile(f"{opens.pattern}|{_loose(rule.close).pattern}")
    arguments: dict[str, Any] = {}
    at = named.end()
    while opened := opens.match(text, _after_space(text, at)):
        keyed = between.search(text, opened.end())
        if keyed is None:
            return None
        # A value may spell its own end: it is over where an argument or the end of the call follows.
        ends = closes.finditer(text, keyed.end())
        closed = next((end for end in ends if follows.match(text, _after_space(text, end.end()))), None)
        if closed is None:
            return None
        key, at = text[opened.end() : keyed.start()].strip(), closed.end()
        arguments[key] = _value(text[keyed.end() : closed.start()], schemas.get(name[0], {}).get(key))
    return ToolCall(name[0], arguments), at


def _loose(mark: str) -> re.Pattern[str]:
    """Finds a mark with any white space where it has some; of that at its ends, one newline is its own."""
    first, last = (r"\n?" if end.isspace() else "" for end in (mark[:1], mark[-1:]))
    return re.compile(first + r"\s*".join(map(re.escape, mark.split())) + last)


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def _is_plain(arguments: dict[str, Any]) -> bool:
    """Whether a caller could hand them back: a model may write half a character, or a number without end."""
    try:
        to_json(arguments, "")
    except MessageError:
        return False
    return True


def _value(said: str, schema: Any) -> Any:
    """What an argument without quotes means, by its JSON Schema; text where that is not what it is."""
    allowed = _allowed(schema)
    if allowed == {"string"}:
        return said
    word = said.strip()
    value = _PYTHON[word] if word in _PYTHON else from_json(word)
    if value is None and word not in {"null", "None"}:
        return said
    if not allowed:  # as upstream's own parsers do: lists and maps are read, a bare 3 stays text
        return value if isinstance(value, dict | list) else said
    if isinstance(value, bool):
        return value if "boolean" in allowed else said
    if isinstance(value, float) and value.is_integer() and "number" not in allowed and "integer" in allowed:
        return int(value)
    return value if any(isinstance(value, _TYPES[name]) for name in allowed) else said


def _allowed(schema: Any) -> set[str]:
    """The types that a JSON Schema allows; none where it does not say."""
    if not isinstance(schema, Mapping):
        return set()
    stated = schema.get("type")
    names = [stated] if isinstance(stated, str) else stated if isinstance(stated, list | tuple) else []
    found = {name for name in names if isinstance(name, str) and name in _TYPES}
    for key in ("anyOf", "oneOf"):
        branches = schema.get(key)
        for branch in branches if isinstance(branches, list | tuple) else ():
            if isinstance(branch, Mapping):
                found |= _allowed({"type": branch.get("type")})
    return found
