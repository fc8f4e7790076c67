"""A name among 10,000 cards: a new process finds what an alias means, or also makes the card of it.

The cards are copies of the package's, each name of theirs with a number. They and the index of their names
are made before anything is measured: this is the cold start of a process, not the first use after an install.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.bench.timing import Finished, MeasurementError, Report, measure

__all__ = ["copies", "run"]

ROOT = Path(__file__).parents[2]
CARDS = 10_000
AIM = 0.1
"""Seconds from the start of the process to its end."""
FAMILY, ALIAS = "qwen2.5-vl", "Qwen2.5-VL-7B-Instruct"
_FIND = """
import sys
from pathlib import Path
from registry.catalog import Catalog
catalog = Catalog(Path(sys.argv[1]), trusted=True)
target = catalog.find(sys.argv[2])
print(target.family, target.model)
"""
SIDES = {"alias to model": _FIND, "alias to card": f"{_FIND}catalog.card(target)", "python alone": ""}


def run(pairs: int) -> Report:
    """Measure `pairs` times a process of each kind, in turn."""
    with tempfile.TemporaryDirectory(prefix="mlx-cards-bench-") as scratch:
        folder = Path(scratch) / "cards"
        folder.mkdir()
        made = "from tools.bench.names import copies; import sys; print(copies(*sys.argv[1:]))"
        environment = os.environ | {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(Path(scratch) / "cache")}
        name = measure([sys.executable, "-c", made, str(folder), str(CARDS)], environment).output.strip()

        def measured(code: str) -> Finished:
            return measure([sys.executable, "-c", code, str(folder), name], environment)

        first = measured(_FIND)
        runs = [{side: measured(code) for side, code in SIDES.items()} for _ in range(pairs)]
    if {done.output for each in runs for done in each.values()} != {first.output, ""}:
        raise MeasurementError("The same name did not mean the same model every time.")
    return _report(first, runs)


def _report(first: Finished, runs: list[dict[str, Finished]]) -> Report:
    rows: list[tuple[str, ...]] = [("", "median", "min", "max")]
    data: dict[str, Any] = {"cards": CARDS, "aim": AIM, "first": first.seconds}
    for side in SIDES:
        seconds = [each[side].seconds for each in runs]
        middle, least, most = statistics.median(seconds), min(seconds), max(seconds)
        rows.append((side, *(f"{value * 1000:.0f} ms" for value in (middle, least, most))))
        data[side] = {"median": middle, "min": least, "max": most, "seconds": seconds}
    resolved = data["alias to model"]["median"] * 1000
    conclusion = (
        f"an alias is resolved in {resolved:.0f} ms from the start of the process to its end; "
        f"the aim is at most {AIM * 1000:.0f} ms\n"
        f"the first process of all made the index, in {first.seconds:.1f} s"
    )
    return Report(f"a name among {CARDS:,} cards, in a new process", tuple(rows), conclusion, data)


def copies(folder: str, count: str) -> str:
    """Fill a folder with cards whose names all differ; an alias of the last copy of a family."""
    import yaml

    from registry.catalog import CARDS as PACKAGED

    loader, dumper = (
        getattr(yaml, f"CSafe{kind}", getattr(yaml, f"Safe{kind}")) for kind in ("Loader", "Dumper")
    )
    sources = [
        (path.stem, yaml.load(path.read_text(encoding="utf-8"), Loader=loader))  # noqa: S506  # the safe loader
        for path in sorted(PACKAGED.glob("*.yaml"))
    ]
    alias = ""
    for number in range(int(count)):
        family, data = sources[number % len(sources)]
        text = yaml.dump(dict(_numbered(data, number)), Dumper=dumper, sort_keys=False, allow_unicode=True)
        (Path(folder) / f"{family}-{number}.yaml").write_text(text, encoding="utf-8")
        alias = f"{ALIAS}-{number}" if family == FAMILY else alias
    return alias


def _numbered(data: dict[str, Any], number: int) -> Iterator[tuple[str, Any]]:
    """A card's data with a number behind each name, source and repository."""
    for key, value in data.items():
        if key in {"aliases", "model_types"}:
            yield key, [f"{name}-{number}" for name in value]
        elif key in {"name", "source", "repository"} and isinstance(value, str):
            yield key, f"{value}-{number}"
        else:
            yield key, dict(_numbered(value, number)) if isinstance(value, dict) else value
