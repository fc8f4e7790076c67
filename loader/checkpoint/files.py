"""Reading JSON of a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from loader.errors import CheckpointError


def json_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} is not valid JSON: {error}. Repair it, or get the file again."
        ) from error
    if not isinstance(value, dict):
        raise CheckpointError(
            f"{path} holds a JSON {type(value).__name__} where an object is expected. "
            "Repair it, or get the file again."
        )
    return value
