"""Markdown that is made: tables and blocks of code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a table. A head that begins with ">" is that of a column of numbers."""
    yield _line([head.removeprefix(">") for head in heads])
    yield _line(["---:" if head.startswith(">") else "---" for head in heads])
    for row in rows:
        yield _line(row)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def fenced(text: str, language: str) -> list[str]:
    """The lines of a block of code, whatever marks are in it."""
    return ["", f"~~~~~{language}", text.rstrip("\n"), "~~~~~", ""]
