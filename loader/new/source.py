"""What a card is made from: the small files of a checkpoint, in a folder or at one commit of the hub."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loader.checkpoint.code import refuse_code
from loader.checkpoint.files import json_object
from loader.checkpoint.hub_errors import explained, failures
from loader.checkpoint.template import ChatTemplate, chat_template
from loader.errors import CheckpointError
from registry.cards import COMMIT, REPOSITORY

_SMALL = ("*.json", "*.jinja", "*.model", "*.tiktoken", "*.txt", "README.md")
_HUB = "https://huggingface.co"
_LONGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Files:
    """The files, and where they are from."""

    folder: Path
    repository: str | None
    commit: str | None
    downloaded: bool
    """From the hub, not from a folder that somebody says is a copy."""
    config: dict[str, Any]
    image_settings: dict[str, Any]
    """preprocessor_config.json, or the image processor's part of processor_config.json."""
    processor_settings: dict[str, Any]
    """processor_config.json."""
    about: dict[str, Any]
    """The front matter of README.md: licence and base model as the hub shows them."""
    template: ChatTemplate | None
    code: str | None
    """Why nothing of the checkpoint is loaded: it brings code of its own."""

    @property
    def model_type(self) -> str:
        return str(self.config["model_type"])

    def url(self, name: str) -> str | None:
        """The page of a file at its commit, of the repository without one, None for a folder from nowhere."""
        if self.repository is None:
            return None
        page = f"{_HUB}/{self.repository}"
        return page if self.commit is None else f"{page}/blob/{self.commit}/{name}"

    @property
    def origin(self) -> str:
        """What they are files of, in words."""
        name = self.repository or self.folder.name
        return f"{name} at {self.commit}" if self.commit else name

    def has(self, name: str) -> bool:
        return (self.folder / name).is_file()


def files_of(
    source: str | os.PathLike[str], *, revision: str | None = None, copy_of: str | None = None
) -> Files:
    """The files of a folder, or of a hub repository at `revision` (None: its newest commit, which is named).

    `copy_of` is the repository that a folder was copied from, `revision` the commit.

    Raises CheckpointError where they cannot be had, or are no checkpoint.
    """
    from loader.find import is_folder

    if not is_folder(source):
        repository = os.fspath(source)
        if not re.fullmatch(REPOSITORY, repository):
            raise CheckpointError(
                f"{repository!r} is no owner/name of the hub, and not written as a folder. "
                f"If it is a folder, write ./{repository}."
            )
        if copy_of is not None:
            raise CheckpointError(
                f"{repository} is no folder, so it is no copy of {copy_of}. "
                "Leave --copy-of out, or name a folder."
            )
        folder, commit = _download(repository, revision or "main")
        return _read(folder, repository, commit, downloaded=True)
    _check_copy(copy_of, revision)
    return _read(Path(source).expanduser(), copy_of, revision, downloaded=False)


def _check_copy(repository: str | None, commit: str | None) -> None:
    if repository is not None and not re.fullmatch(REPOSITORY, repository):
        raise CheckpointError(f"{repository!r} is no hub repository. Write it as owner/name.")
    if commit is not None and repository is None:
        raise CheckpointError(
            "A folder has no revisions. Leave --revision out, or say with --copy-of what it is a copy of."
        )
    if commit is not None and not re.fullmatch(COMMIT, commit):
        raise CheckpointError(
            f"{commit!r} is no commit, and a branch moves. Give the 40 digits of the commit that was copied."
        )


def _download(repository: str, revision: str) -> tuple[Path, str]:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.constants import HF_HUB_ETAG_TIMEOUT

    try:
        info = HfApi().model_info(repository, revision=revision, timeout=HF_HUB_ETAG_TIMEOUT)
        folder = snapshot_download(repository, revision=info.sha, allow_patterns=list(_SMALL))
    except failures() as error:
        raise explained(error, repository, revision) from error
    return Path(folder), str(info.sha)


def _read(folder: Path, repository: str | None, commit: str | None, *, downloaded: bool) -> Files:
    where = repository or str(folder)
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder} is no folder. Give a checkpoint's folder, or an owner/name of the hub."
        )
    try:
        config = json_object(folder / "config.json")
    except OSError as error:
        raise CheckpointError(
            f"{where} has no config.json that can be read, so nothing is known of its architecture. "
            "Give the folder or repository of a checkpoint."
        ) from error
    if not isinstance(config.get("model_type"), str) or not config["model_type"]:
        raise CheckpointError(f"config.json of {where} has no model_type. Give the checkpoint of a model.")
    processor = _optional(folder / "processor_config.json")
    nested = processor.get("image_processor")
    settings = _optional(folder / "preprocessor_config.json") or (nested if isinstance(nested, dict) else {})
    return Files(
        folder,
        repository,
        commit,
        downloaded,
        config,
        settings,
        processor,
        _front_matter(folder / "README.md"),
        chat_template(folder),
        _code(folder),
    )


def _optional(path: Path) -> dict[str, Any]:
    return json_object(path) if path.is_file() else {}


def _code(folder: Path) -> str | None:
    try:
        refuse_code(folder)
    except CheckpointError as error:
        return str(error).partition(", and it would")[0]
    return None


def _front_matter(path: Path) -> dict[str, Any]:
    """What stands between the first two lines of dashes; nothing where there is none or it is no YAML."""
    import yaml

    if not path.is_file() or path.stat().st_size > _LONGEST:
        return {}
    start, *rest = path.read_text(encoding="utf-8", errors="replace").split("\n---", 1)
    if not start.startswith("---") or not rest:
        return {}
    try:
        data = yaml.safe_load(start[3:])
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
