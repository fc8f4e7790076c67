"""A repository of the hub -> files in the hub's cache, at one commit."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from pathlib import Path

from loader.checkpoint.code import first_code, refusal, refuse_code
from loader.checkpoint.disk import Checkpoint, checked, no_weights
from loader.checkpoint.hub_errors import explained, failures, first_line, is_unreachable
from loader.errors import CheckpointError

_PATTERNS = ("*.json", "*.jsonl", "*.safetensors", "*.model", "*.tiktoken", "*.txt", "*.jinja")
_PART = r"\w(?:[\w.-]{0,94}\w)?"
_REPOSITORY = re.compile(rf"(?!.*(?:--|\.\.|\.git$)){_PART}/{_PART}", re.ASCII)
# The revision becomes a path in the cache, so it must not climb out of it.
_REVISION = re.compile(r"(?!.*\.\.)[^\s/\\.-][^\s\\]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def download(
    repository: str,
    *,
    revision: str | None = None,
    cache_dir: Path | None = None,
    trust_remote_code: bool = False,
    progress: bool = True,
    local_files_only: bool = False,
    admit: Callable[[int], None] | None = None,
) -> Checkpoint:
    """Get `repository` at one commit through the hub's cache, and check it.

    `revision` is a branch, tag or commit (None: main). Without a network the cache alone is used.
    `admit` is called with the bytes of the weights, before any file is fetched; what it raises ends this.
    """
    revision = revision or "main"
    _check_names(repository, revision)
    if local_files_only:
        reason = "the network may not be used (local_files_only)"
        return _from_cache(repository, revision, cache_dir, trust_remote_code, reason)
    try:
        commit, files = listing(repository, revision, sizes=admit is not None)
    except failures() as error:
        if not is_unreachable(error):
            raise explained(error, repository, revision) from error
        reason = f"the network or the hub is not reachable ({first_line(error)})"
        return _from_cache(repository, revision, cache_dir, trust_remote_code, reason)
    _check_listing(list(files), repository, trust_remote_code)
    weights = [size for name, size in files.items() if name.endswith(".safetensors") and "/" not in name]
    if admit is not None and None not in weights:
        admit(sum(size or 0 for size in weights))
    try:
        folder = _fetch(repository, commit, cache_dir, with_code=trust_remote_code, progress=progress)
    except failures() as error:
        raise explained(error, repository, revision) from error
    checkpoint = checked(folder, repository, commit, trust_remote_code)
    _remember(folder, revision, commit)
    return checkpoint


def _check_names(repository: str, revision: str) -> None:
    if not _REPOSITORY.fullmatch(repository):
        raise CheckpointError(
            f"{repository!r} is not a repository of the hub: that is owner/name in letters, "
            "digits, '-', '_' and '.'. Check the name, or give the path of a folder."
        )
    if not _REVISION.fullmatch(revision):
        raise CheckpointError(
            f"{revision!r} cannot be a revision: that is a branch, a tag or a commit. Check the name."
        )


def listing(repository: str, revision: str, *, sizes: bool) -> tuple[str, dict[str, int | None]]:
    """The commit, and the files with their bytes, as far as the hub says."""
    from huggingface_hub import HfApi
    from huggingface_hub.constants import HF_HUB_ETAG_TIMEOUT

    # Without a timeout the client waits for ever on a network that swallows packets.
    info = HfApi().model_info(
        repository, revision=revision, timeout=HF_HUB_ETAG_TIMEOUT, files_metadata=sizes
    )
    if not _COMMIT.fullmatch(info.sha or ""):
        raise ValueError(f"the answer names no commit but {info.sha!r}")
    return str(info.sha), {file.rfilename: file.size for file in info.siblings or ()}


def _check_listing(files: list[str], repository: str, trust_remote_code: bool) -> None:
    found = None if trust_remote_code else first_code(files)
    if found:
        raise refusal(repository, found)
    if not any(name.endswith(".safetensors") and "/" not in name for name in files):
        raise no_weights(repository, files)


def _fetch(
    repository: str,
    revision: str,
    cache_dir: Path | None,
    *,
    with_code: bool,
    progress: bool = False,
    offline: bool = False,
) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils.tqdm import tqdm

    # The client's own switch is global: it would hide the bars of other threads too.
    class Hidden(tqdm):
        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **{**options, "disable": True})  # type: ignore[no-untyped-call]

    folder = snapshot_download(
        repository,
        revision=revision,
        cache_dir=cache_dir,
        allow_patterns=[*_PATTERNS, *(["*.py"] if with_code else [])],
        tqdm_class=None if progress else Hidden,
        local_files_only=offline,
    )
    return Path(folder)


def _from_cache(
    repository: str, revision: str, cache_dir: Path | None, trust_remote_code: bool, reason: str
) -> Checkpoint:
    """The checkpoint as it is in the cache, if all of it is; `reason` says why only there."""
    try:
        folder = _fetch(repository, revision, cache_dir, with_code=trust_remote_code, offline=True)
    except OSError as error:
        raise CheckpointError(
            f"{repository} at {revision} is not (or not completely) in the cache, and {reason}. "
            "Connect to the network and run this again."
        ) from error
    if not trust_remote_code:
        refuse_code(folder)  # here, so that the wrapping below does not hide what this is about
    try:
        return checked(folder, repository, folder.name, trust_remote_code)
    except CheckpointError as error:
        raise CheckpointError(
            f"{repository} at {revision} is not complete in the cache, and {reason}. "
            f"Connect to the network and run this again. What was found: {error}"
        ) from error


def _remember(folder: Path, revision: str, commit: str) -> None:
    """Note in the cache which commit `revision` is, so that it is found without a network.

    The client does so only when it resolves the name itself. Doing it after the last file means
    that a name never points to a commit of which only a part is there.
    """
    if revision == commit:
        return
    note = folder.parents[1] / "refs" / revision
    with contextlib.suppress(OSError):  # a cache that only allows reading is good enough to load from
        note.parent.mkdir(parents=True, exist_ok=True)
        fresh = note.with_name(f"{note.name}.{os.getpid()}.tmp")
        fresh.write_text(commit)
        fresh.replace(note)
