"""One line for each finding, as compilers write them: editors jump to the place."""

from __future__ import annotations

from registry.validate.formats.words import printable
from registry.validate.runner import Report


def write(report: Report) -> str:
    return "\n".join(
        printable(f"{it.path}:{it.line}:{it.column}: {it.code} {it.message}. {it.mend}")
        for it in report.findings
    )
