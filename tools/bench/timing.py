"""Two programs measured in turn, each time in a new process."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Finished", "MeasurementError", "Report", "compare", "measure"]

# ru_maxrss counts bytes on macOS and kilobytes on Linux.
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


class MeasurementError(Exception):
    """There is nothing to report: a program failed, or the two computed different things."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A process that has ended."""

    seconds: float
    """From its start to its end, on a wall clock."""
    peak_memory: int
    """Bytes, the most that was resident at once."""
    output: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a benchmark says: a table for people and the same as data."""

    title: str
    rows: tuple[tuple[str, ...], ...]
    """The first row is the heading."""
    conclusion: str
    data: dict[str, Any]


def measure(command: Sequence[str], environment: Mapping[str, str]) -> Finished:
    """Run `command` to its end. Raises MeasurementError, with what it wrote, if it fails.

    Linux counts the memory of the process that starts another one towards the new one's peak, so
    whoever calls this must be smaller than what it measures: benchmarks import nothing heavy.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        start = time.perf_counter()
        with subprocess.Popen(
            command, env=dict(environment), stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process:
            assert process.stdout is not None  # noqa: S101  # a pipe was asked for
            output = process.stdout.read()
            # Of this child alone; getrusage(RUSAGE_CHILDREN) would give the largest child so far.
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - start
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            errors.seek(0)
            raise MeasurementError(f"A measured program failed:\n{errors.read().strip()}")
    return Finished(seconds, usage.ru_maxrss * _RSS_UNIT, output)


def compare(
    title: str, names: tuple[str, str], pairs: Sequence[tuple[Finished, Finished]], *, aim: float
) -> Report:
    """The report about `pairs` of (ours, theirs); `aim`: how many times faster ours should be.

    The ratio is taken within each pair, so that a machine that slows down meets both sides.
    """
    rows = [("", "median", "min", "max", "peak memory")]
    data: dict[str, Any] = {"pairs": len(pairs), "aim": aim}
    for name, runs in zip(names, zip(*pairs, strict=True), strict=True):
        seconds = [run.seconds for run in runs]
        peak = max(run.peak_memory for run in runs)
        middle, least, most = statistics.median(seconds), min(seconds), max(seconds)
        rows.append((name, f"{middle:.3f} s", f"{least:.3f} s", f"{most:.3f} s", f"{peak / 1e6:,.0f} MB"))
        data[name] = {"median": middle, "min": least, "max": most, "seconds": seconds, "peak_memory": peak}
    ratios = [theirs.seconds / ours.seconds for ours, theirs in pairs]
    data["ratio"] = {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}
    times = f"{data['ratio']['median']:.1f} times faster"
    conclusion = (
        f"{names[0]} is {times} (median of the pairs; range {min(ratios):.1f} to {max(ratios):.1f}); "
        f"the aim is at least {aim:g} times faster"
    )
    return Report(title, tuple(rows), conclusion, data)
