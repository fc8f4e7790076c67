"""From what a user names to a card, a checkpoint on disk, and the loaded model."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from loader import checkpoint as checkpoints
from loader.backend import Backend
from loader.checkpoint import Checkpoint
from loader.checkpoint.template import ChatTemplate, chat_template
from loader.errors import CheckpointError, UnknownModelError, UnsupportedFeatureError
from loader.guard import Guard
from loader.model import VisionModel
from loader.prompt.upstream import check_drift
from loader.weighing import Scales, machine
from registry.catalog import all_cards
from registry.naming import Target

if TYPE_CHECKING:
    from loader.device import Device
    from registry.cards import Card
    from registry.choice import Choice

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def load(
    name: str | os.PathLike[str],
    *,
    quantization: str = "auto",
    device: Device | str | None = None,
    card: Card | str | None = None,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    trust_remote_code: bool = False,
    prompt: Literal["card", "checkpoint"] = "card",
    strict: bool = False,
    progress: bool = True,
    memory_limit: int | str | None = None,
    check_memory: bool = True,
) -> VisionModel:
    """Load a model: a name ("qwen2.5-vl-32b", "qwen2.5-vl-32b@6bit"), a hub repository, or a folder.

    `card` names the model that a folder or an unlisted repository holds; without it the checkpoint's
    `model_type` decides, when one family has it. `revision` is a branch, tag or commit of the hub.
    `trust_remote_code` lets Python inside the checkpoint run with your rights.

    A checkpoint whose own chat template says a few test conversations otherwise than the card is
    reported once, in the log; `strict` refuses it, `prompt="checkpoint"` uses its template.

    Weights that this machine cannot hold are refused before anything is downloaded. `memory_limit`, in
    bytes or as "20gb", replaces what the machine has, here and in the model's calls; `check_memory=False`
    checks nothing. `device` only chooses a quantization, without it this machine does, or its limit.

    Raises UnknownModelError, CheckpointError, UnsupportedFeatureError, MemoryBudgetError.
    """
    here = machine(memory_limit)
    choice = chosen(name, quantization=quantization, device=here if device is None else device)
    scales = Scales(name, choice, here, check_memory)
    scales.weigh_choice()
    found, checkpoint = fetched(
        name,
        choice,
        card=card,
        revision=revision,
        admit=scales.weigh_hub,
        cache_dir=None if cache_dir is None else Path(cache_dir),
        local_files_only=local_files_only,
        trust_remote_code=trust_remote_code,
        progress=progress,
    )
    template = _template(found, checkpoint, prompt, strict=strict)
    guard = Guard(found, scales.weigh_files(found, checkpoint), scales.device, check_memory)
    backend = Backend(checkpoint.folder, found.backend, trust_remote_code=trust_remote_code)
    if found.image is not None and found.image.positions == "token":
        backend.check_image_token(found.image.token, checkpoint.config)
    return VisionModel(found, checkpoint, backend, template, guard=guard, choice=choice)


def _template(card: Card, checkpoint: Checkpoint, prompt: str, *, strict: bool) -> ChatTemplate | None:
    """The checkpoint's own chat template where it is to be used; otherwise it is held against the card."""
    if prompt not in ("card", "checkpoint"):
        raise UnsupportedFeatureError(f"prompt={prompt!r} is not known. Use card or checkpoint.")
    template = chat_template(checkpoint.folder)
    if prompt == "checkpoint":
        if template is None:
            raise CheckpointError(
                f"{checkpoint.folder.name} ships no chat template. Use the card's: prompt='card'."
            )
        return template
    if template is not None:
        name = checkpoint.repository or checkpoint.folder.name
        catalog = all_cards()
        siblings = (catalog.card(Target(card.id, key)) for key in card.models if key != card.key)
        if (message := check_drift(card, template, name, siblings, strict=strict)) is not None:
            logging.getLogger(__name__).warning(message)
    return None


def chosen(name: str | os.PathLike[str], *, quantization: str, device: Device | str | None) -> Choice | None:
    """The checkpoint of a card that `name` means; None for a folder, and a repository that no card lists."""
    if is_folder(name):
        return None
    name = os.fspath(name)
    try:
        all_cards().find(name)
    except UnknownModelError:
        if not _REPOSITORY.fullmatch(name):
            raise
        return None
    from registry.choice import choose

    choice = choose(all_cards(), name, quantization=quantization, device=device)
    logging.getLogger(__name__).info("%s@%s: %s", choice.model, choice.quantization, choice.why)
    return choice


def fetched(
    name: str | os.PathLike[str],
    choice: Choice | None,
    *,
    card: Card | str | None,
    revision: str | None,
    trust_remote_code: bool,
    **download: Any,
) -> tuple[Card, Checkpoint]:
    """The card and the checked files of what was chosen, or of what `name` is by itself."""
    if is_folder(name):
        checkpoint = checkpoints.local(Path(name).expanduser(), trust_remote_code=trust_remote_code)
        return card_of(checkpoint, card), checkpoint
    repository = os.fspath(name)
    if choice is not None:
        card = card or choice.card
        if choice.repository is None:
            assert choice.folder is not None  # noqa: S101  # a card's weights are in one or the other
            checkpoint = checkpoints.local(choice.folder, trust_remote_code=trust_remote_code)
            return card_of(checkpoint, card), checkpoint
        repository, revision = choice.repository, revision or choice.revision
    checkpoint = checkpoints.download(
        repository, revision=revision, trust_remote_code=trust_remote_code, **download
    )
    return card_of(checkpoint, card), checkpoint


def is_folder(name: str | os.PathLike[str]) -> bool:
    """A path object, or a string that can only be meant as a path."""
    if not isinstance(name, str):
        return True
    if name.startswith((".", "/", "~")):
        return True
    return "/" in name and Path(name).is_dir()


def card_of(checkpoint: Checkpoint, card: Card | str | None) -> Card:
    """The named card, or the one family that has the checkpoint's model type; they must agree."""
    catalog = all_cards()
    if isinstance(card, str):
        card = catalog.card(catalog.find(card).without_quantization())
    if card is None:
        target = catalog.find_model_type(checkpoint.model_type)
        if target is None:
            raise UnsupportedFeatureError(
                f"{checkpoint.folder.name} is of model type {checkpoint.model_type!r}, and no card is for "
                "that, or more than one. "
                "Name the card that fits (card=NAME, --card NAME), or write one: docs/cards.md."
            )
        return catalog.card(target)
    if checkpoint.model_type not in card.backend.model_types:
        raise CheckpointError(
            f"{checkpoint.folder.name} is of model type {checkpoint.model_type!r}, and {card.name} "
            f"takes {' or '.join(card.backend.model_types)}. Name the card that it belongs to."
        )
    return card
