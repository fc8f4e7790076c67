"""Command line: `python -m tools.bench [NAME ...] [--pairs N] [--json FILE]`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tools.bench import BENCHMARKS
from tools.bench.timing import MeasurementError, Report


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the named benchmarks, or all; 1 only if one of them had nothing to report."""
    options = _parser().parse_args(arguments)
    data: dict[str, Any] = {"machine": _machine()}
    print("  ".join(data["machine"].values()))
    for name in options.names or BENCHMARKS:
        try:
            report = BENCHMARKS[name](options.pairs)
        except MeasurementError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 1
        _print(name, report)
        data[name] = report.data
    if options.json:
        options.json.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.bench", description="Measure what the project claims about speed."
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", type=_name, help=f"of: {', '.join(BENCHMARKS)}; default: all"
    )
    parser.add_argument("--pairs", type=_count, default=7, metavar="N", help="runs of each side (default 7)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every figure to this file")
    return parser


def _name(text: str) -> str:
    # Not `choices`: argparse checks the empty list of "all of them" against it too, and refuses.
    if text not in BENCHMARKS:
        raise argparse.ArgumentTypeError(f"no benchmark is called {text!r}; use {', '.join(BENCHMARKS)}")
    return text


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 1 or more")
    return int(text)


def _machine() -> dict[str, str]:
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": f"{os.cpu_count()} cores",
        "python": f"Python {platform.python_version()}",
        "mlx": f"mlx {_version('mlx')}",
        "mlx-vlm": f"mlx-vlm {_version('mlx-vlm')}",
        "pillow": f"Pillow {_version('pillow')}",
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _print(name: str, report: Report) -> None:
    print(f"\n{name}: {report.title}")
    widths = [max(len(row[i]) for row in report.rows) for i in range(len(report.rows[0]))]
    for label, *cells in report.rows:
        print(
            "  ".join([label.ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells, widths[1:], strict=True))])
        )
    print(report.conclusion)


if __name__ == "__main__":
    sys.exit(main())
