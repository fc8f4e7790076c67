"""What the project claims about speed, measured: `python -m tools.bench [NAME ...] [--json FILE]`.

A benchmark takes the number of pairs to measure and returns a Report. It never fails because it was
slow: it prints what it measured beside what the project aims at. It does fail when the two sides did
not compute the same thing, because then there is nothing to compare.
"""

from __future__ import annotations

from collections.abc import Callable

from tools.bench import cold_start, images, names, overhead, prompts
from tools.bench.timing import Report

__all__ = ["BENCHMARKS"]

BENCHMARKS: dict[str, Callable[[int], Report]] = {
    "cold-start": cold_start.run,
    "prompts": prompts.run,
    "images": images.run,
    "names": names.run,
    "overhead": overhead.run,
}
"""Benchmarks by the name on the command line. Their modules import light things only (see timing)."""
