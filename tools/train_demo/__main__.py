"""Command line: `python -m tools.train_demo FOLDER`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import registry
from tools.train_demo.blas import with_fast_blas
from tools.train_demo.checkpoint import write_files
from tools.train_demo.training import STEPS, save, train

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the demo model and write its checkpoint; 1 when the folder is not new or empty."""
    parser = argparse.ArgumentParser(prog="python -m tools.train_demo", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="a new or empty folder")
    parser.add_argument(
        "--seed", type=int, default=1, help="what is drawn, and the first weights (default 1)"
    )
    parser.add_argument("--steps", type=int, default=STEPS, help=f"steps of training (default {STEPS})")
    options = parser.parse_args(arguments)
    if options.folder.exists() and (not options.folder.is_dir() or any(options.folder.iterdir())):
        print(f"{options.folder} exists and is not an empty folder. Give a new one.", file=sys.stderr)
        return 1
    with_fast_blas("tools.train_demo", list(sys.argv[1:] if arguments is None else arguments))
    options.folder.mkdir(parents=True, exist_ok=True)
    card = registry.card("demo")
    config, tokenizer = write_files(options.folder, card)
    model = train(card, options.folder, tokenizer, config, seed=options.seed, steps=options.steps)
    print(f"{options.folder}: {save(model, options.folder):,} bytes of weights")
    return 0


if __name__ == "__main__":
    sys.exit(main())
