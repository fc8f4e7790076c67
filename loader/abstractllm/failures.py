"""Errors of this project as AbstractLLM's own, which its callers catch.

ImageError               ImageProcessingError
MemoryBudgetError        OutOfMemoryError: MemoryExceededError and Python's MemoryError
UnsupportedFeatureError  UnsupportedFeatureError
MessageError             InvalidRequestError
any other                ModelLoadingError while loading, GenerationError while answering
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from abstractllm import exceptions as theirs

from loader import errors as ours

PROVIDER = "mlx"
_OFFLINE = "HF_HUB_OFFLINE"


class OutOfMemoryError(theirs.MemoryExceededError, MemoryError):  # type: ignore[misc]
    """What was asked for needs more memory than there is, or than `memory_limit` allows."""


@contextlib.contextmanager
def translated(doing: str, model: str) -> Iterator[None]:
    """Raise what the block raises as AbstractLLM's error; `doing` names what was tried ("vision", ...)."""
    try:
        yield
    except ours.MLXCardsError as error:
        raise explained(error, doing, model) from error


def explained(error: ours.MLXCardsError, doing: str, model: str) -> Exception:
    """AbstractLLM's error for one of this project's, with the same words: what is wrong, what to do."""
    text = str(error)
    made: Exception
    match error:
        case ours.MemoryBudgetError():
            made = _out_of_memory(error)
        case _ if doing == "loading":
            made = theirs.ModelLoadingError(text + _why_offline(error), PROVIDER, model, error)
        case ours.ImageError():
            made = theirs.ImageProcessingError(text, PROVIDER, error)
        case ours.MessageError():
            made = theirs.InvalidRequestError(text, PROVIDER, error)
        case ours.UnsupportedFeatureError():
            made = theirs.UnsupportedFeatureError(doing, text, PROVIDER, error)
        case _:
            made = theirs.GenerationError(text, PROVIDER, error)
    return made


def _out_of_memory(error: ours.MemoryBudgetError) -> OutOfMemoryError:
    made = error.estimate
    if made is None:
        return OutOfMemoryError(str(error), PROVIDER, error)
    return OutOfMemoryError(str(error), PROVIDER, error, None, made.at_least, made.device.limit)


def _why_offline(error: ours.MLXCardsError) -> str:
    """AbstractLLM cuts the hub off when it is imported, which looks like a network that is down."""
    if not isinstance(error, ours.CheckpointError) or os.environ.get(_OFFLINE) != "1":
        return ""
    return (
        f" AbstractLLM sets {_OFFLINE}=1 when it is imported: to download, set {_OFFLINE}=0 before Python "
        "starts, or get the files first with `hf download`."
    )
