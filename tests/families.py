"""The random-weight checkpoints and the card name that each one is loaded as."""

from __future__ import annotations

CARDS = {
    "qwen2-vl": "qwen2-vl",
    "qwen2.5-vl": "qwen2.5-vl",
    "qwen3-vl": "qwen3-vl",
    "qwen3-vl-moe": "qwen3-vl-30b-a3b",
    "gemma3": "gemma3",
    "smolvlm-384": "smolvlm",
    "smolvlm-512": "smolvlm2-500m",
    "llava-1.5": "llava-1.5",
}
