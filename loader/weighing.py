"""The check before a model is loaded: whether this machine can hold its weights.

Three times, each as early as the size is known: by what the card counted, by the hub's file sizes, and by
the files themselves.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loader.device import Device, find
from loader.errors import MemoryBudgetError, UnsupportedFeatureError
from loader.memory.request import Request
from loader.memory.result import Estimate, Part, Source, unknown
from loader.memory.totals import compute
from loader.memory.verdict import verdict_of
from loader.memory.weights import of_folder

if TYPE_CHECKING:
    from loader.checkpoint import Checkpoint
    from loader.resize import ImagePlan
    from registry.cards import Card
    from registry.choice import Choice

OVERRIDE = (
    "To try it all the same, give memory_limit= or check_memory=False (--memory-limit, --no-memory-check)."
)
_BYTES = {None: 1, "mb": 10**6, "gb": 10**9, "mib": 1024**2, "gib": 1024**3}
_LIMIT = re.compile(r"(\d{1,15}(?:\.\d+)?) ?(mb|gb|mib|gib)?")


def machine(memory_limit: int | str | None) -> Device:
    """This machine; with a limit, a machine of so much memory, all of it free.

    `memory_limit`: bytes, or text such as "20gb" (10^9) or "20gib" (2^30).
    """
    here = find(None)
    if memory_limit is None:
        return here
    limit = _bytes(memory_limit)
    # On Metal a part of the memory is above what MLX allocates, and the limit is to be what it allocates.
    memory = -(-limit * 100 // 95) if here.engine == "metal" else limit
    name, buffer = "this machine with memory_limit", here.buffer_limit
    return Device(name, memory, limit, buffer, engine=here.engine, measured=True)


def _bytes(limit: object) -> int:
    size = limit if isinstance(limit, int) and not isinstance(limit, bool) else 0
    if isinstance(limit, str) and (match := _LIMIT.fullmatch(limit.strip().lower())):
        size = int(float(match[1]) * _BYTES[match[2]])
    if size < 1:
        raise UnsupportedFeatureError(
            f"memory_limit={limit!r} is no amount of memory. Give bytes as a whole number, or text: '20gb'."
        )
    return size


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights that are about to be loaded, or were."""

    bytes: int
    source: Source
    quantization: str | None = None


@dataclass(frozen=True, slots=True)
class Scales:
    """What weighs a model on the way from its name to its files."""

    name: str | os.PathLike[str]
    choice: Choice | None
    device: Device
    check: bool

    def weigh_choice(self) -> None:
        """By what the card counted, where it did. Raises MemoryBudgetError."""
        model = self.choice.card.model if self.choice is not None else None
        for name, weights in model.quantizations.items() if model is not None else ():
            if self.choice is not None and name == self.choice.quantization and weights.bytes is not None:
                self._weigh(Weights(weights.bytes, "computed", name), self.choice.card)

    def weigh_hub(self, size: int) -> None:
        """By the hub's file sizes, before any is fetched. Raises MemoryBudgetError."""
        chosen = self.choice
        quantization = None if chosen is None else chosen.quantization
        self._weigh(Weights(size, "hub", quantization), None if chosen is None else chosen.card)

    def weigh_files(self, card: Card, checkpoint: Checkpoint) -> Weights:
        """By the files. Logs a warning where the machine will page; raises MemoryBudgetError."""
        weights = Weights(of_folder(checkpoint.folder), "files", _quantization(checkpoint.config))
        made = self._weigh(weights, card)
        if self.check and made.verdict == "pages":
            logging.getLogger(__name__).warning("%s may page: %s", self._name, advised(made))
        return weights

    @property
    def _name(self) -> str:
        return self.choice.model if self.choice is not None else Path(self.name).name or str(self.name)

    def _weigh(self, weights: Weights, card: Card | None) -> Estimate:
        """The estimate of a model that is asked next to nothing."""
        if card is None:
            made = _of_weights(weights, self.device)
        else:
            made = compute(request_for(card, weights, (), text=1, answer=1), self.device)
        if self.check and made.verdict == "refuses":
            raise refused(f"{self._name} cannot be loaded", made)
        return made


def _quantization(config: Mapping[str, Any]) -> str | None:
    said = config.get("quantization")
    bits = said.get("bits") if isinstance(said, Mapping) else None
    return f"{bits}bit" if isinstance(bits, int) else None


def _of_weights(weights: Weights, device: Device) -> Estimate:
    """The estimate where no card is known yet."""
    others = ("vision", "kv_cache", "prefill", "overhead")
    parts = {"weights": Part(weights.bytes, "exact", "the sizes of the files on the hub")}
    parts |= {name: unknown("nothing is known of the model yet") for name in others}
    verdict, reason = verdict_of(weights.bytes, None, device, others)
    buffer = unknown("nothing is known of the model yet")
    return Estimate(parts, buffer, weights.source, 0, device, verdict, reason, tuple)


def request_for(
    card: Card, weights: Weights, plans: Sequence[ImagePlan], *, text: int, answer: int
) -> Request:
    """A request with these weights and images that are planned."""
    return Request(
        card,
        tuple(plan.source for plan in plans),
        answer,
        text_tokens=text,
        quantization=weights.quantization,
        weights=weights.bytes,
        weights_source=weights.source,
        planned=tuple(plans),
    )


def advised(estimate: Estimate) -> str:
    """The number that decides, and what to do."""
    return " ".join((estimate.reason, *estimate.advice))


def refused(what: str, estimate: Estimate) -> MemoryBudgetError:
    """The error for what MLX would not allocate."""
    return MemoryBudgetError(f"{what}: {advised(estimate)} {OVERRIDE}", estimate=estimate)
