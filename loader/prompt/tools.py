"""Writes tools, calls and results as a card says it (registry/tools.py).

Names, definitions, arguments and results are the caller's words: a control token that they spell is text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from loader.errors import UnsupportedFeatureError
from loader.prompt.segments import Segment
from loader.tools import Tool, ToolCall

if TYPE_CHECKING:
    from registry.cards import Card
    from registry.tools import ToolCalls, ToolDefinitions, ToolElements


def can_write_tools(card: Card) -> bool:
    """Whether the card says how its family defines and calls tools."""
    tools = card.prompt.tools if card.prompt is not None else None
    return tools is not None and tools.can_be_written


def no_tools(card: Card) -> UnsupportedFeatureError:
    """The error for tools that the card cannot write."""
    known = None if card.prompt is None else card.prompt.tools
    if known is None:
        why = f"Whether {card.id} has tool calls of its own is not established"
    elif known.native:
        why = f"{card.id} has tool calls of its own, in a form that cards cannot say yet"
    else:
        why = f"{card.id} has no tool calls of its own"
    return UnsupportedFeatureError(
        f"{why}. Describe the tools in words, in a system or user message, and read calls out of the answer."
    )


def definitions(rule: ToolDefinitions, tools: Sequence[Tool]) -> Iterator[Segment]:
    """What tells the model of its tools."""
    yield Segment("literal", rule.open)
    for number, tool in enumerate(tools):
        if number:
            yield Segment("literal", rule.between)
        yield Segment("text", tool.json)
    yield Segment("literal", rule.close)


def calls(rule: ToolCalls, made: Sequence[ToolCall], *, has_text: bool) -> Iterator[Segment]:
    """The calls of one answer; `has_text`: words of it stand before them."""
    before = rule.after_text if has_text else ""
    for call in made:
        yield Segment("literal", before + rule.open)
        if rule.elements is None:
            yield Segment("text", _json({"name": call.name, "arguments": call.arguments}))
        else:
            yield from _elements(rule.elements, call)
        yield Segment("literal", rule.close)
        before = rule.between


def _elements(rule: ToolElements, call: ToolCall) -> Iterator[Segment]:
    yield Segment("text", call.name)
    yield Segment("literal", rule.name_close)
    for name, value in call.arguments.items():
        yield Segment("literal", rule.argument_open)
        yield Segment("text", name)
        yield Segment("literal", rule.value_open)
        is_constant = value is None or isinstance(value, bool)
        as_python = isinstance(value, str) or (is_constant and rule.constants == "python")
        yield Segment("text", str(value) if as_python else _json(value))
        yield Segment("literal", rule.value_close)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
