"""Expanded prompts: the text, and the very ids, that the model's own processor makes."""

from __future__ import annotations

from collections.abc import Callable

import PIL.Image
import pytest

import registry
from loader.backend import Backend
from loader.errors import UnsupportedFeatureError
from loader.fit import fit_image
from loader.messages import conversation
from loader.prompt import Prompt, render
from loader.prompt.encode import Encoder
from loader.prompt.expand import expand
from loader.resize import plan_image
from tests.families import CARDS

SIZES = [(640, 480), (30, 30), (1500, 400)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", CARDS)
def test_the_expanded_prompt_has_the_ids_that_the_models_own_processor_makes(
    name: str, size: tuple[int, int], backend: Callable[[str], Backend]
) -> None:
    card = registry.card(CARDS[name])
    assert card.image is not None
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


def test_what_is_not_established_is_not_expanded() -> None:
    card = registry.card("phi3-vision")
    prompt = render(card, conversation("x", images=1))
    with pytest.raises(UnsupportedFeatureError, match="not established"):
        expand(card, prompt, [plan_image(card, 640, 480)])
