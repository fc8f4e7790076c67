"""What several formats share."""

from __future__ import annotations

import re

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


def printable(text: str) -> str:
    """Text of a stranger's card in one line: it must not steer a terminal or a build log."""
    return _UNPRINTABLE.sub("\ufffd", text)


def count(number: int, thing: str) -> str:
    return f"{number:,} {thing}" + "s" * (number != 1)
