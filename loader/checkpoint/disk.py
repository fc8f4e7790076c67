"""The checks on files that are there: config, shards, safetensors headers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loader.checkpoint.code import refuse_code
from loader.checkpoint.files import json_object
from loader.errors import CheckpointError

_INDEX = "model.safetensors.index.json"
_HEADER_LIMIT = 100_000_000  # what the safetensors library itself accepts
_OTHER_WEIGHTS = (".bin", ".pt", ".pth", ".ckpt", ".gguf", ".npz", ".msgpack", ".h5", ".onnx")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Files of one checkpoint on disk, checked."""

    folder: Path
    """Where they are."""
    repository: str | None
    """Hub id, None for a plain folder."""
    revision: str | None
    """The commit that the files are from, None for a plain folder."""
    config: Mapping[str, Any]
    """config.json."""

    @property
    def model_type(self) -> str:
        """The `model_type` of config.json, which names the architecture."""
        return str(self.config["model_type"])


def local(folder: Path, *, trust_remote_code: bool = False) -> Checkpoint:
    """Check the checkpoint in `folder`."""
    if not folder.is_dir():
        state = "is a file, not a folder" if folder.exists() else "does not exist"
        raise CheckpointError(
            f"{folder} {state}, so no checkpoint can be read from it. "
            "Give the folder that holds config.json, or an owner/name of the hub."
        )
    return checked(folder, None, None, trust_remote_code)


def checked(folder: Path, repository: str | None, commit: str | None, trust_remote_code: bool) -> Checkpoint:
    try:
        config = _config(folder)
        if not trust_remote_code:
            refuse_code(folder)
        _check_weights(folder)
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be read: {error}. Check its permissions.") from error
    return Checkpoint(folder, repository, commit, config)


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(
            f"{folder} has no config.json, so its architecture is unknown. "
            "Give the folder of a converted checkpoint, or get the checkpoint again."
        )
    config = json_object(path)
    if not isinstance(config.get("model_type"), str) or not config["model_type"]:
        raise CheckpointError(
            f"{path} has no model_type string, so its architecture is unknown. "
            'Add it (for example "model_type": "qwen2_5_vl"), or get the file again.'
        )
    return config


def _check_weights(folder: Path) -> None:
    if (folder / _INDEX).is_file():
        _check_shards(folder)
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise no_weights(str(folder), [path.name for path in folder.iterdir()])
    for path in weights:
        if fault := _safetensors_fault(path):
            # In the hub's cache `path` is a link; the client fetches anew only what it points to.
            raise CheckpointError(
                f"{path} cannot be used: {fault}. Delete {path.resolve()} and download it again."
            )


def _check_shards(folder: Path) -> None:
    shards = json_object(folder / _INDEX).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
        raise CheckpointError(
            f"{folder / _INDEX} has no weight_map of tensor to file name, so the weights cannot be "
            "found. Get the file again."
        )
    names = set(shards.values())
    missing = sorted(name for name in names if not (folder / name).is_file())
    if missing:
        raise CheckpointError(
            f"{folder} lacks {missing[0]}: {len(missing)} of the {len(names)} weight files that "
            f"{_INDEX} names are missing. Download the checkpoint again."
        )


def no_weights(where: str, names: Iterable[str]) -> CheckpointError:
    other = min((name for name in names if name.endswith(_OTHER_WEIGHTS)), default=None)
    found = f" (only {other}, a format that is not read here)" if other else ""
    return CheckpointError(
        f"{where} has no *.safetensors weights{found}, so there is nothing to load. "
        "Choose a checkpoint in MLX format, for example one of mlx-community on the hub."
    )


def _safetensors_fault(path: Path) -> str | None:
    """Say what is wrong with a safetensors file, from its header and its size."""
    if not path.is_file():
        return "it is a link to nothing, or not a file"
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        if start == b"version ":
            return "it is a Git LFS pointer, not the weights (`git lfs pull` gets them)"
        length = int.from_bytes(start, "little")
        if size < 8 or length > min(_HEADER_LIMIT, size - 8):
            what = "is empty" if size == 0 else f"has {size} bytes, too few for its header"
            return f"it {what}; the download was cut off or damaged"
        expected = _end_of_data(file.read(length))
    if expected is None:
        return "its header is not that of a safetensors file"
    if size != 8 + length + expected:
        wanted = 8 + length + expected
        return f"it has {size} bytes, not {wanted}; the download was cut off or damaged"
    return None


def _end_of_data(header: bytes) -> int | None:
    try:
        tensors = json.loads(header)
        tensors.pop("__metadata__", None)
        ends = [entry["data_offsets"][1] for entry in tensors.values()]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return max(ends, default=0) if all(type(end) is int for end in ends) else None
