"""Finding cards and resolving names. Exact, or refused with suggestions; never a neighbour."""

from __future__ import annotations

import contextlib
import difflib
import functools
from pathlib import Path
from typing import TYPE_CHECKING

from loader.errors import CardError, UnknownModelError, UnsupportedFeatureError
from registry.naming import Target, either, fold, model_name, model_types, names_of, natural

if TYPE_CHECKING:
    from registry.cards import Card

CARDS = Path(__file__).parent / "models"


class Catalog:
    """The cards of one folder and the names they answer to.

    Only the names are read up front; a card is validated when it is asked for. The cards of this
    package are validated by its tests instead (`trusted`).
    """

    def __init__(self, folder: Path = CARDS, *, trusted: bool = False) -> None:
        from registry.reader import read

        self._trusted = trusted
        self._paths = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
        self._data = {family: read(path) for family, path in self._paths.items()}
        self._targets: dict[str, Target] = {}
        self._shown: dict[str, str] = {}
        self.card = functools.cache(self._card)
        for family in self._data:
            for name, target in self._names(family):
                self._add(name, target)
        for model_type in dict.fromkeys(t for data in self._data.values() for t in model_types(data)):
            if (only := self.find_model_type(model_type)) is not None:
                self._add(model_type, only)

    def families(self) -> tuple[str, ...]:
        """Ids of all cards, in natural order."""
        return tuple(sorted(self._paths, key=natural))

    def names(self) -> tuple[str, ...]:
        """Full names of all models, in natural order."""
        full = [
            model_name(family, key, model)
            for family, data in self._data.items()
            for key, model in data["models"].items()
        ]
        return tuple(sorted(full, key=natural))

    def find(self, name: str) -> Target:
        """What `name` means. Case and the characters `_.-` are folded, nothing else.

        Raises UnknownModelError with up to three suggestions, UnsupportedFeatureError when the
        model exists but not in the quantization that the name asks for.
        """
        base, at, quantization = name.strip().partition("@")
        target = self._targets.get(fold(base))
        if target is None:
            raise self._unknown(name, base)
        if not at:
            return target
        return self._quantized(name, target, quantization)

    def find_model_type(self, model_type: str) -> Target | None:
        """The family whose checkpoints have this `model_type`, None if no single one has."""
        families = [f for f, data in self._data.items() if model_type in model_types(data)]
        return Target(families[0]) if len(families) == 1 else None

    def _card(self, target: Target) -> Card:  # cached as `card`
        from registry.cards import card_of, trusted

        family, key = target.family, target.model
        if self._trusted:
            with contextlib.suppress(AttributeError, KeyError, StopIteration, TypeError, ValueError):
                return card_of(self._data[family], family=family, key=key, make=trusted)
        return self._validated(family, key)

    def _validated(self, family: str, key: str | None) -> Card:
        from pydantic import ValidationError

        from registry.cards import card_of
        from registry.reader import card_error
        from registry.schema import validated

        if key is not None:
            self._validated(family, None)  # a fault of the family is found at its own place
        try:
            return card_of(self._data[family], family=family, key=key, make=validated)
        except ValidationError as error:
            below = ("models", key, "override") if key else ()
            raise card_error(self._paths[family], error, below=below) from error

    def _names(self, family: str) -> list[tuple[str, Target]]:
        try:
            model_types(self._data[family])
            return list(names_of(family, self._data[family]))
        except (AttributeError, KeyError, TypeError):
            self._validated(family, None)  # malformed: validation says what and where
            raise

    def _quantized(self, name: str, target: Target, quantization: str) -> Target:
        if target.model is None:
            raise UnknownModelError(self._choose_a_model(target.family), name=name)
        model = self._data[target.family]["models"][target.model]
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

    def _choose_a_model(self, family: str) -> str:
        models = self._data[family]["models"]
        full = sorted((model_name(family, key, model) for key, model in models.items()), key=natural)
        return f"{family} is a family, not one model. Choose one of: {', '.join(full)}."

    def model_of(self, name: str) -> Target:
        """As `find`, for calls that need one model: a family is refused."""
        target = self.find(name)
        if target.model is None:
            raise UnknownModelError(self._choose_a_model(target.family), name=name)
        return target

    def _add(self, name: str, target: Target) -> None:
        key = fold(name)
        other = self._targets.setdefault(key, target)
        # A family may share its name with its own model_type; two cards may share no name.
        if other != target:
            raise CardError(
                f"the name {name!r} already means {other.model or other.family} in {other.family}.yaml. "
                "Rename one of them.",
                path=str(self._paths[target.family]),
            )
        self._shown.setdefault(key, name)

    def _unknown(self, name: str, base: str) -> UnknownModelError:
        # Repositories share their owner, which alone must not make them alike.
        cutoff = 0.9 if "/" in base else 0.6
        close = difflib.get_close_matches(fold(base), list(self._shown), 3, cutoff=cutoff)
        suggestions = tuple(self._shown[key] for key in close)
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
