"""The golden rows: what upstream's own templates and processors made of a spread of inputs."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import yaml

GOLDEN = Path(__file__).parent / "golden"


@functools.cache
def golden(family: str) -> dict[str, Any]:
    """The golden file of one family."""
    text = (GOLDEN / f"{family}.yaml").read_text(encoding="utf-8")
    data: dict[str, Any] = yaml.load(text, Loader=yaml.CSafeLoader)  # the safe loader, in C
    return data


def rows(kind: str) -> list[tuple[str, dict[str, Any]]]:
    """All rows of a kind ("prompts" or "images") as (family, row)."""
    return [(path.stem, row) for path in sorted(GOLDEN.glob("*.yaml")) for row in golden(path.stem)[kind]]
