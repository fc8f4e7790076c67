"""SARIF 2.1.0, which code scanning reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from registry.validate.findings import Finding, rules
from registry.validate.runner import Report

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def write(report: Report) -> str:
    described = rules()
    codes = sorted({finding.code for finding in report.findings})
    driver = {
        "name": "mlx-cards",
        "rules": [
            {
                "id": code,
                "shortDescription": {"text": described[code].title},
                "fullDescription": {"text": described[code].why},
                "defaultConfiguration": {"level": described[code].severity},
            }
            for code in codes
        ],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(finding, codes.index(finding.code)) for finding in report.findings],
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False)


def _result(it: Finding, index: int) -> dict[str, Any]:
    region = {"startLine": it.line, "startColumn": it.column, "endLine": it.line, "endColumn": it.end_column}
    path = Path(it.path)
    # Code scanning maps paths that are relative to the repository; another path is only an address.
    address = path.as_uri() if path.is_absolute() else quote(path.as_posix())
    place = {"artifactLocation": {"uri": address}, "region": region}
    return {
        "ruleId": it.code,
        "ruleIndex": index,
        "level": it.severity,
        "message": {"text": f"{it.message}. {it.mend}"},
        "locations": [{"physicalLocation": place}],
    }
