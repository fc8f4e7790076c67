"""For people: what is wrong, the line with a mark below the place, how to mend it."""

from __future__ import annotations

from registry.validate.findings import Finding
from registry.validate.formats.words import printable
from registry.validate.runner import Report

WIDTH = 96
"""Characters of a line that are shown; of a longer one, those around the place."""


def write(report: Report) -> str:
    return "\n\n".join(_block(finding) for finding in report.findings)


def _block(finding: Finding) -> str:
    number = str(finding.line)
    gutter = " " * len(number)
    lines = [
        f"{finding.severity}[{finding.code}]: {finding.message}",
        f"{gutter}--> {finding.path}:{finding.line}:{finding.column}",
    ]
    if finding.excerpt.strip():
        excerpt, mark = _marked(finding)
        lines += [f"{gutter} |", f"{number} | {excerpt}", f"{gutter} | {mark}"]
    lines.append(f"{gutter} = {finding.mend}")
    return "\n".join(printable(line).rstrip() for line in lines)


def _marked(finding: Finding) -> tuple[str, str]:
    """The line, cut where it is long, and the mark below it."""
    text, start, end = finding.excerpt, finding.column - 1, finding.end_column - 1
    if len(text) > WIDTH:
        left = max(0, min(start - WIDTH // 3, len(text) - WIDTH))
        shown = text[left : left + WIDTH]
        text = ("..." if left else "") + shown + ("..." if left + WIDTH < len(finding.excerpt) else "")
        shift = (3 if left else 0) - left
        start, end = start + shift, min(end + shift, len(text))
    before = "".join("\t" if character == "\t" else " " for character in text[:start])
    return text, before + "^" * max(end - start, 1)
