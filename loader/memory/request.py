"""A request, as far as memory goes: which weights, which images, how many positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from loader.device import Engine
from loader.memory.result import Source
from loader.resize import Detail, ImagePlan, Size, plan_images

if TYPE_CHECKING:
    from registry.cards import Card

Attention = Literal["fused", "materialized"]
TEXT_TOKENS = 256
"""Positions of the prompt besides its images, when the caller does not say: a short question."""
PREFILL_CHUNK = 2048
"""Positions of the prompt that the backend reads at a time (mlx-vlm 0.7.10, DEFAULT_PREFILL_STEP_SIZE)."""
KV_QUANTIZED_FROM = 5000
"""Positions from which on the backend quantizes the cache, if asked to (DEFAULT_QUANTIZED_KV_START)."""
FUSED_HEADS = frozenset({64, 72, 80, 96, 128})
"""Sizes of a head for which MLX's Metal kernels fuse attention over a prompt. For 192 and 256 they mostly do
not, and the backend for processors never does (source of mlx 0.32)."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    card: Card
    images: tuple[Size, ...]
    max_tokens: int
    text_tokens: int = TEXT_TOKENS
    context: int | None = None
    detail: Detail = "auto"
    attention: Attention | None = None
    kv_bits: int | None = None
    prefill_chunk: int | None = PREFILL_CHUNK
    max_image_tokens: int | None = None
    max_image_pixels: int | None = None
    quantization: str | None = None
    weights: int | None = None
    weights_source: Source | None = None
    planned: tuple[ImagePlan, ...] | None = None

    def plans(self) -> tuple[ImagePlan, ...]:
        """What becomes of the images, each by itself: they are not shrunk to share a context."""
        if self.planned is not None:
            return self.planned
        if not self.images:
            return ()
        return tuple(
            plan_images(self.card, self.images, self.detail, self.max_image_tokens, self.max_image_pixels)
        )

    def prompt_tokens(self, plans: tuple[ImagePlan, ...]) -> int:
        """Positions of the prompt."""
        asked = self.text_tokens + sum(plan.tokens or plan.image_tokens for plan in plans)
        return max(asked, self.context or 0)

    def fuses(self, head: int, engine: Engine) -> bool:
        """Whether attention over many positions makes no matrix of scores, for heads of this size."""
        if self.attention is not None:
            return self.attention == "fused"
        return engine == "metal" and head in FUSED_HEADS


def bits_of(quantization: str | None) -> int:
    """Bits of a weight; an unknown quantization counts as the finest."""
    return int(quantization.removesuffix("bit")) if quantization and quantization.endswith("bit") else 16
