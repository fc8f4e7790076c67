"""`mlx-cards new` counts parameters and bytes from the headers of weight files, where those prove them."""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from loader.new import new
from loader.new.source import files_of
from loader.new.weights import weights_of
from tests.fake_hub import FakeHub, point_client_at, serve
from tools.weights import count

pytest.importorskip("mlx_vlm")

TODAY = datetime.date(2026, 11, 21)
FAMILIES = ("qwen2.5-vl", "gemma3", "llama3.2-vision", "qwen3-vl-moe", "glm-ocr", "qwen3-omni")


def config_of(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config


def with_header(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Write the header of the weight file anew."""
    path = folder / "model.safetensors"
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


@pytest.fixture
def copied(checkpoint: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    return lambda name: Path(shutil.copytree(checkpoint(name), tmp_path / "copied"))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_checkpoint_in_the_backends_format_has_the_backends_own_count(
    name: str, checkpoint: Callable[[str], Path]
) -> None:
    found = weights_of(files_of(checkpoint(name)))
    assert found is not None
    assert found.parameters == count(config_of(checkpoint(name))).parameters


@pytest.mark.parametrize("name", ["qwen2.5-vl", "qwen3-vl-moe"])
@pytest.mark.parametrize("bits", [4, 8])
def test_a_quantized_conversion_has_as_many_parameters_as_its_original(
    name: str, bits: int, checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    """Packed matrices are counted by their scales; the converter is the backend's own."""
    from mlx_vlm.convert import convert

    made = tmp_path / "converted"
    with contextlib.redirect_stdout(io.StringIO()):
        convert(
            str(checkpoint(name)), str(made), quantize=True, q_bits=bits, q_group_size=32, dtype="bfloat16"
        )
    found = weights_of(files_of(made))
    wanted = count(config_of(checkpoint(name)), bits, 32)
    assert found is not None
    assert (found.parameters, found.bytes) == (wanted.parameters, wanted.bytes)
    (made / "model.safetensors").unlink()
    left = weights_of(files_of(made))
    assert left is not None
    assert (left.parameters, left.bytes) == (None, wanted.bytes)  # the index of mlx-vlm 0.7.10 has no count


def test_weights_in_another_format_prove_no_parameters(copied: Callable[[str], Path]) -> None:
    """They may hold matrices that the backend does not load, or once what it stores twice."""
    folder = copied("glm-ocr")
    with_header(folder, lambda header: header["__metadata__"].update(format="pt"))
    found = weights_of(files_of(folder))
    assert found is not None
    assert found.parameters is None
    made = new(folder, family="acme", output=folder.parent / "cards", today=TODAY)
    assert "parameters:" not in made.card.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("index", "parameters"),
    [
        ({"total_size": 640, "total_parameters": 1280}, 1280),
        ({"total_size": 640}, None),
        ({"total_size": 640, "total_parameters": "many"}, None),
    ],
)
def test_the_index_of_a_quantized_conversion_says_what_its_converter_counted(
    index: dict[str, Any], parameters: int | None, copied: Callable[[str], Path]
) -> None:
    folder = copied("glm-ocr")
    (folder / "model.safetensors").unlink()
    quantized = config_of(folder) | {"quantization": {"group_size": 64, "bits": 4}}
    (folder / "config.json").write_text(json.dumps(quantized), encoding="utf-8")
    text = json.dumps({"metadata": index, "weight_map": {}})
    (folder / "model.safetensors.index.json").write_text(text, encoding="utf-8")
    found = weights_of(files_of(folder))
    assert found is not None
    assert (found.bytes, found.parameters) == (640, parameters)


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs", struct.pack("<Q", 1 << 60) + b"{}"])
def test_a_weight_file_that_is_none_proves_nothing(content: bytes, copied: Callable[[str], Path]) -> None:
    folder = copied("glm-ocr")
    (folder / "model.safetensors").write_bytes(content)
    assert weights_of(files_of(folder)) is None


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with serve() as hub:
        point_client_at(hub.url, tmp_path / "home", monkeypatch)
        yield hub


@pytest.mark.parametrize(
    "weights", [None, b"", b"version https://git-lfs", struct.pack("<Q", 9) + b"nonsense!"]
)
def test_a_repository_without_sound_weights_gets_a_card_without_their_count(
    weights: bytes | None, hub: FakeHub, checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    files = {path.name: path.read_bytes() for path in checkpoint("llava-1.5").iterdir()}
    del files["model.safetensors"]
    hub.add("acme/acme-7b", files if weights is None else {**files, "model.safetensors": weights})
    made = new("acme/acme-7b", family="acme", output=tmp_path / "cards", today=TODAY)
    assert "parameters:" not in made.card.read_text(encoding="utf-8")


def test_a_conversion_on_the_hub_is_counted_by_its_headers_alone(
    hub: FakeHub, checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = checkpoint("glm-ocr")
    commit = hub.add(
        "mlx-community/Acme-VL-7B-bf16", {path.name: path.read_bytes() for path in folder.iterdir()}
    )
    made = new("mlx-community/Acme-VL-7B-bf16", family="acme-vl", output=tmp_path / "cards", today=TODAY)
    model = yaml.safe_load(made.card.read_text(encoding="utf-8"))["models"]["7b"]
    found = weights_of(files_of(folder))
    assert found is not None
    assert model["parameters"] == found.parameters
    assert model["quantizations"]["bf16"] == {
        "repository": "mlx-community/Acme-VL-7B-bf16",
        "revision": commit,
        "bytes": found.bytes,
    }
    assert "the headers of the weight files" in made.card.read_text(encoding="utf-8")
    asked = [seen for method, path, seen in hub.requests if method == "GET" and path.endswith(".safetensors")]
    assert asked
    assert all(seen is not None and seen.startswith("bytes=") for seen in asked)
