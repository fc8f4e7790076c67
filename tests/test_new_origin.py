"""What `mlx-cards new` says of where a folder's files are from, and what it learns from them."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from loader.errors import CheckpointError
from loader.new import new

pytest.importorskip("mlx_vlm")

TODAY = datetime.date(2026, 11, 21)
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def read(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return data


@pytest.mark.parametrize(
    ("revision", "address", "stamp"),
    [
        (None, "https://huggingface.co/acme/Acme-VL-7B", "acme/Acme-VL-7B"),
        (
            COMMIT,
            f"https://huggingface.co/acme/Acme-VL-7B/blob/{COMMIT}/config.json",
            f"acme/Acme-VL-7B at {COMMIT}",
        ),
    ],
)
def test_a_folder_that_is_a_copy_names_what_it_is_a_copy_of(
    revision: str | None, address: str, stamp: str, checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = checkpoint("llava-1.5")
    made = new(folder, copy_of="acme/Acme-VL-7B", revision=revision, output=tmp_path, today=TODAY)
    card = read(made.card)
    assert (card["title"], card["models"]["7b"]["source"]) == ("Acme-VL", "acme/Acme-VL-7B")
    assert card["sources"][0]["url"] == address
    assert made.goldens is not None
    assert read(made.goldens)["stamp"]["prompts"].endswith(f"rendering the chat template of {stamp}")


@pytest.mark.parametrize(
    ("source", "options", "reason"),
    [
        (None, {"revision": "main"}, "A folder has no revisions"),
        (None, {"copy_of": "acme"}, "is no hub repository"),
        (None, {"copy_of": "acme/acme", "revision": "main"}, "is no commit, and a branch moves"),
        ("acme/acme", {"copy_of": "acme/other"}, "is no folder, so it is no copy"),
    ],
)
def test_an_origin_that_cannot_be_is_refused_in_words(
    source: str | None,
    options: dict[str, str],
    reason: str,
    checkpoint: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    with pytest.raises(CheckpointError, match=reason):
        new(source or checkpoint("llava-1.5"), output=tmp_path / "cards", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "cards").exists()


def test_a_card_that_is_written_anew_is_no_witness_for_itself(
    checkpoint: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the package's own folder, the card of the same name is what --force replaces."""
    elsewhere = new(checkpoint("glm-ocr"), family="glm-ocr", output=tmp_path / "cards", today=TODAY)
    assert "attention: segments" in elsewhere.card.read_text(encoding="utf-8")
    monkeypatch.setattr("loader.new.CARDS", tmp_path / "own")
    here = new(checkpoint("glm-ocr"), family="glm-ocr", output=tmp_path / "own", today=TODAY)
    text = here.card.read_text(encoding="utf-8")
    assert "attention: segments" not in text
    assert "that of glm-4.5v" in " ".join(text.split())
    (todo,) = [todo for todo in here.todos if todo.startswith("memory")]
    assert "mlx_vlm/models/glm_ocr/vision.py" in todo


def test_the_dimensions_of_a_model_of_several_are_those_of_the_one_that_sees(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    made = new(checkpoint("qwen3-omni"), family="acme", output=tmp_path, today=TODAY)
    card = read(made.card)
    (model,) = card["models"].values()
    assert (model["text"]["layers"], model["text"]["hidden"], model["context"]) == (2, 64, 32768)
    assert card["memory"]["vision"]["layers"] == 2


def test_code_and_cards_of_a_copy_stay_what_they_are(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    """Naming a repository fetches nothing from it: the folder alone is read."""
    folder = Path(shutil.copytree(checkpoint("llava-1.5"), tmp_path / "copy"))
    made = new(folder, copy_of="nobody/nothing", output=tmp_path / "cards", today=TODAY)
    assert made.goldens is not None
