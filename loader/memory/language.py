"""Memory of the language model: the cache, and what reading one chunk of the prompt takes.

The factors were measured on MLX's backend for processors (mlx 0.32.4), as those of the vision encoder.
Of two measured pairs, for plain and for multimodal rotary positions, the larger one counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loader.memory.request import KV_QUANTIZED_FROM, bits_of

if TYPE_CHECKING:
    from loader.device import Engine
    from loader.memory.request import Request
    from registry.memory import Cache, TextTower

STEP = 256
"""Positions by which the cache grows."""
GROUP = 64
"""Elements of a quantized cache that share a scale and a bias of two bytes each."""
HIDDEN, QUERIES = 16.0, 6.0
"""Tensors of the model's width, and of its queries' width, that are alive together in 16 bits."""
HIDDEN_FLOAT32, QUERIES_FLOAT32 = 9.5, 4.0
LOGIT = 4
"""Bytes of a logit: sampling computes in 32 bits."""


@dataclass(frozen=True, slots=True)
class LanguageBytes:
    """Bytes of the language model."""

    kv_cache: int
    prefill: int
    largest: int
    """The biggest single allocation."""


@dataclass(frozen=True, slots=True)
class _Length:
    """Positions that the language model works on."""

    prompt: int
    total: int
    """Prompt and answer."""
    chunk: int
    """Read at a time."""
    states: int
    """Of images, which layers of cross-attention see."""


def language_bytes(
    text: TextTower, prompt: int, states: int, request: Request, engine: Engine, *, float32: bool
) -> LanguageBytes:
    """What a prompt of so many positions and its answer take; `states` of images are attended to besides."""
    size = 4 if float32 else 2
    chunk = min(request.prefill_chunk or prompt, prompt)
    length = _Length(prompt, prompt + request.max_tokens, chunk, states)
    scores = masks = 0
    if not request.fuses(text.head_dim, engine):
        pairs = _pairs(prompt, chunk)
        scores = text.heads * max(pairs, chunk * states) * size
        masks = pairs
    forward = chunk * _widest(text) * size
    a, b = (HIDDEN_FLOAT32, QUERIES_FLOAT32) if float32 else (HIDDEN, QUERIES)
    live = int(chunk * size * (a * text.hidden + b * text.heads * text.head_dim)) + 2 * forward
    logits = LOGIT * text.vocab * (1 if request.prefill_chunk else prompt)
    embeddings = prompt * text.hidden * size
    table = text.vocab * text.hidden * bits_of(request.quantization) // 8
    return LanguageBytes(
        kv_cache=sum(_cache(cache, length, size, request.kv_bits) for cache in text.caches),
        prefill=scores + masks + live + embeddings + logits,
        largest=max(scores, forward, logits, embeddings, table),
    )


def _pairs(prompt: int, chunk: int) -> int:
    """Positions read times positions seen, of the chunk that has most: the last full one, or what is left."""
    full = prompt - prompt % chunk if chunk else 0
    return max(chunk * full, (prompt - full) * prompt)


def _widest(text: TextTower) -> int:
    """Width of the feed-forward part, or of all that one token uses of it."""
    experts = (text.active_experts or 0) * (text.expert_intermediate or 0) + (text.shared_intermediate or 0)
    return max(text.intermediate or 0, experts)


def _cache(cache: Cache, length: _Length, size: int, kv_bits: int | None) -> int:
    """Bytes that all layers of one entry keep at most."""
    size = 4 if cache.float32 else size
    if cache.state is not None:
        return cache.layers * cache.state * size
    row = cache.layers * (cache.width or 0)
    if cache.of == "images":
        return row * length.states * size
    if cache.window is not None:
        # A chunk is appended to what the window keeps, before that is cut.
        kept = max(cache.window, min(length.prompt, cache.window - 1 + length.chunk))
        return row * size * min(_grown(length.total), kept)
    if kv_bits is None:
        return row * size * _grown(length.total)
    # Quantized when so many positions are there: until then in full.
    quantized = row * _grown(length.total) * (kv_bits * GROUP // 8 + 2 * 2) // GROUP
    return max(quantized, row * size * _grown(min(length.total, KV_QUANTIZED_FROM)))


def _grown(positions: int) -> int:
    return -(-positions // STEP) * STEP
