"""The JSON Schema: the one that is committed is the one of the code, and it describes every field."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from registry.schema import card_schema, card_schema_text, field_names
from tests.conftest import ROOT
from tests.private_cards import changed, child

FILE = ROOT / "schemas" / "card.schema.json"
SCHEMA = card_schema()


def classes() -> dict[str, Any]:
    """Every class of the schema by name; a class is a map with fields."""
    return {name: part for name, part in SCHEMA["$defs"].items() if "properties" in part}


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


def test_the_text_is_the_schema() -> None:
    assert json.loads(card_schema_text()) == SCHEMA
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("field", [*fields()])
def test_a_field_has_a_description_that_reads_as_help(field: dict[str, Any]) -> None:
    said = field["description"]
    assert said.endswith(".")
    assert said[0].isupper() or said[0] in "`{<" or ":" in said  # a value of the field, and what it does
    assert len(said.split()) >= 2


@pytest.mark.parametrize("part", [pytest.param(part, id=name) for name, part in classes().items()])
def test_a_class_has_a_description_and_takes_no_other_keys(part: dict[str, Any]) -> None:
    assert part["description"].strip()
    assert part["additionalProperties"] is False


def test_every_reference_leads_somewhere() -> None:
    references = {part["$ref"] for part in maps(SCHEMA) if isinstance(part.get("$ref"), str)}

    assert references == {f"#/$defs/{name}" for name in SCHEMA["$defs"]}


def test_a_union_is_if_and_then_so_that_what_is_wrong_is_said_of_the_member_that_was_meant() -> None:
    assert not any({"oneOf", "anyOf", "discriminator"} & set(part) for part in maps(SCHEMA))
    resize = SCHEMA["$defs"]["Image"]["properties"]["resize"]
    assert len(resize["allOf"]) == len(resize["properties"]["kind"]["enum"]) > 10
    for branch, kind in zip(resize["allOf"], resize["properties"]["kind"]["enum"], strict=True):
        member = SCHEMA["$defs"][branch["then"]["$ref"].rpartition("/")[2]]
        assert branch["if"]["properties"]["kind"] == {"const": kind}
        assert member["properties"]["kind"]["const"] == kind


def faults(text: str) -> list[str]:
    """What the schema says against a card."""
    data = json.loads(json.dumps(yaml.safe_load(text), default=str))
    return [error.message for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(data)]


def test_the_schema_is_one_of_its_draft() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_a_fault_in_a_strategy_is_said_once() -> None:
    assert faults(changed("max_aspect: 200", "max_aspect: many")) == ["'many' is not of type 'integer'"]
    assert faults(changed("patch: 14", "patch: 14, colour: red"))[0].startswith(
        "Additional properties are not"
    )
    assert faults(changed("kind: smart_resize", "kind: clever"))[0].startswith("'clever' is not one of")


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("image: {budget: {low: 64}}", None),
        ("image: {resize: {max_pixels: 1003520}}", None),
        ("models: {3b: null, 7b: {text: {layers: 28}}}", None),
        ("memory: null", None),
        ("image: {budge: {low: 64}}", "'budge' was unexpected"),
        ("image: {resize: {kind: fixed, widht: 3}}", "'widht' was unexpected"),
        ("image: {budget: {low: much}}", "'much' is not of type"),
    ],
)
def test_a_card_that_extends_another_says_only_what_differs(line: str, fault: str | None) -> None:
    found = faults(child("good", line))
    assert (fault is None and found == []) or (fault is not None and fault in found[0])


def test_a_card_that_extends_another_has_sources_of_its_own() -> None:
    assert faults(child("good").partition("sources:")[0]) == ["'sources' is a required property"]


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        ("{image: {budget: null}}", None),
        ("{prompt: {generation: x}}", None),
        ("{title: x}", "'title' was unexpected"),
        ("{prompt: {generatoin: x}}", "'generatoin' was unexpected"),
    ],
)
def test_an_override_has_the_keys_of_what_it_changes(override: str, fault: str | None) -> None:
    found = faults(changed("    context: 4096\n", f"    context: 4096\n    override: {override}\n"))
    assert (fault is None and found == []) or (fault is not None and fault in found[0])


def test_the_keys_for_suggestions_are_those_of_every_class() -> None:
    assert set(field_names()) == {name for part in classes().values() for name in part["properties"]}
