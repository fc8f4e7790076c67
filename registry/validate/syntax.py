"""Tier 1: a file is YAML, and says to YAML what it says to its reader."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from registry.reader import MAX_BYTES, MAX_DEPTH, MAX_DIGITS, NUMBERS, SAFE_LOADER, raw
from registry.schema import schema_named_by
from registry.validate.document import TOP, Document, Span, Step
from registry.validate.findings import Edit, Finding

SCHEMA_LINE = "# yaml-language-server: $schema="
_STR, _NULL, _MERGE = (f"tag:yaml.org,2002:{name}" for name in ("str", "null", "merge"))
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_BREAK_OR_UNSEEN = re.compile(
    "\r\n|[\n\r\x85\xa0\xad\u061c\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
"""Ends of lines, odd spaces, what has no width, and what turns the direction of writing."""
_FAMILY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SAID = {"prompt", "template", "image", "models"}
"""Parts whose text reaches a model; in a note, a backslash is a backslash."""
_ESCAPE = re.compile(r"\\[nt]")


def read(path: Path, shown: str) -> tuple[Document, list[Finding]]:
    """A file and what is wrong with it as YAML. Whatever is readable of it is in the document's data."""
    document = Document(path, shown)
    findings = list(_name(document))
    try:
        content = raw(path)
        if len(content) > MAX_BYTES:
            said = f"a card has at most {MAX_BYTES:,} bytes, this file has more"
            return document, [*findings, document.at("MC101", TOP, said, "Check that it is a card.")]
        # A mark of the byte order is no character of the text: the parser counts none for it.
        document.text = content.decode("utf-8").removeprefix("\ufeff")
    except OSError as error:
        said = f"the file cannot be read: {error.strerror}"
        return document, [*findings, document.at("MC101", TOP, said, "Check its name and its rights.")]
    except UnicodeDecodeError as error:
        document.lines = _BREAK.split(content.decode("utf-8", "replace"))
        place = _after(content[: error.start].decode("utf-8"))
        said = "the file is not UTF-8 text"
        return document, [*findings, document.at("MC101", place, said, "Save it as UTF-8.")]
    document.lines = _BREAK.split(document.text)
    findings += _schema_line(document)
    findings += _unseen(document)
    try:
        tricks = list(_tricks(document))
        if not tricks:
            findings += _compose(document)
        findings += tricks
    except yaml.YAMLError as error:
        findings.append(_not_yaml(document, error))
    return document, findings


def _name(document: Document) -> Iterator[Finding]:
    path = document.path
    if path.suffix != ".yaml":
        said = f"a card's file ends in .yaml, {path.name} is not found by its names"
        yield document.at("MC118", TOP, said, f"Rename it to {path.stem}.yaml.")
    elif not _FAMILY.fullmatch(path.stem):
        said = f"the stem of the file is the family's id, and {path.stem!r} can be none"
        yield document.at("MC118", TOP, said, "Use letters, digits, '.', '-' and '_' only.")


def _schema_line(document: Document) -> Iterator[Finding]:
    if not document.lines[0].startswith(SCHEMA_LINE):
        said = "the first line does not name the schema, so that an editor can neither complete nor check"
        line = SCHEMA_LINE + schema_named_by(document.path)
        end = "\r\n" if "\r\n" in document.text else "\n"
        mend = f"Begin with `{line}`. `mlx-cards schema` prints what that file has to hold."
        span = Span(1, 1, len(document.lines[0]) + 1)
        yield document.at("MC119", span, said, mend, Edit(0, 0, line + end))


def _unseen(document: Document) -> Iterator[Finding]:
    """Characters with which a card says something else than a reader, or a reviewer, sees."""
    line, start = 1, 0
    for match in _BREAK_OR_UNSEEN.finditer(document.text):
        if not match[0].isascii():
            column, code = match.start() - start + 1, f"{ord(match[0]):04x}"
            said = f"the character U+{code.upper()} cannot be seen"
            mend = f"Take it out, or write it as \\u{code} in double quotes where it is meant."
            if len(code) > 4:
                mend = f"Take it out, or write it as \\U{code:>08} in double quotes where it is meant."
            yield document.at("MC120", Span(line, column, column + 1), said, mend)
        if _BREAK.fullmatch(match[0]):
            line, start = line + 1, match.end()


def _tricks(document: Document) -> Iterator[Finding]:
    """What a card may not use, from events: nothing is composed or unfolded for it."""
    depth = 0
    for event in yaml.parse(document.text, Loader=SAFE_LOADER):
        mark = event.start_mark
        assert mark is not None  # noqa: S101  # it was parsed from a text
        place = Span(mark.line + 1, mark.column + 1, mark.column + 2)
        if (anchor := getattr(event, "anchor", None)) is not None:
            said = f"anchors (&{anchor}) and aliases (*{anchor}) are not allowed in a card"
            yield document.at("MC107", place, said, "Write the value out, or quote text that begins so.")
        if tag := getattr(event, "tag", None):
            said = f"tags ({tag}) are not allowed in a card"
            yield document.at("MC108", place, said, "Leave it out, or quote text that begins with '!'.")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            said = f"a card has at most {MAX_DEPTH} levels"
            yield document.at("MC110", place, said, "Check that it is a card.")
            return


