"""One folder of cards: what they say, and the names that they answer to."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loader.errors import CardError
from registry.extends import BaseError, whole, written
from registry.lifecycle import is_retired
from registry.naming import Target, fold, model_name, model_types, names_of

if TYPE_CHECKING:
    from registry.cards import Card
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
        files = sorted(os.listdir(folder)) if folder.is_dir() else []  # noqa: PTH208  # a third of glob's time
        self._there = [file.removesuffix(".yaml") for file in files if file.endswith(".yaml")]
        self.folder = folder
        self.hidden = frozenset(hidden).intersection(self._there)
        self.families = [family for family in self._there if family not in self.hidden]
        self._trusted = trusted
        self._bases = bases
        self._read: dict[str, tuple[dict[str, Any], frozenset[str] | None]] = {}
        self.card = functools.cache(self._card)
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

    def is_retired(self, family: str) -> bool:
        """Whether a family is there only to say what replaces it; few cards have to be read for that."""
        return "retired" in self._text(family) and is_retired(self.data(family))

    def mentioning(self, key: str) -> Iterator[str]:
        """The cards that may answer to a folded name; none of the others does.

        First those whose id is in it, between separators. All names but `<id>-<model>` are in the text, or
        in that of the card whose place a card takes.
        """
        if self._index is None:
            yield from self._looked_through(key)
            return
        found = [family for family in self._index.families(key) if family not in self.hidden]
        yield from found
        if self._fresh_index is not None:  # who goes on has not found what was meant
            also = (family for family in self._fresh_index.families(key) if family not in found)
            yield from (family for family in also if family not in self.hidden)

    def _looked_through(self, key: str) -> Iterator[str]:
        words = f"-{key.replace('/', '-')}-"
        likely = [family for family in self.families if f"-{fold(family)}-" in words]
        yield from sorted(likely, key=len, reverse=True)
        for family in self.families:
            if family not in likely and (family in self._read or self._has(family, key)):
                yield family

    def _has(self, family: str, key: str) -> bool:
        text = self._text(family)
        return key in fold(text) or (not self._trusted and "extends" in text)

    def _text(self, family: str) -> str:
        with contextlib.suppress(OSError):  # reading it as a card will say why not
            return self.path(family).read_text(encoding="utf-8", errors="replace")
        return ""

    def spellings(self) -> dict[str, str] | None:
        """Every folded name as its card writes it, from the index; None where there is none."""
        if self._index is None or self._fresh_index is None:
            return None
        return self._fresh_index.spellings()

    @functools.cached_property
    def _index(self) -> NameIndex | None:
        """Where names stand, for a packaged folder that is too large to be looked through."""
        if not self._trusted or len(self._there) < LARGE:
            return None
        from registry import name_index

        return name_index.opened(self.folder, self._there, self._indexed)

    @functools.cached_property
    def _fresh_index(self) -> NameIndex | None:
        """The same, also where a card was written in place, which takes a look at every file."""
        from registry import name_index

        return name_index.opened(self.folder, self._there, self._indexed, thoroughly=True)

    def _indexed(self, family: str) -> list[str]:
        """All names of a card; of one that is malformed only its id, so that asking for it says why."""
        from registry.reader import read_trusted

        with contextlib.suppress(CardError, AttributeError, KeyError, TypeError):
            said = read_trusted(self.path(family))
            (data, _), own = self._whole(self.path(family), said), written(family, said)
            return [*model_types(data, own), *(name for name, _ in names_of(family, data, own))]
        return [family]

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
        from registry.cards import card_of, trusted

        family, key = target.family, target.model
        data = self.data(family)
        if not self._trusted:
            return self._validated(family, key, data)
        with contextlib.suppress(AttributeError, KeyError, StopIteration, TypeError, ValueError):
            return card_of(data, family=family, key=key, make=trusted)
        from registry.reader import read

        data, _ = self._whole(self.path(family), read(self.path(family)))
        return self._validated(family, key, data)

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
