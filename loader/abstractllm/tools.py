"""AbstractLLM's tools, calls and results, and those of messages in the family's own form."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from abstractllm.tools import ToolCall, ToolCallResponse, ToolDefinition

from loader.errors import MessageError
from loader.tools import ToolCall as Called

_RESULT = re.compile(
    r"\[SYSTEM: Tool execution result\]\nTool: [^\n]*\nOutput:\n```\n(?P<older>.*)\n```\n\[END TOOL RESULT\]"
    r"|\[Tool Result: [^\n]*\]\n(?P<newer>.*)",
    re.DOTALL,
)
"""What sessions of 1.1.1 and 1.1.5 make of a result for this provider (session.py)."""


def definitions(tools: Sequence[Any]) -> list[dict[str, Any]]:
    """Tools as `loader.render` takes them: from functions, AbstractLLM's definitions, or maps of both shapes.

    Raises MessageError for what is none of these.
    """
    return [_definition(tool, i) for i, tool in enumerate(tools)]


def _definition(tool: Any, i: int) -> dict[str, Any]:
    if isinstance(tool, Mapping):
        return {"type": "function", **(tool if "function" in tool else {"function": tool})}
    if callable(tool):
        tool = ToolDefinition.from_function(tool)
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


def _listed(call: Any) -> Any:
    """A call as chat APIs list it; AbstractLLM's own may be handed back as they came."""
    if not isinstance(call, ToolCall):
        return call
    return {"function": {"name": call.name, "arguments": call.arguments}}


def _result(message: Mapping[str, Any]) -> Any:
    """What a tool returned, where this is a message about it; images among it stay in their places."""
    content = message["content"]
    if not isinstance(content, str):
        return content if "result" in message else None
    if "result" in message:
        return message["result"]
    found = _RESULT.fullmatch(content)
    return None if found is None else found["newer"] if found["older"] is None else found["older"]
