"""Finding cards and resolving names. Exact, or refused with suggestions; never a neighbour."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loader.errors import CardError, UnknownModelError, UnsupportedFeatureError

if TYPE_CHECKING:
    from registry.cards import Card

CARDS = Path(__file__).parent / "models"


@dataclass(frozen=True, slots=True)
class Target:
    """What a name means: a family, one of its models, or one quantization of a model."""

    family: str
    model: str | None = None
    quantization: str | None = None

    def without_quantization(self) -> Target:
        """The same model: a card does not depend on the quantization."""
        return replace(self, quantization=None)


class Catalog:
    """The cards of one folder and the names they answer to.

    Only the names are read up front; a card is validated when it is asked for.
    """

    def __init__(self, folder: Path = CARDS) -> None:
        from registry.reader import read

        self._paths = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
        self._data = {family: read(path) for family, path in self._paths.items()}
        self._targets: dict[str, Target] = {}
        self._shown: dict[str, str] = {}
        self.card = functools.cache(self._card)
        for family in self._data:
            for name, target in self._names(family):
                self._add(name, target)

    def families(self) -> tuple[str, ...]:
        """Ids of all cards, in natural order."""
        return tuple(sorted(self._paths, key=natural))

    def names(self) -> tuple[str, ...]:
        """Full names of all models, in natural order."""
        from registry.cards import model_name

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
        families = [f for f, data in self._data.items() if model_type in _model_types(data)]
        return Target(families[0]) if len(families) == 1 else None

    def _card(self, target: Target) -> Card:  # cached as `card`
        from pydantic import ValidationError

        from registry.cards import Card
        from registry.reader import card_error

        path, key = self._paths[target.family], target.model
        try:
            return Card.from_data(self._data[target.family], id=target.family, key=key)
        except ValidationError as error:
            below = ("models", key, "override") if key else ()
            raise card_error(path, error, below=below) from error

    def _names(self, family: str) -> list[tuple[str, Target]]:
        try:
            return list(_names(family, self._data[family]))
        except (AttributeError, KeyError, TypeError):
            self._card(Target(family))  # malformed: validation says what and where
            raise

    def _quantized(self, name: str, target: Target, quantization: str) -> Target:
        if target.model is None:
            raise UnknownModelError(self._choose_a_model(target.family), name=name)
        there = self._data[target.family]["models"][target.model].get("quantizations", {})
        if quantization.lower() not in there:
            have = ", ".join(there) or "none"
            raise UnsupportedFeatureError(
                f"{name.partition('@')[0]} has no published {quantization!r} quantization. "
                f"Choose one of: {have}."
            )
        return Target(target.family, target.model, quantization.lower())

    def _choose_a_model(self, family: str) -> str:
        from registry.cards import model_name

        models = self._data[family]["models"]
        full = ", ".join(model_name(family, key, model) for key, model in models.items())
        return f"{family} is a family, not one model. Choose one of: {full}."

    def model_of(self, name: str) -> Target:
        """As `find`, for calls that need one model: a family with several is refused."""
        target = self.find(name)
        if target.model is None:
            raise UnknownModelError(self._choose_a_model(target.family), name=name)
        return target

    def _add(self, name: str, target: Target) -> None:
        key = fold(name)
        other = self._targets.setdefault(key, target)
        # A family may share its name with its own model_type; two cards may not share any.
        if other != target:
            raise CardError(
                f"the name {name!r} already means {other.model or other.family} in {other.family}.yaml. "
                "Rename one of them.",
                path=str(self._paths[target.family]),
            )
        self._shown.setdefault(key, name)

    def _unknown(self, name: str, base: str) -> UnknownModelError:
        close = difflib.get_close_matches(fold(base), list(self._shown), 3, cutoff=0.6)
        suggestions = tuple(self._shown[key] for key in close)
        what = f"No model is called {name!r}, and a name is never resolved to one that looks like it."
        if suggestions:
            todo = f"Did you mean {either(suggestions)}?"
        else:
            todo = "`mlx-cards list` shows all names; a checkpoint folder is given by its path."
        return UnknownModelError(f"{what} {todo}", name=name, suggestions=suggestions)


def fold(name: str) -> str:
    """The form in which names are compared."""
    return re.sub(r"[_.]", "-", name.strip().lower())


def either(names: Sequence[str]) -> str:
    """Names as a choice in a sentence: "a, b or c"."""
    return " or ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def natural(name: str) -> list[tuple[int, float, str]]:
    """Sort key under which 3b comes before 32b."""
    parts = re.split(r"(\d+(?:\.\d+)?)", name)
    return [(1, float(p), "") if p[:1].isdigit() else (0, 0.0, p) for p in parts if p]


def _model_types(data: dict[str, Any]) -> list[str]:
    return list(data.get("backend", {}).get("model_types", ()))


def _names(family: str, data: dict[str, Any]) -> Iterator[tuple[str, Target]]:
    """All names of a card with what they mean."""
    from registry.cards import model_name

    of_family = Target(family)
    for name in (family, *data.get("aliases", ()), *_model_types(data)):
        yield name, of_family
    for key, model in data.get("models", {}).items():
        target = Target(family, key)
        yield model_name(family, key, model), target
        for name in model.get("aliases", ()):
            yield name, target
        if source := model.get("source"):
            yield source, target
        for quantization, weights in model.get("quantizations", {}).items():
            yield weights["repository"], Target(family, key, quantization)


@functools.cache
def packaged() -> Catalog:
    """The catalog of the cards that come with this package."""
    return Catalog()
