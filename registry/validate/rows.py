"""Reading a file of goldens: like a card, it may come from a stranger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from registry.naming import fold
from registry.reader import MAX_DEPTH

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(file: Path) -> dict[str, Any]:
    """The rows of a file, and its stamp.

    Raises OSError, UnicodeDecodeError, or FaultError, whose text says why these are no goldens.
    """
    try:
        text = file.read_text(encoding="utf-8")
        _refuse_tricks(text)
        data: dict[str, Any] = yaml.load(text, Loader=_Loader)  # noqa: S506  # the safe loader, in C
        _check(data)
    except (yaml.YAMLError, AttributeError, LookupError, TypeError) as error:
        raise FaultError(" ".join(str(error).split())[:120]) from error
    return data


class FaultError(Exception):
    """These are no goldens."""


def place(file: Path, kind: str, index: int) -> str:
    """file:line of a row, for a message; the text is composed only where there is one."""
    root = yaml.compose(file.read_text(encoding="utf-8"), Loader=_Loader)
    assert isinstance(root, yaml.MappingNode)  # noqa: S101  # its rows were read
    rows = next(value for key, value in root.value if key.value == kind)
    return f"{file.name}:{rows.value[index].start_mark.line + 1}"


def types(content: str | list[dict[str, Any]]) -> list[str]:
    """Of what type the parts of a message are."""
    return ["text"] if isinstance(content, str) else [part["type"] for part in content]


def _refuse_tricks(text: str) -> None:
    """Raises YAMLError for aliases, which unfold to gigabytes where two rows are compared, and for so deep a
    nesting that the parser, which is in C, would end the process.
    """
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.ScalarEvent):
            continue  # by far the most of them
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError(f"aliases (*{event.anchor}) are not allowed")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise yaml.YAMLError(f"they have more than {MAX_DEPTH} levels")


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
