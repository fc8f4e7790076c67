"""AbstractLLM's tools, calls and results, and those of messages in the family's own form."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from abstractllm.exceptions import UnsupportedFeatureError
from abstractllm.tools import ToolCall, ToolCallResponse, ToolDefinition

from loader.abstractllm.failures import PROVIDER
from loader.errors import MessageError
from loader.tools import ToolCall as Called
from loader.tools import read_calls, read_tools

_RESULT = re.compile(
    r"\[SYSTEM: Tool execution result\]\nTool: [^\n]*\nOutput:\n```\n(?P<older>.*)\n```\n\[END TOOL RESULT\]"
    r"|\[Tool Result: [^\n]*\]\n(?P<newer>.*)",
    re.DOTALL,
)
"""What sessions of 1.1.1 and 1.1.5 make of a result for this provider (session.py)."""


def definitions(tools: Any) -> list[dict[str, Any]]:
    """Tools as `loader.render` takes them: from functions, AbstractLLM's definitions, or maps of both shapes.

    Raises MessageError for what is none of these.
    """
    one = callable(tools) or isinstance(tools, Mapping) or not isinstance(tools, Iterable)
    return [_definition(tool, i) for i, tool in enumerate([tools] if one else tools)]


def in_words(tools: Any) -> list[ToolDefinition]:
    """The same, as AbstractLLM describes them: it knows maps of one shape, and calls others "unknown"."""
    listed = definitions(tools)
    read_tools(listed)
    functions = [tool["function"] for tool in listed]
    return [
        ToolDefinition(it["name"], it.get("description") or "", it.get("parameters") or {})
        for it in functions
    ]


def chosen(tools: Any, choice: Any) -> Any:
    """The tools that a `tool_choice` leaves. Raises UnsupportedFeatureError for one that forces a call."""
    name = getattr(choice, "value", choice)
    if name in (None, "auto"):
        return tools
    if name == "none":
        return None
    raise UnsupportedFeatureError(
        "tool_choice",
        f"tool_choice={choice!r} is not supported, as a model cannot be made to call a tool. "
        "Use 'auto' or 'none', and pass only the tools that are meant.",
        PROVIDER,
    )


def _definition(tool: Any, i: int) -> dict[str, Any]:
    if isinstance(tool, Mapping):
        return {"type": "function", **(tool if "function" in tool else {"function": tool})}
    if callable(tool):
        tool = _of_function(tool, i)
    if not hasattr(tool, "name") or not hasattr(tool, "parameters"):
        raise MessageError(f"Tool {i} is of type {type(tool).__name__}. Pass a function, or its definition.")
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": getattr(tool, "description", ""),
            "parameters": tool.parameters,
        },
    }


def _of_function(tool: Any, i: int) -> ToolDefinition:
    try:
        return ToolDefinition.from_function(tool)
    except (AttributeError, NameError, TypeError, ValueError) as error:
        raise MessageError(
            f"Tool {i} cannot be described by its signature: {error}. "
            "Pass its definition: ToolDefinition(name, description, parameters)."
        ) from error


def calls(content: str, made: Sequence[Called]) -> ToolCallResponse | None:
    """The model's calls as AbstractLLM's own, None without any."""
    if not made:
        return None
    return ToolCallResponse(
        content=content, tool_calls=[ToolCall(call.name, call.arguments) for call in made]
    )


def in_own_form(
    messages: Sequence[Mapping[str, Any]], remembered: Mapping[int, tuple[str, Sequence[Called]]]
) -> list[dict[str, Any]]:
    """Messages of `turns` with their calls and results as the card writes them.

    `remembered` are the answers that called tools, by the index of their message: a session keeps of them
    the words alone, and hands a result over as a user's message.
    """
    made: list[dict[str, Any]] = []
    after_call = False
    for i, message in enumerate(messages):
        role, content = message["role"], message["content"]
        if role == "assistant" and (own := message.get("tool_calls")):
            listed = [_listed(call) for call in getattr(own, "tool_calls", own)]
            made.append({"role": role, "content": content, "tool_calls": listed})
            after_call = True
        elif role == "assistant" and i in remembered:
            words, called = remembered[i]
            listed = [call.to_dict() for call in called]
            made.append({"role": role, "content": words, "tool_calls": listed})
            after_call = True
        elif role == "user" and after_call and (result := _result(message)) is not None:
            made.append({"role": "tool", "content": result})
        else:
            made.append({"role": role, "content": content})
            after_call = False
    return made


def spelled(message: Mapping[str, Any], i: int) -> dict[str, Any]:
    """A message of `turns` in words alone: its calls, if any, stand after them as AbstractLLM reads them.

    Raises MessageError where they are no calls.
    """
    role, content, own = message["role"], message["content"], message.get("tool_calls")
    if not own:
        return {"role": role, "content": content}
    made = read_calls([_listed(call) for call in getattr(own, "tool_calls", own)], i)
    lines = [json.dumps({"name": it.name, "arguments": it.arguments}, ensure_ascii=False) for it in made]
    if isinstance(content, str):
        return {"role": role, "content": "\n".join([content] * bool(content) + lines)}
    return {"role": role, "content": [*content, "\n" + "\n".join(lines)]}


def names_of(messages: Sequence[Any]) -> dict[Any, str]:
    """The tools that the messages call, by the ids of the calls."""
    found = {}
    for message in messages:
        own = message.get("tool_calls") if isinstance(message, Mapping) else None
        for call in map(_listed, getattr(own, "tool_calls", own) or ()):
            function = call.get("function", call) if isinstance(call, Mapping) else None
            if isinstance(function, Mapping) and call.get("id") and function.get("name"):
                found[call["id"]] = str(function["name"])
    return found


def _listed(call: Any) -> Any:
    """A call as chat APIs list it; AbstractLLM's own may be handed back as they came."""
    if not isinstance(call, ToolCall):
        return call
    return {"id": call.id, "function": {"name": call.name, "arguments": call.arguments}}


def _result(message: Mapping[str, Any]) -> Any:
    """What a tool returned, where this is a message about it; images among it stay in their places."""
    content = message["content"]
    if "head" in message:
        head = message["head"]
        cut = (part.removeprefix(head) if isinstance(part, str) else part for part in content)
        return content.removeprefix(head) if isinstance(content, str) else [part for part in cut if part]
    if not isinstance(content, str):
        return None
    found = _RESULT.fullmatch(content)
    return None if found is None else found["newer"] if found["older"] is None else found["older"]
