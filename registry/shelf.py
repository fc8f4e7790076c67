"""One folder of cards: what they say, and the names that they answer to."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loader.errors import CardError
from registry.extends import BaseError, whole, written
from registry.lifecycle import is_retired
from registry.naming import Target, fold, model_name, model_types, names_of

if TYPE_CHECKING:
    from registry.cards import Card, CardFile
    from registry.name_index import NameIndex

LARGE = 200
"""Cards from which an index of names is worth its file. Fewer are looked through in some ten milliseconds."""


class Shelf:
    """The cards of one folder.

    Those of this package (`trusted`) are validated by its tests; all others are when they are asked for.
    `hidden`: ids of cards that another folder has, too, and that are not seen here. `bases`: the folders in
    which a card may find the one that it extends.
    """

    def __init__(
        self,
        folder: Path,
        *,
        trusted: bool = False,
        hidden: Collection[str] = (),
        bases: Callable[[], Sequence[Path]] = tuple,
    ) -> None:
        try:
            files = sorted(os.listdir(folder)) if folder.is_dir() else []  # noqa: PTH208  # a third of glob's time
        except OSError as error:
            raise CardError(
                f"cannot be listed: {error.strerror}. Change its permissions.", path=str(folder)
            ) from error
        self._there = [file.removesuffix(".yaml") for file in files if file.endswith(".yaml")]
        self.folder = folder
        self.hidden = frozenset(hidden).intersection(self._there)
        self.families = [family for family in self._there if family not in self.hidden]
        self._trusted = trusted
        self._bases = bases
        self._read: dict[str, tuple[dict[str, Any], frozenset[str] | None]] = {}
        self.card = functools.cache(self._card)
        self.made = functools.cache(self._made)
        self.targets = functools.cache(self._targets)

    def path(self, family: str) -> Path:
        """The file of a card."""
        return self.folder / f"{family}.yaml"

    def files(self, family: str) -> tuple[Path, ...]:
        """The file of a card, and that of the card which it extends. Raises CardError."""
        from registry.reader import read

        own = self.path(family)
        _, base = self._whole(own, read(own))
        return (own,) if base is None else (own, base)

    def data(self, family: str) -> dict[str, Any]:
        """What a card says, with what it inherits. Its names are well-formed. Raises CardError."""
        return self._said(family)[0]

    def names(self, family: str) -> Iterator[tuple[str, Target]]:
        """The names of a card, without its model types, which others may share."""
        data, own = self._said(family)
        return names_of(family, data, own)

    def types(self, family: str) -> list[str]:
        """The model types that mean a family."""
        data, own = self._said(family)
        return model_types(data, own)

    def models(self, family: str) -> list[str]:
        """Full names of a family's models that are not retired."""
        data = self.data(family)
        models = data["models"].items()
        return [model_name(family, key, model) for key, model in models if not is_retired(data, key)]

    def is_alias(self, name: str, target: Target) -> bool:
        """Whether a name that means `target` is neither its source nor one of its repositories."""
        models = self.data(target.family)["models"]
        model = models.get(target.model, {})
        weights = model.get("quantizations", {}).values()
        own = {model.get("source"), *(it.get("repository") for it in weights)}
        return fold(name) not in {fold(it) for it in own if it is not None}

    def is_retired(self, family: str) -> bool:
        """Whether a family is there only to say what replaces it; few cards have to be read for that."""
        return "retired" in self._text(family) and is_retired(self.data(family))

    def mentioning(self, key: str) -> Iterator[str]:
        """The cards that may answer to a folded name; none of the others does.

        All names but `<id>-<model>` are in the text, or in that of the card whose place a card takes.
        """
        given = set(self.hidden)
        for family in self._looked_up(key) if self._is_large else self._looked_through(key):
            if family not in given:
                given.add(family)
                yield family

    def _looked_up(self, key: str) -> Iterator[str]:
        """By the index, and in the text of those cards that it does not know."""
        from registry import name_index

        there = set(self.families)
        yield from (family for family in name_index.families(self.folder, key) if family in there)
        yield from self._likely(key)
        index = self._fresh_index  # who goes on has not found what was meant
        if index is None:
            yield from self._looked_through(key)
            return
        yield from index.families(key)
        yield from (f for f in (*index.families(""), *index.unread) if self._has(f, key))

    def _likely(self, key: str) -> list[str]:
        """The cards whose id is in a folded name, between separators, the longest id first."""
        words = f"-{key.replace('/', '-')}-"
        return sorted((f for f in self.families if f"-{fold(f)}-" in words), key=len, reverse=True)

    def _looked_through(self, key: str) -> Iterator[str]:
        likely = self._likely(key)
        yield from likely
        for family in self.families:
            if family not in likely and (family in self._read or self._has(family, key)):
                yield family

    def _has(self, family: str, key: str) -> bool:
        text = self._text(family)
        return key in fold(text) or (not self._trusted and "extends" in text)

    def _text(self, family: str) -> str:
        from registry.reader import raw

        with contextlib.suppress(OSError):  # reading it as a card will say why not
            return raw(self.path(family)).decode("utf-8", "replace")
        return ""

    def keys(self) -> set[str] | None:
        """Every folded name, and perhaps some that are none, from the index; None where there is none."""
        if not self._is_large:
            return None
        from registry import name_index

        index = name_index.refreshed(self.folder, self._hints, at_once=None)
        if index is None:
            return None
        found = index.keys()
        for family in {*index.families(""), *index.unread} - self.hidden:
            with contextlib.suppress(CardError):
                found |= {fold(name) for name, _ in self.names(family)} | {
                    fold(t) for t in self.types(family)
                }
        return found

    @property
    def _is_large(self) -> bool:
        return len(self._there) >= LARGE

    @functools.cached_property
    def _fresh_index(self) -> NameIndex | None:
        """Where names stand now, which takes a look at every file."""
        from registry import name_index

        return name_index.refreshed(self.folder, self._hints)

    def _hints(self, family: str) -> set[str] | None:
        from registry.hints import hints

        return hints(family, self._text(family))

    def _said(self, family: str) -> tuple[dict[str, Any], frozenset[str] | None]:
        """What a card says with what it inherits, and the texts that it writes itself where it does."""
        if family not in self._read:
            from registry.reader import read, read_trusted

            said = (read_trusted if self._trusted else read)(self.path(family))
            data, _ = self._whole(self.path(family), said)
            try:
                model_types(data)
                list(names_of(family, data))
            except (AttributeError, KeyError, TypeError):
                self._validated(family, None, data)  # says what is malformed, and where
                raise
            self._read[family] = data, written(family, said)
        return self._read[family]

    def _whole(self, own: Path, said: dict[str, Any]) -> tuple[dict[str, Any], Path | None]:
        """What the card in a file says with what it inherits, and the file of that. Raises CardError."""
        try:
            return whole(own, said, self._bases)
        except BaseError as error:
            from registry.reader import locate

            line, column = locate(own, ["extends"]) or (None, None)
            raise CardError(f"extends: {error}", path=str(own), line=line, column=column) from error

    def _targets(self, family: str) -> dict[str, Target]:  # cached as `targets`
        """What a card's folded names mean."""
        return {fold(name): target for name, target in self.names(family)}

    def _card(self, target: Target) -> Card:  # cached as `card`
        from registry.cards import card_of

        family, key = target.family, target.model
        data = self.data(family)
        if not self._trusted:
            return self._validated(family, key, data)
        with contextlib.suppress(AttributeError, KeyError, StopIteration, TypeError, ValueError):
            return card_of(data, family=family, key=key, make=functools.partial(self._overridden, family))
        from registry.reader import read

        data, _ = self._whole(self.path(family), read(self.path(family)))
        return self._validated(family, key, data)

    def _overridden(self, family: str, data: dict[str, Any]) -> CardFile:
        """A trusted card with what a model overrides: the rest is built once for all models of a family."""
        from registry.cards import CardFile
        from registry.data import build_fields

        own = self.data(family)
        changed = {part: value for part, value in data.items() if value is not own.get(part)}
        return replace(self.made(family), **build_fields(CardFile, changed))

    def _made(self, family: str) -> CardFile:  # cached as `made`
        from registry.cards import trusted

        return trusted(self.data(family))

    def _validated(self, family: str, key: str | None, data: dict[str, Any]) -> Card:
        from pydantic import ValidationError

        from registry.cards import card_of
        from registry.reader import card_error, check_placeholder
        from registry.schema import validated

        if key is not None:
            self._validated(family, None, data)  # a fault of the family is found at its own place
        below = ("models", key, "override") if key else ()
        try:
            card = card_of(data, family=family, key=key, make=validated)
        except ValidationError as error:
            raise card_error(self.path(family), error, below=below) from error
        check_placeholder(self.path(family), card.image, below=below)
        return card
