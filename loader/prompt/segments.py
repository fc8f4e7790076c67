"""What rendering makes: a prompt in tagged pieces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple


class Segment(NamedTuple):
    """A piece of a prompt.

    literal: the family's own text, control tokens included; image: one placeholder; text: the
    caller's words, in which nothing is meant as a control token.
    """

    kind: Literal["literal", "image", "text"]
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A rendered conversation. Placeholders are not expanded."""

    segments: tuple[Segment, ...]
    images: tuple[Any, ...]
    """One source for each placeholder, in order; None where the call's `images` hold it."""
    warnings: tuple[str, ...] = ()
    """What a caller should know: words that the family's format has no place for."""

    @property
    def text(self) -> str:
        """The whole prompt."""
        return "".join([segment[1] for segment in self.segments])
