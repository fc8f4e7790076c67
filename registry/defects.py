"""What is known to be wrong with the packages that models run on: the facts are in defects.yaml."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal

from registry.data import build, record

TABLE = Path(__file__).with_name("defects.yaml")


@record
class Defect:
    """A fault of mlx-vlm, and what is done about it."""

    id: str
    """Its name here; the test of that name tells when it is gone."""
    families: tuple[str, ...] = ()
    """Ids of the cards that it touches. Empty: all."""
    fault: str
    """What happens, in a few words."""
    done: Literal["avoided", "mended", "refused", "reported"]
    """avoided: the part at fault is not used; mended: the outcome is put right; refused: an error, never an
    answer; reported: answers are given, and are worse than they could be."""
    how: str
    """How, and where."""
    check: str | None = None
    """The line of `mlx-cards check` that shows it."""
    source: str
    """Where the fault is."""


@record
class Conflict:
    """Versions of packages that do not go together."""

    packages: dict[str, str]
    """Version specifiers (PEP 440) by package: installed versions that match all of them are at fault."""
    fault: str
    """What happens."""
    mend: str
    """The requirement that mends it, as pip takes it."""
    source: str
    """Who says so."""


@record
class Known:
    """The whole table."""

    checked: dict[str, str]
    """The version of each package that the suite is green with."""
    conflicts: tuple[Conflict, ...]
    """What is not to be installed together."""
    defects: tuple[Defect, ...]
    """Faults of mlx-vlm."""


@functools.cache
def known() -> Known:
    """What is known."""
    import yaml

    from registry.reader import SAFE_LOADER

    made: Known = build(Known, yaml.load(TABLE.read_bytes(), Loader=SAFE_LOADER))  # noqa: S506  # it is the safe loader
    return made


def known_defect(family: str, check: str) -> Defect | None:
    """The defect of a family that a line of `mlx-cards check` shows."""
    return next((d for d in known().defects if d.check == check and family in d.families), None)
