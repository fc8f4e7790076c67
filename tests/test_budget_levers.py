"""Budgets of families that cut or fill: the processor's own limit, lowered for one call."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

import registry
from loader.backend import Backend
from loader.errors import CheckpointError, UnsupportedFeatureError
from loader.fit import fit_image
from loader.model import VisionModel
from loader.prompt import Prompt, Segment
from loader.resize import plan_image, plan_images
from loader.resize.plan import ImagePlan
from registry.cards import Card
from tests.families import CARDS
from tools.random_checkpoint.recipe import TokenizerRecipe
from tools.random_checkpoint.tokenizer import write

Build = Callable[[str], Path]

CUT = {name: card for name, card in CARDS.items() if (image := registry.card(card).image) and image.lever}
"""The random checkpoints of families that have such a limit."""
ANSWER: dict[str, Any] = {"max_tokens": 1}
WIDE = PIL.Image.effect_noise((1900, 800), 60).convert("RGB")
TALL = PIL.Image.effect_noise((500, 900), 60).convert("RGB")
BROAD, HIGH = WIDE.resize((760, 320)), TALL.resize((250, 450))
"""In shapes like theirs, for models that are slow with many pixels."""

PROCESSORS = {
    "lfm2.5-vl": ("lfm2_vl.processing_lfm2_vl", "Lfm2VlProcessor", "Lfm2VlNumpyImageProcessor", {}),
    "phi3-vision": ("phi3_v.processing_phi3_v", "Phi3VProcessor", "Phi3VImageProcessor", {"num_crops": 16}),
    "molmo2": ("molmo2.processing", "Molmo2Processor", "Molmo2ImageProcessor", {}),
    "minicpm-v-4.6": (
        "minicpmv4_6.processing_minicpmv4_6",
        "MiniCPMVProcessor",
        "MiniCPMVImageProcessor",
        {"max_slice_nums": 9},
    ),
    "llama4": ("llama4.processing_llama4", "Llama4Processor", "Llama4ImageProcessor", {}),
}
"""Real processors of families without a random checkpoint, as released: module, classes, settings."""
SPECIALS = (
    *("<s>", "</s>", "<image>", "</image>", "<|image_start|>", "<|image_end|>", "<|img_thumbnail|>"),
    *("<|image|>", "<|image_pad|>", "<slice>", "</slice>", "<image_id>", "</image_id>", "<im_patch>"),
    *(
        "<im_start>",
        "<im_end>",
        "<im_col>",
        "<low_res_im_start>",
        "<|video_pad|>",
        "<|endoftext|>",
        "<|patch|>",
    ),
    *("<|tile_x_separator|>", "<|tile_y_separator|>"),
)


@functools.cache
def tokenizer(folder: Path) -> Any:
    """A real tokenizer that has the tokens of all these families."""
    from transformers import PreTrainedTokenizerFast

    write(TokenizerRecipe(style="bytelevel", specials=SPECIALS, named={}, eos="</s>", pad="</s>"), folder)
    return PreTrainedTokenizerFast.from_pretrained(folder)


def around(processor: Any) -> Backend:
    """A backend with a processor and without a model."""
    backend = object.__new__(Backend)
    backend._processor, backend._tokenizer = processor, processor.tokenizer
    backend._encoder, backend._preparing = None, threading.Lock()
    return backend


@pytest.fixture
def real(tmp_path: Path) -> Callable[[str], Backend]:
    def make(name: str) -> Backend:
        place, processor, pictures, settings = PROCESSORS[name]
        module = import_module(f"mlx_vlm.models.{place}")
        made = getattr(module, pictures)(**settings)
        return around(getattr(module, processor)(image_processor=made, tokenizer=tokenizer(tmp_path)))

    return make


def prompt(card: Card, images: int) -> Prompt:
    assert card.image is not None
    placeholder = card.image.placeholder
    text = [Segment("image", placeholder.replace("{n}", str(n))) for n in range(1, images + 1)]
    return Prompt((*text, Segment("literal", "What?")), (None,) * images)


def counted(backend: Backend, card: Card, plans: list[ImagePlan], images: list[PIL.Image.Image]) -> int:
    assert card.image is not None
    pixels = [fit_image(it, plan, card.image.resample) for it, plan in zip(images, plans, strict=True)]
    made = backend.prepare(prompt(card, len(images)), pixels, card.image, setting=plans[0].setting)
    return made.image_tokens


def limit(backend: Backend, lever: str) -> int:
    """What the processor's own limit is now."""
    value = functools.reduce(getattr, lever.split("."), backend._processor)
    assert isinstance(value, int)
    return value


@pytest.fixture(scope="module")
def load(checkpoint: Build) -> Callable[[str], VisionModel]:
    return functools.cache(lambda name: registry.load(checkpoint(name), card=CARDS[name]))


