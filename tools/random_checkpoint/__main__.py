"""Command line: `python -m tools.random_checkpoint NAME FOLDER`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from tools.random_checkpoint import build, names
from tools.random_checkpoint.weights import DType


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.random_checkpoint",
        description="Write a small random-weight checkpoint that mlx_vlm.load accepts.",
    )
    parser.add_argument("name", choices=names(), help="which family to build")
    parser.add_argument("folder", type=Path, help="a new or empty folder")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes (default 0)")
    parser.add_argument("--dtype", choices=get_args(DType), default="float32")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Build one checkpoint and print its folder; 1 when the request cannot be met."""
    options = _parser().parse_args(arguments)
    try:
        folder = build(options.name, options.folder, seed=options.seed, dtype=options.dtype)
    except (FileExistsError, ModuleNotFoundError) as error:
        print(error, file=sys.stderr)
        return 1
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
