"""What a card may say about tools: how a family is told of them, calls them, and is given their results.

A tool is defined by its JSON, a call has a name and arguments. `loader.prompt.tools` writes all of it,
`loader.calls` reads calls out of an answer; nothing here runs. docs/cards.md has an example of each.
"""

from __future__ import annotations

from typing import Literal

from registry.data import record


@record
class ToolDefinitions:
    """Where the tools are named: in the system turn, each as one line of JSON."""

    place: Literal["before_text", "after_text"]
    """Before or after the system text."""
    open: str
    """Text before the first definition."""
    between: str
    """Text between two definitions."""
    close: str
    """Text after the last definition: how to call a tool, for example."""
    separator: str
    """Text between the definitions and the system text, where there is any."""


@record
class ToolElements:
    """How a call is written where its name and each argument have marks of their own.

    Arguments that are strings are written as they are, others as JSON.
    """

    name_close: str
    """Text after the name. What is before it is the call's `open`."""
    argument_open: str
    """Text before an argument's name."""
    value_open: str
    """Text between an argument's name and its value."""
    value_close: str
    """Text after an argument's value."""
    constants: Literal["json", "python"] = "json"
    """How an argument that is true, false or null is written: so, or as True, False and None."""


@record
class ToolCalls:
    """How the calls in an answer are written, after its text."""

    open: str
    """Text before a call."""
    close: str
    """Text after a call."""
    after_text: str = ""
    """Text between the answer's own text, where there is any, and the first call."""
    between: str = ""
    """Text between two calls."""
    elements: ToolElements | None = None
    """Marks of name and arguments. Absent: a call is JSON, {"name": ..., "arguments": {...}}."""


@record
class ToolResults:
    """How the results of calls are written: those in a row are one turn."""

    turn_open: str
    """Text before the first result."""
    open: str
    """Text before each result."""
    close: str
    """Text after each result."""
    turn_close: str
    """Text after the last result."""
    trim: bool = False
    """Whether white space at both ends of a result is stripped."""
    images: bool = False
    """Whether a result may hold images."""


@record
class Tools:
    """The family's own form for tools: a caller's are written so, where it is known."""

    native: bool
    """Whether the family was trained with tool calls of its own. With nothing else: in a form that these
    fields cannot say."""
    definitions: ToolDefinitions | None = None
    """How tools are defined."""
    calls: ToolCalls | None = None
    """How tools are called."""
    results: ToolResults | None = None
    """How their results are given."""

    def __post_init__(self) -> None:
        said = [part is not None for part in (self.definitions, self.calls, self.results)]
        if any(said) and not all(said):
            raise ValueError("definitions: tools need `definitions`, `calls` and `results`, or none of them")
        if any(said) and not self.native:
            raise ValueError("native: a form of its own means `native: true`")

    @property
    def can_be_written(self) -> bool:
        """Whether the card says how."""
        return self.calls is not None
