"""What the headers of weight files prove: parameters and bytes. The weights themselves are not read.

A file in the backend's own format holds the arrays that the backend makes, so that they can be counted. In
any other there are matrices that it does not load, or stores twice.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loader.checkpoint.files import json_object
from loader.checkpoint.hub_errors import failures
from loader.new.source import Files

_INDEX = "model.safetensors.index.json"
_LONGEST = 100_000_000
"""Bytes of a header, as the safetensors library has it."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One array of a file, by its header."""

    shape: tuple[int, ...]
    bytes: int


@dataclass(frozen=True, slots=True)
class Weights:
    """What was counted."""

    bytes: int
    parameters: int | None
    """As the backend counts them; None where the files are not its own, or do not say."""
    read: str
    """Where it stood."""


def weights_of(files: Files) -> Weights | None:
    """From headers, in the folder or on the hub; otherwise from the index of shards; None without one."""
    quantization = files.config.get("quantization")
    grouped = quantization if isinstance(quantization, dict) else {}
    unreadable: tuple[type[Exception], ...] = (*failures(), AttributeError, TypeError)
    try:
        headers = list(_on_hub(files) if files.downloaded else _on_disk(files.folder))
        found = _counted(headers, grouped)
    except unreadable:  # no such files, no connection, an odd header
        found = None
    return found or _by_index(files, grouped)


def _on_disk(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.safetensors")):
        if not path.is_file():  # a pipe would wait for ever
            continue
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            yield json.loads(file.read(min(length, _LONGEST)))


def _on_hub(files: Files) -> Iterator[dict[str, Any]]:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import NotASafetensorsRepoError, SafetensorsParsingError

    assert files.repository is not None  # noqa: S101  # it was downloaded
    try:
        metadata = HfApi().get_safetensors_metadata(files.repository, revision=files.commit)
    except (NotASafetensorsRepoError, SafetensorsParsingError) as error:
        raise ValueError(str(error)) from error
    for one in metadata.files_metadata.values():
        tensors = {
            name: {"shape": list(it.shape), "data_offsets": list(it.data_offsets)}
            for name, it in one.tensors.items()
        }
        yield {**tensors, "__metadata__": one.metadata}


def _counted(headers: list[dict[str, Any]], quantization: Mapping[str, Any]) -> Weights | None:
    own = all((header.get("__metadata__") or {}).get("format") == "mlx" for header in headers)
    tensors = {
        name: Tensor(tuple(entry["shape"]), entry["data_offsets"][1] - entry["data_offsets"][0])
        for header in headers
        for name, entry in header.items()
        if name != "__metadata__"
    }
    if not tensors:
        return None
    parameters = _parameters(tensors, quantization) if own else None
    return Weights(sum(it.bytes for it in tensors.values()), parameters, "the headers of the weight files")


def _parameters(tensors: Mapping[str, Tensor], quantization: Mapping[str, Any]) -> int | None:
    """A quantized matrix is packed; its scales, one for each group, say how long its rows are."""
    total = 0
    for name, tensor in tensors.items():
        module, _, kind = name.rpartition(".")
        scales = tensors.get(f"{module}.scales")
        if scales is None:
            total += math.prod(tensor.shape)
        elif kind == "weight":
            own = quantization.get(module)
            group = (own if isinstance(own, dict) else quantization).get("group_size")
            if type(group) is not int:
                return None
            total += math.prod(scales.shape) * group
        elif kind not in {"scales", "biases"}:
            total += math.prod(tensor.shape)
    return total


def _by_index(files: Files, quantization: Mapping[str, Any]) -> Weights | None:
    """The index's own numbers; its parameters count where the backend's converter wrote them."""
    if not files.has(_INDEX):
        return None
    said = json_object(files.folder / _INDEX).get("metadata")
    size, parameters = (
        said.get(key) if isinstance(said, dict) else None for key in ("total_size", "total_parameters")
    )
    if type(size) is not int or size <= 0:
        return None
    own = "group_size" in quantization and type(parameters) is int and parameters > 0
    return Weights(size, parameters if own else None, _INDEX)
