"""Facts and where they come from: sources, licences, versions, dates."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from typing import Any

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from registry.cards import Card, Source
from registry.validate.document import Document
from registry.validate.findings import Finding
from registry.validate.schema import Subject

GROUPS = ("backend", "prompt", "template", "image", "memory", "models", "license")
"""The parts of a card that state facts."""
_LICENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")
_PACKAGE = re.compile(r"[A-Za-z0-9][\w.-]* \d\S*( .*)?")


def check(subject: Subject, card: Card, today: datetime.date) -> Iterator[Finding]:
    document = subject.document
    yield from _groups(document, card)
    for i, source in enumerate(card.sources):
        yield from _source(document, i, source, today)
    yield from _licences(document, card)
    try:
        SpecifierSet(card.backend.requires)
    except InvalidSpecifier:
        said = f"backend.requires: {card.backend.requires!r} names no versions"
        yield document.finding("MC312", ["backend", "requires"], said, 'Write it as ">=0.7.10" (PEP 440).')


def _groups(document: Document, card: Card) -> Iterator[Finding]:
    sourced = {fact.partition(".")[0] for source in card.sources for fact in source.facts}
    for group in GROUPS:
        if document.data.get(group) and group not in sourced:
            said = f"{group}: no source is named for these facts"
            mend = f"Add an entry to `sources` with `{group}`, or a part of it, among its facts."
            yield document.finding("MC306", [group], said, mend, on="key")


def _source(document: Document, i: int, source: Source, today: datetime.date) -> Iterator[Finding]:
    for j, fact in enumerate(source.facts):
        if not _is_in(fact, document.data):
            said = f"sources.{i}.facts: the card states no {fact}"
            mend = "Name a path in the card, such as image.resize, or leave it out."
            yield document.finding("MC307", ["sources", i, "facts", j], said, mend)
    if not source.note:
        said = f"sources.{i}: it does not say what was read there, and how sure it is"
        yield document.finding("MC308", ["sources", i], said, "Add a `note`.", on="key")
    if source.checked > today:
        said = f"sources.{i}.checked: {source.checked} is in the future"
        yield document.finding("MC309", ["sources", i, "checked"], said, "Write the day when it was read.")
    if source.url is not None and not re.match(r"https?://[^/\s]+\.[^\s]+$", source.url):
        said = f"sources.{i}.url: {source.url!r} is no public address"
        yield document.finding("MC310", ["sources", i, "url"], said, "Write it with https://.")
    if source.package is not None and not _PACKAGE.fullmatch(source.package):
        said = f"sources.{i}.package: {source.package!r} does not name a version"
        mend = "Write the package's name, a space and the version that was read."
        yield document.finding("MC310", ["sources", i, "package"], said, mend)


def _is_in(path: str, data: Any) -> bool:
    """Whether a source's path names something that the card says; a key may hold a dot, such as 0.5b."""
    if not isinstance(data, dict):
        return False
    keys = [key for key in data if path == key or path.startswith(f"{key}.")]
    return any(path == key or _is_in(path.removeprefix(f"{key}."), data[key]) for key in keys)


def _licences(document: Document, card: Card) -> Iterator[Finding]:
    stated: list[tuple[tuple[str, ...], str]] = [(("license",), card.license)]
    stated += [
        (("models", key, "license"), model.license) for key, model in card.models.items() if model.license
    ]
    for where, licence in stated:
        if _is_spdx(licence):
            continue
        meant = _spdx_like(licence)
        if meant is None and _LICENCE.fullmatch(licence):
            continue  # the hub has names for licences that SPDX does not list
        said = f"{'.'.join(where)}: {licence!r} is no name of a licence"
        mend = "Write the SPDX id, or the hub's own name for it."
        if meant is not None:
            mend = f"Did you mean {meant!r}?"
        yield document.finding("MC311", where, said, mend)


def _is_spdx(licence: str) -> bool:
    try:
        canonicalize_license_expression(licence)
    except InvalidLicenseExpression:
        return False
    return True


def _spdx_like(licence: str) -> str | None:
    """The SPDX id that is written a little differently: "Apache 2.0", "apache2.0", "MIT License"."""
    plain = re.sub(r"\s*(license|licence)$", "", licence.strip().lower())
    plain = re.sub(r"[\s_]+(v(?=\d))?", "-", plain)
    spaced = re.sub(r"(?<=[a-z])(?=\d)", "-", plain)
    tries = [plain, spaced, f"{plain}.0", f"{spaced}.0"]
    return next(
        (form for form in tries if form != licence and _LICENCE.fullmatch(form) and _is_spdx(form)), None
    )
