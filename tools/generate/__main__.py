"""Command line: `python -m tools.generate [--check]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tools.generate.files import FILES, is_current, write


def main(arguments: Sequence[str] | None = None) -> int:
    """Write every generated file; with --check write nothing and return 1 if one differs."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.generate", description="Write every file that is made from others."
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file differs")
    if not parser.parse_args(arguments).check:
        for name in FILES:
            if write(name):
                print(f"{name} is new")
        return 0
    differing = [name for name in FILES if not is_current(name)]
    for name in differing:
        print(f"{name} is not what it is made from. Run: make generated", file=sys.stderr)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
