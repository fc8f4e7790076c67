"""What an estimate says: its parts, its total, its verdict, and what to do next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from loader.device import Device

Kind = Literal["exact", "estimate", "unknown"]
Verdict = Literal["fits", "pages", "refuses", "unknown"]
"""fits: within the memory that is free; pages: MLX allocates, and the machine crawls; refuses: MLX does
not allocate; unknown: some part is not known, and what is known fits."""
Source = Literal["computed", "files", "hub"]
"""Where the weights' size is from: the card, which was counted; a folder; the hub's file sizes."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the memory."""

    bytes: int | None
    """None: not known, never zero."""
    kind: Kind
    why: str
    """What it is computed from, in a few words."""

    def __post_init__(self) -> None:
        if (self.bytes is None) != (self.kind == "unknown"):
            raise ValueError("a part is unknown exactly when it has no bytes")


@dataclass(frozen=True, slots=True)
class Estimate:
    """The memory of a request: at most two things happen, one after the other.

    The images are encoded, then the prompt is read and answered. What the first takes is free again in
    the second, so `total` = weights + overhead + max(vision, kv_cache + prefill).
    """

    parts: dict[str, Part]
    """weights, vision, kv_cache, prefill, overhead."""
    buffer: Part
    """The biggest single allocation besides the stored weights' files."""
    weights_source: Source | None
    """Where the size of the weights is from; None: it is not known."""
    tokens: int
    """Positions of prompt and answer."""
    device: Device
    verdict: Verdict
    reason: str
    """The number that decides, in one sentence."""
    _advise: Callable[[], tuple[str, ...]] = field(compare=False, repr=False)

    @property
    def weights(self) -> int | None:
        """Bytes of the model's weights."""
        return self.parts["weights"].bytes

    @property
    def vision(self) -> int | None:
        """Bytes while the images are encoded."""
        return self.parts["vision"].bytes

    @property
    def kv_cache(self) -> int | None:
        """Bytes of keys, values and states at the end of the answer."""
        return self.parts["kv_cache"].bytes

    @property
    def prefill(self) -> int | None:
        """Bytes while one chunk of the prompt is read."""
        return self.parts["prefill"].bytes

    @property
    def overhead(self) -> int | None:
        """Bytes of pixels, and on Metal the margin of an estimate that nobody has measured."""
        return self.parts["overhead"].bytes

    @property
    def largest_buffer(self) -> int | None:
        """Bytes of the biggest single allocation."""
        return self.buffer.bytes

    @property
    def total(self) -> int | None:
        """Bytes at the peak; None where a part is unknown."""
        if any(part.bytes is None for part in self.parts.values()):
            return None
        return self.at_least

    @property
    def at_least(self) -> int:
        """Bytes of what is known, at the peak: a lower bound, the total where everything is known."""
        known = {name: part.bytes or 0 for name, part in self.parts.items()}
        return (
            known["weights"] + known["overhead"] + max(known["vision"], known["kv_cache"] + known["prefill"])
        )

    @property
    def advice(self) -> tuple[str, ...]:
        """What to do next, each a sentence: what would fit, and the command that gives the GPU more."""
        return self._advise()

    def to_dict(self) -> dict[str, Any]:
        """The estimate as plain data, for JSON."""
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "advice": list(self.advice),
            "total": self.total,
            "at_least": self.at_least,
            "largest_buffer": self.largest_buffer,
            "parts": {
                name: {"bytes": part.bytes, "kind": part.kind, "why": part.why}
                for name, part in self.parts.items()
            },
            "weights_source": self.weights_source,
            "tokens": self.tokens,
            "device": {
                "name": self.device.name,
                "memory": self.device.memory,
                "working_set": self.device.working_set,
                "room": self.device.room,
                "limit": self.device.limit,
                "buffer_limit": self.device.buffer_limit,
                "measured": self.device.measured,
            },
        }


def unknown(why: str) -> Part:
    """A part that the card does not establish."""
    return Part(None, "unknown", why)
