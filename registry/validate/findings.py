"""What is wrong with a card, and the codes it is told by."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

Severity = Literal["error", "warning"]
"""An error fails the run. A warning is something that is missing or doubtful, while nothing is wrong."""
Tier = Literal["syntax", "schema", "meaning", "goldens", "hub", "backend"]
_CODES = Path(__file__).parent / "codes.yaml"


@dataclass(frozen=True, slots=True)
class Rule:
    """One code: what kind of fault it stands for. Published codes never change their meaning."""

    code: str
    title: str
    why: str
    """What goes wrong where it is left, in a few sentences."""
    severity: Severity = "error"
    fixed: str = ""
    """What --fix does about it; empty: a person has to decide."""

    @property
    def tier(self) -> Tier:
        """What has to be read, or asked, to find it."""
        tiers: tuple[Tier, ...] = get_args(Tier)
        return tiers[int(self.code[2]) - 1]


@dataclass(frozen=True, slots=True)
class Edit:
    """What mends a finding without changing a fact: characters from `start` to `end` give way to `new`."""

    start: int
    end: int
    new: str


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One fault at one place. Lines and columns count from 1, in characters."""

    path: str
    line: int
    column: int
    code: str
    message: str
    """What is wrong, in one sentence without its full stop."""
    mend: str
    """What to do, in one sentence."""
    end_column: int
    """After the last character at fault; on the same line."""
    excerpt: str
    """The line at fault; empty where a file has none."""
    edit: Edit | None = field(default=None, compare=False)
    """What --fix writes; None where a person has to decide."""

    @property
    def severity(self) -> Severity:
        return rules()[self.code].severity


@functools.cache
def rules() -> dict[str, Rule]:
    """Every code there is, in order."""
    import yaml

    from registry.reader import SAFE_LOADER

    data: dict[str, dict[str, Any]] = yaml.load(
        _CODES.read_text(encoding="utf-8"),
        Loader=SAFE_LOADER,  # noqa: S506  # it is the safe loader
    )
    return {code: Rule(code=code, **said) for code, said in data.items()}