def _compose(document: Document) -> Iterator[Finding]:
    root = yaml.compose(document.text, Loader=SAFE_LOADER)
    if not isinstance(root, yaml.MappingNode):
        said = "a card is a map of keys, and this file is none"
        yield document.at("MC104", TOP, said, "Begin with `schema_version: 1`.")
        return
    document.root = root
    builder = _Builder(document)
    document.data = builder.map(root, ())
    yield from builder.findings


class _Builder:
    """Plain data from nodes. What YAML reads otherwise than its author meant is found on the way."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.findings: list[Finding] = []
        self._constructor = yaml.constructor.SafeConstructor()

    def map(self, node: yaml.MappingNode, where: tuple[Step, ...]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        first: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                what = "<<" if isinstance(key, yaml.ScalarNode) else "a list or a map"
                said = f"a key is text, and here it is {what}"
                self._add("MC109", key, said, "Quote it where it is meant as text, else write it out.")
                continue
            if key.tag != _STR:
                said = f"the key {key.value} is not text to YAML"
                edit = self.document.instead(key, f'"{key.value}"')
                self._add("MC106", key, said, f'Write "{key.value}" in quotes.', edit)
            name = key.value
            if name in made:
                said = f"the key {name!r} is already there, in line {first[name]}"
                self._add("MC105", key, said, "Keep one of them: YAML would silently take the last.")
                continue
            first[name] = key.start_mark.line + 1
            made[name] = self._value(value, (*where, name))
        return made

    def _value(self, node: yaml.Node, where: tuple[Step, ...]) -> Any:
        if isinstance(node, yaml.MappingNode):
            return self.map(node, where)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(below, (*where, i)) for i, below in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)  # noqa: S101  # there is no other kind of node
        if node.tag == _STR:
            self._text(node, where)
            return node.value
        if node.tag in NUMBERS and len(node.value) > MAX_DIGITS:
            said = f"a number has at most {MAX_DIGITS} digits"
            self._add("MC111", node, said, "Correct it, or quote it where it is meant as text.")
            return None
        try:
            value = self._constructor.construct_object(node)
        except ValueError as error:
            said = f"{node.value!r} is not a value: {error}"
            self._add("MC111", node, said, "Correct it, or quote it where it is meant as text.")
            return None
        self._scalar(node, value)
        return value

    def _text(self, node: yaml.ScalarNode, where: tuple[Step, ...]) -> None:
        if where[0] not in _SAID:
            return
        if node.style in {None, "", "'"} and (match := _ESCAPE.search(node.value)):
            how = "single quotes" if node.style else "text without quotes"
            said = f"in {how} {match[0]} is a backslash and a letter, no white space"
            self._add("MC112", node, said, "Write the text in double quotes.")
        if not node.style:
            after = self.document.text[node.end_mark.index :].partition("\n")[0].rstrip("\r")
            if after and not after.strip():
                said = "YAML drops the space at the end of this text"
                self._add("MC117", node, said, "Quote the text, or remove the space.")

    def _scalar(self, node: yaml.ScalarNode, value: Any) -> None:
        if isinstance(value, bool) and node.value not in {"true", "false"}:
            instead = "true" if value else "false"
            code = "MC114"
        elif isinstance(value, int) and not isinstance(value, bool) and node.value != str(value):
            instead = str(value)
            code = "MC116"
        else:
            return
        # 010 is 8 to YAML and ten to many people: which was meant is not for a program to say.
        sure = code == "MC114" or node.value.replace("_", "") == instead
        edit = self.document.instead(node, instead) if sure else None
        said = f"{node.value} is {instead} to YAML"
        self._add(code, node, said, f'Write {instead}, or "{node.value}" where text is meant.', edit)

    def _add(  # what every finding says
        self, code: str, node: yaml.Node, message: str, mend: str, edit: Edit | None = None
    ) -> None:
        self.findings.append(self.document.on_node(code, node, message, mend, edit))


def _after(text: str) -> Span:
    """The place of the one character that follows the beginning of a file."""
    lines = _BREAK.split(text)
    return Span(len(lines), len(lines[-1]) + 1, len(lines[-1]) + 2)


def _not_yaml(document: Document, error: yaml.YAMLError) -> Finding:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None and (found := yaml.reader.Reader.NON_PRINTABLE.search(document.text)):
        said = f"the character U+{ord(found[0]):04X} cannot stand in a file of YAML"
        mend = "Take it out, or write it as an escape in double quotes where it is meant."
        return document.at("MC102", _after(document.text[: found.start()]), said, mend)
    if mark is None:
        said = f"the file is not YAML: {' '.join(str(error).split())}"
        return document.at("MC102", TOP, said, "Remove what cannot stand in text.")
    assert isinstance(error, yaml.MarkedYAMLError)  # noqa: S101  # it has marks
    line, column = mark.line + 1, mark.column + 1
    if [*document.lines, ""][mark.line].startswith("\t", mark.column):
        said = "a tab cannot stand here, YAML is indented with spaces"
        return document.at("MC103", Span(line, column, column + 1), said, "Write spaces in its place.")
    problem = str(error.problem)
    if problem.startswith("but "):  # "expected one thing", "but found another"
        problem = f"{error.context}, {problem}"
    mend = "Mend the YAML here: a bracket, a quote or an indentation is wrong, or text needs quotes."
    return document.at("MC102", Span(line, column, column + 1), problem, mend)
