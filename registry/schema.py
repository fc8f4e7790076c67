"""The JSON Schema of a card, for editors: generated from `registry.cards`, never written by hand."""

from __future__ import annotations

import functools
import json
from typing import Any

SCHEMA_ID = "https://json-schema.org/draft/2020-12/schema"


def card_schema() -> dict[str, Any]:
    """The schema as data, draft 2020-12."""
    from registry.cards import Card

    return {"$schema": SCHEMA_ID, **Card.model_json_schema()}


def card_schema_text() -> str:
    """The text of schemas/card.schema.json."""
    return json.dumps(card_schema(), indent=2, ensure_ascii=False) + "\n"


@functools.cache
def field_names() -> tuple[str, ...]:
    """Every key that some part of a card may have, for suggestions."""
    schema = card_schema()
    parts = [schema, *schema["$defs"].values()]
    return tuple(sorted({name for part in parts for name in part.get("properties", {})}))
