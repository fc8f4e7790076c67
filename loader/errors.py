"""What can go wrong, as types.

    MLXCardsError
    ├── CardError                a card's text is wrong; knows path, line and column
    ├── UnknownModelError        (LookupError) no card has that name; knows up to three suggestions
    ├── ImageError               (ValueError) a source is not an image that can be used
    ├── MessageError             (ValueError) a conversation that the family cannot say; knows the place
    ├── MemoryBudgetError        (MemoryError) it would not fit; knows the estimate
    ├── UnsupportedFeatureError  the family cannot do what was asked
    └── CheckpointError          files on disk or on the hub are missing, wrong or not what the card says

Each message is two sentences: what is wrong and why, then what to do next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loader.memory.result import Estimate

__all__ = [
    "CardError",
    "CheckpointError",
    "ImageError",
    "MLXCardsError",
    "MemoryBudgetError",
    "MessageError",
    "UnknownModelError",
    "UnsupportedFeatureError",
    "takes_no_images",
]


class MLXCardsError(Exception):
    """Base of every error that this project raises on purpose."""


class CardError(MLXCardsError):
    """A card that cannot be used.

    `path` is the file, `line` and `column` count from 1 (None where no single place is at fault).
    """

    def __init__(
        self, message: str, *, path: str, line: int | None = None, column: int | None = None
    ) -> None:
        place = ":".join(str(part) for part in (path, line, column) if part is not None)
        super().__init__(f"{place}: {message}")
        self.path = path
        self.line = line
        self.column = column


class UnknownModelError(MLXCardsError, LookupError):
    """No family, model, alias, repository or model type has this name."""

    def __init__(self, message: str, *, name: str, suggestions: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.name = name
        self.suggestions = tuple(suggestions)


class ImageError(MLXCardsError, ValueError):
    """A source that is not an image, or not one that this family takes."""


class MessageError(MLXCardsError, ValueError):
    """A conversation that cannot be rendered.

    `message` and `part` are indices from 0 into the caller's list (None where none is at fault).
    """

    def __init__(self, text: str, *, message: int | None = None, part: int | None = None) -> None:
        super().__init__(text)
        self.message = message
        self.part = part


class MemoryBudgetError(MLXCardsError, MemoryError):
    """The request needs more memory than the device gives.

    `estimate` has its parts, the verdict and what to do (None where it was refused without one).
    """

    def __init__(self, message: str, *, estimate: Estimate | None = None) -> None:
        super().__init__(message)
        self.estimate = estimate


class UnsupportedFeatureError(MLXCardsError):
    """The family, or this version of the project, cannot do what was asked."""


class CheckpointError(MLXCardsError):
    """Files of a checkpoint that are missing, broken, or not what the card says."""


def takes_no_images(name: str) -> UnsupportedFeatureError:
    """The error for an image where the family `name` has no vision."""
    return UnsupportedFeatureError(f"{name} takes no images. Choose a family that does: `mlx-cards list`.")
