"""Checkpoints in folders: what is taken, what is refused, and what is said."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest

from loader.checkpoint import Checkpoint, local
from tests.checkpoints import CODE, checkpoint_files, safetensors, said, write


def test_a_sound_folder_gives_its_config_and_model_type(tmp_path: Path) -> None:
    found = local(write(tmp_path, checkpoint_files()))
    assert found == Checkpoint(tmp_path, None, None, {"model_type": "qwen2_5_vl"})
    assert found.model_type == "qwen2_5_vl"


def test_a_path_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    assert "does not exist" in said(lambda: local(tmp_path / "absent"))
    (tmp_path / "file").touch()
    assert "not a folder" in said(lambda: local(tmp_path / "file"))


@pytest.mark.parametrize(
    ("config", "fragment"),
    [
        (None, "no config.json"),
        (b"{", "not valid JSON"),
        (b"\xff\xfe\x00", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[]", "JSON list"),
        (b"{}", "no model_type"),
        (b'{"model_type": 3}', "no model_type"),
        (b'{"model_type": ""}', "no model_type"),
    ],
)
def test_a_config_that_names_no_architecture_is_refused(
    tmp_path: Path, config: bytes | None, fragment: str
) -> None:
    write(tmp_path, checkpoint_files(config__json=config))
    assert fragment in said(lambda: local(tmp_path))


def test_weights_in_another_format_are_named(tmp_path: Path) -> None:
    write(tmp_path, checkpoint_files(model__safetensors=None, pytorch_model__bin=b"pickle"))
    assert "only pytorch_model.bin" in said(lambda: local(tmp_path))


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    write(tmp_path, checkpoint_files(model__safetensors=None))
    assert "no *.safetensors weights, " in said(lambda: local(tmp_path))


def index(*names: str) -> bytes:
    return json.dumps({"weight_map": {f"t{i}": name for i, name in enumerate(names)}}).encode()


def test_missing_shards_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    shards = [f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    files = checkpoint_files(model__safetensors=None)
    files["model.safetensors.index.json"] = index(*shards, shards[0])
    files[shards[0]] = safetensors({"t0": b"12"})
    message = said(lambda: local(write(tmp_path, files)))
    assert f"lacks {shards[1]}: 2 of the 3" in message


@pytest.mark.parametrize("text", [b"{}", b'{"weight_map": {"t": 1}}', b'{"weight_map": []}'])
def test_an_index_without_a_weight_map_is_refused(tmp_path: Path, text: bytes) -> None:
    write(tmp_path, {**checkpoint_files(), "model.safetensors.index.json": text})
    assert "weight_map" in said(lambda: local(tmp_path))


def with_header(text: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(text)) + text + data


SOUND = safetensors({"a": b"1234", "b": b"5678"})


@pytest.mark.parametrize(
    ("data", "fragment"),
    [
        (b"", "is empty"),
        (b"\x01\x00", "2 bytes"),
        (SOUND[:-1], "cut off"),
        (SOUND[:20], "cut off"),
        (SOUND + b"more", f"not {len(SOUND)}"),
        (struct.pack("<Q", 2**63) + b"{}", "too few for its header"),
        (with_header(b"not json"), "not that of a safetensors"),
        (with_header(b"[]"), "not that of a safetensors"),
        (with_header(b'{"a": {}}'), "not that of a safetensors"),
        (with_header(b'{"a": {"data_offsets": [0, "4"]}}', b"1234"), "not that of a safetensors"),
        (with_header(b"[" * 50_000), "not that of a safetensors"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ],
)
def test_weights_that_are_cut_off_or_damaged_are_found(tmp_path: Path, data: bytes, fragment: str) -> None:
    write(tmp_path, checkpoint_files(model__safetensors=data))
    message = said(lambda: local(tmp_path))
    assert "model.safetensors" in message
    assert fragment in message


def test_a_header_of_more_than_100_megabytes_is_not_read(tmp_path: Path) -> None:
    write(tmp_path, checkpoint_files(model__safetensors=struct.pack("<Q", 150_000_000)))
    os.truncate(tmp_path / "model.safetensors", 200_000_000)  # sparse: takes no room
    assert "damaged" in said(lambda: local(tmp_path))


def test_links_out_of_the_folder_are_fine_and_links_to_nothing_are_not(tmp_path: Path) -> None:
    blobs = write(tmp_path / "blobs", checkpoint_files())
    folder = tmp_path / "snapshot"
    folder.mkdir()
    for path in blobs.iterdir():
        (folder / path.name).symlink_to(path)
    assert local(folder).model_type == "qwen2_5_vl"
    (blobs / "model.safetensors").unlink()
    assert "link to nothing" in said(lambda: local(folder))


# ---- code


OTHER = b'{"model_type": "x", "auto_map": {"AutoModel": "other/repo--modeling.Model"}}'


@pytest.mark.parametrize(
    ("files", "fragment"),
    [
        (CODE, "modeling_x.py"),
        ({"deep/er/code.PY": b""}, "deep/er/code.PY"),
        (
            {"config.json": b'{"model_type": "x", "model_file": "m.bin"}'},
            "model_file in config.json",
        ),
        ({"config.json": OTHER}, "other/repo--modeling.Model"),
        ({"processor_config.json": OTHER}, "processor_config.json"),
        ({"preprocessor_config.json": OTHER}, "auto_map in preprocessor_config.json"),
        ({"tokenizer_config.json": b'{"auto_map": {"T": [null, "o/r--t.T"]}}'}, "o/r--t.T"),
        (
            {"tokenizer_config.json": b'{"auto_map": [".h/t.T", null]}', ".h/t.py": b""},
            "tokenizer_config.json: .h/t.T",
        ),
    ],
)
def test_code_is_refused_by_name_unless_it_is_trusted(
    tmp_path: Path, files: dict[str, bytes], fragment: str
) -> None:
    write(tmp_path, {**checkpoint_files(), **files})
    message = said(lambda: local(tmp_path))
    assert fragment in message
    assert "your rights" in message
    assert "trust_remote_code=True" in message
    assert "--trust-remote-code" in message
    assert local(tmp_path, trust_remote_code=True).folder == tmp_path


def test_an_auto_map_whose_file_is_gone_is_harmless(tmp_path: Path) -> None:
    auto_map = b'{"model_type": "x", "model_file": null, "auto_map": {"AutoModel": "m.Model"}}'
    assert local(write(tmp_path, checkpoint_files(config__json=auto_map))).model_type == "x"


def test_python_files_in_hidden_folders_are_not_code_of_the_checkpoint(tmp_path: Path) -> None:
    local(write(tmp_path, {**checkpoint_files(), ".git/hooks/hook.py": b""}))
