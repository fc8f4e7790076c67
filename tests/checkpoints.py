"""Small checkpoints as bytes and folders, and the error that an unsound one leads to."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from loader.errors import CheckpointError

CODE = {"modeling_x.py": b"raise SystemExit('code of the checkpoint ran')\n"}


def safetensors(tensors: Mapping[str, bytes]) -> bytes:
    """A safetensors file of uint8 tensors."""
    header: dict[str, Any] = {"__metadata__": {"format": "mlx"}}
    end = 0
    for name, data in tensors.items():
        start, end = end, end + len(data)
        header[name] = {"dtype": "U8", "shape": [len(data)], "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"".join(tensors.values())


def checkpoint_files(**changes: bytes | None) -> dict[str, bytes]:
    """Files of a sound checkpoint; a change of None leaves a file out ("__" stands for ".")."""
    files: dict[str, bytes | None] = {
        "config.json": b'{"model_type": "qwen2_5_vl"}',
        "tokenizer_config.json": b"{}",
        "model.safetensors": safetensors({"weight": bytes(range(256)) * 256}),
        "README.md": b"# not needed to load\n",
    }
    files.update({name.replace("__", "."): data for name, data in changes.items()})
    return {name: data for name, data in files.items() if data is not None}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def copied(folder: Path, to: Path, **files: str | None) -> Path:
    """A checkpoint without weights, with other files: None takes one away."""
    made = Path(shutil.copytree(folder, to, ignore=shutil.ignore_patterns("*.safetensors")))
    for name, text in files.items():
        path = made / name.replace("__", ".")
        path.unlink(missing_ok=True)
        if text is not None:
            path.write_text(text, encoding="utf-8")
    return made


def said(call: Callable[[], object]) -> str:
    """The message of the CheckpointError that `call` raises: more than one sentence."""
    with pytest.raises(CheckpointError) as caught:
        call()
    message = str(caught.value)
    assert ". " in message
    assert message.endswith((".", ")"))
    return message
