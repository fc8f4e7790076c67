"""How tokens are chosen, and the check of numbers that callers pass.

A number of the wrong kind is refused here: the backend would take 2.5 tokens for no limit at all.
"""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass

from loader.errors import UnsupportedFeatureError


@dataclass(frozen=True, slots=True)
class Sampling:
    """Options of one answer.

    The checkpoint's own generation_config.json has no say: with a top_k of 1 in it, as some have, a
    caller's temperature would change nothing.
    """

    max_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        whole("max_tokens", self.max_tokens, least=1)
        number("temperature", self.temperature, least=0)
        number("top_p", self.top_p, least=0)
        whole("top_k", self.top_k, least=0)
        if self.repetition_penalty is not None:
            number("repetition_penalty", self.repetition_penalty, least=0)
        if self.seed is not None:
            whole("seed", self.seed, least=0)
        for name, kind in (("max_tokens", int), ("temperature", float), ("top_p", float), ("top_k", int)):
            object.__setattr__(self, name, kind(getattr(self, name)))  # the backend chokes on numpy's


def whole(name: str, value: object, *, least: int) -> None:
    """Raises UnsupportedFeatureError where `value` is not a whole number from `least`."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < least:
        raise UnsupportedFeatureError(f"{name}={value!r} is no use here. Give a whole number from {least}.")


def number(name: str, value: object, *, least: float) -> None:
    """Raises UnsupportedFeatureError where `value` is not a finite number from `least`."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not real or not math.isfinite(float(value)) or float(value) < least:  # type: ignore[arg-type]
        raise UnsupportedFeatureError(f"{name}={value!r} is no use here. Give a number from {least}.")
