"""Finding cards and resolving names. Exact, or refused with suggestions; never a neighbour."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loader.errors import CardError, UnknownModelError, UnsupportedFeatureError
from registry.naming import Target, either, fold, model_name, model_types, names_of, natural

if TYPE_CHECKING:
    from registry.cards import Card
    from registry.name_index import NameIndex

CARDS = Path(__file__).parent / "models"
LARGE = 200
"""Cards from which an index of names is worth its file. Fewer are looked through in some ten milliseconds."""


class Catalog:
    """The cards of one folder and the names they answer to.

    The cards of this package (`trusted`) are validated by its tests, also that no two share a name
    (`check_names`), so a file is read when a name may be in it. Other folders are read as a whole and
    their names checked right away; each of their cards is validated when it is asked for.
    """

    def __init__(self, folder: Path = CARDS, *, trusted: bool = False) -> None:
        self._trusted = trusted
        self._folder = folder
        files = sorted(os.listdir(folder)) if folder.is_dir() else []  # noqa: PTH208  # a third of glob's time
        self._families = [file.removesuffix(".yaml") for file in files if file.endswith(".yaml")]
        self._read: dict[str, dict[str, Any]] = {}
        self.card = functools.cache(self._card)
        self._targets = functools.cache(self._targets_of)
        if not trusted:
            self.check_names()

    def families(self) -> tuple[str, ...]:
        """Ids of all cards, in natural order."""
        return tuple(sorted(self._families, key=natural))

    def names(self) -> tuple[str, ...]:
        """Full names of all models, in natural order."""
        return tuple(sorted((name for f in self._families for name in self._models(f)), key=natural))

    def check_names(self) -> None:
        """Raises CardError where a card is malformed, or two things have one name."""
        self._all_names()

    def find(self, name: str) -> Target:
        """What `name` means. Case and the characters `_.-` are folded, nothing else.

        Raises UnknownModelError with up to three suggestions, UnsupportedFeatureError when the
        model exists but not in the quantization that the name asks for.
        """
        base, at, quantization = name.strip().partition("@")
        target = self._find(fold(base))
        if target is None:
            raise self._unknown(name, base)
        if not at:
            return target
        return self._quantized(name, target, quantization)

    def find_model_type(self, model_type: str) -> Target | None:
        """The family whose checkpoints have this `model_type`, None if no single one has."""
        having = [f for f in self._mentioning(fold(model_type)) if model_type in model_types(self._data(f))]
        return Target(having[0]) if len(having) == 1 else None

    def _find(self, key: str) -> Target | None:
        """What a folded name means; a model type only if it is no other name."""
        types: list[str] = []
        for family in self._mentioning(key):
            target = self._targets(family).get(key)
            if target is not None:
                return target
            types += [t for t in model_types(self._data(family)) if fold(t) == key]
        return next((only for t in types if (only := self.find_model_type(t)) is not None), None)

    def _mentioning(self, key: str) -> Iterator[str]:
        """The cards that may answer to a folded name; none of the others does.

        First those whose id is in it, between separators. All names but `<id>-<model>` are in the text.
        """
        words = f"-{key.replace('/', '-')}-"
        if self._index is not None:
            found = self._index.families(key)
            yield from found
            if self._fresh_index is not None:  # who goes on has not found what was meant
                yield from (family for family in self._fresh_index.families(key) if family not in found)
            return
        likely = [family for family in self._families if f"-{fold(family)}-" in words]
        yield from sorted(likely, key=len, reverse=True)
        for family in self._families:
            if family not in likely and (family in self._read or self._has(family, key)):
                yield family

    @functools.cached_property
    def _index(self) -> NameIndex | None:
        """Where names stand, for a packaged folder that is too large to be looked through."""
        if not self._trusted or len(self._families) < LARGE:
            return None
        from registry import name_index

        return name_index.opened(self._folder, self._families, self._indexed)

    @functools.cached_property
    def _fresh_index(self) -> NameIndex | None:
        """The same, also where a card was written in place, which takes a look at every file."""
        from registry import name_index

        return name_index.opened(self._folder, self._families, self._indexed, thoroughly=True)

    def _indexed(self, family: str) -> list[str]:
        """All names of a card; of one that is malformed only its id, so that asking for it says why."""
        from registry.reader import read_trusted

        with contextlib.suppress(CardError, AttributeError, KeyError, TypeError):
            data = read_trusted(self._path(family))
            return [*model_types(data), *(name for name, _ in names_of(family, data))]
        return [family]

    def _has(self, family: str, key: str) -> bool:
        """Whether a folded name is anywhere in a card's text."""
        with contextlib.suppress(OSError):
            return key in fold(self._path(family).read_text(encoding="utf-8", errors="replace"))
        return True  # reading it will say why not

    def _path(self, family: str) -> Path:
        return self._folder / f"{family}.yaml"

    def _data(self, family: str) -> dict[str, Any]:
        """What the card's file says. Its names are well-formed."""
        if family not in self._read:
            from registry.reader import read, read_trusted

            data = (read_trusted if self._trusted else read)(self._path(family))
            try:
                model_types(data)
                list(names_of(family, data))
            except (AttributeError, KeyError, TypeError):
                self._validated(family, None, data)  # says what is malformed, and where
                raise
            self._read[family] = data
        return self._read[family]

    def _targets_of(self, family: str) -> dict[str, Target]:  # cached as `_targets`
        """What a card's names mean, without its model types, which others may share."""
        return {fold(name): target for name, target in names_of(family, self._data(family))}

    def _all_names(self) -> dict[str, tuple[str, Target]]:
        """Every name of every card, by its folded form. Raises CardError for one that means two things."""
        names: dict[str, tuple[str, Target]] = {}
        for family in self._families:
            for name, target in names_of(family, self._data(family)):
                self._add(names, name, target)
        families: dict[str, set[str]] = {}
        for family in self._families:
            for model_type in model_types(self._data(family)):
                families.setdefault(model_type, set()).add(family)
        for model_type, having in families.items():
            if len(having) == 1:
                self._add(names, model_type, Target(*having))
        return names

    def _add(self, names: dict[str, tuple[str, Target]], name: str, target: Target) -> None:
        _, other = names.setdefault(fold(name), (name, target))
        # A family may share its name with its own model_type; two cards may share no name.
        if other != target:
            raise CardError(
                f"the name {name!r} already means {other.model or other.family} in {other.family}.yaml. "
                "Rename one of them.",
                path=str(self._path(target.family)),
            )

    def _card(self, target: Target) -> Card:  # cached as `card`
        from registry.cards import card_of, trusted

        family, key = target.family, target.model
        data = self._data(family)
        if not self._trusted:
            return self._validated(family, key, data)
        with contextlib.suppress(AttributeError, KeyError, StopIteration, TypeError, ValueError):
            return card_of(data, family=family, key=key, make=trusted)
        from registry.reader import read

        return self._validated(family, key, read(self._path(family)))

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
            raise card_error(self._path(family), error, below=below) from error
        check_placeholder(self._path(family), card.image, below=below)
        return card

    def _quantized(self, name: str, target: Target, quantization: str) -> Target:
        if target.model is None:
            raise UnknownModelError(self._choose_a_model(target.family), name=name)
        model = self._data(target.family)["models"][target.model]
        there = model.get("quantizations", {})
        if quantization.lower() not in there:
            if there:
                todo = f"Choose one of: {', '.join(there)}."
            else:
                todo = f"Convert {model['source']} with mlx_vlm.convert and load the folder."
            raise UnsupportedFeatureError(
                f"{name.partition('@')[0]} has no published {quantization!r} quantization. {todo}"
            )
        return Target(target.family, target.model, quantization.lower())

    def _models(self, family: str) -> list[str]:
        """Full names of a family's models."""
        models = self._data(family)["models"]
        return [model_name(family, key, model) for key, model in models.items()]

    def _choose_a_model(self, family: str) -> str:
        full = sorted(self._models(family), key=natural)
        return f"{family} is a family, not one model. Choose one of: {', '.join(full)}."

    def model_of(self, name: str) -> Target:
        """As `find`, for calls that need one model: a family is refused."""
        target = self.find(name)
        if target.model is None:
            raise UnknownModelError(self._choose_a_model(target.family), name=name)
        return target

    def _spellings(self) -> dict[str, str]:
        """Every name by its folded form."""
        if self._index is not None and self._fresh_index is not None:
            return self._fresh_index.spellings()
        return {key: name for key, (name, _) in self._all_names().items()}

    def _unknown(self, name: str, base: str) -> UnknownModelError:
        import difflib

        names = self._spellings()
        # Repositories share their owner, which alone must not make them alike.
        cutoff = 0.9 if "/" in base else 0.6
        close = difflib.get_close_matches(fold(base), list(names), 3, cutoff=cutoff)
        suggestions = tuple(names[key] for key in close)
        what = f"No model is called {name!r}, and a name is never resolved to one that looks like it."
        if suggestions:
            todo = f"Did you mean {either(suggestions)}?"
        elif "/" in base:
            todo = "A hub repository that no card lists is recognised by its config when it is loaded."
        else:
            todo = "`mlx-cards list` shows all names; a checkpoint folder is given by its path."
        return UnknownModelError(f"{what} {todo}", name=name, suggestions=suggestions)


@functools.cache
def packaged() -> Catalog:
    """The catalog of the cards that come with this package."""
    return Catalog(trusted=True)
