"""The random checkpoints behave as the released models do, wherever size is not the matter."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image

from tests.families import CARDS, SEVERAL_IMAGES
from tools.random_checkpoint import build, names, recipe
from tools.random_checkpoint.__main__ import main

mlx_vlm = pytest.importorskip("mlx_vlm")

Loaded = tuple[Any, Any]  # model, processor
Build = Callable[[str], Path]
Load = Callable[[str], Loaded]

# The image tokens of the released models for a 640x480 image.
IMAGE_TOKENS = {
    "gemma3": 256,
    "gemma4": 266,
    "glm-ocr": 391,
    "idefics2": 320,
    "idefics3": 13 * 169,
    "internvl": 13 * 256,
    "internvl-chat": 13 * 256,
    "llama3.2-vision": 1,
    "llava-1.5": 576,
    "llava-next": 2340,
    "llava-onevision": 2929,
    "mistral3": 23 * 18,
    "pixtral": 40 * 30,
    "qwen2-vl": 391,
    "qwen2.5-vl": 391,
    "qwen3-omni": 300,
    "qwen3-vl": 300,
    "qwen3-vl-moe": 300,
    "smolvlm-384": 13 * 81,
    "smolvlm-512": 13 * 64,
}
# A strip becomes the fewest tiles in the families that cut an image into tiles: the tests stay quick.
WIDE = (320, 80)
EVERY_FAMILY = pytest.mark.parametrize("name", names())


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Each family is built once, when a test first asks for it."""
    root = tmp_path_factory.mktemp("checkpoints")

    def folder(name: str) -> Path:
        return root / name if (root / name).exists() else build(name, root / name)

    return folder


@pytest.fixture(scope="session")
def loaded(checkpoint: Build) -> Load:
    """Each family is loaded once, by the backend's own loader."""
    ready: dict[str, Loaded] = {}

    def load(name: str) -> Loaded:
        if name not in ready:
            ready[name] = mlx_vlm.load(str(checkpoint(name)), trust_remote_code=False)
        return ready[name]

    return load


def picture(width: int, height: int, *, upside_down: bool = False) -> Image.Image:
    gradient = Image.linear_gradient("L").resize((width, height))
    channels = (gradient, gradient.rotate(180), Image.new("L", gradient.size, 90))
    image = Image.merge("RGB", channels)
    return image.rotate(180) if upside_down else image


def is_unmade(value: object) -> bool:
    """Whether a processor left it to the caller to make an array of it."""
    return isinstance(value, numpy.ndarray) or (isinstance(value, list) and isinstance(value[0], list))


def prepare(processor: Any, images: list[Image.Image]) -> dict[str, Any]:
    import mlx.core as mx

    parts = [*({"type": "image"} for _ in images), {"type": "text", "text": "What is this?"}]
    prompt = processor.tokenizer.apply_chat_template(
        [{"role": "user", "content": parts}], add_generation_prompt=True, tokenize=False
    )
    bos = processor.tokenizer.bos_token
    # A template that writes the bos itself must not get a second one from the tokenizer.
    options = {"add_special_tokens": False} if bos and prompt.startswith(bos) else {}
    if not images:  # as the loader does: some processors demand images
        return {key: mx.array(rows) for key, rows in processor.tokenizer([prompt], **options).items()}
    made = processor(text=[prompt], images=images, **options)
    return {key: mx.array(value) if is_unmade(value) else value for key, value in made.items()}


def generate(model: Any, processor: Any, images: list[Image.Image]) -> list[Any]:
    from mlx_vlm.generate import stream_generate

    inputs = prepare(processor, images)
    stream = stream_generate(
        model,
        processor,
        "",
        input_ids=inputs.pop("input_ids"),
        pixel_values=inputs.pop("pixel_values", None),
        mask=inputs.pop("attention_mask", None),
        max_tokens=4,
        temperature=0.0,
        **inputs,
    )
    return list(stream)


def count_image_tokens(folder: Path, inputs: dict[str, Any]) -> int:
    config = json.loads((folder / "config.json").read_text())
    config = config.get("thinker_config", config)  # of a model that speaks, too
    image_token = config.get("image_token_id", config.get("image_token_index"))
    return int((inputs["input_ids"] == image_token).sum())


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_every_family_has_its_image_tokens_checked_and_a_card() -> None:
    assert tuple(sorted(IMAGE_TOKENS)) == tuple(sorted(CARDS)) == names()


