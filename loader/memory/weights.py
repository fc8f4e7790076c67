"""The size of weights: real files where there are some, otherwise what the card counted."""

from __future__ import annotations

from pathlib import Path

from loader.errors import CheckpointError


def of_folder(folder: Path) -> int:
    """Bytes of a checkpoint's weight files.

    Raises CheckpointError where there are none.
    """
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    if not size:
        raise CheckpointError(
            f"{folder} has no weights: no file in it ends in .safetensors. Give the folder of a checkpoint."
        )
    return size


def of_hub(repository: str, revision: str | None = None) -> int:
    """Bytes of a repository's weight files, by the hub's metadata: nothing is downloaded.

    Raises CheckpointError where the hub does not answer, or the repository has no weights.
    """
    from loader.checkpoint.hub import listing
    from loader.checkpoint.hub_errors import explained, failures, first_line, is_unreachable

    try:
        _, files = listing(repository, revision or "main", sizes=True)
    except failures() as error:
        if is_unreachable(error):
            raise CheckpointError(
                f"The hub is not reachable ({first_line(error)}), so the size of {repository} is not known. "
                "Connect to the network, or use the size that the card counted."
            ) from error
        raise explained(error, repository, revision or "main") from error
    size = sum(
        bytes_ or 0 for name, bytes_ in files.items() if name.endswith(".safetensors") and "/" not in name
    )
    if not size:
        raise CheckpointError(
            f"{repository} has no weights: no file in it ends in .safetensors. Check the name."
        )
    return size
