"""One level of `extends`: a card that says only what differs from another one.

Maps merge, lists and scalars are replaced, `null` takes away. Never inherited: sources (a fact that this
card states needs one of its own), the life cycle, conversions of weights where a model has another source
and, by a card with another id, the names of the base. Goldens belong to a file and are not inherited either.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.naming import FAMILY

_LIFE = frozenset({"status", "deprecated", "former_names"})
_OWN = _LIFE | {"extends", "sources"}
_NAMES = frozenset({"aliases", "name"})
_NAMING = ("aliases", "former_names", "backend", "models")
"""Parts of a card that hold names."""


class BaseError(Exception):
    """A card that cannot be extended; says why, and what to do, in two sentences."""


def whole(
    own: Path, said: dict[str, Any], folders: Callable[[], Sequence[Path]]
) -> tuple[dict[str, Any], Path | None]:
    """What the card in `own` says with what it inherits, and the file of that.

    Raises BaseError, and CardError where that file is no card.
    """
    if said.get("extends") is None:
        return said, None
    from registry.reader import read

    file = base_file(own, said["extends"], folders())
    base = read(file)
    if base.get("extends") is not None:
        raise BaseError(f"{file.stem} extends another card itself. Extend that one: only one level is read.")
    return _extended(own, said, file, base), file


def base_file(own: Path, base: object, folders: Sequence[Path]) -> Path:
    """The file of the card that `own` extends: in its own folder, else in those behind, then before it.

    A card may extend the one whose place it takes: it never finds itself. Raises BaseError.
    """
    if isinstance(base, str) and re.fullmatch(FAMILY, base):
        at = folders.index(own.parent) if own.parent in folders else -1
        for folder in (own.parent, *folders[at + 1 :], *folders[: max(at, 0)]):
            file = folder / f"{base}.yaml"
            if file != own and file.is_file():
                return file
    raise BaseError(f"there is no other card {base!r}. Name the id of a family: the stem of its file.")


def _extended(own: Path, said: dict[str, Any], file: Path, base: dict[str, Any]) -> dict[str, Any]:
    from registry.cards import merge

    same = own.stem == file.stem
    given = {key: value for key, value in base.items() if key not in (_OWN if same else _OWN | _NAMES)}
    if isinstance(models := given.get("models"), dict):
        changes = said.get("models")
        changes = changes if isinstance(changes, dict) else {}
        given["models"] = {key: _model(model, changes.get(key), same) for key, model in models.items()}
    return _without_null(merge(given, said), said)


def _model(model: Any, change: Any, same: bool) -> Any:
    """What is taken from a model: conversions only where it is the same model, of the same source."""
    if not isinstance(model, dict):
        return model
    source = change.get("source") if isinstance(change, dict) else None
    left = frozenset() if same else _NAMES | _LIFE
    if source not in (None, model.get("source")):
        left |= {"quantizations"}
    return {key: value for key, value in model.items() if key not in left}


def _without_null(merged: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    """Without what the card takes away; in an override, null does its work later."""
    out = {}
    for key, value in merged.items():
        change = said.get(key, value)
        if change is None:
            continue
        deeper = isinstance(value, dict) and isinstance(change, dict) and key != "override"
        out[key] = _without_null(value, change) if deeper else value
    return out


def written(family: str, said: dict[str, Any]) -> frozenset[str] | None:
    """The texts that a card with a base writes itself; None: whatever it is called is its own name.

    A name belongs to the card that writes it. Else a card would take the repositories and model types of
    the one that it extends.
    """
    if said.get("extends", family) == family:
        return None
    return frozenset(_texts([said.get(part) for part in _NAMING]))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for below in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts(below)


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a card, and where it is written."""

    path: str
    value: Any
    file: Path
    line: int


def values(data: dict[str, Any], files: Sequence[Path], model: str | None) -> Iterator[Value]:
    """Every value that is written for a card, or for one of its models.

    `data` is the whole card; `files` are its own one and that of its base.
    """
    from registry.cards import merge

    places = [(file, _lines(file)) for file in files]
    seen = data
    if model is not None:
        entry = {key: value for key, value in data["models"][model].items() if key != "override"}
        seen = merge(data, data["models"][model].get("override", {})) | {"models": {model: entry}}
    for where, value in _leaves(seen):
        override = ("models", str(model), "override", *where)
        tried = ((file, lines.get(path)) for path in (override, where) for file, lines in places)
        file, line = next((file, line) for file, line in tried if line is not None)
        yield Value(".".join(where), value, file, line)


def _leaves(data: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in data.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key), value


def _lines(file: Path) -> dict[tuple[str, ...], int]:
    """The line, from 1, of every key of a card."""
    import yaml

    from registry.reader import SAFE_LOADER

    root = yaml.compose(file.read_bytes(), Loader=SAFE_LOADER)
    found: dict[tuple[str, ...], int] = {}

    def walk(node: yaml.Node | None, above: tuple[str, ...]) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                found[*above, key.value] = key.start_mark.line + 1
                walk(value, (*above, key.value))

    walk(root, ())
    return found
