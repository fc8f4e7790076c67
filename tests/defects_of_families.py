"""What shows that a fault of the installed mlx-vlm is still there: those of single architectures."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import PIL.Image

from tests.defects_of_package import BLUE, RED, Build, changed, loaded, mx, shows
from tests.test_budget_levers import tokenizer
from tests.test_resize_tiles import PLACEHOLDER, deepseek_processor, without_init
from tools.random_checkpoint.recipe import TokenizerRecipe
from tools.random_checkpoint.tokenizer import write


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


@shows("own-frame")
def _(_checkpoint: Build, folder: Path) -> bool:
    processor = moondream3_processor(folder)
    prompt = "<|endoftext|><image>What?"
    ids = processor(text=[prompt], images=[RED])["input_ids"][0].tolist()
    assert ids.count(processor.tokenizer.eos_token_id) >= 729
    return f"\n\nQuestion: {prompt}\n\nAnswer: " in str(processor.tokenizer.decode(ids[730:]))


@shows("unjoined")
def _(_checkpoint: Build, folder: Path) -> bool:
    source = import_module("mlx_vlm.models.moondream3.config")
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    text = source.TextConfig(
        **small, num_key_value_heads=1, vocab_size=400, head_dim=16, rope_dim=8, moe_start_layer=1
    )
    vision = source.VisionConfig(**small, proj_inner_dim=16, proj_out_dim=16)
    config = source.ModelConfig(text_config=text, vision_config=vision)
    model = import_module("mlx_vlm.models.moondream3.moondream3").Model(config)
    processor = moondream3_processor(folder)

    def positions(images: list[PIL.Image.Image]) -> int:
        made = processor(text=["What?"], images=images)
        ids, pixels = mx.array(made.pop("input_ids")), mx.array(made.pop("pixel_values"))
        return int(model.get_input_embeddings(ids, pixels, **made).inputs_embeds.shape[1])

    assert positions([RED]) > 729
    try:
        positions([RED, BLUE])
    except ValueError as error:
        return "concatenate" in str(error)
    return False


def moondream3_processor(folder: Path) -> Any:
    """The real processor, with a tokenizer whose first token is the one that the features replace."""
    from transformers import PreTrainedTokenizerFast

    end = "<|endoftext|>"
    write(TokenizerRecipe(style="bytelevel", specials=(end,), named={}, bos=end, eos=end, pad=end), folder)
    made = import_module("mlx_vlm.models.moondream3.processing_moondream3")
    return made.Moondream3Processor(PreTrainedTokenizerFast.from_pretrained(folder))


@shows("numbered-only")
def _(_checkpoint: Build, folder: Path) -> bool:
    source = import_module("mlx_vlm.models.phi4mm.processing_phi4mm")
    processor = source.Phi4MMProcessor(tokenizer=tokenizer(folder))

    def places(prompt: str) -> int:
        made = processor(text=[prompt], images=[RED])
        assert "pixel_values" in made
        return int((made["input_ids"] == source.IMAGE_TOKEN_INDEX).sum())

    assert places("<|image_1|>Hi") == 1
    return places("<|image|>Hi") == 0


@shows("no-minicpmv")
def _(_checkpoint: Build, _folder: Path) -> bool:
    return not has_architecture("minicpmv", beside="minicpmo")


@shows("no-step3")
def _(_checkpoint: Build, _folder: Path) -> bool:
    return not has_architecture("step3_vl", beside="step3p7")


def has_architecture(model_type: str, beside: str) -> bool:
    """Whether the package has a model of this type; it has one of the type `beside`."""
    from mlx_vlm.utils import get_model_and_args

    get_model_and_args({"model_type": beside})
    try:
        get_model_and_args({"model_type": model_type})
    except ValueError as error:
        return f"Model type {model_type} not supported" not in str(error)
    return True


@shows("no-internlm2")
def _(checkpoint: Build, folder: Path) -> bool:
    from mlx.utils import tree_flatten
    from mlx_vlm.utils import load_model

    text = json.loads((checkpoint("internvl-chat") / "config.json").read_text(encoding="utf-8"))["llm_config"]
    text |= {"model_type": "internlm2", "bias": False}
    other = changed(checkpoint("internvl-chat"), folder / "other", llm_config=text)
    load_model(other)  # only the weights are in the way
    # Those of the package's own InternLM2 for text, which it loads.
    config = import_module("mlx_vlm.models.internlm2.config").ModelConfig.from_dict(text)
    model = import_module("mlx_vlm.models.internlm2.language").LanguageModel(config)
    weights = {f"language_model.{name}": weight for name, weight in tree_flatten(model.parameters())}
    before = mx.load(str(other / "model.safetensors"))
    weights |= {name: it for name, it in before.items() if not name.startswith("language_model.")}
    # Another name, because MLX may still read the old file.
    (other / "model.safetensors").unlink()
    mx.save_safetensors(str(other / "internlm2.safetensors"), weights, metadata={"format": "mlx"})
    try:
        load_model(other)
    except ValueError as error:
        return "parameters not in model" in str(error) and "attention.wqkv" in str(error)
    return False
