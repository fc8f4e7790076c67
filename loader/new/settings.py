"""Which key of a checkpoint's files says which field of a card.

The keys are those that the classes of transformers and mlx-vlm read. A path begins with the file: `image`
(preprocessor_config.json), `processor` (processor_config.json) or `config` (config.json); the first that
leads to a value counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from loader.checkpoint.dimensions import Paths, seeing
from loader.new.source import Files

_VISION_PATCH = ("config.vision_config.patch_size", "config.patch_size")
RESIZE: Mapping[str, Paths] = {
    "smart_resize": {
        "patch": ("image.patch_size", *_VISION_PATCH),
        "merge": ("image.merge_size", "config.vision_config.spatial_merge_size", "config.spatial_merge_size"),
        "min_pixels": ("image.min_pixels", "image.size.shortest_edge"),
        "max_pixels": ("image.max_pixels", "image.size.longest_edge"),
    },
    "fixed": {
        "width": ("image.crop_size.width", "image.size.width", "image.size.shortest_edge", "image.crop_size"),
        "height": (
            "image.crop_size.height",
            "image.size.height",
            "image.size.shortest_edge",
            "image.crop_size",
        ),
        "patch": _VISION_PATCH,
        "tokens": ("image.image_seq_length", "processor.image_seq_length", "config.mm_tokens_per_image"),
    },
    "split_tiles": {
        "longest_edge": ("image.size.longest_edge",),
        "tile": ("image.max_image_size.longest_edge",),
        "patch": _VISION_PATCH,
        "tokens_per_tile": ("processor.image_seq_len", "image.image_seq_len"),
    },
    "quarters": {
        "split": ("image.do_image_splitting",),
        "shortest_edge": ("image.size.shortest_edge",),
        "longest_edge": ("image.size.longest_edge",),
        "patch": _VISION_PATCH,
        "tokens_per_tile": ("processor.image_seq_len", "config.perceiver_config.resampler_n_latents"),
    },
    "longest_edge": {
        "patch": ("image.patch_size.height", "image.patch_size", "processor.patch_size", *_VISION_PATCH),
        "merge": ("processor.spatial_merge_size", "config.spatial_merge_size"),
        "longest_edge": ("image.size.longest_edge",),
    },
    "token_budget": {
        "patch": ("image.patch_size", *_VISION_PATCH),
        "merge": ("image.pooling_kernel_size",),
        "max_tokens": ("image.max_soft_tokens", "image.max_num_patches"),
    },
    "patch_limit": {
        "patch": ("image.patch_size", *_VISION_PATCH),
        "max_patches": ("image.in_patch_limit", "image.in_token_limit"),
    },
    "stretch_tiles": {
        "tile": ("image.size.height", "config.force_image_size", "image.crop_size", "image.tile_size"),
        "patch": _VISION_PATCH,
        "max_tiles": ("image.max_patches", "config.max_dynamic_patch", "image.max_tiles", "image.num_crops"),
        "overview.side": ("image.size.height", "config.force_image_size"),
    },
    "canvas_tiles": {"tile": ("image.size.height",), "patch": _VISION_PATCH},
    "anyres": {"tile": ("image.crop_size.height", "image.size.height"), "patch": _VISION_PATCH},
    "slices": {"patch": ("image.patch_size", *_VISION_PATCH), "max_tiles": ("image.max_slice_nums",)},
}
"""By `kind`."""
SWITCHES = frozenset({"tied", "split"})
"""Fields that are true or false."""
CONTEXT = ("max_position_embeddings",)
IMAGE_TOKEN = ("image_token_id", "image_token_index", "media_placeholder_token_id")
RESAMPLE: Mapping[int, Literal["bilinear", "bicubic", "lanczos"]] = {
    1: "lanczos",
    2: "bilinear",
    3: "bicubic",
}
"""PIL's numbers."""


def all_of(files: Files) -> dict[str, Any]:
    """The files as one tree, for paths."""
    return {
        "image": files.image_settings,
        "processor": files.processor_settings,
        "config": seeing(files.config),
    }


def number(data: Any, paths: Sequence[str], *, switch: bool = False) -> int | None:
    """The number from 1 (or the boolean, of a `switch`) that the first of some dotted paths leads to."""
    for path in paths:
        value: Any = data
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if type(value) is (bool if switch else int) and (switch or value > 0):
            return int(value) if not switch else value
    return None
