"""Errors read aloud: every kind of bad input, its exact text, its exit code, and nothing left on disk.

The texts are in golden/errors.txt. After a change that is meant, write them anew with
MLX_CARDS_WRITE_GOLDEN=1 and read the difference.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import PIL.Image
import pytest

from tests.command import mlx_cards
from tests.golden_rows import GOLDEN

TEXTS = GOLDEN / "errors.txt"
COMMANDS = [
    "show qwen2.5-vl-33b",
    "show something-else-entirely",
    "plan qwen2.5-vl 4000x10",
    "plan qwen2.5-vl 0x10",
    "plan qwen2.5-vl missing.jpg",
    "plan qwen2.5-vl notes.txt",
    "plan qwen2.5-vl truncated.jpg",
    "plan qwen2.5-vl empty.png",
    "plan qwen2.5-vl .",
    "plan qwen2.5-vl http://127.0.0.1:9/cat.jpg",
    "plan qwen2.5-vl file:///etc/hosts",
    "plan qwen2.5-vl 100x100 --device m1-8gb",
    "plan qwen2.5-vl-7b 100x100 --device m9-8gb",
    "plan qwen2.5-vl-7b 100x100 --device m1-9gb",
    "fit --device toaster",
    "prompt qwen3-vl --messages missing.json",
    "prompt qwen3-vl --messages notes.txt",
    "prompt qwen3-vl --messages empty-list.json",
    "prompt qwen3-vl --messages unknown-role.json",
    "prompt qwen3-vl --messages orphan-result.json",
    "prompt qwen3-vl --messages unknown-part.json",
    "prompt gemma3 --messages two-users.json",
    "run qwen2.5-vl -p x",
    "run qwen2.5-vl-3b@2bit -p x",
    "run qwen2.5-vl-3b@4bit -p x",
    "run qwen2.5-vl-3b -p x --device m4-max",
    "run qwen2.5-vl-72b@3bit -p x --memory-limit 30gb",
    "run qwen2.5-vl-32b -p x --device m1-8gb --memory-limit 10GB",
    "run demo -p x --memory-limit 1mb",
    "run demo -p x --memory-limit lots",
    "run ./missing-folder -p x",
    "run ./no-config -p x",
    "run ./coded -p x",
    "run ./no-weights -p x",
    "run ./other-type -p x",
    "run ./checkpoint -p x --card gemma3-4b",
    "run ./checkpoint -p x -i truncated.jpg",
    "run ./checkpoint --messages image-part.json",
]


@pytest.fixture
def folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint: Callable[[str], Path], photo: Path
) -> Path:
    """A working directory full of things that go wrong."""
    (tmp_path / "notes.txt").write_text("Buy milk.\n")
    (tmp_path / "truncated.jpg").write_bytes(photo.read_bytes()[:20_000])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "empty-list.json").write_text("[]")
    (tmp_path / "unknown-role.json").write_text('[{"role": "narrator", "content": "x"}]')
    (tmp_path / "orphan-result.json").write_text('[{"role": "tool", "content": "x"}]')
    (tmp_path / "unknown-part.json").write_text('[{"role": "user", "content": [{"type": "video"}]}]')
    (tmp_path / "image-part.json").write_text('[{"role": "user", "content": [{"type": "image"}]}]')
    (tmp_path / "two-users.json").write_text(
        '[{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]'
    )
    for name, config in [("no-config", None), ("coded", "qwen2_vl"), ("no-weights", "qwen2_vl")]:
        (tmp_path / name).mkdir()
        if config:
            (tmp_path / name / "config.json").write_text(f'{{"model_type": "{config}"}}')
    (tmp_path / "coded" / "modeling.py").write_text("")
    (tmp_path / "checkpoint").symlink_to(checkpoint("qwen2-vl"))
    (tmp_path / "other-type").mkdir()
    for file in checkpoint("qwen2-vl").iterdir():
        (tmp_path / "other-type" / file.name).symlink_to(file)
    (tmp_path / "other-type" / "config.json").unlink()
    (tmp_path / "other-type" / "config.json").write_text('{"model_type": "qwen9_vl"}')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def on_disk(*folders: Path) -> set[str]:
    return {str(path) for folder in folders for path in folder.rglob("*")}


def sections() -> Iterator[tuple[str, str]]:
    for section in TEXTS.read_text(encoding="utf-8").split("\n$ mlx-cards ")[1:]:
        command, _, text = section.partition("\n")
        yield command, text.rstrip("\n")


def test_every_kind_of_bad_input_gets_its_written_answer_and_leaves_nothing_behind(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Path(os.environ["HF_HOME"])
    before = on_disk(folder, cache)
    said = {}
    for command in COMMANDS:
        result = mlx_cards(*command.split(), capsys=capsys, monkeypatch=monkeypatch)
        assert result.out == ""
        assert "Traceback" not in result.err
        said[command] = f"{result.err.replace(str(folder), '<folder>').rstrip()}\n[exit {result.code}]"
    assert on_disk(folder, cache) == before
    if os.environ.get("MLX_CARDS_WRITE_GOLDEN"):
        text = "".join(f"\n$ mlx-cards {command}\n{text}\n" for command, text in said.items())
        TEXTS.write_text(text, encoding="utf-8")
    assert said == dict(sections())


def test_every_error_says_what_is_wrong_and_what_to_do_in_at_least_two_sentences() -> None:
    for command, text in sections():
        message = text.removeprefix("error: ").rpartition("\n[exit")[0]
        assert message.count(". ") + message.count("? ") >= 1, command
        assert message.endswith((".", "?")), command


def test_an_array_without_pixels_is_an_image_error() -> None:
    import numpy as np

    from loader.errors import ImageError
    from loader.image import open_image

    with pytest.raises(ImageError, match="no pixels"):
        open_image(np.zeros((0, 10, 3), dtype=np.uint8))
    with pytest.raises(ImageError, match="no pixels"):
        open_image(PIL.Image.new("RGB", (0, 0)))
