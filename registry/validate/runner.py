"""All tiers over all files."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from registry.validate import goldens, meaning, schema, syntax
from registry.validate.findings import Finding
from registry.validate.names import Names
from registry.validate.schema import Subject


@dataclass(slots=True)
class Report:
    """What a run found."""

    findings: list[Finding] = field(default_factory=list)
    files: int = 0
    skipped: list[str] = field(default_factory=list)
    """What could not be looked at, and why: no fault of a card, but nothing that was checked either."""

    @property
    def errors(self) -> int:
        return sum(finding.severity == "error" for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Choice:
    """What to look for."""

    only: frozenset[str] = frozenset()
    """Codes, or the beginnings of codes, such as MC3. Empty: all."""
    ignore: frozenset[str] = frozenset()
    goldens: Path | None = None
    """The folder of goldens. None: the one that belongs to the cards' folder."""
    online: bool = False
    runtime: bool = False
    today: datetime.date = field(default_factory=datetime.date.today)

    def wants(self, code: str) -> bool:
        return (not self.only or code.startswith(tuple(self.only))) and not (
            self.ignore and code.startswith(tuple(self.ignore))
        )


def files_of(paths: Iterable[Path]) -> Iterator[Path]:
    """The card files that paths mean: a file is meant itself, a folder by the cards right in it."""
    for path in paths:
        if path.is_dir():
            yield from sorted(file for file in path.iterdir() if file.suffix in {".yaml", ".yml"})
        else:
            yield path


def validate(files: Sequence[Path], choice: Choice, *, shown: Callable[[Path], str] = str) -> Report:
    """Every finding about these card files, in the order of places."""
    report = Report(files=len(files))
    together = Names()
    for file in files:
        document, found = syntax.read(file, shown(file))
        subject, more = schema.check(document)
        report.findings += _without_echoes([*meaning.todos(document), *found, *more])
        report.findings += _said(subject, choice)
        for tier in _asked(choice):
            found, skipped = tier(subject)
            report.findings += found
            report.skipped += skipped
        together.add(document)
    report.findings += together.check()
    if _without_goldens(files, choice):
        report.skipped.append("the prompts of the package's own cards: their goldens are in its repository")
    report.findings = sorted({finding for finding in report.findings if choice.wants(finding.code)})
    return report


def _said(subject: Subject, choice: Choice) -> list[Finding]:
    """What a card says of itself, held against itself and against upstream."""
    found = [*meaning.check(subject, choice.today)]
    refused = any(finding.code == "MC320" for finding in found)  # such a template renders nothing
    if not refused and not _without_goldens([subject.document.path], choice):
        found += goldens.check(subject, choice.goldens)
    return found


def _without_goldens(files: Iterable[Path], choice: Choice) -> bool:
    return choice.goldens is None and any(goldens.left_behind(file) for file in files)


def _asked(choice: Choice) -> Iterator[Callable[[Subject], tuple[list[Finding], list[str]]]]:
    """The tiers that look beyond the files, where they are wanted."""
    if choice.online:
        from registry.validate import online

        yield online.check
    if choice.runtime:
        from registry.validate import runtime

        yield runtime.check


def _without_echoes(findings: Iterable[Finding]) -> list[Finding]:
    """One finding for one place: a TODO is also of the wrong type, and `yes` is also no text.

    The one that says most comes first: TODO, then what says that text was meant, then the rest.
    """
    first: dict[tuple[int, int], Finding] = {}
    out = []
    for finding in sorted(findings, key=lambda it: (it.code != "MC313", not it.message.endswith("wanted"))):
        other = first.setdefault((finding.line, finding.column), finding)
        if other is finding or finding.code not in _ECHOES or other.code not in _SPECIFIC:
            out.append(finding)
    return out


_ECHOES = {"MC114", "MC115", "MC116", "MC203", "MC204", "MC206", "MC209"}
_SPECIFIC = {"MC313", "MC111", "MC113", "MC114", "MC115", "MC116"}
