"""Under which keys config.json has the dimensions of a card's `text` and `memory.vision`.

The keys are those that the classes of transformers 5.23 and mlx-vlm 0.7.10 read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Paths = Mapping[str, Sequence[str]]
"""A card's field, and where a checkpoint may have it: dotted paths, the first that is there counts."""

TEXT: Paths = {
    "layers": ("num_hidden_layers",),
    "hidden": ("hidden_size",),
    "heads": ("num_attention_heads",),
    "kv_heads": ("num_key_value_heads",),
    "head_dim": ("head_dim",),
    "intermediate": ("intermediate_size",),
    "vocab": ("vocab_size",),
    "tied": ("tie_word_embeddings",),
    "window": ("sliding_window",),
    "full_every": ("sliding_window_pattern",),
    "experts": ("num_experts", "n_routed_experts", "num_local_experts"),
    "active_experts": ("num_experts_per_tok",),
    "expert_intermediate": ("moe_intermediate_size",),
}
VISION: Paths = {
    "layers": ("depth", "num_hidden_layers"),
    "hidden": ("embed_dim", "hidden_size"),
    "heads": ("num_heads", "num_attention_heads"),
    "intermediate": ("intermediate_size",),
}
TEXT_CONFIGS = ("text_config", "llm_config", "language_config")
"""Where the language model has a part of config.json to itself."""


def seeing(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of config.json on what sees and reads: all of it, or that of one of several models."""
    if "vision_config" in config:
        return config
    parts = (part for part in config.values() if isinstance(part, dict) and "vision_config" in part)
    return next(parts, config)


def language(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """What config.json says of the language model, wherever it says it."""
    config = seeing(config)
    own: Mapping[str, Any] = next(
        (config[key] for key in TEXT_CONFIGS if isinstance(config.get(key), dict)), {}
    )
    return {**config, **own}
