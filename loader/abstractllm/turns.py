"""A call's prompt, messages and files as one conversation, in the shapes of loader.messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from loader.abstractllm.history import History, Turn
from loader.abstractllm.media import Media
from loader.abstractllm.tools import in_own_form, names_of, spelled
from loader.errors import MessageError


@dataclass(frozen=True, slots=True)
class Conversation:
    """What the model is asked."""

    messages: list[dict[str, Any]]
    """For `prepare`; images are in their places."""
    spoken: list[dict[str, Any]]
    """What users and assistants said, as the caller's program knows it: what `History` goes by."""
    turns: dict[int, Turn] = field(default_factory=dict)
    """The turns with files, by their index in `spoken`."""


def converse(
    history: History,
    messages: Sequence[Any] | None,
    *,
    asked: str,
    prompt: str,
    system: str | None,
    files: Sequence[Any],
    media: Media,
    own_tools: bool = False,
) -> Conversation:
    """The conversation of one call.

    `asked` is the prompt as the caller wrote it, which a session also has among its messages; `prompt`
    is what is left of it without @file references. `files` are what `media` was made of. `own_tools`: calls
    and results are said in the family's own form.
    """
    names = names_of(messages or ())
    said = [_plain(message, i, names) for i, message in enumerate(messages or ())]
    systems = [message for message in said if message["role"] == "system"]
    spoken = [message for message in said if message["role"] != "system"]
    now = _present(history, spoken, asked, files)
    turns = history.turns(spoken[:now])
    words = prompt if spoken[now]["content"] in (asked, asked.strip()) and asked else spoken[now]["content"]
    content = _content(words, media)
    if files:
        turns[now] = Turn(tuple(files), content)
    shown = [
        {
            **message,
            "content": content if i == now else turns[i].content if i in turns else message["content"],
        }
        for i, message in enumerate(spoken)
    ]
    shown = (
        in_own_form(shown, history.calls(spoken))
        if own_tools
        else [spelled(it, i) for i, it in enumerate(shown)]
    )
    return Conversation(_with_system(system, systems, said, shown), spoken, turns)


def system_of(messages: Sequence[Any] | None) -> str | None:
    """The system text that a conversation begins with, None without one."""
    said = (_plain(message, i, {}) for i, message in enumerate(messages or ()))
    return next((str(message["content"]) for message in said if message["role"] == "system"), None)


def _plain(message: Any, i: int, names: Mapping[Any, str]) -> dict[str, Any]:
    """A message with the roles and contents that every card knows; beside them its calls, or what is not part
    of a tool's result, its `head`. `names` are those of tools, by the ids of their calls.

    A session may keep a whole response as an answer's content, and has roles for what tools return.
    """
    if hasattr(message, "to_dict"):
        message = message.to_dict()
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
        raise MessageError(
            f'Message {i} has no role. A message is {{"role": "user", "content": ...}}.', message=i
        )
    role, content = str(message["role"]), message.get("content")
    if role in ("tool", "function"):  # as session.py of abstractllm 1.1.5 writes it for local models
        name = message.get("name") or names.get(message.get("tool_call_id"), "unknown_tool")
        head = f"[Tool Result: {name}]\n"
        if isinstance(content, list | tuple):
            return {"role": "user", "content": [head, *content], "head": head}
        return {"role": "user", "content": head + ("" if content is None else str(content)), "head": head}
    if not isinstance(content, str | list | tuple):
        content = getattr(content, "content", content) or ""
    calls = message.get("tool_calls")
    return {"role": role, "content": content} | ({"tool_calls": calls} if calls else {})


def _present(history: History, spoken: list[dict[str, Any]], asked: str, files: Sequence[Any]) -> int:
    """The index of the message that the call's files belong to; appended where it is missing."""
    users = [i for i, message in enumerate(spoken) if message["role"] == "user"]
    if asked.strip() or (files and not users):
        for i in reversed(users):
            if isinstance(spoken[i]["content"], str) and spoken[i]["content"].strip() == asked.strip():
                return i
        spoken.append({"role": "user", "content": asked})
        return len(spoken) - 1
    if not users:
        raise MessageError("There is no question. Give a prompt, or messages with one of a user.")
    before = history.continued(spoken, files) if files else None
    return users[-1] if before is None else before


def _content(words: Any, media: Media) -> Any:
    """A turn's words with its files: images before them, texts after."""
    if not media.images and not media.text:
        return words
    said = [words + media.text] if isinstance(words, str) else [*words, *([media.text] if media.text else [])]
    if not media.images and isinstance(words, str):
        return said[0]
    return [*({"type": "image", "image": source} for source in media.images), *said]


def _with_system(
    system: str | None, systems: list[dict[str, Any]], said: list[dict[str, Any]], shown: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The messages in their order; a call's system text replaces the first one of the conversation."""
    rest = iter(shown)
    merged = [message if message["role"] == "system" else next(rest) for message in said]
    merged.extend(rest)
    if system is None:
        return merged
    if systems:
        merged.remove(systems[0])
    return [{"role": "system", "content": system}, *merged]


def alternating(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same where a user's messages in a row are one: tools answer in messages of their own."""
    merged: list[dict[str, Any]] = []
    for message in messages:
        if merged and message["role"] == merged[-1]["role"] == "user":
            merged[-1] = {"role": "user", "content": [*_parts(merged[-1]), "\n\n", *_parts(message)]}
        else:
            merged.append(message)
    return merged


def _parts(message: Mapping[str, Any]) -> list[Any]:
    content = message["content"]
    return [content] if isinstance(content, str) else list(content)
