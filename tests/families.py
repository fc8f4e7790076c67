"""The random-weight checkpoints and the card name that each one is loaded as."""

from __future__ import annotations

import registry

CARDS = {
    "qwen2-vl": "qwen2-vl",
    "qwen2.5-vl": "qwen2.5-vl",
    "qwen3-vl": "qwen3-vl",
    "qwen3-vl-moe": "qwen3-vl-30b-a3b",
    "gemma3": "gemma3",
    "smolvlm-384": "smolvlm",
    "smolvlm-512": "smolvlm2-500m",
    "llava-1.5": "llava-1.5",
    "llava-next": "llava-next",
    "llava-onevision": "llava-onevision",
    "internvl": "internvl",
    "internvl-chat": "internvl-chat",
    "pixtral": "pixtral",
    "mistral3": "mistral3",
    "gemma4": "gemma4",
    "idefics2": "idefics2",
    "idefics3": "idefics3",
    "llama3.2-vision": "llama3.2-vision",
    "glm-ocr": "glm-ocr",
    "qwen3-omni": "qwen3-omni",
}
SEVERAL_IMAGES = [name for name, card in CARDS.items() if registry.card(card).backend.max_images != 1]
"""Those that the backend can ask about more than one image."""
