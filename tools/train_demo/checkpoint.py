"""The checkpoint's files besides its weights: configuration, tokenizer, chat template, processor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.grids import SmartResize
from tools.train_demo.conversations import ORDINALS, corpus
from tools.train_demo.drawings import COLOURS, SHAPES, SIDES

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from registry.cards import Card

__all__ = ["MEAN", "STD", "smart_resize", "write_files"]

SPECIALS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
VOCABULARY = 640
"""At most; what is said is spelt with fewer entries, and every word of it is one."""
MEAN, STD = 0.94, 0.35
"""A light background becomes about 0: an empty patch is a nearly empty vector."""

# As Qwen2-VL's own template says a conversation, without its default system text.
TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' -}}
{%- if message['content'] is string -%}
{{- message['content'] -}}
{%- else -%}
{%- for part in message['content'] -%}
{%- if part['type'] == 'image' or 'image' in part or 'image_url' in part -%}
{{- '<|vision_start|><|image_pad|><|vision_end|>' -}}
{%- elif 'text' in part -%}
{{- part['text'] -}}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""


def write_files(folder: Path, card: Card) -> tuple[dict[str, Any], Tokenizer]:
    """Everything but the weights; the configuration and the tokenizer that were written."""
    tokenizer = _tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    config = _config(tokenizer)
    files: dict[str, dict[str, Any]] = {
        "config": config,
        "generation_config": {"eos_token_id": config["eos_token_id"]},
        "preprocessor_config": _processor(card),
        "tokenizer_config": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": config["max_position_embeddings"],
            "clean_up_tokenization_spaces": False,
            "extra_special_tokens": list(SPECIALS),
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
        },
    }
    for stem, content in files.items():
        (folder / f"{stem}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return config, tokenizer


def _tokenizer() -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(corpus(), trainer)
    words = [f" {word}" for word in (*COLOURS, *SHAPES, *ORDINALS)] + ["a", "an", *SIDES]
    if split := [word for word in words if len(made.encode(word).ids) != 1]:
        raise ValueError(
            f"The tokenizer splits {split}, and what decides must be one token. Raise VOCABULARY."
        )
    return made


def smart_resize(card: Card) -> SmartResize:
    """How the card resizes. The demo's has this strategy; another is a ValueError."""
    if card.image is None or not isinstance(card.image.resize, SmartResize):
        raise ValueError(f"{card.name} does not resize as Qwen2-VL does, and this trains no other kind.")
    return card.image.resize


def _processor(card: Card) -> dict[str, Any]:
    """What the card says about images, in the processor's words."""
    resize = smart_resize(card)
    return {
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": card.backend.processor,
        "patch_size": resize.patch,
        "merge_size": resize.merge,
        "temporal_patch_size": 1,
        "min_pixels": resize.min_pixels,
        "max_pixels": resize.max_pixels,
        "image_mean": [MEAN] * 3,
        "image_std": [STD] * 3,
    }


def _config(tokenizer: Tokenizer) -> dict[str, Any]:
    ids = tokenizer.token_to_id
    return {
        "model_type": "qwen2_vl",
        "architectures": ["Qwen2VLForConditionalGeneration"],
        "hidden_size": 128,
        "num_hidden_layers": 3,
        "intermediate_size": 256,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "rms_norm_eps": 1e-6,
        "vocab_size": tokenizer.get_vocab_size(),
        # Rows and columns get the slower frequencies. With Qwen's base of 10,000 they would hardly turn
        # over the seven cells of an image.
        "rope_theta": 10.0,
        "rope_scaling": {"type": "mrope", "mrope_section": [4, 6, 6]},
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
        "image_token_id": ids("<|image_pad|>"),
        "video_token_id": ids("<|video_pad|>"),
        "vision_start_token_id": ids("<|vision_start|>"),
        "vision_end_token_id": ids("<|vision_end|>"),
        "eos_token_id": ids("<|im_end|>"),
        "vision_config": {
            "model_type": "qwen2_vl",
            "depth": 3,
            "embed_dim": 64,
            "hidden_size": 128,
            "num_heads": 2,
            "mlp_ratio": 2,
            "patch_size": 16,
            "in_channels": 3,
            "spatial_merge_size": 2,
            # One frame: there are no videos here, and two would only double the pixels of a picture.
            "temporal_patch_size": 1,
        },
    }
