"""A checkpoint with the widths of a released model, fewer layers, and weights of zeros.

Memory depends on shapes and types alone. The weight file is sparse: it takes no space on the disk and no
time to write, and reads as zeros.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from registry.cards import merge
from tools import weights
from tools.measure.cases import Case, released_config

_TYPES = {"float32": "F32", "bfloat16": "BF16", "int32": "I32", "uint32": "U32", "bool": "BOOL"}
"""As safetensors calls them."""


def build(model: str, case: Case, folder: Path) -> Path:
    """Write the checkpoint of a case into a new folder."""
    from tools.random_checkpoint import build as build_small

    build_small(case.checkpoint, folder)
    file = folder / "config.json"
    config = _config(json.loads(file.read_text(encoding="utf-8")), released_config(model), case.config)
    file.write_text(json.dumps(config, indent=2), encoding="utf-8")
    _write_zeros(folder / "model.safetensors", config)
    return folder


def _config(small: dict[str, Any], released: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The released config with the token ids of the small checkpoint's tokenizer, and the changes."""
    text = released.get("text_config", {})
    # What the small one has besides: ids, and some of the language model's fields a second time.
    besides = {
        key: text.get(key, value)
        for key, value in small.items()
        if key not in released and not key.endswith("_config")
    }
    return merge({**besides, **released}, changes)


def _write_zeros(file: Path, config: dict[str, Any]) -> None:
    model = weights.build(config)
    weights.cast(model)
    header: dict[str, Any] = {"__metadata__": {"format": "mlx"}}  # names and layouts are the backend's own
    end = 0
    for name, array in weights.arrays(model):
        start, end = end, end + array.nbytes
        kind = _TYPES[str(array.dtype).rpartition(".")[2]]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        stream.truncate(8 + len(text) + end)
