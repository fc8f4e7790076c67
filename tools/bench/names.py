"""A name among 10,000 cards, each time in a new process: an alias, a card, a name that there is not.

The cards are copies of the package's, each name of theirs with a number. An index of their names is made by
the processes that need it; what the first of them takes, and one after a card was edited, is measured, too.
The cards are read once as the package's own and once as a user's folder (MLX_CARDS_PATH), where none of them
is trusted.
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
_CATALOG = """
import sys
from pathlib import Path
from registry.catalog import Catalog
folder, name = Path(sys.argv[1]), sys.argv[2]
"""
_FIND = f"""{_CATALOG}
catalog = Catalog(folder, trusted=True)
target = catalog.find(name)
print(target.family, target.model)
"""
_PRIVATE = f"""{_CATALOG}
target = Catalog(trusted=True, over=[folder]).find(name)
print(target.family, target.model)
"""
_UNKNOWN = f"""{_CATALOG}
try:
    Catalog(folder, trusted=True).find(name.replace("-", ""))
except LookupError as error:
    print(name in error.suggestions)
"""
_EDITED = f"""{_FIND}
file = catalog.path(target.family)
file.write_text(file.read_text(encoding="utf-8") + "# edited", encoding="utf-8")
"""
SIDES = {
    "alias to model": _FIND,
    "alias to card": f"{_FIND}catalog.card(target)",
    "alias, user's folder": _PRIVATE,
    "unknown name": _UNKNOWN,
    "unknown name, one card edited": _UNKNOWN,
    "python alone": "",
}


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

        first = {"alias": measured(_FIND), "unknown name": measured(_UNKNOWN)}
        runs = []
        for _ in range(pairs):
            runs.append({side: measured(code) for side, code in SIDES.items() if "edited" not in side})
            measured(_EDITED)
            runs[-1] |= {side: measured(code) for side, code in SIDES.items() if "edited" in side}
    said = {done.output for each in runs for done in each.values()}
    if said != {first["alias"].output, first["unknown name"].output, ""} or "True\n" not in said:
        raise MeasurementError("The same name did not mean the same model every time.")
    return _report(first, runs)


def _report(first: dict[str, Finished], runs: list[dict[str, Finished]]) -> Report:
    rows: list[tuple[str, ...]] = [("", "median", "min", "max")]
    data: dict[str, Any] = {"cards": CARDS, "aim": AIM}
    data["first"] = {what: done.seconds for what, done in first.items()}
    for side in SIDES:
        seconds = [each[side].seconds for each in runs]
        middle, least, most = statistics.median(seconds), min(seconds), max(seconds)
        rows.append((side, *(f"{value * 1000:.0f} ms" for value in (middle, least, most))))
        data[side] = {"median": middle, "min": least, "max": most, "seconds": seconds}
    resolved = data["alias to model"]["median"] * 1000
    conclusion = (
        f"an alias is resolved in {resolved:.0f} ms from the start of the process to its end; "
        f"the aim is at most {AIM * 1000:.0f} ms\n"
        f"without an index, the first process of all took {data['first']['alias']:.1f} s for the alias; "
        f"the first that had to know every name took {data['first']['unknown name']:.1f} s"
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
