"""The JSON Schema: the one that is committed is the one of the code, and it describes every field."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from registry.schema import card_schema, card_schema_text, field_names
from tests.conftest import ROOT

FILE = ROOT / "schemas" / "card.schema.json"
SCHEMA = card_schema()


def classes() -> dict[str, Any]:
    """Every class of the schema by name; a class is a map with fields."""
    return {"Card": SCHEMA} | {name: part for name, part in SCHEMA["$defs"].items() if "properties" in part}


def fields() -> Iterator[Any]:
    """Every field of every class, as a test parameter."""
    for name, part in classes().items():
        for field, says in part["properties"].items():
            yield pytest.param(says, id=f"{name}.{field}")


def maps(part: Any) -> Iterator[dict[str, Any]]:
    """Every map in the schema, however deep."""
    if isinstance(part, dict):
        yield part
    for below in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from maps(below)


def test_the_committed_schema_is_the_one_of_the_code() -> None:
    there = FILE.read_text(encoding="utf-8") if FILE.is_file() else None

    assert there == card_schema_text(), (
        "schemas/card.schema.json is not what registry/cards.py says. Run: python -m tools.schema"
    )


def test_the_text_is_the_schema() -> None:
    assert json.loads(card_schema_text()) == SCHEMA
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("field", [*fields()])
def test_a_field_has_a_description(field: dict[str, Any]) -> None:
    of_class = SCHEMA["$defs"].get(field.get("$ref", "").removeprefix("#/$defs/"), {})

    # pydantic leaves out a description that says what that of the class says.
    assert (field.get("description") or of_class.get("description", "")).endswith(".")


@pytest.mark.parametrize("part", [pytest.param(part, id=name) for name, part in classes().items()])
def test_a_class_has_a_description_and_takes_no_other_keys(part: dict[str, Any]) -> None:
    assert part["description"].strip()
    assert part["additionalProperties"] is False


def test_every_reference_leads_somewhere() -> None:
    references = {part["$ref"] for part in maps(SCHEMA) if isinstance(part.get("$ref"), str)}

    assert references == {f"#/$defs/{name}" for name in SCHEMA["$defs"]}


def test_the_resize_strategies_are_told_apart_by_their_kind() -> None:
    resize = SCHEMA["$defs"]["Image"]["properties"]["resize"]

    assert resize["discriminator"]["propertyName"] == "kind"
    assert len(resize["oneOf"]) == len(resize["discriminator"]["mapping"])


def test_the_keys_for_suggestions_are_those_of_every_class() -> None:
    assert set(field_names()) == {name for part in classes().values() for name in part["properties"]}
