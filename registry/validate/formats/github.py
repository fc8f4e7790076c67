"""Annotations of GitHub Actions: findings stand beside the lines of a pull request.

Source: docs.github.com, "Workflow commands for GitHub Actions".
"""

from __future__ import annotations

from registry.validate.findings import Finding
from registry.validate.runner import Report


def write(report: Report) -> str:
    return "\n".join(_command(finding) for finding in report.findings)


def _command(it: Finding) -> str:
    properties = {
        "file": it.path,
        "line": str(it.line),
        "endLine": str(it.line),
        "col": str(it.column),
        "endColumn": str(it.end_column),
        "title": it.code,
    }
    said = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{it.severity} {said}::{_data(f'{it.message}. {it.mend}')}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
