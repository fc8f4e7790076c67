"""What a caller may say: a string, or a list of messages in the common shapes of chat APIs.

A message is {"role": ..., "content": ...}; content is a string or a list of parts; a part is a
string, {"type": "text", "text": ...}, or an image as {"type": "image"}, {"type": "image", "image":
SOURCE}, {"type": "image_url", "image_url": {"url": ...}} or {"type": "input_image", "image_url": ...}.
An image part without a source takes the next one of the call's `images`. An assistant message may have
`tool_calls`, and a message of the role "tool" is the result of one (loader.tools).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loader.errors import MessageError

if TYPE_CHECKING:
    from loader.tools import ToolCall

_TEXT_TYPES = ("text", "input_text", "output_text")
_IMAGE_TYPES = ("image", "image_url", "input_image")
_SOURCE_KEYS = ("image", "image_url", "url", "path")
# The concrete types first: asking an abstract one takes longer than all else that is done with a part.
_MAPPING = (dict, Mapping)
_SEQUENCE = (list, tuple, Sequence)


# Not frozen, because making a frozen dataclass takes four times as long; nothing changes them.
@dataclass(slots=True)
class Picture:
    """An image among the words; `source` is None where the call's `images` hold it."""

    source: Any = None


Part = str | Picture
"""Words of the caller, or an image."""


@dataclass(slots=True)
class Message:
    """One turn, in one shape."""

    role: str
    parts: tuple[Part, ...]
    reasoning: str | None = None
    is_string: bool = False
    """The content was given as one string."""
    calls: tuple[ToolCall, ...] = ()
    """Tools that an assistant's turn calls, after its words."""

    @property
    def text(self) -> str:
        """The turn's words without its images."""
        return "".join(part for part in self.parts if isinstance(part, str))


def conversation(
    prompt: str | Sequence[Mapping[str, Any]], images: int = 0, system: str | None = None
) -> list[Mapping[str, Any]]:
    """A call's prompt as messages: a string becomes one user turn with its `images` before the text.

    Families are trained with images first; a caller who wants another order passes messages.
    """
    if isinstance(prompt, str):
        parts: list[Any] = [{"type": "image"}] * images
        messages: list[Mapping[str, Any]] = [{"role": "user", "content": [*parts, prompt]}]
    else:
        messages = list(_listed(prompt))
    if system is None:
        return messages
    if messages and isinstance(messages[0], Mapping) and messages[0].get("role") == "system":
        raise MessageError(
            "The conversation begins with a system message, and system= gives another one. Keep one of them.",
            message=0,
        )
    return [{"role": "system", "content": system}, *messages]


def matched(slots: Sequence[Any], sources: Sequence[Any]) -> list[Any]:
    """A source for every placeholder: its own, or the next of the call's images."""
    empty = sum(slot is None for slot in slots)
    if empty != len(sources):
        raise MessageError(
            f"Image parts without a source: {empty}; images given: {len(sources)}. "
            f'Put one {{"type": "image"}} into the messages for each image, where it belongs.'
        )
    rest = iter(sources)
    return [next(rest) if slot is None else slot for slot in slots]


def read(messages: Sequence[Mapping[str, Any]], tool_calls: bool = False) -> list[Message]:
    """The caller's messages in one shape; `tool_calls`: whether these can be said.

    Raises MessageError, which knows the index of the message and of the part.
    """
    if not _listed(messages):
        raise MessageError("The conversation is empty. Give it at least one user message.")
    return [_message(message, i, tool_calls) for i, message in enumerate(messages)]


def _listed(messages: Any) -> Sequence[Any]:
    if isinstance(messages, (str, bytes, bytearray)) or not isinstance(messages, _SEQUENCE):
        raise MessageError(
            f"A conversation is a list of messages, not {type(messages).__name__}. "
            'Write [{"role": "user", "content": "..."}].'
        )
    return messages


def _message(message: Any, i: int, tool_calls: bool) -> Message:
    if not isinstance(message, _MAPPING) or not isinstance(role := message.get("role"), str):
        raise MessageError(
            f'Message {i} has no role. A message is {{"role": "user", "content": ...}}.', message=i
        )
    reasoning = message.get("reasoning_content")
    if reasoning is not None and not isinstance(reasoning, str):
        raise MessageError(f"Message {i} has reasoning that is not a string. Pass text.", message=i)
    if reasoning is not None:
        _whole(reasoning, i)
    content = message.get("content")
    if given := message.get("tool_calls"):
        calls = _calls(given, role, i, tool_calls)
        content = "" if content is None else content
        return Message(role, _parts(content, i), reasoning, isinstance(content, str), calls)
    return Message(role, _parts(content, i), reasoning, isinstance(content, str))


def _calls(given: Any, role: str, i: int, can_be_said: bool) -> tuple[ToolCall, ...]:
    from loader.tools import read_calls

    if not can_be_said:
        raise MessageError(
            f"Message {i} has tool calls, for which this prompt has no form. Put them into the text.",
            message=i,
        )
    if role != "assistant":
        raise MessageError(
            f"Message {i} has tool calls and the role {role!r}. Only an assistant calls tools.", message=i
        )
    return read_calls(given, i)


def _whole(text: str, i: int) -> str:
    """The text itself. Half of a surrogate pair is no character: a tokenizer could not encode it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise MessageError(
            f"Message {i} holds half a character (a lone surrogate, U+{ord(error.object[error.start]):04X}). "
            "Decode the text anew, with its right encoding.",
            message=i,
        ) from error
    return text


def _parts(content: Any, i: int) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (_whole(content, i),)
    if not isinstance(content, _SEQUENCE) or isinstance(content, bytes):
        raise MessageError(
            f"Message {i} has content of type {type(content).__name__}. "
            "Content is a string or a list of parts.",
            message=i,
        )
    parts: list[Part] = []
    for j, part in enumerate(content):  # one loop without calls: half of the time of reading is here
        kind = part.get("type") if isinstance(part, _MAPPING) else None
        text = part.get("text") if kind in _TEXT_TYPES else part
        if kind in _IMAGE_TYPES:
            parts.append(Picture(_source(part, kind, i, j)))
        elif isinstance(text, str):
            parts.append(text if text.isascii() else _whole(text, i))
        else:
            raise _unknown(part, kind, i, j)
    return tuple(parts)


def _unknown(part: Any, kind: Any, i: int, j: int) -> MessageError:
    if kind in _TEXT_TYPES:
        what = f"is of type {kind!r} without a text"
    else:
        name = str(kind) if isinstance(part, Mapping) else type(part).__name__
        what = f"is of type {name!r}, which is not known"
    return MessageError(
        f"Part {j} of message {i} {what}. Use a string, a text part or an image part.",
        message=i,
        part=j,
    )


def _source(part: Mapping[str, Any], kind: str, i: int, j: int) -> Any:
    if kind == "image" and len(part) == 1:
        return None
    found = next((part[key] for key in _SOURCE_KEYS if part.get(key) is not None), None)
    source = found.get("url") if isinstance(found, _MAPPING) else found
    # Messages in this shape come from other people's programs: a URL there must not read local files.
    if kind != "image" and not str(source).lower().startswith(("http://", "https://", "data:")):
        raise MessageError(
            f"Part {j} of message {i} is of type {kind!r} without an http(s) or data URL. "
            'Give a file as {"type": "image", "image": path}.',
            message=i,
            part=j,
        )
    return source
