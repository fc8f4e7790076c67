"""The demo model sees: asked the way a user asks, it is right about drawings that it was not trained on."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import registry
from loader.fit import fit_image
from loader.model import VisionModel
from loader.resize import plan_image
from tools.demo import LARGE, SMALL, pictures
from tools.train_demo.conversations import NO_IMAGE, WHAT, WHERE, nth
from tools.train_demo.drawings import SIDES, Drawing, draw
from tools.train_demo.evaluate import KINDS, ask, questions

ASKED, LEAST = 40, 38
"""Questions of each kind, and right answers to them. `python -m tools.train_demo.evaluate` asks 500."""


@pytest.fixture(scope="module")
def demo() -> VisionModel:
    """The model by its name; its own template must say what the card says."""
    return registry.load("demo", strict=True, local_files_only=True)


def drawings(seed: int, number: int) -> list[Drawing]:
    """Small drawings that are called differently, each clearly at one side."""
    source = random.Random(seed)  # noqa: S311  # nothing is kept secret with it
    found: dict[str, Drawing] = {}
    while len(found) < number:
        drawing = draw(source, sides=(64, 600), at_side=True)
        if drawing.side is not None:
            found.setdefault(drawing.what, drawing)
    return list(found.values())


# What it sees.


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_right_about_drawings_that_it_has_not_seen(demo: VisionModel, kind: str) -> None:
    wrong = [
        (question.answer, said)
        for question in questions(kind, ASKED)
        if (said := ask(demo, question)) != question.answer
    ]

    assert ASKED - len(wrong) >= LEAST, wrong


def test_it_says_so_when_there_is_no_image(demo: VisionModel) -> None:
    assert {demo.generate(question, max_tokens=12).text for question in (WHAT[0], WHERE, nth(0))} == {
        NO_IMAGE
    }


def test_a_later_turn_may_ask_about_an_image_of_an_earlier_one(demo: VisionModel) -> None:
    shown = drawings(11, 12)
    right = 0
    for first, second in pairwise(shown):
        conversation: list[dict[str, Any]] = [
            {"role": "user", "content": [{"type": "image", "image": first.image}, WHERE]},
            {"role": "assistant", "content": first.side},
            {"role": "user", "content": [{"type": "image", "image": second.image}, nth(0)]},
        ]
        right += demo.generate(conversation, max_tokens=12).text == first.what

    assert right >= 9


def test_what_another_checkpoint_was_trained_for_is_asked_of_that_one(demo: VisionModel) -> None:
    """The demo shares its architecture with Qwen2-VL, which the architecture alone still means."""
    found = registry.card("qwen2_vl")

    assert demo.card.backend.model_types == ("qwen2_vl",)
    assert found.name == "qwen2-vl"


def test_what_make_demo_shows_is_right(demo: VisionModel, tmp_path: Path) -> None:
    small, large = pictures(tmp_path)
    files = [tmp_path / SMALL, tmp_path / LARGE]

    assert demo.generate(WHAT[0], images=files[0], max_tokens=12).text == small.what
    assert demo.generate(WHERE, images=files[1], max_tokens=12).text == large.side
    assert demo.generate(nth(1), images=files, max_tokens=12).text == large.what


# What comes with the package.


def test_it_comes_with_the_package_and_no_repository(demo: VisionModel) -> None:
    choice = registry.resolve("demo")

    assert (choice.repository, choice.revision, choice.quantization) == (None, None, "fp16")
    assert choice.folder == demo.checkpoint.folder
    assert demo.checkpoint.repository is None


def test_its_files_are_small_enough_for_a_repository(demo: VisionModel) -> None:
    assert sum(path.stat().st_size for path in demo.checkpoint.folder.iterdir()) < 3_000_000


def test_its_card_states_what_the_weights_are(demo: VisionModel) -> None:
    data = (demo.checkpoint.folder / "model.safetensors").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    del header["__metadata__"]
    model = demo.card.model
    assert model is not None

    assert {tensor["dtype"] for tensor in header.values()} == {"F16"}
    assert model.quantizations["fp16"].bytes == max(t["data_offsets"][1] for t in header.values())


def test_the_script_writes_the_files_that_come_with_the_package(demo: VisionModel, tmp_path: Path) -> None:
    from tools.train_demo.checkpoint import write_files

    write_files(tmp_path, demo.card)
    shipped = {path.name: path.read_bytes() for path in demo.checkpoint.folder.iterdir()}
    del shipped["model.safetensors"]

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == shipped


# How it is trained.


def test_drawings_of_one_seed_are_the_same_and_of_another_different() -> None:
    def pictures(seed: int) -> list[bytes]:
        return [drawing.image.tobytes() for drawing in drawings(seed, 3)]

    assert pictures(1) == pictures(1) != pictures(2)


@pytest.mark.parametrize("seed", range(5))
def test_a_shape_lies_whole_on_a_light_background_at_the_side_that_is_said(seed: int) -> None:
    (drawing,) = drawings(seed, 1)
    wide, high = drawing.image.size
    ground = drawing.image.getpixel((0, 0))
    assert isinstance(ground, tuple)
    assert min(ground) > 200
    left, top, right, bottom = _shape(drawing)

    assert 0 <= left < right <= wide
    assert 0 <= top < bottom <= high
    middle = (left + right) / 2 / wide - 0.5, (top + bottom) / 2 / high - 0.5
    farther = max(middle, key=abs)
    assert drawing.side == SIDES[2 * middle.index(farther) + (farther > 0)]


def _shape(drawing: Drawing) -> tuple[int, int, int, int]:
    from PIL import Image, ImageChops

    image = drawing.image
    ground = Image.new("RGB", image.size, image.getpixel((0, 0)))
    box = ImageChops.difference(image, ground).getbbox()
    assert box is not None
    return box


def test_training_sees_what_the_processor_makes_of_a_picture(demo: VisionModel) -> None:
    import numpy as np
    from mlx_vlm.models.qwen2_vl import processing_qwen2_vl
    from mlx_vlm.utils import load_processor

    from tools.train_demo.batches import patches

    assert processing_qwen2_vl  # without this import the family's processor is not found
    processor = load_processor(demo.checkpoint.folder)
    for drawing in drawings(3, 10):
        plan = plan_image(demo.card, *drawing.image.size)
        made = processor.image_processor(images=[fit_image(drawing.image, plan, "bicubic")])
        seen, grid = patches(drawing.image, demo.card)

        assert tuple(np.array(made["image_grid_thw"])[0]) == grid
        np.testing.assert_allclose(seen, np.array(made["pixel_values"]), atol=1e-5)


def test_training_counts_positions_as_the_model_does(demo: VisionModel) -> None:
    import mlx.core as mx
    import numpy as np

    from tools.train_demo.batches import positions
    from tools.train_demo.training import build

    config = dict(demo.checkpoint.config)
    start, image, end = (config[f"{name}_token_id"] for name in ("vision_start", "image", "vision_end"))
    grids = [(1, 8, 12), (1, 4, 16)]
    tokens = [9, start, *[image] * 24, end, 9, 9, start, *[image] * 16, end, 9]
    counted, _ = build(config).language_model.get_rope_index(mx.array([tokens]), mx.array(grids))

    assert np.array_equal(positions(tokens, image, grids, 2), np.array(counted)[:, 0])


def test_two_steps_of_training_make_a_checkpoint_that_loads(tmp_path: Path) -> None:
    from tools.train_demo.checkpoint import write_files
    from tools.train_demo.training import save, train

    card = registry.card("demo")
    config, tokenizer = write_files(tmp_path, card)
    save(train(card, tmp_path, tokenizer, config, seed=3, steps=2), tmp_path)
    model = registry.load(tmp_path, card="demo", strict=True)

    assert model.generate(WHAT[0], images=[drawings(3, 1)[0].image], max_tokens=3).image_tokens >= 16


def test_a_folder_with_something_in_it_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tools.train_demo.__main__ import main

    (tmp_path / "mine").write_text("", encoding="utf-8")

    assert main([str(tmp_path)]) == 1
    assert "is not an empty folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
