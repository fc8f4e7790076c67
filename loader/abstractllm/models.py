"""From a configuration to a loaded model: the registry decides whether it sees."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import loader
from loader import checkpoint as checkpoints
from loader.errors import MemoryBudgetError, UnknownModelError
from loader.find import is_folder
from loader.memory.weights import of_folder
from loader.text_model import TextModel
from loader.weighing import OVERRIDE, machine
from registry.catalog import all_cards
from registry.choice import gigabytes

if TYPE_CHECKING:
    from loader.checkpoint import Checkpoint
    from loader.model import VisionModel

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_DOWNLOADING = ("cache_dir", "local_files_only")


def open_model(name: str, options: dict[str, Any]) -> VisionModel | TextModel:
    """The model that `name` means: the one of a card, or one of text where no card is for it.

    `options` are those of `registry.load`. Raises this project's errors.
    """
    if options.get("card") is None and not _in_catalog(name):
        checkpoint = _files(name, options)
        if not _sees(checkpoint):
            _check_weights(checkpoint, options)
            return TextModel(checkpoint, trust_remote_code=bool(options.get("trust_remote_code")))
        options = {**options, "revision": checkpoint.revision}
    return loader.load(name, **options)


def _in_catalog(name: str) -> bool:
    if is_folder(name):
        return False
    try:
        all_cards().find(name)
    except UnknownModelError:
        if not _REPOSITORY.fullmatch(name):
            raise
        return False
    return True


def _files(name: str, options: dict[str, Any]) -> Checkpoint:
    trust = bool(options.get("trust_remote_code"))
    if is_folder(name):
        return checkpoints.local(Path(name).expanduser(), trust_remote_code=trust)
    given = {key: options[key] for key in _DOWNLOADING if key in options}
    if given.get("cache_dir") is not None:
        given["cache_dir"] = Path(given["cache_dir"])
    return checkpoints.download(name, revision=options.get("revision"), trust_remote_code=trust, **given)


def _sees(checkpoint: Checkpoint) -> bool:
    """Whether a checkpoint is for `registry.load`, which also says what to do where several cards fit."""
    return (
        all_cards().find_model_type(checkpoint.model_type) is not None or "vision_config" in checkpoint.config
    )


def _check_weights(checkpoint: Checkpoint, options: dict[str, Any]) -> None:
    """Raises MemoryBudgetError where MLX would not allocate a text model's weights: more is not known."""
    weights, limit = of_folder(checkpoint.folder), machine(options.get("memory_limit")).limit
    if options.get("check_memory", True) and weights > limit:
        raise MemoryBudgetError(
            f"{checkpoint.repository or checkpoint.folder.name} cannot be loaded: its weights take "
            f"{gigabytes(weights)}, and {gigabytes(limit)} can be allocated. {OVERRIDE}"
        )
