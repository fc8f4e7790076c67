"""Command line: `python -m tools.measure [MODEL ...]`, `--check [FOLDER]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from tools.generate.files import write as write_page
from tools.measure.cases import cases, sizes
from tools.measure.record import MEASUREMENTS, file_of, read_all, write
from tools.measure.run import QUANTIZATION, SECONDS, Products, RunError, machine, measure


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is asked; 1 where a run or a check fails."""
    given = _parser().parse_args(arguments)
    if unknown := [name for name in given.models if name not in cases()]:
        return _reported([f"No case is called {', '.join(unknown)}. There are: {', '.join(cases())}."])
    if given.check is not None:
        return _check(given.check)
    complete = _measure(given)
    written = _table() if given.folder == MEASUREMENTS else 0
    return written if complete else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.measure",
        description="Measure what is not measured yet, and write the table of docs/memory.md.",
    )
    parser.add_argument(
        "models", nargs="*", metavar="MODEL", help="of tools/measure/cases.yaml; default: all"
    )
    parser.add_argument("--images", help='sizes, "640x480 1600x1200", instead of the case\'s three')
    parser.add_argument(
        "--products",
        choices=get_args(Products),
        default="computed",
        help="skipped: matrix products pause, which saves hours on a small machine (Linux x86_64)",
    )
    parser.add_argument("--seconds", type=int, default=SECONDS, help="time limit of one run")
    parser.add_argument("--folder", type=Path, default=MEASUREMENTS, help="where the measurements are")
    parser.add_argument(
        "--check", nargs="?", type=Path, const=MEASUREMENTS, metavar="FOLDER", help="validate measurements"
    )
    return parser


def _measure(given: argparse.Namespace) -> bool:
    """Run what has no file yet. Whether all runs gave figures."""
    complete, chip = True, machine().chip
    for model in given.models or cases():
        case = cases()[model]
        how = {"products": given.products, "quantization": QUANTIZATION}
        for images in [given.images] if given.images else case.images:
            if file_of(given.folder, chip, model, sizes(images), **how).exists():
                continue
            try:
                run = measure(model, case, images, given.products, given.seconds)
            except RunError as error:
                print(f"{model}, {images}: {error}", file=sys.stderr, flush=True)
                complete = False
                continue
            print(f"{write(run, given.folder)}: {run.seconds} s", flush=True)
    return complete


def _table() -> int:
    write_page("docs/memory.md")
    return _reported(read_all(MEASUREMENTS)[1])


def _check(folder: Path) -> int:
    if not folder.is_dir():
        return _reported([f"{folder} is not a folder. Name the one that has a folder for each chip."])
    runs, faults = read_all(folder)
    if not faults:
        print(f"{len(runs)} measurements are valid")
    return _reported(faults)


def _reported(faults: Sequence[str]) -> int:
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
