"""A measurement beside what loader.memory estimates for the same question, with the weights left out of both.

The weights are exact, and large: with them every difference would look smaller than it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from loader.device import Device
from loader.memory.request import Request
from loader.memory.totals import compute
from tools.measure.cases import card_of
from tools.measure.record import Measurement

SHARE = 0.9
"""Aim: so many of the runs ..."""
NEAR = 0.10
"""... differ by so much at most ..."""
BELOW = 0.05
"""... and no estimate is lower than measured by more than this."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One run: bytes besides weights."""

    run: Measurement
    measured: int
    estimated: int

    @property
    def difference(self) -> float:
        """Of the estimate, as a share of what was measured: negative where it is too low."""
        return self.estimated / self.measured - 1


def compare(run: Measurement) -> Comparison:
    """The estimate for the backend that computed, and for the positions that the prompt had."""
    device = Device(run.machine.chip, run.machine.memory, run.machine.memory, engine=run.engine)
    request = Request(
        card=card_of(run.model, run.changes),
        images=run.images,
        max_tokens=run.answer_tokens,
        detail=run.detail,
        quantization=run.quantization,
        weights=run.weights,
        weights_source="files",
    )
    images = sum(plan.tokens or plan.image_tokens for plan in request.plans())
    made = compute(replace(request, text_tokens=run.prompt_tokens - images), device)
    if made.total is None:
        raise ValueError(f"{run.model}: the card lacks dimensions, so that nothing can be compared")
    return Comparison(run, run.peak - run.weights, made.total - run.weights)


def meets_the_aim(compared: Sequence[Comparison]) -> bool:
    """Whether the estimates are as near as this project wants."""
    near = sum(abs(one.difference) <= NEAR for one in compared)
    return near >= SHARE * len(compared) and all(one.difference >= -BELOW for one in compared)
