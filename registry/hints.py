"""The names that a card may have, from its text alone: what an index of very many cards is made of.

A hint says where to look, never what a name means. So there may be more hints than names, and no rule of a
card is checked. Only the parts that hold names are parsed, and of these only events: nothing is built, so
that a stranger's text costs no more than its length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from registry.reader import MAX_DEPTH, SAFE_LOADER

_ODD = re.compile(r"[\r\x85\u2028\u2029]|^(?!\Z|[ #\n]|- |[a-z_]+:[ \n])", re.MULTILINE)
"""A line that is not below a key, and is no key, comment or entry either; or a line end that is not \\n."""
_NAMING = re.compile(
    r"^(?:aliases|former_names|backend|models|extends):.*\n?(?:(?:[ #-].*)?\n)*", re.MULTILINE
)
"""A part of a card that holds names."""
_HOLDING = frozenset({"aliases", "former_names", "model_types", "name", "repository", "source"})
"""The keys, anywhere in these parts, whose values are names."""
_MODELS = ["", "models"]


def hints(family: str, text: str) -> set[str] | None:
    """All names that the text gives to the card `family`, its model types too.

    None where they are not in its text alone: it extends another card, or is no card.
    """
    if not _ODD.search(text):
        text = "".join(_NAMING.findall(text))
    found = {family}
    try:
        for above, key, value in _scalars(text):
            if value is None:
                if above == _MODELS:
                    found.add(f"{family}-{key}")
            elif key in _HOLDING:
                found.add(value)
            elif key == "extends" and value not in {"", "~", "null"}:
                return None
    except (yaml.YAMLError, ValueError):
        return None
    return found


def _scalars(text: str) -> Iterator[tuple[list[str], str, str | None]]:
    """The scalars of a YAML text with their key and those above it; before, each key by itself, with None.

    An entry of a list has the list's key. Raises ValueError for what no card holds.
    """
    keys: list[str] = []  # of the open collections
    inside: list[bool] = []  # whether they are maps
    key: str | None = None  # None: a map before its next one
    event: Any
    for event in yaml.parse(text, Loader=SAFE_LOADER):
        kind = type(event)
        if kind is yaml.ScalarEvent:
            if key is None:
                key = event.value
                yield keys, key, None
                continue
            yield keys, key, event.value
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            if len(inside) == MAX_DEPTH or (key is None and inside):
                raise ValueError("too deep, or a key that is no text")
            keys.append(key or "")
            inside.append(kind is yaml.MappingStartEvent)
            key = None if inside[-1] else key
            continue
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            key = keys.pop()
            inside.pop()
        elif kind is yaml.AliasEvent:
            raise ValueError("an alias")
        if inside and inside[-1]:  # a value of a map is over
            key = None
