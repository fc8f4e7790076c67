"""A card's text, and where each part of its data stands in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml

from registry.validate.findings import Edit, Finding

Step = str | int
On = Literal["key", "value"]
"""What is at fault: a key of a map, or what it holds. An entry of a list is at fault itself."""


class Span(NamedTuple):
    """A place: line and first column, from 1, and the column after the last one."""

    line: int
    column: int
    end: int


TOP = Span(1, 1, 2)
"""Where no single place is at fault."""


@dataclass(slots=True)
class Document:
    """One file as it was read. `root` is None where it is no YAML that a card may be."""

    path: Path
    shown: str
    """The path as the user gave it."""
    text: str = ""
    """What the file says, without a mark of the byte order."""
    root: yaml.MappingNode | None = None
    data: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    _maps: dict[int, dict[str, tuple[yaml.Node, yaml.Node]]] = field(default_factory=dict)
    """The entries of maps in which something was looked for, by the identity of the node."""

    def finding(  # what every finding says
        self,
        code: str,
        where: Sequence[Step],
        message: str,
        mend: str,
        edit: Edit | None = None,
        *,
        on: On = "value",
    ) -> Finding:
        """A finding at a path in the data, or at the deepest part of it that the file has."""
        return self.at(code, self._span(where, on), message, mend, edit)

    def at(self, code: str, span: Span, message: str, mend: str, edit: Edit | None = None) -> Finding:
        """A finding at a place of the text."""
        seen = span is not TOP and span.line <= len(self.lines)
        excerpt = self.lines[span.line - 1] if seen else ""
        column = min(span.column, len(excerpt) + 1)
        end = max(span.end, column + 1)
        return Finding(self.shown, span.line, column, code, message, mend, end, excerpt, edit)

    def on_node(
        self, code: str, node: yaml.Node, message: str, mend: str, edit: Edit | None = None
    ) -> Finding:
        """A finding about a node."""
        return self.at(code, self.span_of(node), message, mend, edit)

    def span_of(self, node: yaml.Node) -> Span:
        """Where a node begins, and where it ends on that line."""
        start, end = node.start_mark, node.end_mark
        last = end.column if end.line == start.line else len(self.lines[start.line].rstrip())
        return Span(start.line + 1, start.column + 1, last + 1)

    def written(self, node: yaml.Node) -> str:
        """The characters of a node."""
        return self.text[node.start_mark.index : node.end_mark.index]

    def instead(self, node: yaml.Node, new: str) -> Edit:
        """An edit that writes `new` where a node stands."""
        return Edit(node.start_mark.index, node.end_mark.index, new)

    def node(self, where: Sequence[Step]) -> yaml.Node | None:
        """The value at a path, None where there is none."""
        pairs = list(self._walk(where))
        return pairs[-1][1] if len(pairs) == len(where) + 1 else None

    def has(self, where: Sequence[Step]) -> bool:
        return self.node(where) is not None

    def _span(self, where: Sequence[Step], on: On) -> Span:
        pairs = list(self._walk(where))
        key, value = pairs[-1] if pairs else (None, None)
        missing = len(pairs) <= len(where)
        if value is None or (key is None and missing and value is self.root):
            return TOP
        if key is None:
            return self.span_of(value)
        # A map that lacks a key, or a value over many lines, is shown by its own key.
        return self.span_of(key if on == "key" or missing or self._is_long(value) else value)

    def _is_long(self, node: yaml.Node) -> bool:
        empty = node.start_mark.index == node.end_mark.index
        return empty or (node.start_mark.line != node.end_mark.line and not isinstance(node, yaml.ScalarNode))

    def _walk(self, where: Sequence[Step]) -> Iterator[tuple[yaml.Node | None, yaml.Node]]:
        """Key and value of the root, then of every step that the file has."""
        if self.root is None:
            return
        node: yaml.Node = self.root
        yield None, node
        for step in where:
            found = self._step(node, step)
            if found is None:
                return
            yield found
            node = found[1]

    def _step(self, node: yaml.Node, step: Step) -> tuple[yaml.Node | None, yaml.Node] | None:
        if isinstance(node, yaml.MappingNode):
            if id(node) not in self._maps:  # of a key that is there twice, the first one
                self._maps[id(node)] = {
                    str(key.value): (key, value)
                    for key, value in reversed(node.value)
                    if isinstance(key, yaml.ScalarNode)
                }
            return self._maps[id(node)].get(str(step))
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            return None, node.value[step]
        return None
