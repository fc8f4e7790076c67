"""Tier 3: what a card says agrees with itself. Names, which cards share, are in `names`."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator

from registry.validate import dimensions, facts, pictures
from registry.validate.document import Document, Span
from registry.validate.findings import Finding
from registry.validate.schema import Subject

_TODO = re.compile(r"\bTODO\b")


def todos(document: Document) -> Iterator[Finding]:
    """Every TODO in the text, comments too: also in a card that is not valid yet."""
    for number, line in enumerate(document.lines, start=1):
        for match in _TODO.finditer(line):
            span = Span(number, match.start() + 1, match.end() + 1)
            said = f"a TODO is left: {line[match.start() :].strip()[:80]}"
            yield document.at("MC313", span, said, "Establish the fact, or leave the field out as unknown.")


def check(subject: Subject, today: datetime.date) -> Iterator[Finding]:
    """The findings about a card that its classes take."""
    if subject.family is None:
        return
    yield from facts.check(subject, subject.family, today)
    yield from pictures.check(subject)
    yield from dimensions.check(subject)
