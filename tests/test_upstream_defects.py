"""The faults in registry/defects.yaml are still in the installed mlx-vlm: what is done about them is needed.

A test that fails here says that upstream has mended something: then the work-around, the limit in the card
and the entry in the table can go.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

import registry
from loader.backend import Backend
from loader.errors import CheckpointError, UnsupportedFeatureError
from registry.defects import Defect, known
from tests.test_budget_levers import tokenizer
from tests.test_resize_tiles import PLACEHOLDER, deepseek_processor, without_init

mx = pytest.importorskip("mlx.core")
pytest.importorskip("mlx_vlm")

Build = Callable[[str], Path]
Shown = Callable[[Build, Path], bool]
"""Whether the fault is there, told from what the package does; the folder is for files."""
SHOWN: dict[str, Shown] = {}
RED = PIL.Image.new("RGB", (112, 84), "red")
BLUE = PIL.Image.new("RGB", (112, 84), "blue")
IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"


def shows(defect: str) -> Callable[[Shown], Shown]:
    def add(shown: Shown) -> Shown:
        SHOWN[defect] = shown
        return shown

    return add


def changed(folder: Path, to: Path, **config: Any) -> Path:
    """A copy of a checkpoint whose config.json says something else."""
    shutil.copytree(folder, to)
    said = json.loads((to / "config.json").read_text(encoding="utf-8"))
    (to / "config.json").write_text(json.dumps(said | config), encoding="utf-8")
    return to


def loaded(folder: Path) -> tuple[Any, Any]:
    from mlx_vlm.utils import load

    model, processor = load(str(folder))
    return model, processor


@shows("padding")
def _(checkpoint: Build, _folder: Path) -> bool:
    _, processor = loaded(checkpoint("llava-1.5"))
    assert processor(text=["<image>\nHi"], images=[RED])["input_ids"].size > 0
    try:
        processor(text=["<image>\nHi"], images=[RED], padding=True)
    except TypeError as error:
        return "padding" in str(error)
    return False


@shows("prompt-function")
def _(checkpoint: Build, _folder: Path) -> bool:
    from mlx_vlm.prompt_utils import apply_chat_template
    from mlx_vlm.utils import load_config

    _, processor = loaded(checkpoint("internvl-chat"))
    said = [("user", "Hi"), ("assistant", "A cat."), ("user", "And now?")]
    messages = [{"role": role, "content": text} for role, text in said]
    config = load_config(checkpoint("internvl-chat"))
    return "A cat." not in str(apply_chat_template(processor, config, messages, num_images=1))


@shows("prompt-cache")
def _(_checkpoint: Build, _folder: Path) -> bool:
    from mlx_vlm.generate import PromptCacheState

    state = PromptCacheState()
    state.update([1, 2, 3], [])  # no word of which image the tokens stood for
    return bool(state.find_prefix_length([1, 2, 3]) == 3)


@shows("window")
def _(checkpoint: Build, _folder: Path) -> bool:
    from mlx_vlm.generate import stream_generate

    model, processor = loaded(checkpoint("qwen2-vl"))

    def answer(**options: int) -> list[int]:
        made = dict(processor(text=[f"{IMAGE}What?"], images=[RED.resize((336, 336))]))
        ids, pixels, mask = (made.pop(name) for name in ("input_ids", "pixel_values", "attention_mask"))
        steps = stream_generate(
            model,
            processor,
            "",
            input_ids=ids,
            pixel_values=pixels,
            mask=mask,
            max_tokens=6,
            **made,
            **options,
        )
        return [step.token for step in steps]

    return answer() != answer(max_kv_size=16)


@shows("bare-tokenizer")
def _(checkpoint: Build, folder: Path) -> bool:
    from mlx_vlm.utils import get_model_and_args, load_processor

    other = changed(checkpoint("qwen2-vl"), folder / "other", model_type="minicpmo")
    (other / "preprocessor_config.json").unlink()
    get_model_and_args({"model_type": "minicpmo"})
    return not hasattr(load_processor(other), "image_processor")


@shows("import-first")
def _(checkpoint: Build, _folder: Path) -> bool:
    folder = str(checkpoint("smolvlm-384"))
    load = f"import pathlib, mlx_vlm.utils; mlx_vlm.utils.load_processor(pathlib.Path({folder!r}))"
    first = "import mlx_vlm.models.smolvlm; "

    def works(code: str) -> bool:
        return subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0  # noqa: S603

    assert works(first + load)
    return not works(load)


@shows("enlarging")
def _(_checkpoint: Build, _folder: Path) -> bool:
    from mlx_vlm.utils import process_image

    return bool(process_image(RED, (448, 448), None).width > RED.width)


@shows("sources")
def _(_checkpoint: Build, _folder: Path) -> bool:
    from mlx_vlm.utils import process_image

    turned = PIL.Image.new("RGB", (60, 30))
    turned.getexif()[0x0112] = 6
    clear = PIL.Image.new("RGBA", (2, 2), (255, 0, 0, 0))
    deep = PIL.Image.new("I;16", (2, 2), 1000)
    seen = [process_image(picture, None, None) for picture in (turned, clear, deep)]
    sideways = seen[0].size == (60, 30)
    uncomposited = seen[1].getpixel((0, 0)) == (255, 0, 0)
    white = seen[2].getpixel((0, 0)) == (255, 255, 255)
    return bool(sideways and uncomposited and white)


@shows("missing-placeholder")
def _(checkpoint: Build, _folder: Path) -> bool:
    _, processor = loaded(checkpoint("qwen2-vl"))
    made = processor(text=[f"{IMAGE}What?"], images=[RED, BLUE])
    token = processor.tokenizer.convert_tokens_to_ids("<|image_pad|>")
    alone = processor(text=[f"{IMAGE}What?"], images=[RED])
    return len(made["image_grid_thw"]) == 2 and bool(
        (made["input_ids"] == token).sum() == (alone["input_ids"] == token).sum()
    )


@shows("code")
def _(checkpoint: Build, folder: Path) -> bool:
    from mlx_vlm.utils import load_model

    other = changed(checkpoint("qwen2-vl"), folder / "other", model_file="theirs.py")
    (other / "theirs.py").write_text("raise SystemExit('code of the checkpoint ran')\n", encoding="utf-8")
    try:
        load_model(other)
    except SystemExit:
        return True
    return False


@shows("markers")
def _(checkpoint: Build, _folder: Path) -> bool:
    _, processor = loaded(checkpoint("qwen2-vl"))
    try:
        processor(text=[f"{IMAGE}What does <|image_pad|> mean?"], images=[RED])
    except IndexError:  # it wants an image for what the user typed
        return True
    return False


@shows("row-ends")
def _(checkpoint: Build, _folder: Path) -> bool:
    model, processor = loaded(checkpoint("llava-next"))
    made = processor(text=["<image>\nHi"], images=[RED])
    seen = model.get_input_embeddings(
        made["input_ids"], made["pixel_values"], mask=made["attention_mask"], image_sizes=made["image_sizes"]
    )
    return bool(seen.inputs_embeds.shape[1] > made["input_ids"].shape[1])


@shows("tiles-of-one")
def _(checkpoint: Build, _folder: Path) -> bool:
    model, processor = loaded(checkpoint("llava-next"))

    def embedded(second: PIL.Image.Image) -> Any:
        made = processor(text=["<image><image>\nHi"], images=[RED, second])
        return model.get_input_embeddings(
            made["input_ids"],
            made["pixel_values"],
            mask=made["attention_mask"],
            image_sizes=made["image_sizes"],
        ).inputs_embeds

    return bool((embedded(BLUE) == embedded(RED)).all())


@shows("positions")
def _(_checkpoint: Build, _folder: Path) -> bool:
    from mlx_vlm.models.idefics2.config import VisionConfig
    from mlx_vlm.models.idefics2.vision import VisionEmbeddings

    config = VisionConfig(
        model_type="idefics2", hidden_size=8, image_size=56, patch_size=14, num_attention_heads=1,
        intermediate_size=8, num_hidden_layers=1,
    )  # fmt: skip
    made = VisionEmbeddings(config)
    # Patches of no content, so that what is left is the position: its number.
    made.patch_embedding.weight = mx.zeros_like(made.patch_embedding.weight)
    made.patch_embedding.bias = mx.zeros_like(made.patch_embedding.bias)
    made.position_embedding.weight = mx.arange(16)[:, None] * mx.ones((1, 8))
    given = made(mx.zeros((1, 56, 56, 3)), mx.ones((1, 4, 4), dtype=mx.bool_))[0, :, 0].tolist()
    return bool(given != list(range(16)))


@shows("overview")
def _(_checkpoint: Build, _folder: Path) -> bool:
    source = import_module("mlx_vlm.models.llama4.processing_llama4")
    made = source.Llama4ImageProcessor().preprocess([PIL.Image.new("RGB", (700, 336))])
    text = without_init(source.Llama4Processor)._prompt_split_image(made["aspect_ratios"][0], 1)
    return bool(text.count("<|patch|>") > len(made["pixel_values"]))


@shows("late-features")
def _(_checkpoint: Build, _folder: Path) -> bool:
    source = import_module("mlx_vlm.models.fastvlm.config")
    text = source.TextConfig(
        model_type="qwen2", hidden_size=16, num_hidden_layers=1, intermediate_size=16, num_attention_heads=1,
        num_key_value_heads=1, vocab_size=9,
    )  # fmt: skip
    config = source.ModelConfig(text_config=text, vision_config=source.VisionConfig())
    model = import_module("mlx_vlm.models.fastvlm.fastvlm").Model(config)
    model.language_model.model.embed_tokens.weight = mx.arange(9)[:, None] * mx.ones((1, 16))
    token = config.image_token_index
    ids = mx.array([[1, 2, token, 3, 4, token, 5, 6]])
    made = model.prepare_inputs_for_multimodal(mx.full((2, 1, 16), 99.0), ids, None)[0, :, 0].tolist()
    assert made[:4] == [1, 2, 99, 3]
    return bool(made != [1, 2, 99, 3, 4, 99, 5, 6])


@shows("three-parts")
def _(_checkpoint: Build, _folder: Path) -> bool:
    classes = [
        import_module("mlx_vlm.models.ernie4_5_moe_vl.vision").VisionAttention,
        import_module("mlx_vlm.models.glm4v.vision").Glm4vVisionAttention,
    ]
    return all(fourth_reaches_third(attention(64, 2)) for attention in classes)


def fourth_reaches_third(attention: Any) -> bool:
    """Whether another fourth image changes what the patches of the third become."""
    mx.random.seed(0)
    ends, turns = mx.array([0, 4, 8, 12, 16]), mx.zeros((16, 16))
    patches = mx.random.normal((16, 64))
    other = mx.concatenate([patches[:12], mx.random.normal((4, 64))])
    same = (attention(patches, ends, turns) == attention(other, ends, turns)).all(axis=1).tolist()
    assert same[:8] == [True] * 8
    return not all(same[8:12])


@shows("uncut")
def _(_checkpoint: Build, _folder: Path) -> bool:
    _, processor = deepseek_processor("deepseek-vl2")
    processor.ignore_id, processor.tokenizer.pad_token_id = -100, 0

    def tiles(images: int) -> list[list[int]]:
        pictures = [PIL.Image.new("RGB", (1536, 384), "red")] * images
        made = processor.process_one(prompt=f"a{PLACEHOLDER}" * images, images=pictures)
        found: list[list[int]] = made.images_spatial_crop.tolist()
        return found

    assert tiles(2)[0] != [1, 1]
    return tiles(3) == [[1, 1]] * 3


@shows("newline")
def _(_checkpoint: Build, folder: Path) -> bool:
    source = import_module("mlx_vlm.models.phi3_v.processing_phi3_v")
    processor = source.Phi3VProcessor(
        image_processor=source.Phi3VImageProcessor(num_crops=1), tokenizer=tokenizer(folder)
    )

    def text(prompt: str) -> str:
        ids = processor(text=[prompt], images=[RED])["input_ids"].flatten().tolist()
        return str(processor.tokenizer.decode([number for number in ids if number >= 0]))

    assert text("<|image_1|>\nhello") == "hello"
    return text("<|image_1|>hello") != "hello"


@shows("one-placeholder")
def _(_checkpoint: Build, folder: Path) -> bool:
    source = import_module("mlx_vlm.models.step3p7.processing_step3p7")
    processor = source.Step3VLProcessor(tokenizer=tokenizer(folder))
    assert processor(text="<im_patch>Hi", images=[RED])["input_ids"].size > 0
    try:
        processor(text="<im_patch><im_patch>Hi", images=[RED, BLUE])
    except ValueError as error:
        return "one <im_patch> placeholder" in str(error)
    return False


@shows("one-grid")
def _(_checkpoint: Build, _folder: Path) -> bool:
    processor = import_module("mlx_vlm.models.paddleocr_vl.processing_paddleocr_vl").ImageProcessor()
    made = processor.preprocess([RED.resize((280, 280)), BLUE.resize((280, 280))])
    return len(made["image_grid_thw"]) == 1


def test_every_known_defect_has_a_test_here() -> None:
    assert sorted(SHOWN) == sorted(defect.id for defect in known().defects)


@pytest.mark.parametrize("defect", known().defects, ids=lambda defect: defect.id)
def test_the_defect_is_still_there(defect: Defect, checkpoint: Build, tmp_path: Path) -> None:
    shown = SHOWN[defect.id](checkpoint, tmp_path)
    assert shown, f"mended upstream: {defect.fault}. What can go: {defect.how}, and the entry {defect.id}."


@pytest.mark.parametrize("defect", known().defects, ids=lambda defect: defect.id)
def test_a_defect_names_cards_that_exist_and_that_have_the_limit_which_refuses_it(defect: Defect) -> None:
    cards = [registry.card(family) for family in defect.families]
    assert [card.id for card in cards] == list(defect.families)
    if defect.how == "backend.max_images in the card":
        assert all(most_images(family) for family in defect.families)


def most_images(family: str) -> int | None:
    """The number of images that the backend handles for the family, or for one of its models."""
    card = registry.card(family)
    own = [
        registry.card(name).backend.max_images
        for name in registry.names()
        if registry.card(name).id == family
    ]
    return next((most for most in (card.backend.max_images, *own) if most is not None), None)


def test_code_in_a_checkpoint_is_refused_before_the_backend_can_run_it(
    checkpoint: Build, tmp_path: Path
) -> None:
    other = changed(checkpoint("qwen2-vl"), tmp_path / "other", model_file="theirs.py")
    (other / "theirs.py").write_text("raise SystemExit('code of the checkpoint ran')\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"theirs\.py"):
        registry.load(other, card="qwen2-vl")


def test_a_processor_that_became_a_tokenizer_is_refused(checkpoint: Build, tmp_path: Path) -> None:
    other = changed(checkpoint("qwen2-vl"), tmp_path / "other", model_type="minicpmo")
    (other / "preprocessor_config.json").unlink()
    with pytest.raises(CheckpointError, match="would drop images without a word"):
        Backend(other, registry.card("minicpm-v-4.5").backend, weights=False)


@pytest.mark.parametrize("name", ["fastvlm-0.5b", "paddleocr-vl", "moondream3", "step-3.7"])
def test_a_family_that_the_backend_takes_one_image_for_says_so(name: str) -> None:
    assert registry.card(name).backend.max_images == 1


def test_a_second_image_for_a_model_that_reads_one_is_refused(checkpoint: Build) -> None:
    model = registry.load(checkpoint("llava-next"), card="llava-next")
    with pytest.raises(UnsupportedFeatureError, match="at most 1 images"):
        model.prepare("Compare.", [RED, BLUE])
