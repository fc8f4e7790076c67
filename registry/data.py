"""The ground that a card's classes stand on: frozen records, the rules for their fields, their making.

The classes are plain dataclasses, so that asking for a card does not import pydantic, which costs as
much time as everything else together. Pydantic reads the same classes where data is not trusted yet
(registry.schema): unknown keys are refused, types are strict, the rules below are its constraints.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from typing import Annotated, Any, Literal, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def record(cls: type[T]) -> type[T]:
    """A class of a card: frozen, by keyword only; the text below a field is its description."""
    cls.__pydantic_config__ = {"extra": "forbid", "use_attribute_docstrings": True}  # type: ignore[attr-defined]
    return dataclass(frozen=True, slots=True, kw_only=True)(cls)


class Rule:
    """A constraint on a field, in the words of pydantic's core schema: ge, min_length, pattern."""

    def __init__(self, **constraints: object) -> None:
        self.constraints = constraints

    def __get_pydantic_core_schema__(self, source: object, handler: Callable[[object], Any]) -> Any:
        return {**handler(source), **self.constraints}


class ByKind:
    """Marks a union whose members are told apart by their `kind`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic import Discriminator

        return Discriminator("kind").__get_pydantic_core_schema__(source, handler)


Positive = Annotated[int, Rule(ge=1)]
"""A whole number from 1."""
Count = Annotated[int, Rule(ge=0)]
"""A whole number from 0."""


def build(kind: Any, value: Any) -> Any:
    """`value`, plain data that is known to be valid, as the `kind` that a field is annotated with.

    Raises AttributeError, KeyError, StopIteration or TypeError for data that is not valid after all.
    """
    if is_dataclass(kind):
        made: Any = kind
        fields = _fields(made)
        return made(**{key: build(fields[key], below) for key, below in value.items()})
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return build(parts[0], value)
    if origin in (typing.Union, types.UnionType):
        return None if value is None else build(_member(parts, value), value)
    if origin is tuple:
        return tuple([build(parts[0], below) for below in value])
    if origin is dict:
        return {key: build(parts[1], below) for key, below in value.items()}
    # What YAML reads otherwise than its author meant: [INST] is a list, {n} a map, yes a boolean.
    if kind in _PLAIN and type(value) is not kind:
        raise TypeError(f"{value!r} is not of the type {kind.__name__}")
    return value


_PLAIN = frozenset({str, int, bool})


@functools.cache
def _fields(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


def _member(members: tuple[Any, ...], value: Any) -> Any:
    """The member of a union that `value` is: the only one besides None, or the one of its `kind`."""
    members = tuple(member for member in members if member is not types.NoneType)
    if len(members) == 1:
        return members[0]
    return next(m for m in members if _fields(m)["kind"] == Literal[value["kind"]])
