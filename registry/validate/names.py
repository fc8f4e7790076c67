"""Names across cards: each means one thing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loader.errors import CardError
from registry.naming import Target, fold, model_types, names_of
from registry.reader import read_trusted
from registry.validate import syntax
from registry.validate.document import Document, Step
from registry.validate.findings import Finding


@dataclass(frozen=True, slots=True)
class _Use:
    """One name of one card."""

    name: str
    target: Target
    path: Path
    shown: str | None
    """The path as the user gave it; None for a card that is not checked, in a folder with one that is."""


class Names:
    """The names of the cards that are checked, by folder.

    Of a card nothing else is kept: the trees of a thousand would take a quarter of a gigabyte, and Python's
    collector more time than all checks. A card that has a clash is read again for its places.
    """

    def __init__(self) -> None:
        self._uses: dict[Path, list[_Use]] = {}
        self._types: dict[Path, list[_Use]] = {}

    def add(self, document: Document) -> None:
        """Take the names of a card that is checked."""
        self._add(document.path, document.shown, document.data)

    def check(self) -> Iterator[Finding]:
        """Names that mean two things among these cards and the others in their folders."""
        for folder in list(self._uses):
            checked = {use.path.name for use in self._uses[folder]}
            # Cards that are not checked come first: they were there before.
            mine, self._uses[folder] = self._uses[folder], []
            for path in sorted(folder.glob("*.yaml")):
                if path.name not in checked:
                    with contextlib.suppress(CardError):
                        self._add(path, None, read_trusted(path))
            yield from _clashes([*self._uses[folder], *mine, *_names(self._types.get(folder, []))])

    def _add(self, path: Path, shown: str | None, data: dict[str, Any]) -> None:
        uses = self._uses.setdefault(path.parent, [])
        try:
            names, kinds = list(names_of(path.stem, data)), model_types(data)
        except (AttributeError, KeyError, TypeError):
            return  # a card that is not valid has no names; its own findings say so
        uses += [_Use(name, target, path, shown) for name, target in names]
        types = self._types.setdefault(path.parent, [])
        types += [_Use(kind, Target(path.stem), path, shown) for kind in kinds]


def _names(types: list[_Use]) -> Iterator[_Use]:
    """The model types that are names: one of several families is none."""
    having: dict[str, list[_Use]] = {}
    for use in types:
        having.setdefault(use.name, []).append(use)
    for uses in having.values():
        if len({use.target for use in uses}) == 1:
            yield uses[0]


def _clashes(uses: Iterable[_Use]) -> Iterator[Finding]:
    first: dict[str, _Use] = {}
    for use in uses:
        other = first.setdefault(fold(use.name), use)
        if other is use or use.shown is None or (other.target == use.target and other.path == use.path):
            continue
        what = other.target.model or other.target.family
        said = f"the name {use.name!r} already means {what} in {other.path.name}"
        document, _ = syntax.read(use.path, use.shown)
        yield document.finding("MC301", _place(document, use), said, "Rename one of them, or leave it out.")


def _place(document: Document, use: _Use) -> tuple[Step, ...]:
    """Where a card says a name."""
    target = use.target
    model = () if target.model is None else ("models", target.model)
    if alias := _alias(document, use):
        return alias
    if target.quantization is not None:
        return (*model, "quantizations", target.quantization, "repository")
    for field in ("name", "source"):
        node = document.node((*model, field)) if model else None
        if node is not None and node.value == use.name:
            return (*model, field)
    if not model and use.name != target.family:
        return ("backend", "model_types")
    return model


def _alias(document: Document, use: _Use) -> tuple[Step, ...] | None:
    """Where a name stands among aliases, the last such place; None where it is no alias."""
    if use.target.quantization is not None:
        return None
    where: tuple[Step, ...] = () if use.target.model is None else ("models", use.target.model)
    node = document.node((*where, "aliases"))
    entries = [entry.value for entry in node.value] if node is not None else []
    places = [i for i, entry in enumerate(entries) if entry == use.name]
    return (*where, "aliases", places[-1]) if places else None
