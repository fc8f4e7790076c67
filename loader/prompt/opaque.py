"""What stands for a caller's words and images while a template runs, so that none of them can be forged."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from typing import Generic, TypeVar

_OPEN, _CLOSE = "\ue000", "\ue001"
Meaning = TypeVar("Meaning")


class Opaque(Generic[Meaning]):
    """Tokens of one rendering, each for something of the caller's.

    They hold a random number, so that nothing in a message can be one of them.
    """

    def __init__(self) -> None:
        self.meanings: dict[str, Meaning] = {}
        self._nonce = secrets.token_hex(8)

    def token(self, meaning: Meaning) -> str:
        """A new token, which stands for `meaning`."""
        token = f"{_OPEN}{self._nonce}:{len(self.meanings)}{_CLOSE}"
        self.meanings[token] = meaning
        return token

    def split(self, rendered: str) -> Iterator[tuple[str, Meaning | None]]:
        """What a template made, in pieces: text of its own with None, or a token with its meaning."""
        pattern = f"({_OPEN}{self._nonce}:[0-9]+{_CLOSE})"
        for piece in re.split(pattern, rendered):
            if piece:
                yield piece, self.meanings.get(piece)

    def is_damaged(self, piece: str) -> bool:
        """Whether a piece of the template's own has parts of a token, which it should only have placed."""
        return _OPEN in piece or _CLOSE in piece or self._nonce in piece
