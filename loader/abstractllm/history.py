"""Which images belong to which turn of a conversation.

AbstractLLM's session keeps the words of a conversation and hands files over with the turn they came
with, never again. So what a turn held is remembered here: under the words of the whole conversation up
to an answer, and that answer. Nothing else identifies a conversation, as messages carry no name.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from abstractllm.session import UnifiedGenerationHelpers

from loader.errors import UnsupportedFeatureError
from loader.tools import ToolCall

Messages = Sequence[Mapping[str, Any]]
_WITHOUT_CALLS = UnifiedGenerationHelpers(None)._filter_tool_call_markup
ANSWERS = 4096
"""Answers that are known again."""
REMEMBERED = 256
"""Of them, those whose files are remembered: paths, and references to images, not pixels of our own."""
HELD = 1 << 30
"""Bytes of images that are kept in memory so; the files of the last answer are kept, however large."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What the model was given as one user's turn."""

    files: tuple[Any, ...]
    content: Any
    """The message's content, images in it."""


@dataclass(frozen=True, slots=True)
class Record:
    """One answer, and the turns with files before it."""

    answer: str
    kept: str
    """What else a session may keep of the answer: the text with its calls of tools, or without them."""
    turns: Mapping[int, Turn]
    """By the index of their message."""
    calls: tuple[ToolCall, ...] = ()
    """Tools that it calls in the family's own form."""
    forgotten: bool = False
    """Whether there were turns with files, which are remembered no longer."""


class History:
    """The turns with files of the conversations that one provider leads.

    Messages are those of users and assistants, contents as strings or lists of parts.
    """

    def __init__(self) -> None:
        self._records: deque[tuple[str, Record]] = deque(maxlen=ANSWERS)
        self._noting = threading.Lock()

    def remember(
        self, messages: Messages, answer: str, turns: Mapping[int, Turn], *, tools: bool = False
    ) -> None:
        """Note what stood where when `messages` got this `answer`; also that there were no files."""
        kept = _WITHOUT_CALLS(answer) if tools else answer
        self._note(messages, Record(answer, kept.strip(), dict(turns)))

    def remember_calls(
        self,
        messages: Messages,
        answer: str,
        turns: Mapping[int, Turn],
        *,
        text: str,
        calls: tuple[ToolCall, ...],
    ) -> None:
        """Note an answer that calls tools: its words, and its whole text."""
        self._note(messages, Record(answer, text.strip(), dict(turns), calls))

    def _note(self, messages: Messages, record: Record) -> None:
        key = _keys(messages)[-1]
        with self._noting:
            self._records.append((key, record))
            self._forget()

    def _forget(self) -> None:
        """Let go of what older answers hold beyond the limits."""
        seen: set[int] = set()
        held, last = 0, len(self._records) - 1
        for place in range(last, -1, -1):
            key, record = self._records[place]
            if record.forgotten:
                return  # and so are all before it
            held += sum(_bytes(turn, seen) for turn in record.turns.values())
            if record.turns and place < last and (held > HELD or last - place >= REMEMBERED):
                self._records[place] = key, replace(record, turns={}, forgotten=True)

    def calls(self, messages: Messages) -> dict[int, tuple[str, tuple[ToolCall, ...]]]:
        """The words and calls of those answers in a conversation that called tools, by their index."""
        keys, records = _keys(messages), list(self._records)
        found = {}
        for i, message in enumerate(messages):
            if message["role"] == "assistant" and i:
                made = [
                    r for k, r in records if k == keys[i - 1] and _says(message["content"], r) and r.calls
                ]
                if made:
                    found[i] = made[-1].answer, made[-1].calls
        return found

    def turns(self, messages: Messages) -> dict[int, Turn]:
        """What earlier turns of a conversation held, by the index of their message.

        Raises UnsupportedFeatureError where two conversations of the same words were about different files,
        or where they are remembered no longer.
        """
        keys, records = _keys(messages), list(self._records)
        for end in range(len(messages) - 1, 0, -1):
            said = messages[end]
            if said["role"] == "assistant":
                key, answer = keys[end - 1], said["content"]
                known = [r for k, r in records if k == key and _says(answer, r)]
                if known:
                    return dict(_only(known, answer).turns)
        return {}

    def continued(self, messages: Messages, files: Sequence[Any]) -> int | None:
        """The message whose files these are, where a conversation goes on that had them before.

        So it is when a tool has answered: the session hands the same files over once more.
        """
        keys, records = set(_keys(messages)[:-1]), list(self._records)
        for key, record in reversed(records):
            if key in keys:
                for index, turn in record.turns.items():
                    if _same_files(turn.files, files):
                        return index
        return None


