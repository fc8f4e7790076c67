"""Mends what can be mended without changing a fact: quotes, spellings of the same value, the first line.

Only the characters at fault are replaced, so that comments, order and layout stay. What was mended is
found mended by the next run: fixing twice changes nothing more.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from loader.errors import CardError
from registry.validate.findings import Edit
from registry.validate.runner import Choice, validate


def fix(files: Sequence[Path], choice: Choice) -> int:
    """Mend these cards on disk, each as a whole or not at all; how many findings were mended.

    A mended place may show another that can be mended, which a first run could not see.

    Raises CardError for a card that cannot be written.
    """
    return sum(_fix(file, choice) for file in files)


def _fix(file: Path, choice: Choice) -> int:
    mended = 0
    while edits := _edits(file, choice):
        with file.open(encoding="utf-8", newline="") as card:
            before = card.read()
        mark = before[: before.startswith("\ufeff")]  # of the byte order: no character of the text
        after = mark + apply(before.removeprefix(mark), edits)
        if after == before:
            break
        try:
            _write(file.resolve(), after)  # a link stays one
        except OSError as error:
            raise CardError(
                f"cannot be written: {error.strerror}. Check its rights and those of its folder.",
                path=str(file),
            ) from error
        mended += len(edits)
    return mended


def _edits(file: Path, choice: Choice) -> list[Edit]:
    report = validate([file], choice)
    return [finding.edit for finding in report.findings if finding.edit is not None]


def apply(text: str, edits: Sequence[Edit]) -> str:
    """The text with all edits; of two that overlap, only the first."""
    pieces, end = [], 0
    for edit in sorted(set(edits), key=lambda edit: (edit.start, edit.end)):
        if edit.start >= end:
            pieces += [text[end : edit.start], edit.new]
            end = edit.end
    return "".join([*pieces, text[end:]])


def _write(file: Path, text: str) -> None:
    """In one step, so that an interruption leaves no half of a card; with the rights that it had."""
    descriptor, draft = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as card:
            card.write(text)
        Path(draft).chmod(file.stat().st_mode & 0o777)
        Path(draft).replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(draft).unlink()
        raise
