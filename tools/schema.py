"""Write schemas/card.schema.json from the card model, or check that it is up to date.

python -m tools.schema [--check]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from registry.schema import card_schema_text

SCHEMA = Path(__file__).parents[1] / "schemas" / "card.schema.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the schema; with --check write nothing and return 1 if the file differs."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.schema", description="Write schemas/card.schema.json from the card model."
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the file differs")
    check = parser.parse_args(arguments).check
    text = card_schema_text()
    if check:
        if SCHEMA.is_file() and SCHEMA.read_text(encoding="utf-8") == text:
            return 0
        print("schemas/card.schema.json differs from the card model. Run: make schema", file=sys.stderr)
        return 1
    SCHEMA.parent.mkdir(exist_ok=True)
    SCHEMA.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
