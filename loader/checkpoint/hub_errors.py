"""What the hub's client raises -> one CheckpointError that says what to do."""

from __future__ import annotations

import errno
import os

from loader.errors import CheckpointError


def failures() -> tuple[type[Exception], ...]:
    """What the client raises: of its own, of httpx, of its xet library and for odd answers."""
    # Not part of its API, but the only name for both httpx (client 1.x) and httpx2 (client 2.x).
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    return (OSError, HTTPError, ValueError, LookupError, RuntimeError)


def is_unreachable(error: Exception) -> bool:
    from huggingface_hub.errors import HfHubHTTPError, HTTPError  # type: ignore[attr-defined]

    if isinstance(error, HfHubHTTPError):
        return error.response.status_code >= 500
    return isinstance(error, HTTPError | ConnectionError | TimeoutError)


def first_line(error: Exception) -> str:
    lines = (line.strip(" .") for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)


def explained(error: Exception, repository: str, revision: str) -> CheckpointError:
    from huggingface_hub import errors as hub
    from huggingface_hub.constants import ENDPOINT

    # The client wraps what failed on the way in a "not in the cache".
    if isinstance(error, hub.LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    match error:
        case hub.GatedRepoError():
            text = (
                f"{repository} is gated: its files are only for those who accepted its licence. "
                f"Accept it on {ENDPOINT}/{repository}, log in with `hf auth login`, "
                "and run this again."
            )
        case hub.RepositoryNotFoundError():
            text = (
                f"The hub shows no repository {repository}: it is missing, private or gated. "
                "Check the name, or log in with `hf auth login` if it is private or gated."
            )
        case hub.RevisionNotFoundError():
            text = (
                f"{repository} has no revision {revision!r}. "
                f"Take a branch, tag or commit that {ENDPOINT}/{repository}/commits/main shows."
            )
        case hub.HfHubHTTPError():
            text = (
                f"The hub refused {repository} with HTTP {error.response.status_code} "
                f"({first_line(error)}). "
                "Run this again later; for 401 or 403 log in anew with `hf auth login`."
            )
        case _ if os.strerror(errno.ENOSPC) in str(error):  # xet's errors have the text, no number
            text = (
                f"The disk is full, so {repository} could not be stored ({first_line(error)}). "
                "Free some space, or give another cache folder, and run this again."
            )
        case _ if is_unreachable(error):
            text = (
                f"The connection to the hub broke while getting {repository} ({first_line(error)}). "
                "Run this again: files that are complete are kept."
            )
        case _:
            text = (
                f"{repository} could not be downloaded ({type(error).__name__}: {first_line(error)}). "
                "Check the cache folder and HF_ENDPOINT, and run this again."
            )
    return CheckpointError(text)
