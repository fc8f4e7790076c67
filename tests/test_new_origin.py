"""What `mlx-cards new` says of where a folder's files are from, and what it learns from them."""

from __future__ import annotations

import datetime
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from loader.errors import CardError, CheckpointError
from loader.new import new
from loader.new.source import files_of
from loader.new.weights import weights_of
from tests.checkpoints import copied

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


@pytest.mark.parametrize(
    ("readme", "is_source"),
    [("No front matter.\n", False), ("---\nlicense: mit\n---\n", True)],
)
def test_files_are_a_source_of_the_licence_only_where_they_say_it(
    readme: str, is_source: bool, checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = copied(checkpoint("llava-1.5"), tmp_path / "copy", README__md=readme)
    card = read(new(folder, output=tmp_path / "cards", today=TODAY).card)
    read_from = card["sources"][0]
    assert ("license" in read_from["facts"], "README.md" in read_from["note"]) == (is_source, is_source)
    assert (card["license"] == "mit") is is_source


def test_what_another_card_knew_of_the_same_classes_is_said_to_be_from_there(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    """How an encoder attends, and what lowers a budget, stand in no file of a checkpoint."""
    card = read(new(checkpoint("smolvlm-512"), output=tmp_path, today=TODAY).card)
    assert "attention" in card["memory"]["vision"]
    assert "lever" in card["image"]
    note = card["sources"][0]["note"]
    assert "memory.vision: how it attends as " in note
    assert "lever" in note.partition("image: ")[2]


def test_a_file_for_a_template_that_is_there_is_kept_unless_forced(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = copied(checkpoint("llava-1.5"), tmp_path / "copy", chat_template__jinja=None)
    (tmp_path / "acme.jinja").write_text("mine", encoding="utf-8")
    with pytest.raises(CardError, match=r"acme\.jinja: is there already"):
        new(folder, family="acme", output=tmp_path)
    assert (tmp_path / "acme.jinja").read_text(encoding="utf-8") == "mine"
    assert not (tmp_path / "acme.yaml").exists()


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for %}", r"not even one question is rendered \(.*[Ee]xpected"),
        (
            '{{ raise_exception("Only on Sundays.") }}',
            r"not even one question is rendered \(.*Only on Sundays",
        ),
        ("Hello", r"not even one question is rendered\. "),
    ],
)
def test_a_template_that_renders_nothing_is_left_with_what_it_says_itself(
    template: str, reason: str, checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = copied(checkpoint("llava-1.5"), tmp_path / "copy", chat_template__jinja=template)
    made = new(folder, output=tmp_path / "cards")
    (todo,) = [todo for todo in made.todos if todo.startswith("template:")]
    assert re.search(reason, todo)


def test_a_template_without_a_place_for_images_is_the_reason_that_no_processor_was_asked(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    words = "{{ m.content if m.content is string else m.content | map(attribute='text') | select | join }}"
    template = f"{{% for m in messages %}}[{{{{ m.role }}}}]{words}{{% endfor %}}"
    folder = copied(checkpoint("llava-1.5"), tmp_path / "copy", chat_template__jinja=template)
    made = new(folder, output=tmp_path / "cards")
    assert made.goldens is not None
    (todo,) = [todo for todo in made.todos if todo.startswith("image.token")]
    assert todo.endswith("the prompt that was inferred has no place for an image")


def test_a_folder_that_is_named_like_nothing_else_is_asked_for_as_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "copy").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"If it is a folder, write \./copy\."):
        new("copy", output=tmp_path / "cards")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no such pipes here")
def test_a_pipe_among_the_weights_is_not_waited_for(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = copied(checkpoint("llava-1.5"), tmp_path / "copy")
    os.mkfifo(folder / "model.safetensors")
    assert weights_of(files_of(folder)) is None
