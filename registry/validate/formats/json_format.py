"""For programs. Fields may be added, and are neither renamed nor taken away."""

from __future__ import annotations

import json

from registry.validate.runner import Report


def write(report: Report) -> str:
    findings = [
        {
            "path": it.path,
            "line": it.line,
            "column": it.column,
            "end_column": it.end_column,
            "code": it.code,
            "severity": it.severity,
            "message": it.message,
            "mend": it.mend,
            "fixable": it.edit is not None,
        }
        for it in report.findings
    ]
    counts = {"files": report.files, "errors": report.errors, "warnings": len(findings) - report.errors}
    return json.dumps(
        {"findings": findings, **counts, "skipped": report.skipped}, indent=2, ensure_ascii=False
    )
