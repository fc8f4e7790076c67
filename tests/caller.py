"""A checkpoint that answers everything with one text: its layers add nothing, and its head knows two tokens.

The text is one token of its tokenizer, which follows the newline that ends a prompt; then the turn ends.
Byte-level tokenizers spell a space and a newline with letters of their own.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

_SAID, _END = "<|vision_pad|>", "<|im_end|>"
"""The token that becomes the text, as no prompt here has it, and the one that ends a turn."""


def answering(checkpoint: Path, folder: Path, text: str) -> Path:
    """A copy of `checkpoint`, a random Qwen3-VL, that says `text`."""
    import mlx.core as mx

    shutil.copytree(checkpoint, folder)
    said, end, newline = _ids(folder / "tokenizer.json", text)
    file = str(folder / "model.safetensors")
    loaded: Any = mx.load(file)
    weights: dict[str, Any] = dict(loaded)
    for name, tensor in weights.items():
        if name.endswith(("self_attn.o_proj.weight", "mlp.down_proj.weight")) and "language" in name:
            weights[name] = mx.zeros_like(tensor)
    embedded = weights["language_model.model.embed_tokens.weight"]
    head = mx.zeros_like(weights["language_model.lm_head.weight"])
    head[said], head[end] = embedded[newline], embedded[said]
    weights["language_model.lm_head.weight"] = head
    mx.save_safetensors(file, weights, metadata={"format": "mlx"})
    return folder


def _ids(file: Path, text: str) -> tuple[int, int, int]:
    """Numbers of the token that now is the text, of the end, and of a newline."""
    text = text.replace(" ", "Ġ").replace("\n", "Ċ")
    data = json.loads(file.read_text(encoding="utf-8"))
    numbers = {token["content"]: token["id"] for token in data["added_tokens"]}
    for token in data["added_tokens"]:
        if token["content"] == _SAID:
            token |= {"content": text, "special": False}
    vocabulary = data["model"]["vocab"]
    if _SAID in vocabulary:
        vocabulary[text] = vocabulary.pop(_SAID)
    file.write_text(json.dumps(data), encoding="utf-8")
    return numbers[_SAID], numbers[_END], vocabulary["Ċ"]
