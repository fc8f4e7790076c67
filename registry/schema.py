"""Validation by pydantic, and the JSON Schema for editors: both from the classes in `registry.cards`."""

from __future__ import annotations

import functools
import json
from typing import Any

from pydantic import TypeAdapter

from registry.cards import CardFile

SCHEMA_ID = "https://json-schema.org/draft/2020-12/schema"
_ADAPTER: TypeAdapter[CardFile] = TypeAdapter(CardFile)


def validated(data: dict[str, Any]) -> CardFile:
    """A card file's data as a card.

    Raises pydantic.ValidationError; `registry.catalog` turns it into a CardError with a place.
    """
    # By way of JSON, where strict means: no text for a number and no 1 for true, but a list is a list.
    return _ADAPTER.validate_json(json.dumps(data, default=str), strict=True)


def card_schema() -> dict[str, Any]:
    """The schema as data, draft 2020-12."""
    return {"$schema": SCHEMA_ID, **_ADAPTER.json_schema()}


def card_schema_text() -> str:
    """The text of schemas/card.schema.json."""
    return json.dumps(card_schema(), indent=2, ensure_ascii=False) + "\n"


@functools.cache
def field_names() -> tuple[str, ...]:
    """Every key that some part of a card may have, for suggestions."""
    schema = card_schema()
    parts = [schema, *schema["$defs"].values()]
    return tuple(sorted({name for part in parts for name in part.get("properties", {})}))
