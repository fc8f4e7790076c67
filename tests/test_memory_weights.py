"""The size of weights: real files win over what the card counted, and the estimate says which it used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from loader.errors import CheckpointError
from loader.memory import estimate
from tests.fake_hub import FakeHub, point_client_at, serve

MAC = "m4-max-128gb"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with serve() as hub:
        point_client_at(hub.url, tmp_path / "home", monkeypatch)
        yield hub


def test_files_on_disk_win(tmp_path: Path) -> None:
    (tmp_path / "model-1.safetensors").write_bytes(b"x" * 700)
    (tmp_path / "model-2.safetensors").write_bytes(b"x" * 70)
    (tmp_path / "tokenizer.json").write_bytes(b"x" * 7)

    made = estimate("qwen2-vl-2b@4bit", device=MAC, folder=tmp_path)

    assert (made.weights, made.weights_source) == (770, "files")


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has no weights"):
        estimate("qwen2-vl-2b@4bit", device=MAC, folder=tmp_path)


def test_the_hubs_file_sizes_win_when_asked_for(hub: FakeHub) -> None:
    files = {"model.safetensors": b"x" * 512, "config.json": b"{}"}
    hub.add("mlx-community/Qwen2-VL-2B-Instruct-4bit", files)

    made = estimate("qwen2-vl-2b@4bit", device=MAC, hub=True)

    assert (made.weights, made.weights_source) == (512, "hub")
    assert "model.safetensors" not in hub.fetched()


def test_a_repository_that_is_not_there_is_an_error(hub: FakeHub) -> None:
    with pytest.raises(CheckpointError):
        estimate("qwen2-vl-2b@4bit", device=MAC, hub=True)


def test_a_hub_that_cannot_be_reached_is_an_error_with_a_way_on(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point_client_at("http://127.0.0.1:9", tmp_path / "other", monkeypatch)

    with pytest.raises(CheckpointError, match="use the size that the card counted"):
        estimate("qwen2-vl-2b@4bit", device=MAC, hub=True)