def _only(known: Sequence[Record], answer: Any) -> Record:
    """The record that is meant: of several the one whose answer is this very object."""
    for record in known:
        if record.answer is answer and not record.forgotten:
            return record
    first, *others = known
    if any(first.forgotten != it.forgotten or not _same_turns(first.turns, it.turns) for it in others):
        raise UnsupportedFeatureError(
            "Two conversations of the same words were about different files, so which of them is meant is "
            "not known. Give the images in messages= as parts, or say the second conversation in other words."
        )
    if first.forgotten:
        raise UnsupportedFeatureError(
            "The files of this conversation are remembered no longer, as too many, or too large ones, came "
            "after them. Give the images in messages= as parts."
        )
    return first


def _same_turns(one: Mapping[int, Turn], other: Mapping[int, Turn]) -> bool:
    return one.keys() == other.keys() and all(_same_files(one[i].files, other[i].files) for i in one)


def _same_files(one: Sequence[Any], other: Sequence[Any]) -> bool:
    return len(one) == len(other) and all(a is b or _equal(a, b) for a, b in zip(one, other, strict=True))


def _equal(one: Any, other: Any) -> bool:
    """Whether two sources are the same path, bytes or pixels."""
    if type(one) is not type(other):
        return False
    if hasattr(one, "__array_interface__") and hasattr(one, "tobytes"):  # arrays, and Pillow's images
        return _form(one) == _form(other) and bool(one.tobytes() == other.tobytes())
    return isinstance(one, str | bytes | os.PathLike) and one == other


def _bytes(turn: Turn, seen: set[int]) -> int:
    """What a turn keeps in memory, but for what was `seen` before."""
    parts = turn.content if isinstance(turn.content, list) else []
    sources = [*turn.files, *(part.get("image") for part in parts if isinstance(part, Mapping))]
    new = {id(source): source for source in sources if id(source) not in seen}
    seen |= new.keys()
    return sum(map(_weight, new.values()))


def _weight(source: Any) -> int:
    if isinstance(source, str | bytes | bytearray):
        return len(source)
    if hasattr(source, "getbands"):  # Pillow's images
        return int(source.width * source.height * len(source.getbands()))
    return int(getattr(source, "nbytes", 0))


def _form(pixels: Any) -> tuple[Any, ...]:
    return tuple(getattr(pixels, name, None) for name in ("size", "mode", "shape", "dtype"))


def _says(said: Any, record: Record) -> bool:
    """Whether a message is the answer of a record; a session strips white space around it."""
    return isinstance(said, str) and said.strip() in (record.answer.strip(), record.kept)


def _keys(messages: Messages) -> list[str]:
    """For each message, a hash of the words up to it."""
    digest, keys = hashlib.sha256(), []
    for message in messages:
        said = message["content"]
        text = said if isinstance(said, str) else repr(_words(said))
        digest.update(f"{message['role']}\0{text.strip()}\0\0".encode("utf-8", "surrogatepass"))
        keys.append(digest.hexdigest())
    return keys


def _words(content: Any) -> list[str]:
    """The texts among the parts of a message, and that there is an image."""
    parts = content if isinstance(content, list | tuple) else []
    return [
        str(part.get("text", part.get("type"))) if isinstance(part, dict) else str(part) for part in parts
    ]
