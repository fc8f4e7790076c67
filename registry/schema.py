"""Validation by pydantic, and the JSON Schema for editors: both from the classes in `registry.cards`."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from registry.cards import CardFile

SCHEMA_ID = "https://json-schema.org/draft/2020-12/schema"
_ADAPTER: TypeAdapter[CardFile] = TypeAdapter(CardFile)
_PART = "Part"
"""After the name of a class: the same without required keys, for what is laid over a whole one."""
_OVERRIDDEN = ("prompt", "template", "image", "backend", "memory")
_NEEDED = ("schema_version", "sources")
"""What a card states itself though it extends another one."""


def validated(data: dict[str, Any]) -> CardFile:
    """A card file's data as a card.

    Raises pydantic.ValidationError; `registry.catalog` turns it into a CardError with a place.
    """
    # By way of JSON, where strict means: no text for a number and no 1 for true, but a list is a list.
    return _ADAPTER.validate_json(json.dumps(data, default=str), strict=True)


@functools.cache
def _made() -> str:
    made = _plain(_ADAPTER.json_schema())
    classes: dict[str, Any] = made.pop("$defs")
    _describe(made, classes)
    for part in classes.values():
        _describe(part, classes)
    classes["Card"] = made
    overrides = {name: _part(made["properties"][name]) for name in _OVERRIDDEN}
    overrides = {"additionalProperties": False, "properties": overrides, "type": "object"}
    model = classes["Model"]["properties"]
    model["override"] = overrides | {"description": model["override"]["description"]}
    parts = {f"{name}{_PART}": _part_of_class(part) for name, part in classes.items()}
    parts[f"Card{_PART}"] |= {"required": list(_NEEDED)}
    parts[f"Card{_PART}"]["properties"]["sources"] = made["properties"]["sources"]
    schema = {
        "$schema": SCHEMA_ID,
        "title": "A card of mlx-cards",
        "description": made["description"],
        "type": "object",
        "if": {"required": ["extends"]},
        "then": {"$ref": f"#/$defs/Card{_PART}"},
        "else": {"$ref": "#/$defs/Card"},
        "$defs": _used({**classes, **parts}),
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def card_schema() -> dict[str, Any]:
    """The schema as data, draft 2020-12.

    A card that extends another one states only what differs: below `if` its parts have no required keys.
    """
    schema: dict[str, Any] = json.loads(_made())
    return schema


def schema_named_by(card: Path) -> str:
    """How a card's first line names the schema: in a clone as all do, elsewhere as a file beside the card."""
    of_clone = "../../schemas/card.schema.json"
    return of_clone if (card.parent / of_clone).exists() else "card.schema.json"


def card_schema_text() -> str:
    """The text of schemas/card.schema.json."""
    return _made()


def _each(node: dict[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """A schema with a change made to each schema right in it."""
    out: dict[str, Any] = {}
    for key, value in node.items():
        if key in {"properties", "$defs"}:
            out[key] = {name: change(part) for name, part in value.items()}
        elif key in {"items", "additionalProperties", "then"} and isinstance(value, dict):
            out[key] = change(value)
        elif key in {"allOf", "anyOf", "oneOf", "prefixItems"}:
            out[key] = [change(part) for part in value]
        else:
            out[key] = value
    return out


def _plain(node: dict[str, Any]) -> dict[str, Any]:
    """Unions as if and then: what is wrong is said of the member that was meant, not of the union.

    A member of a tagged union is told by its tag, an optional value by being null or not.
    """
    node = _each(node, _plain)
    node.pop("title", None)  # pydantic makes it of the key, above which an editor shows it once more
    if tagged := node.pop("discriminator", None):
        del node["oneOf"]
        tag, members = tagged["propertyName"], sorted(tagged["mapping"].items())
        cases = [
            {"if": {"required": [tag], "properties": {tag: {"const": name}}}, "then": {"$ref": member}}
            for name, member in members
        ]
        kinds = {"description": "The strategy.", "enum": [name for name, _ in members], "type": "string"}
        node |= {"type": "object", "required": [tag], "properties": {tag: kinds}, "allOf": cases}
    members = node.get("anyOf", [])
    if len(members) == 2 and members[1] == {"type": "null"}:
        del node["anyOf"]
        (value, _) = members
        if "$ref" in value:
            node |= {"if": {"not": {"type": "null"}}, "then": value}
        else:
            node |= value | {"type": [value["type"], "null"]}
            if "const" in value or "enum" in value:
                node["enum"] = [*node.pop("enum", [node.pop("const", None)]), None]
    if node.get("default", ...) is None:
        del node["default"]  # what is absent is not null to whom it is shown
    return node


def _describe(part: dict[str, Any], classes: dict[str, Any]) -> None:
    """pydantic leaves out a field's description where it is that of the class."""
    for field in part.get("properties", {}).values():
        if "$ref" in field and "description" not in field:
            field["description"] = classes[field["$ref"].rpartition("/")[2]]["description"]


def _part(node: Any) -> Any:
    """A schema for what is laid over something that the schema describes: nothing is required, and null
    takes an entry of a map away.
    """
    if not isinstance(node, dict):
        return node
    node = _each(node, _part)
    node.pop("required", None)
    node.pop("default", None)
    if "$ref" in node:
        node["$ref"] = node["$ref"].removesuffix(_PART) + _PART
    below = node.get("additionalProperties")
    if isinstance(below, dict) and "$ref" in below:
        node["additionalProperties"] = {"if": {"not": {"type": "null"}}, "then": below}
    return node


def _part_of_class(part: dict[str, Any]) -> dict[str, Any]:
    if "properties" not in part:
        return part
    out: dict[str, Any] = _part(part)
    for name, field in out["properties"].items():
        if name in part.get("required", []) or "default" in part["properties"][name]:
            out["properties"][name] = _or_null(field)
    return out


def _or_null(field: dict[str, Any]) -> dict[str, Any]:
    if "type" in field and isinstance(field["type"], str) and "const" not in field and "enum" not in field:
        return field | {"type": [field["type"], "null"]}
    return field


def _used(classes: dict[str, Any]) -> dict[str, Any]:
    """The classes that something refers to."""
    names = {"Card", f"Card{_PART}"}
    todo = list(names)
    while todo:
        text = json.dumps(classes[todo.pop()])
        found = {piece.partition('"')[0] for piece in text.split("#/$defs/")[1:]} - names
        names |= found
        todo += found
    return {name: classes[name] for name in sorted(names)}


@functools.cache
def field_names() -> tuple[str, ...]:
    """Every key that some part of a card may have, for suggestions."""
    schema = card_schema()
    return tuple(sorted({name for part in schema["$defs"].values() for name in part.get("properties", {})}))