@pytest.mark.parametrize("name", CUT)
def test_a_budget_lowers_the_limit_of_the_processor_for_one_call(
    name: str, load: Callable[[str], VisionModel]
) -> None:
    model = load(name)
    lever = model.card.image.lever if model.card.image else None
    assert lever
    before = limit(model._backend, lever)
    auto = plan_image(model.card, *BROAD.size).image_tokens
    budget = max(auto // 2, 70)
    small = model.generate("What?", BROAD, max_image_tokens=budget, **ANSWER)
    (seen,) = small.images
    assert small.image_tokens == seen.plan.image_tokens <= auto
    if seen.plan.image_tokens > budget:
        assert "the least this model can see" in seen.plan.note
    elif auto > budget:
        assert seen.plan.setting
        assert f"{lever.rpartition('.')[2]} set to {seen.plan.setting[1]}" in seen.plan.note
    assert limit(model._backend, lever) == before
    assert model.generate("What?", BROAD, **ANSWER).image_tokens == auto


@pytest.mark.parametrize("name", CUT)
def test_images_of_one_call_share_one_setting_and_every_count_is_the_plans(
    name: str, load: Callable[[str], VisionModel]
) -> None:
    model = load(name)
    response = model.generate("Compare.", [BROAD, HIGH], max_image_tokens=400, **ANSWER)
    plans = [seen.plan for seen in response.images]
    assert [plan.source for plan in plans] == [BROAD.size, HIGH.size]
    assert len({plan.setting for plan in plans}) == 1
    assert response.image_tokens == sum(plan.image_tokens for plan in plans)


@pytest.mark.parametrize("tokens", [1, 300, 600, 1200, 100_000])
@pytest.mark.parametrize("name", PROCESSORS)
def test_real_processors_write_as_many_tokens_as_the_lowered_plan_says(
    name: str, tokens: int, real: Callable[[str], Backend]
) -> None:
    card, backend = registry.card(name), real(name)
    lever = card.image.lever if card.image else None
    assert lever
    before = limit(backend, lever)
    for images in ([WIDE], [TALL], [WIDE, TALL]):
        plans = plan_images(card, [image.size for image in images], max_tokens=tokens)
        assert counted(backend, card, plans, images) == sum(plan.image_tokens for plan in plans)
        assert limit(backend, lever) == before
        if tokens == 1 and images[0] is WIDE:
            assert plans[0].setting
    assert tokens < 100_000 or all(plan.setting is None or name == "llama4" for plan in plans)


def test_crops_whose_tokens_are_always_the_same_are_fewer_for_a_limit_to_pixels(tmp_path: Path) -> None:
    from mlx_vlm.models.moondream3.processing_moondream3 import Moondream3Processor

    card = registry.card("moondream3")
    assert card.image
    backend = around(Moondream3Processor(tokenizer(tmp_path)))
    for pixels in (10**7, 500_000, 200_000, 1):
        plan = plan_image(card, *WIDE.size, max_pixels=pixels)
        made = backend.prepare(prompt(card, 1), [WIDE], card.image, setting=plan.setting)
        assert made.tensors["num_crops"] == [plan.tiles]
    assert plan_image(card, *WIDE.size, max_tokens=100).setting is None  # nothing would be gained


def test_tiles_without_their_overview_are_never_given_to_the_model(
    load: Callable[[str], VisionModel], real: Callable[[str], Backend]
) -> None:
    card = registry.card("llama4")
    model = VisionModel(card, load("smolvlm-384").checkpoint, real("llama4"))
    options: list[dict[str, Any]] = [{}, {"detail": "low"}, {"max_image_tokens": 5000}]
    for option in options:
        model.stream("What?", WIDE, **option)  # everything is counted here
    plan = plan_image(card, *WIDE.size)
    assert (plan.tiles, plan.unseen_tokens) == (1, 0)
    assert "max_patches set to 1, as the processor makes no overview beside tiles" in plan.note
    assert "without a picture" in plan_image(card, *WIDE.size, detail="full").note
    with pytest.raises(UnsupportedFeatureError, match=r"144 image tokens mlx-vlm makes no picture.*auto"):
        model.stream("What?", WIDE, detail="full")
    model.stream("What?", WIDE.resize((500, 500)), detail="full")
    assert plan_image(card, 500, 500).setting is None


def test_a_limit_that_the_processor_does_not_have_is_an_error(load: Callable[[str], VisionModel]) -> None:
    backend, card = load("smolvlm-384")._backend, registry.card("smolvlm")
    for name in ("image_processor.most", "other.limit", "image_processor.size.shortest_edge"):
        with pytest.raises(CheckpointError, match=rf"no limit {name}.*detail='full'"):
            backend.prepare(prompt(card, 1), [TALL], card.image, setting=(name, 1))


def test_a_checkpoint_that_has_a_lower_limit_of_its_own_is_never_raised_above_it(
    load: Callable[[str], VisionModel],
) -> None:
    backend = load("smolvlm-384")._backend
    with backend._lowered(("image_processor.size.longest_edge", 9000)):
        assert limit(backend, "image_processor.size.longest_edge") == 1536


def test_calls_at_once_with_and_without_a_budget_do_not_see_each_others_limit(
    load: Callable[[str], VisionModel],
) -> None:
    model = load("smolvlm-384")
    made: dict[int, int] = {}

    def ask(number: int) -> None:
        budget = None if number % 2 else 100
        with model.stream("What?", TALL, max_image_tokens=budget, **ANSWER) as stream:
            for _ in stream:
                pass
        made[number] = stream.response.image_tokens

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    full = plan_image(model.card, *TALL.size).image_tokens
    assert made == {number: full if number % 2 else 81 for number in range(4)}