@EVERY_FAMILY
def test_an_image_takes_as_many_tokens_as_in_the_released_model(
    name: str, checkpoint: Build, loaded: Load
) -> None:
    _, processor = loaded(name)

    inputs = prepare(processor, [picture(640, 480)])

    assert count_image_tokens(checkpoint(name), inputs) == IMAGE_TOKENS[name]


@EVERY_FAMILY
def test_generation_at_temperature_zero_repeats_itself(name: str, loaded: Load) -> None:
    first, second = (generate(*loaded(name), [picture(*WIDE)]) for _ in range(2))

    assert [step.token for step in first] == [step.token for step in second]


@EVERY_FAMILY
def test_another_image_of_the_same_size_changes_what_the_model_predicts(name: str, loaded: Load) -> None:
    upright, turned = (
        generate(*loaded(name), [picture(*WIDE, upside_down=turned)])[0].logprobs for turned in (False, True)
    )

    assert abs(upright - turned).max().item() > 0.01


@pytest.mark.parametrize("name", SEVERAL_IMAGES)
def test_two_images_of_different_sizes_fit_in_one_prompt(name: str, checkpoint: Build, loaded: Load) -> None:
    model, processor = loaded(name)
    images = [picture(*WIDE), picture(120, 400)]

    together, *alone = (
        count_image_tokens(checkpoint(name), prepare(processor, chosen))
        for chosen in (images, images[:1], images[1:])
    )

    assert together == sum(alone)
    assert generate(model, processor, images)


@EVERY_FAMILY
def test_text_alone_generates_too(name: str, loaded: Load) -> None:
    assert generate(*loaded(name), [])


@EVERY_FAMILY
def test_the_tokenizer_gives_back_any_text(name: str, loaded: Load) -> None:
    tokenizer = loaded(name)[1].tokenizer
    text = " Grüße, 世界! 🦜\n\ttwo  spaces, e\u0301, ﷽, \u202e and \x00 "

    ids = tokenizer.encode(text, add_special_tokens=False)

    assert tokenizer.decode(ids, skip_special_tokens=True) == text


@EVERY_FAMILY
def test_special_tokens_are_one_token_each(name: str, loaded: Load) -> None:
    tokenizer = loaded(name)[1].tokenizer

    for token in recipe.load(name).tokenizer.specials:
        assert tokenizer.encode(token, add_special_tokens=False) == [tokenizer.convert_tokens_to_ids(token)]


@EVERY_FAMILY
def test_the_same_seed_gives_the_same_bytes(name: str, checkpoint: Build, tmp_path: Path) -> None:
    again = build(name, tmp_path / name)

    assert digests(again) == digests(checkpoint(name))


def test_another_seed_changes_only_the_weights(checkpoint: Build, tmp_path: Path) -> None:
    before = digests(checkpoint("qwen2-vl"))

    after = digests(build("qwen2-vl", tmp_path / "other", seed=1))

    assert {file for file in before if before[file] != after[file]} == {"model.safetensors"}


def test_weights_have_the_requested_dtype(tmp_path: Path) -> None:
    import mlx.core as mx

    folder = build("qwen2-vl", tmp_path / "half", dtype="bfloat16")

    weights = mx.load(str(folder / "model.safetensors"))
    assert isinstance(weights, dict)
    assert {array.dtype for array in weights.values()} == {mx.bfloat16}


def test_an_unknown_name_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(LookupError, match=r"'qwen2-v'.*Use one of: .*qwen2-vl"):
        build("qwen2-v", Path("unused"))


def test_a_folder_with_files_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")

    with pytest.raises(FileExistsError, match="nothing is overwritten"):
        build("qwen2-vl", tmp_path)


def test_a_build_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("tools.random_checkpoint.weights.write", fail)

    with pytest.raises(OSError, match="disk full"):
        build("qwen2-vl", tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_backend_is_named_with_the_way_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlx", None)

    with pytest.raises(ModuleNotFoundError, match=r"mlx is not installed.*pip install"):
        build("qwen2-vl", tmp_path / "new")


def test_a_reference_to_an_unknown_token_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'<imagee>'.*tokenizer\.specials"):
        recipe.resolve({"image_token_id": "$token:<imagee>"}, {"<image>": 3}, 10)


def test_the_command_prints_the_folder_it_built(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["qwen2-vl", str(tmp_path / "new")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'new'}\n"


def test_the_command_fails_for_a_folder_with_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("mine")

    assert main(["qwen2-vl", str(tmp_path)]) == 1
    assert "nothing is overwritten" in capsys.readouterr().err
