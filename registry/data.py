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
    return _builder(kind)(value)


_PLAIN = frozenset({str, int, bool})


@functools.cache
def _builder(kind: Any) -> Callable[[Any], Any]:
    """What makes a value of one kind: an annotation is taken apart once, however many values it has."""
    if is_dataclass(kind):
        return functools.partial(_record, kind)
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return _builder(parts[0])
    if origin in (typing.Union, types.UnionType):
        return functools.partial(_member, tuple(part for part in parts if part is not types.NoneType))
    if origin is tuple:
        return functools.partial(_entries, _builder(parts[0]))
    if origin is dict:
        return functools.partial(_values, _builder(parts[1]))
    return functools.partial(_plain, kind) if kind in _PLAIN else _as_it_is


def build_fields(kind: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Some fields of a class of a card, built as `build` does."""
    builders = _builders(kind)
    return {key: builders[key](value) for key, value in values.items()}


def _record(kind: Any, value: Any) -> Any:
    return kind(**build_fields(kind, value))


@functools.cache
def _builders(kind: Any) -> dict[str, Callable[[Any], Any]]:
    return {name: _builder(field) for name, field in _fields(kind).items()}


def _entries(build_one: Callable[[Any], Any], value: Any) -> Any:
    return tuple([build_one(below) for below in value])


def _values(build_one: Callable[[Any], Any], value: Any) -> Any:
    return {key: build_one(below) for key, below in value.items()}


def _plain(kind: type, value: Any) -> Any:
    # What YAML reads otherwise than its author meant: [INST] is a list, {n} a map, yes a boolean.
    if type(value) is not kind:
        raise TypeError(f"{value!r} is not of the type {kind.__name__}")
    return value


def _as_it_is(value: Any) -> Any:
    return value


def _member(members: tuple[Any, ...], value: Any) -> Any:
    """By the member of a union that `value` is: the only one besides None, or the one of its `kind`."""
    if value is None:
        return None
    if len(members) == 1:
        return _builder(members[0])(value)
    return _builder(next(m for m in members if _fields(m)["kind"] == Literal[value["kind"]]))(value)


@functools.cache
def _fields(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)
