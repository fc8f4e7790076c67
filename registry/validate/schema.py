"""Tier 2: a card has the keys and the types that the classes in `registry.cards` name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import yaml
from pydantic import ValidationError

from loader.errors import CardError
from registry import overlays
from registry.cards import COMMIT, Card, card_of, merge
from registry.extends import BaseError, whole
from registry.naming import model_name
from registry.reader import words
from registry.schema import validated
from registry.validate.document import TOP, Document, On, Step
from registry.validate.findings import Edit, Finding

_CODES = {
    "unexpected_keyword_argument": "MC201",
    "missing": "MC202",
    "union_tag_not_found": "MC202",
    "literal_error": "MC204",
    "union_tag_invalid": "MC204",
    "greater_than_equal": "MC205",
    "string_pattern_mismatch": "MC206",
    "too_short": "MC207",
    "value_error": "MC208",
    "assertion_error": "MC208",
}
"""pydantic's kind of fault -> code; every other kind is a value of the wrong type."""
_KEYS = {"MC201", "MC202"}
_TRAPS = {
    "bool": ("MC114", "a yes or no"),
    "float": ("MC115", "a number"),
    "int": ("MC115", "a number"),
    "map": ("MC113", "a map"),
    "seq": ("MC113", "a list"),
}
"""What YAML makes of text without quotes: the kind of node -> code, and the words for it."""
_COMMIT = re.compile(COMMIT)
_MANY = 1_000
"""Faults of one card that are said: what has more is no card with a mistake, and all take minutes."""


@dataclass(slots=True)
class Subject:
    """A document with the cards that it makes: as far as they are valid."""

    document: Document
    data: dict[str, Any] = field(default_factory=dict)
    """What the card says, with what it inherits."""
    family: Card | None = None
    models: dict[str, Card] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return self.document.path.stem

    def each(
        self, check: Callable[[Subject, tuple[Step, ...], Card], Iterator[Finding]]
    ) -> Iterator[Finding]:
        """What a check finds of the family, then of each model, but for what is the family's fault."""
        if self.family is None:
            return
        whole = list(check(self, (), self.family))
        yield from whole
        known = {(finding.code, finding.message) for finding in whole}
        for key, card in self.models.items():
            for finding in check(self, ("models", key, "override"), card):
                if (finding.code, finding.message) not in known:
                    yield finding

    def place(self, below: tuple[Step, ...], where: Sequence[Step]) -> tuple[Step, ...] | None:
        """Where a part of a card stands: in the model's override, else in the family's own part.

        None for a model whose override does not touch that part: the family's card says the same.
        """
        if not below:
            return tuple(where)
        return (*below, *where) if self.document.has((*below, where[0])) else None


def check(document: Document) -> tuple[Subject, list[Finding]]:
    """The cards of a document, and what its classes say against it."""
    subject = Subject(document)
    if document.root is None:
        return subject, []
    findings = list[Finding]()
    try:
        data, _ = whole(document.path, document.data, overlays.searched)
    except (BaseError, CardError) as error:
        said, _, mend = str(error).rpartition(". ")
        return subject, [document.finding("MC322", ["extends"], f"extends: {said}", mend)]
    subject.data = data
    try:
        subject.family = card_of(data, family=subject.id, make=validated)
    except ValidationError as error:
        return subject, [*_findings(document, data, error, ())]
    for key, model in data["models"].items():
        change = model.get("override")
        if not change:  # the same as the family, by another name
            name = model_name(subject.id, key, model)
            subject.models[key] = replace(subject.family, name=name, key=key)
            continue
        try:
            subject.models[key] = card_of(data, family=subject.id, key=key, make=validated)
        except ValidationError as error:
            findings += _findings(document, merge(data, change), error, ("models", key, "override"))
    return subject, findings


def _findings(
    document: Document, data: dict[str, Any], error: ValidationError, below: tuple[Step, ...]
) -> Iterator[Finding]:
    faults = error.errors()
    above = {fault["loc"][:depth] for fault in faults for depth in range(len(fault["loc"]))}
    # A list with a bad entry is also called too short.
    faults = [fault for fault in faults if fault["type"] != "too_short" or fault["loc"] not in above]
    for fault in faults[:_MANY]:
        yield _finding(document, fault, _path(data, fault["loc"]), below)
    if more := len(faults[_MANY:]):
        said = f"this card has {more:,} faults more than are said here"
        yield document.at("MC203", TOP, said, "Begin anew with a card that is like it.")


def _finding(document: Document, fault: Any, where: list[Step], below: tuple[Step, ...]) -> Finding:
    at, what, mend = words(fault, where)
    where = [*where, *at]
    node = document.node((*below, *where))
    code = _CODES.get(fault["type"], "MC203")
    on: On = "key" if code in _KEYS or fault["loc"][-1:] == ("[key]",) else "value"
    if code == "MC206" and where[-1:] == ["revision"]:
        code = "MC209"
    edit = None
    if fault["type"] == "string_type" and node is not None:
        code, what, mend, edit = _meant_as_text(document, node, what, mend)
    elif code == "MC209" and node is not None and _COMMIT.fullmatch(document.written(node).lower()):
        edit = document.instead(node, document.written(node).lower())
    name = ".".join(str(step) for step in where) or "the card"
    return document.finding(code, (*below, *where), f"{name}: {what}", mend, edit, on=on)


def _path(data: Any, loc: Sequence[Step]) -> list[Step]:
    """pydantic's place as a path in the data: it also names branches of unions, and marks keys."""
    where: list[Step] = []
    for step in loc:
        if step == "[key]":
            continue
        if isinstance(data, dict) and step not in data and step == data.get("kind"):
            continue
        where.append(step)
        inside = isinstance(data, dict) or (isinstance(data, list) and isinstance(step, int))
        try:
            data = data[step] if inside else None
        except (KeyError, IndexError):
            data = None
    return where


def _meant_as_text(
    document: Document, node: yaml.Node, what: str, mend: str
) -> tuple[str, str, str, Edit | None]:
    """Text that YAML reads as something else: the code, what is wrong, how to mend it."""
    written = document.written(node)
    kind = node.tag.rpartition(":")[2]
    if kind not in _TRAPS or not written or "\n" in written or '"' in written or "\\" in written:
        return "MC203", what, mend, None
    lost = ""
    if isinstance(node, yaml.ScalarNode) and str(value := yaml.safe_load(written)) != written:
        lost = f" ({value})"
    code, noun = _TRAPS[kind]
    said = f"{written} is {noun}{lost} to YAML, where text is wanted"
    return code, said, f'Write "{written}" in quotes.', document.instead(node, f'"{written}"')
