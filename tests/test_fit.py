"""Pixels: what the loader hands over is, to the bit, what the model's own processor would have made."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import registry
from loader.backend import Backend
from loader.fit import fit_image, fit_opened
from loader.image import Opened, open_image
from loader.prompt import Prompt, Segment
from loader.resize import plan_image
from registry.cards import Card
from tests.families import CARDS
from tests.pictures import encode

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
    original, fitted = (
        {key: value.tolist() if hasattr(value, "tolist") else value for key, value in each.items()}
        for each in tensors
    )
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


def likeness(one: Any, other: Any) -> float:
    """PSNR in decibels."""
    error = np.mean((np.asarray(one, float) - np.asarray(other, float)) ** 2)
    return math.inf if not error else 10 * math.log10(255**2 / error)


@pytest.mark.parametrize("name", ["qwen2.5-vl", "llava-1.5", "gemma3n", "llama3.2-vision", "pixtral"])
def test_a_photo_decoded_at_reduced_scale_looks_like_the_exact_one(name: str, photo: Path) -> None:
    card: Any = registry.card(name)
    opened = Opened(photo)
    plan = plan_image(card, *opened.size)
    reduced = fit_opened(opened, plan, card)
    exact = fit_opened(opened, plan, card, exact=True)
    assert exact.tobytes() == fit_image(open_image(photo), plan, card.image.resample).tobytes()
    assert exact.size == reduced.size == plan.handed
    assert 40 <= likeness(reduced, exact) < math.inf


def test_a_processor_that_resizes_by_itself_is_handed_a_smaller_picture_of_which_it_makes_the_same(
    photo: Path,
) -> None:
    from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

    card: Any = registry.card("llava-next")
    resize = card.image.resize
    processor = LlavaNextImageProcessorPil(
        image_grid_pinpoints=[[rows * resize.tile, cols * resize.tile] for cols, rows in resize.grids],
        size={"shortest_edge": resize.tile},
        crop_size={"height": resize.tile, "width": resize.tile},
        do_rescale=False,
        do_normalize=False,
    )
    opened = Opened(photo)
    plan = plan_image(card, *opened.size)
    assert not plan.stays
    pictures = [fit_opened(opened, plan, card, exact=exact) for exact in (False, True)]
    assert [picture.size for picture in pictures] == [(2016, 1494), (4032, 2988)]
    reduced, exact = (processor([picture], return_tensors="np")["pixel_values"][0] for picture in pictures)
    assert reduced.shape == exact.shape
    for tile, other in zip(reduced, exact, strict=True):  # the overview, which is stretched, is the first
        assert likeness(tile, other) >= 40


@pytest.mark.parametrize("size", [(4031, 2987), (4030, 2981), (4025, 2983)], ids=str)
@pytest.mark.parametrize("name", ["qwen2.5-vl", "llava-next"])
def test_a_reduced_picture_that_ends_within_a_pixel_is_neither_shifted_nor_cut(
    name: str, size: tuple[int, int], photo: Path
) -> None:
    with PIL.Image.open(photo) as image:
        data = encode(image.convert("RGB").resize(size, PIL.Image.Resampling.BICUBIC), "JPEG", quality=92)
    card: Any = registry.card(name)
    opened = Opened(data)
    plan = plan_image(card, *opened.size)
    reduced, exact = (fit_opened(opened, plan, card, exact=exact) for exact in (False, True))
    if not plan.stays:  # as the processor would
        assert reduced.width <= exact.width // 2 + 1
        reduced, exact = (it.resize(plan.handed, PIL.Image.Resampling.BICUBIC) for it in (reduced, exact))
    assert likeness(reduced, exact) >= 40


def test_a_picture_is_decoded_in_full_where_the_processor_would_make_something_else_of_less() -> None:
    """Moondream chooses its crops by the number of pixels, too."""
    card: Any = registry.card("moondream3")
    found = 0
    for size in [(1600, 1200), (2400, 1800), (3000, 900), (3200, 2400)]:
        opened = Opened(encode(PIL.Image.new("RGB", size, "teal"), "JPEG"))
        plan = plan_image(card, *size)
        handed = fit_opened(opened, plan, card)
        again = plan_image(card, *handed.size)
        assert (again.rows, again.cols, again.resizes) == (plan.rows, plan.cols, plan.resizes)
        found += handed.size == size
    assert found
