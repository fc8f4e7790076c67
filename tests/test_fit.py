"""Pixels: what the loader hands over is, to the bit, what the model's own processor would have made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import registry
from loader.backend import Backend
from loader.fit import fit_image
from loader.prompt import Prompt, Segment
from loader.resize import plan_image
from registry.cards import Card
from tests.families import CARDS

SIZES = [(640, 480), (333, 517), (97, 61), (1201, 377)]
FIRST = [name for name in CARDS if name != "qwen3-vl-moe"]  # the same processor as qwen3-vl


def photograph(size: tuple[int, int], photo: Path) -> PIL.Image.Image:
    """A piece of a real photograph: flat colours would hide a wrong filter."""
    with PIL.Image.open(photo) as image:
        return image.convert("RGB").resize(size, PIL.Image.Resampling.NEAREST)


def one_image(card: Card) -> Prompt:
    """A prompt that is nothing but an image."""
    assert card.image is not None
    return Prompt((Segment("image", card.image.placeholder),), (None,))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", FIRST)
def test_the_models_own_processor_makes_the_same_tensors_of_the_original_and_of_our_pixels(
    name: str, size: tuple[int, int], backend: Callable[[str], Backend], photo: Path
) -> None:
    card = registry.card(CARDS[name])
    image = photograph(size, photo)
    spec = card.image
    assert spec is not None
    ours = fit_image(image, plan_image(card, *size, detail="full"), spec.resample)
    prompt = one_image(card)
    tensors = [backend(name).prepare(prompt, [it], spec).tensors for it in (image, ours)]
    original, fitted = ({key: value.tolist() for key, value in each.items()} for each in tensors)
    assert fitted.keys() == original.keys()
    assert fitted == original


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["qwen2-vl", "gemma3", "smolvlm-512", "llava-1.5"]),
    width=st.integers(1, 1500),
    height=st.integers(1, 1500),
)
def test_the_processor_makes_as_many_tokens_of_our_pixels_as_the_plan_says(
    backend: Callable[[str], Backend], name: str, width: int, height: int
) -> None:
    card: Any = registry.card(CARDS[name])
    if max(width, height) / min(width, height) > 100:
        return
    plan = plan_image(card, width, height)
    pixels = fit_image(PIL.Image.new("RGB", (width, height), "teal"), plan, card.image.resample)
    assert pixels.size == (plan.width, plan.height)
    made = backend(name).prepare(one_image(card), [pixels], card.image)
    assert made.image_tokens == plan.image_tokens


def test_a_long_strip_that_is_cropped_never_passes_through_a_huge_image() -> None:
    card: Any = registry.card("llava-1.5")
    strip = PIL.Image.new("RGB", (1, 12_000), "navy")
    plan = plan_image(card, *strip.size)
    assert plan.resizes[-1] == (336, 4_032_000)  # gigabytes of pixels, were it made
    assert fit_image(strip, plan, "bicubic").getcolors() == [(336 * 336, (0, 0, 128))]


def test_a_crop_shows_the_middle() -> None:
    card: Any = registry.card("llava-1.5")
    image = PIL.Image.new("RGB", (900, 300), "red")
    image.paste("blue", (300, 0, 600, 300))
    seen = fit_image(image, plan_image(card, 900, 300), "bicubic")
    assert seen.getpixel((168, 168)) == (0, 0, 255)
    assert seen.size == (336, 336)
