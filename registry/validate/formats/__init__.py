"""How findings are written: one module for each format, one dict of them."""

from __future__ import annotations

from collections.abc import Callable

from registry.validate.formats import concise, full, github, json_format, sarif
from registry.validate.runner import Report

FORMATS: dict[str, Callable[[Report], str]] = {
    "full": full.write,
    "concise": concise.write,
    "github": github.write,
    "json": json_format.write,
    "sarif": sarif.write,
}
"""Name -> what writes a report, without the last newline; empty where there is nothing to say."""
