"""One thing that was checked, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["pass", "warn", "fail", "skip"]
"""fail: answers would be wrong, or there would be none. warn: a fact differs that no answer depends on.
skip: it could not be checked, and the line says why."""


@dataclass(frozen=True, slots=True)
class Line:
    """The outcome of one check."""

    check: str
    """What was checked, in a word or two: "files", "token ids", "two images"."""
    status: Status
    said: str
    """The outcome and its reason."""
    card: Any = None
    """What the card says, where a value differs."""
    checkpoint: Any = None
    """What the checkpoint says instead."""

    def to_dict(self) -> dict[str, Any]:
        """The line as plain data, for JSON; the two values only where they differ."""
        data: dict[str, Any] = {"check": self.check, "status": self.status, "said": self.said}
        if self.card is not None or self.checkpoint is not None:
            data |= {"card": self.card, "checkpoint": self.checkpoint}
        return data


def differs(check: str, what: str, card: Any, checkpoint: Any, *, status: Status = "fail") -> Line:
    """A line about a value that the card has otherwise than the checkpoint."""
    said = f"{what} is {_shown(card)} by the card and {_shown(checkpoint)} in the checkpoint"
    return Line(check, status, said, card, checkpoint)


def _shown(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)
