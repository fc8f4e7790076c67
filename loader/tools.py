"""Tools that a caller offers to a model, and calls of them, in the shapes of OpenAI's chat API.

A tool is {"type": "function", "function": {"name": ..., "description": ..., "parameters": JSON Schema}};
a call, in an assistant message's `tool_calls`, is {"function": {"name": ..., "arguments": ...}}, where
the arguments are a map or its JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loader.errors import MessageError

NAME = re.compile(r"[\w./:-]{1,128}", re.ASCII)
"""A tool's name. It stands among the family's own marks, so it may hold none of them, and no space."""
_SHAPE = '{"type": "function", "function": {"name": ..., "description": ..., "parameters": {...}}}'


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the model wants called."""

    name: str
    arguments: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The call as plain data, for JSON and for a message's `tool_calls`."""
        return {"type": "function", "function": {"name": self.name, "arguments": self.arguments}}


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that the model is told of."""

    name: str
    json: str
    """The definition as it is written: in the caller's words and order."""
    parameters: Mapping[str, Any]
    """The JSON Schema of each argument, by its name."""


def read_tools(tools: Sequence[Mapping[str, Any]] | None) -> tuple[Tool, ...]:
    """The caller's tools, checked. Raises MessageError for what is not of the shape above."""
    if tools is None:
        return ()
    if isinstance(tools, str | bytes) or not isinstance(tools, Sequence):
        raise MessageError(f"Tools are a list, not {type(tools).__name__}. Write [{_SHAPE}].")
    return tuple(_tool(tool, i) for i, tool in enumerate(tools))


def _tool(tool: Any, i: int) -> Tool:
    function = tool.get("function") if isinstance(tool, Mapping) else None
    if not isinstance(function, Mapping) or tool.get("type") != "function":
        raise MessageError(f"Tool {i} is not the definition of a function. Write {_SHAPE}.")
    name = _name(function.get("name"), f"Tool {i}")
    schema = function.get("parameters")
    if schema is not None and not isinstance(schema, Mapping):
        raise MessageError(
            f"Tool {i} has parameters that are not a map. Write a JSON Schema, or leave them out."
        )
    parameters = (schema or {}).get("properties")
    return Tool(name, to_json(tool, f"Tool {i}"), parameters if isinstance(parameters, Mapping) else {})


def read_calls(calls: Any, i: int) -> tuple[ToolCall, ...]:
    """The `tool_calls` of message `i`. Raises MessageError where they are none."""
    if isinstance(calls, str | bytes) or not isinstance(calls, Sequence):
        raise MessageError(
            f"Message {i} has tool_calls of type {type(calls).__name__}. Pass a list of calls.", message=i
        )
    return tuple(_call(call, f"Call {j} of message {i}", i) for j, call in enumerate(calls))


def _call(call: Any, what: str, i: int) -> ToolCall:
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        raise MessageError(
            f'{what} is no call. Write {{"function": {{"name": ..., "arguments": {{...}}}}}}.', message=i
        )
    name = _name(function.get("name"), what, i)
    arguments = function.get("arguments")
    if arguments is None or (isinstance(arguments, str) and arguments.strip() in ("", "null")):
        arguments = {}
    elif isinstance(arguments, str):
        arguments = from_json(arguments)
    if not isinstance(arguments, Mapping) or not all(isinstance(key, str) for key in arguments):
        raise MessageError(
            f"{what} has arguments that are neither a map nor the JSON of one. Pass a map.", message=i
        )
    to_json(arguments, what, i)
    return ToolCall(name, dict(arguments))


def _name(name: Any, what: str, i: int | None = None) -> str:
    if not isinstance(name, str) or NAME.fullmatch(name) is None:
        raise MessageError(
            f"{what} has the name {name!r:.80}. Use up to 128 letters, digits and the characters _ . / : -",
            message=i,
        )
    return name


def to_json(value: Any, what: str, i: int | None = None) -> str:
    """The value as chat templates write it (transformers' `tojson`).

    Raises MessageError where it is not plain data; `what` names it.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()  # half of a surrogate pair is no character
    except (TypeError, ValueError, RecursionError) as error:
        raise MessageError(
            f"{what} cannot be written as JSON: {error}. Pass text, numbers, booleans, None, lists and maps.",
            message=i,
        ) from error
    return text


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


DECODER = json.JSONDecoder(parse_constant=_refuse)
"""Reads JSON as it is defined: no NaN."""


def from_json(text: str) -> Any:
    """The value that the JSON says, or None where it is none."""
    try:
        return DECODER.decode(text)
    except (ValueError, RecursionError):
        return None
