"""Reading a file of goldens: like a card, it may come from a stranger."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import yaml

from registry.naming import fold
from registry.reader import MAX_DEPTH, MAX_DIGITS, SAFE_LOADER


def read(file: Path) -> dict[str, Any]:
    """The rows of a file, and its stamp.

    Raises OSError, UnicodeDecodeError, or FaultError, whose text says why these are no goldens.
    """
    text = file.read_text(encoding="utf-8")
    try:
        data: dict[str, Any] = _built(text)
        _check(data)
    except (yaml.YAMLError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise FaultError(" ".join(str(error).split())[:120]) from error
    return data


class FaultError(Exception):
    """These are no goldens."""


def place(file: Path, kind: str, index: int) -> str:
    """file:line of a row, for a message; the text is composed only where there is one."""
    root = yaml.compose(file.read_text(encoding="utf-8"), Loader=SAFE_LOADER)
    assert isinstance(root, yaml.MappingNode)  # noqa: S101  # its rows were read
    rows = next(value for key, value in root.value if key.value == kind)
    return f"{file.name}:{rows.value[index].start_mark.line + 1}"


def types(content: str | list[dict[str, Any]]) -> list[str]:
    """Of what type the parts of a message are."""
    return ["text"] if isinstance(content, str) else [part["type"] for part in content]


def _built(text: str) -> Any:
    """The data of a YAML text, in one pass: files of goldens are long, and composing nodes takes most of it.

    Raises YAMLError for aliases, which unfold to gigabytes where two rows are compared, for tags, for a key
    that is repeated or no text, and for so deep a nesting that a parser in C would end the process.
    """
    holders: list[Any] = [[]]
    keys: list[str | None] = [None]
    """Of each map that is open, the key whose value comes next."""
    event: Any  # its class says what it has
    for event in yaml.parse(text, Loader=SAFE_LOADER):
        kind = type(event)
        if kind is yaml.ScalarEvent:
            value = _plain(event.value) if event.implicit[0] else event.value
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            value = {} if kind is yaml.MappingStartEvent else []
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            holders.pop()
            keys.pop()
            continue
        elif kind is yaml.AliasEvent:
            raise yaml.YAMLError(f"aliases (*{event.anchor}) are not allowed")
        else:
            continue  # begin and end of the stream
        if event.tag is not None:
            raise yaml.YAMLError(f"tags ({event.tag}) are not allowed")
        _put(holders[-1], keys, value)
        if kind is not yaml.ScalarEvent:
            holders.append(value)
            keys.append(None)
            if len(holders) > MAX_DEPTH + 1:
                raise yaml.YAMLError(f"they have more than {MAX_DEPTH} levels")
    if len(holders[0]) != 1:
        raise yaml.YAMLError("they are not one document")
    return holders[0][0]


def _put(holder: Any, keys: list[str | None], value: Any) -> None:
    """Add what comes next to the collection that is open."""
    if type(holder) is list:
        holder.append(value)
    elif (key := keys[-1]) is not None:
        holder[key], keys[-1] = value, None
    elif not isinstance(value, str) or value in holder:
        raise yaml.YAMLError(f"the key {value!r:.40} is no text, or is there already")
    else:
        keys[-1] = value


@functools.lru_cache(maxsize=4096)
def _plain(text: str) -> Any:
    """What a scalar without quotes means."""
    if len(text) > MAX_DIGITS:
        return text
    if text.isascii() and text.isdecimal() and (text[0] != "0" or text == "0"):
        return int(text)
    return yaml.load(text, Loader=SAFE_LOADER)  # noqa: S506  # the safe loader, in C


def _check(data: Any) -> None:
    """Raises AttributeError, LookupError or TypeError where data is not rows of goldens with a stamp."""
    data["stamp"].keys()
    for row in data["prompts"]:
        fold(row["case"])
        dict(**row["options"])
        row["add_generation_prompt"], row["continue_final_message"], row["conversation"]
        row.get("error") or row["prompt"].encode()
        row["messages"][0]
        for message in row["messages"]:
            message["role"], types(message["content"])
    for row in data["images"]:
        fold(row["case"])
        range(row["width"]), range(row["height"])
