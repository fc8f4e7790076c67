"""The files that are made, each with what makes it; one can be written, or compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from registry.schema import card_schema_text
from tools.generate import findings, fits, models
from tools.measure import record
from tools.measure import table as measured

ROOT = Path(__file__).parents[2]
FILES: Mapping[str, Callable[[], str]] = {
    "schemas/card.schema.json": card_schema_text,
    "schemas/measurement.schema.json": record.schema_text,
    "docs/findings.md": findings.page,
    "docs/fits.md": fits.page,
    "docs/memory.md": measured.page,
    "docs/models.md": models.page,
}
"""By the path in the repository. Of docs/memory.md only the table is made."""


def is_current(name: str, root: Path = ROOT) -> bool:
    """Whether the file is there, and as it would be made now."""
    file = root / name
    return file.is_file() and file.read_text(encoding="utf-8") == FILES[name]()


def write(name: str, root: Path = ROOT) -> bool:
    """Make the file anew. Whether that changed anything."""
    if is_current(name, root):
        return False
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(FILES[name](), encoding="utf-8")
    return True
