"""Data as the YAML that people write: short maps on one line, prompt text in double quotes, comments."""

from __future__ import annotations

import datetime
import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

WIDTH = 118
_PLAIN = re.compile(r"[A-Za-z][\w.+/-]*(?: [\w.+/()-]+)*")
_NOT_TEXT = re.compile(r"(?i)(?:true|false|yes|no|on|off|null|y|n)")
_ODD = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
"""What YAML does not take, or an editor shows as something else."""
_KEY = re.compile(r"[A-Za-z_]\w*(?:[ -]\w+)*|\d+(?:\.\d+)*[a-z][\w.-]*")


def flow(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key_text(key)}: {flow(below)}" for key, below in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and not _NOT_TEXT.fullmatch(value)
        return value if plain else quoted(value)
    return json.dumps(value)


def quoted(text: str) -> str:
    """Text in double quotes, with escapes for what YAML does not take as it is."""
    return _ODD.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(text, ensure_ascii=False))


def key_text(key: str) -> str:
    return key if _KEY.fullmatch(key) and not _NOT_TEXT.fullmatch(key) else quoted(key)


def block(
    data: Mapping[str, Any], comments: Mapping[str, str], path: str = "", indent: int = 0
) -> Iterator[str]:
    """Lines of a map. `comments`, by dotted path, stand above their keys, those without a key at the end."""
    pad = " " * indent
    for key, value in data.items():
        here = f"{path}{key}"
        yield from _comment(comments.get(here), pad)
        start = f"{pad}{key_text(key)}:"
        line = f"{start} {flow(value)}"
        inner = any(name.startswith(f"{here}.") for name in comments)
        if (
            isinstance(value, Mapping)
            and value
            and (len(line) > WIDTH or inner or indent == 0 or _deep(value))
        ):
            yield start
            yield from block(value, comments, f"{here}.", indent + 2)
        elif isinstance(value, list) and value and all(isinstance(it, Mapping) for it in value):
            yield start
            for entry in value:
                first, *others = block(entry, {}, indent=indent + 4)
                yield f"{pad}  - {first.lstrip()}"
                yield from others
        elif (
            isinstance(value, str)
            and len(line) > WIDTH
            and re.fullmatch(r"[\x20-\x7e]+", value)
            and key == "note"
        ):
            yield f"{start} >-"
            yield from textwrap.wrap(
                value, WIDTH, initial_indent=f"{pad}  ", subsequent_indent=f"{pad}  ", break_long_words=False
            )
        else:
            yield line
    for name, text in comments.items():
        outer, _, inner_key = name.rpartition(".")
        if outer == path.rstrip(".") and inner_key not in data:
            yield from _comment(text, pad)


def _deep(value: Mapping[str, Any]) -> bool:
    """Two levels of maps below this one: too much for a line that is read."""
    return any(isinstance(below, Mapping) and below for below in value.values())


def _comment(text: str | None, pad: str) -> Iterator[str]:
    for line in _ODD.sub("?", text or "").splitlines():
        yield from textwrap.wrap(
            line, WIDTH, initial_indent=f"{pad}# ", subsequent_indent=f"{pad}# ", break_long_words=False
        )
