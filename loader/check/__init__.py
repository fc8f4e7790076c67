"""Is this checkpoint what its card says, and does the model see?

First without weights: files, settings, tokens and template against the card, then the checkpoint's own
processor against the plans. Then with weights: a canary, a few questions about generated images whose
next-token distributions have to be the same or to differ. No answer is read, so that the smallest model
and the largest are asked the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from loader.check import canary, files, processor, settings, template
from loader.check.line import Line
from loader.errors import MemoryBudgetError, MLXCardsError

if TYPE_CHECKING:
    from loader.weighing import Scales
    from registry.cards import Card

__all__ = ["Line", "check"]


def check(
    name: str | os.PathLike[str],
    *,
    card: Card | str | None = None,
    weights: bool = True,
    revision: str | None = None,
    trust_remote_code: bool = False,
    progress: bool = True,
) -> Iterator[Line]:
    """What is found about a checkpoint, line by line, as soon as it is known.

    `name` and `card` are those of `loader.load`; `weights=False` leaves the canary out. Code in the
    checkpoint runs only with `trust_remote_code`. Raises UnknownModelError for a name that means nothing,
    CheckpointError for what cannot be downloaded, MemoryBudgetError for what this machine cannot hold.
    """
    from loader.find import card_of, chosen
    from loader.weighing import Scales, machine

    choice = chosen(name, quantization="auto", device=None)
    scales = Scales(name, choice, machine(None), weights)
    folder, named = _fetched(scales, card, revision, trust_remote_code, progress)
    found = yield from files.check(folder, trust_remote_code=trust_remote_code)
    if found is None:
        return
    try:
        agreed = card_of(found.checkpoint, named)
    except MLXCardsError as error:
        yield Line("card", "fail", str(error))
        return
    yield Line("card", "pass", f"{agreed.name}, of the card {agreed.id}")
    yield from settings.check(agreed, found.checkpoint)
    yield from template.check(agreed, found.checkpoint.folder)
    why_not = None if found.code_may_run else "the checkpoint brings code, and nothing of it is loaded"
    if why_not:
        yield Line("processor", "skip", why_not)
    elif not (yield from processor.check(agreed, found.checkpoint, trust_remote_code=trust_remote_code)):
        why_not = "the processor has to be mended first"
    if not weights:
        why_not = "it was not asked for"
    yield from _canary(agreed, found, scales, trust_remote_code, why_not)


def _fetched(
    scales: Scales, card: Card | str | None, revision: str | None, trust_remote_code: bool, progress: bool
) -> tuple[Path, Card | str | None]:
    """The folder, and the card that is named for it. A folder of the caller's own is not looked into yet."""
    from loader.find import fetched, is_folder

    if is_folder(scales.name):
        return Path(scales.name).expanduser(), card
    scales.weigh_choice()
    named, whole = fetched(
        scales.name,
        scales.choice,
        card=card,
        revision=revision,
        trust_remote_code=trust_remote_code,
        progress=progress,
        admit=scales.weigh_hub,
    )
    return whole.folder, named


def _canary(
    card: Card, found: files.Found, scales: Scales, trust_remote_code: bool, why_not: str | None
) -> Iterator[Line]:
    if why_not is None and not found.weights:
        why_not = "the weights are not all there"
    if why_not is None:
        try:
            scales.weigh_files(card, found.checkpoint)
        except MemoryBudgetError as error:
            why_not = str(error)
    if why_not is not None:
        yield Line("canary", "skip", why_not)
        return
    yield from canary.check(card, found.checkpoint, trust_remote_code=trust_remote_code)
