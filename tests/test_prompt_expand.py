"""Expanded prompts: the text, and the very ids, that the model's own processor makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import PIL.Image
import pytest

import registry
from loader.backend import Backend
from loader.errors import MessageError, UnsupportedFeatureError
from loader.fit import fit_image
from loader.messages import conversation
from loader.prompt import Prompt, render
from loader.prompt.encode import Encoder
from loader.prompt.expand import expand
from loader.resize import plan_image
from registry.vision import Expansion
from tests.families import CARDS

SIZES = [(640, 480), (30, 30), (1500, 400)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", CARDS)
def test_the_expanded_prompt_has_the_ids_that_the_models_own_processor_makes(
    name: str, size: tuple[int, int], backend: Callable[[str], Backend]
) -> None:
    card = registry.card(CARDS[name])
    assert card.image is not None
    if card.image.expansion is None:
        pytest.skip("the card's fields cannot say what this processor writes")
    prompt = render(card, conversation("What is this?", images=1))
    plan = plan_image(card, *size, detail="full")
    pixels = fit_image(PIL.Image.new("RGB", size, "teal"), plan, card.image.resample)
    processed = backend(name).prepare(prompt, [pixels], card.image).tensors["input_ids"].flatten().tolist()

    tokenizer = backend(name)._tokenizer  # what it encodes with is compared, not its answer
    expanded = expand(card, prompt, [plan])
    assert Encoder(tokenizer).encode(Prompt(expanded.segments, ())) == processed


def test_tiles_are_marked_row_by_row_and_the_overview_comes_last() -> None:
    card = registry.card("smolvlm")
    text = expand(card, render(card, conversation("", 1)), [plan_image(card, 1000, 600)]).text
    first = text.index("<row_1_col_1>")
    assert first < text.index("<row_1_col_4>") < text.index("<row_2_col_1>") < text.index("<global-img>")


def test_rows_of_one_picture_are_closed_and_the_last_one_by_its_own_mark() -> None:
    card = registry.card("pixtral")
    text = expand(card, render(card, conversation("", 1)), [plan_image(card, 48, 32)]).text
    assert "[IMG][IMG][IMG][IMG_BREAK][IMG][IMG][IMG][IMG_END]" in text


@pytest.mark.parametrize("name", registry.families())
def test_an_expansion_holds_as_many_image_tokens_as_the_plan(name: str) -> None:
    card = registry.card(name)
    assert card.image is not None
    if card.image.expansion is None:
        return
    prompt = render(card, conversation("x", images=1))
    for size in ((640, 480), (1500, 2000), (300, 300)):
        plan = plan_image(card, *size)
        text = expand(card, prompt, [plan]).text
        assert text.count(card.image.token) == plan.image_tokens


@pytest.mark.parametrize("size", [(640, 480), (1500, 400), (400, 1500), (1344, 336)], ids=str)
def test_an_overview_that_is_written_and_not_made_is_expanded_as_the_processor_writes_it(
    size: tuple[int, int],
) -> None:
    from mlx_vlm.models.llama4.processing_llama4 import Llama4ImageProcessor, Llama4Processor

    grid = Llama4ImageProcessor()._get_best_resolution(*size)  # by max_patches: 16, as released
    written: Any = Llama4Processor._prompt_split_image
    card = registry.card("llama4")
    plan = plan_image(card, *size, detail="full")
    expanded = expand(card, render(card, conversation("", 1)), [plan])
    assert [s.text for s in expanded.segments if s.kind == "image"] == [written(None, grid, 144)]


def test_a_numbered_placeholder_is_expanded() -> None:
    card = registry.card("phi3-vision")
    assert card.image is not None
    rule = Expansion(replaces="<|image_{n}|>", open="[", close="]")
    numbered = replace(card, image=replace(card.image, token="x", expansion=rule))  # noqa: S106  # no secret
    expanded = expand(numbered, render(card, conversation("", 2)), [plan_image(card, 336, 336)] * 2)
    assert [s.text[:2] for s in expanded.segments if s.kind == "image"] == ["[x", "[x"]


def test_another_number_of_plans_than_of_images_is_refused() -> None:
    card = registry.card("qwen2.5-vl")
    for plans in ([], [plan_image(card, 640, 480)] * 2):
        with pytest.raises(MessageError, match="number of images in the prompt is 1"):
            expand(card, render(card, conversation("x", 1)), plans)


def test_what_is_not_established_is_not_expanded() -> None:
    card = registry.card("phi3-vision")
    prompt = render(card, conversation("x", images=1))
    with pytest.raises(UnsupportedFeatureError, match="not established"):
        expand(card, prompt, [plan_image(card, 640, 480)])
