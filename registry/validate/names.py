"""Names across cards: each means one thing, in a folder, and in all folders that names are looked for in."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loader.errors import CardError
from registry import overlays
from registry.catalog import CARDS
from registry.extends import BaseError, whole, written
from registry.naming import Target, fold, model_types, names_of
from registry.reader import read
from registry.validate import syntax
from registry.validate.document import TOP, Document, On, Step
from registry.validate.findings import Finding

TODO = "TODO"
"""What a new card says in the place of a name is none yet."""
_ASKABLE = re.compile(r"[^\s@/.~-][^\s@/]*(/[^\s@/]+)?")


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
        self._replacements: list[_Use] = []

    def add(self, document: Document) -> None:
        """Take the names of a card that is checked."""
        self._add(document.path, document.shown, document.data)

    def check(self) -> Iterator[Finding]:
        """Names that mean two things, and such as are to be used instead and mean nothing."""
        for folder in list(self._uses):
            checked = {use.path.name for use in self._uses[folder]}
            # Cards that are not checked come first: they were there before.
            mine, self._uses[folder] = self._uses[folder], []
            self._add_folder(folder, but=checked)
            uses = [*self._uses[folder], *mine]
            yield from _clashes([*uses, *_names(self._types.get(folder, []))])
            yield from _unaskable(mine)
            others = [use for other in _others(folder) for use in self._of(other)]
            yield from _shadows(mine, others)
            there = {fold(use.name): use for use in (*others, *self._types.get(folder, []), *uses)}
            yield from _without_replacement(
                [use for use in self._replacements if use.path.parent == folder], there
            )

    def _of(self, folder: Path) -> list[_Use]:
        """The names in a folder that none of the checked cards is in, or in which all of them are known."""
        if folder not in self._uses:
            self._add_folder(folder, but=())
        return self._uses.get(folder, [])

    def _add_folder(self, folder: Path, *, but: Collection[str]) -> None:
        for path in sorted(folder.glob("*.yaml")):
            if path.name not in but:
                with contextlib.suppress(CardError):
                    self._add(path, None, read(path))

    def _add(self, path: Path, shown: str | None, said: dict[str, Any]) -> None:
        uses = self._uses.setdefault(path.parent, [])
        try:
            (data, _), own = whole(path, said, overlays.searched), written(path.stem, said)
            names, kinds = list(names_of(path.stem, data, own)), model_types(data, own)
            replaced = list(_replaced(said))
        except (AttributeError, KeyError, TypeError, BaseError, CardError):
            return  # a card that is not valid has no names; its own findings say so
        uses += [_Use(name, target, path, shown) for name, target in names]
        types = self._types.setdefault(path.parent, [])
        types += [_Use(kind, Target(path.stem), path, shown) for kind in kinds]
        if shown is not None:
            self._replacements += [_Use(name, Target(path.stem, key), path, shown) for key, name in replaced]


def _others(folder: Path) -> list[Path]:
    """The other folders that names are looked for in."""
    return [other for other in overlays.searched() if other.resolve() != folder.resolve()]


def _replaced(data: dict[str, Any]) -> Iterator[tuple[str | None, str]]:
    """What a card names in the place of itself (None) and of its models."""
    parts = [(None, data), *data["models"].items()] if "models" in data else [(None, data)]
    for key, part in parts:
        name = (part.get("deprecated") or {}).get("replacement")
        if isinstance(name, str):
            yield key, name


def _without_replacement(uses: Iterable[_Use], there: Mapping[str, _Use]) -> Iterator[Finding]:
    for use in uses:
        meant = there.get(fold(use.name.partition("@")[0]))
        if meant is None:
            said = f"deprecated.replacement: no card is called {use.name!r}"
        elif (meant.path, meant.target.without_quantization()) == (use.path, use.target):
            said = f"deprecated.replacement: {use.name!r} is what is deprecated here"
        else:
            continue
        document, _ = syntax.read(use.path, str(use.shown))
        below = () if use.target.model is None else ("models", use.target.model)
        mend = "Name a model or family that there is, or leave it out where nothing replaces it."
        yield document.finding("MC323", [*below, "deprecated", "replacement"], said, mend)


def _unaskable(uses: Iterable[_Use]) -> Iterator[Finding]:
    """Names that mean something else, or nothing, to whoever looks for them."""
    for use in uses:
        if use.shown is None or _ASKABLE.fullmatch(use.name) or use.name == use.path.stem:
            continue  # the stem of a file has a finding of its own
        document, _ = syntax.read(use.path, use.shown)
        said = f"nobody can ask for the name {use.name!r}"
        mend = "Write it with letters, digits, '.', '-' and '_', or as owner/name."
        on: On = "key" if _place(document, use)[-1:] == (use.target.model,) else "value"
        yield document.finding("MC324", _place(document, use), said, mend, on=on)


def _shadows(mine: Iterable[_Use], others: Iterable[_Use]) -> Iterator[Finding]:
    """Names that other folders have, too; of a card that has another's id, only that."""
    first: dict[str, _Use] = {}
    for use in others:
        first.setdefault(fold(use.name), use)
    replaced: set[Path] = set()
    for use in mine:
        other = first.get(fold(use.name))
        if other is None or use.shown is None or use.path in replaced:
            continue
        document, _ = syntax.read(use.path, use.shown)
        if other.target == use.target == Target(use.path.stem):
            replaced.add(use.path)
            said = f"there is another card {use.path.stem!r}, in {_known_as(other.path)}"
            mend = "Rename the file, unless it is to stand in that one's place."
            yield document.at("MC302", TOP, said, mend)
            continue
        what = other.target.model or other.target.family
        said = f"the name {use.name!r} also means {what} in {_known_as(other.path)}"
        mend = "Rename one of them, unless this card is to stand in that one's place."
        yield document.finding("MC302", _place(document, use), said, mend)


def _known_as(path: Path) -> str:
    return f"{path.name} of this package" if path.parent == CARDS else str(path)


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
        same = other is use or (other.target == use.target and other.path == use.path)
        if same or use.shown is None or use.name == TODO:
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
    """Where a name stands among aliases or former names, the last such place; None where it is neither."""
    if use.target.quantization is not None:
        return None
    model: tuple[Step, ...] = () if use.target.model is None else ("models", use.target.model)
    for field in ("former_names", "aliases"):
        node = document.node((*model, field))
        entries = [entry.value for entry in node.value] if node is not None else []
        places = [i for i, entry in enumerate(entries) if entry == use.name]
        if places:
            return (*model, field, places[-1])
    return None
