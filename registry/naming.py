"""Names: how they are compared, sorted and spelled out, and what those in a card's data mean.

Works on data that is not validated yet, so that resolving a name costs no validation.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

FAMILY = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""The id of a family: the stem of its file."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a name means: a family, one of its models, or one quantization of a model."""

    family: str
    model: str | None = None
    quantization: str | None = None

    def without_quantization(self) -> Target:
        """The same model: a card does not depend on the quantization."""
        return replace(self, quantization=None)


def fold(name: str) -> str:
    """The form in which names are compared."""
    return name.strip().lower().replace("_", "-").replace(".", "-")


def either(names: Sequence[str]) -> str:
    """Names as a choice in a sentence: "a, b or c"."""
    return " or ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def natural(name: str) -> list[tuple[int, float, str]]:
    """Sort key under which 3b comes before 32b."""
    parts = re.split(r"(\d+(?:\.\d+)?)", name)
    return [(1, float(p), "") if p[:1].isdigit() else (0, 0.0, p) for p in parts if p]


def model_types(data: dict[str, Any], written: Collection[str] | None = None) -> list[str]:
    """The model types that mean this card's family; `written` as in `names_of`."""
    types = _texts(data["backend"]["model_types"])
    return [t for t in types if (written is None or t in written) and not data["backend"].get("named_only")]


def _texts(values: Any) -> list[str]:
    """A list of strings from a card that is not validated yet; TypeError if it is anything else."""
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError(values)
    return values


def names_of(
    family: str, data: dict[str, Any], written: Collection[str] | None = None
) -> Iterator[tuple[str, Target]]:
    """All names of a card with what they mean; its model types, which cards may share, come later.

    `written`: the texts of a card that extends another one (`registry.extends.written`). The names of the
    base that are not among them stay the base's.
    """
    for name, target in _names(family, data):
        model = None if target.model is None else data["models"][target.model]
        full = family if model is None else model_name(family, str(target.model), model)
        if written is None or name in written or name == full:
            yield name, target


def _names(family: str, data: dict[str, Any]) -> Iterator[tuple[str, Target]]:
    of_family = Target(family)
    for name in (family, *_texts(data.get("aliases", [])), *_texts(data.get("former_names", []))):
        yield name, of_family
    for key, model in data["models"].items():
        target = Target(family, key)
        yield model_name(family, key, model), target
        quantizations = model.get("quantizations", {})
        others = [*_texts(model.get("aliases", [])), *_texts(model.get("former_names", []))]
        for name in (*others, *_public(model, "source", quantizations.values())):
            yield name, target
        for quantization, weights in quantizations.items():
            for name in _public(weights, "repository", [weights]):
                yield name, Target(family, key, quantization)


def _public(data: dict[str, Any], key: str, checkpoints: Collection[dict[str, Any]]) -> list[str]:
    """The repository that a card names by that key; what comes with the package is in none."""
    if key not in data and checkpoints and all("folder" in weights for weights in checkpoints):
        return []
    return _texts([data[key]])


def model_name(family: str, key: str, data: dict[str, Any]) -> str:
    """The full name of the model with that `data`: its own, or the family's id and its key."""
    return str(data.get("name") or f"{family}-{key}")
