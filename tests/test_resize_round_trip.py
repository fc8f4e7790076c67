"""A box in what the model sees -> the same box in the caller's pixels, by a plan's `scale` and `offset`.

A white rectangle is drawn in the original, brought to the model's pixels, found there, mapped back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

import registry
from loader.fit import fit_image
from loader.resize import ImagePlan, plan_image
from registry.cards import Card

FITTED = {
    "gemma3": "stretched",
    "qwen2.5-vl": "stretched to whole tokens",
    "pixtral": "stretched to whole tokens",
    "llava-1.5": "its ends cut off",
    "kimi-vl": "a margin cut off",
    "kimi-k2.5": "padded on the right and at the bottom",
    "smolvlm": "tiles",
    "gemma4": "stretched, small ones enlarged",
    "llama4": "one tile",
}
"""Families whose pixels the loader makes, and how."""
LEAST = 4
"""Pixels of the model that a rectangle has at least, so that it survives."""

Pixels = Any


@dataclass(frozen=True)
class Drawn:
    """An image with one rectangle; sizes and places are in its pixels."""

    image: PIL.Image.Image
    box: tuple[int, int, int, int]


def drawn(size: tuple[int, int], plan: ImagePlan, place: tuple[float, float, float, float]) -> Drawn:
    """A rectangle at `place`, parts from 0 to 1 of what the model sees of the image."""
    (wide, high), (x, y) = plan.resizes[-1], plan.offset
    left, top = plan.to_source(max(-x, 0), max(-y, 0))
    right, bottom = plan.to_source(min(plan.width, wide - x), min(plan.height, high - y))
    across, down = sorted(place[::2]), sorted(place[1::2])
    box = (
        round(left + across[0] * (right - left)),
        round(top + down[0] * (bottom - top)),
        round(left + across[1] * (right - left)),
        round(top + down[1] * (bottom - top)),
    )
    assume(box[2] - box[0] >= max(LEAST * plan.scale[0], 2))
    assume(box[3] - box[1] >= max(LEAST * plan.scale[1], 2))
    image = PIL.Image.new("RGB", size)
    image.paste("white", box)
    return Drawn(image, box)


def found(pixels: Pixels) -> tuple[int, int, int, int]:
    """The rectangle in an array of rows and columns: where it is nearer to white than to black.

    All of it where nothing else is seen.
    """
    rows, cols = np.nonzero(pixels >= (pixels.min() + pixels.max()) / 2)
    return int(cols.min()), int(rows.min()), int(cols.max()) + 1, int(rows.max()) + 1


def check(drawn: Drawn, plan: ImagePlan, pixels: Pixels) -> None:
    """The rectangle in `pixels`, all that the model sees, is where it was drawn, within one of these."""
    assert pixels.shape == (plan.height, plan.width)
    left, top, right, bottom = found(pixels)
    corners = (*plan.to_source(left, top), *plan.to_source(right, bottom))
    for made, true, scale in zip(corners, drawn.box, plan.scale * 2, strict=True):
        assert abs(made - true) <= max(scale, 1)


def as_seen(card: Card, plan: ImagePlan, image: PIL.Image.Image) -> Pixels:
    """What the processor is handed, on the padding that the processor adds."""
    assert card.image
    handed = fit_image(image, plan, card.image.resample)
    canvas = np.zeros((plan.height, plan.width))
    x, y = max(-plan.offset[0], 0), max(-plan.offset[1], 0)
    canvas[y : y + handed.height, x : x + handed.width] = np.asarray(handed.convert("L"))
    return canvas


SIZES = st.tuples(st.integers(40, 1500), st.integers(40, 1500)).filter(lambda it: max(it) <= 5 * min(it))
PART = st.floats(0, 1)
PLACES = st.tuples(PART, PART, PART, PART)


@example(name="llava-1.5", size=(900, 300), place=(0.0, 0.0, 1.0, 1.0), tokens=None)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(
    name=st.sampled_from(sorted(FITTED)),
    size=SIZES,
    place=PLACES,
    tokens=st.one_of(st.none(), st.integers(60, 800)),
)
def test_a_box_in_the_pixels_that_the_model_sees_maps_back_to_where_it_was_drawn(
    name: str, size: tuple[int, int], place: tuple[float, float, float, float], tokens: int | None
) -> None:
    card = registry.card(name)
    plan = plan_image(card, *size, max_tokens=tokens)
    assume(plan.stays)
    original = drawn(size, plan, place)
    check(original, plan, as_seen(card, plan, original.image))


def joined(tiles: Pixels, plan: ImagePlan) -> Pixels:
    """Tiles (count, colours, rows, columns), row by row, as one array of rows and columns."""
    assert plan.rows
    assert plan.cols
    count, _, high, wide = tiles.shape
    assert count == plan.rows * plan.cols
    grid = tiles.mean(axis=1).reshape(plan.rows, plan.cols, high, wide)
    return grid.swapaxes(1, 2).reshape(plan.rows * high, plan.cols * wide)


def internvl(card: Card, image: PIL.Image.Image) -> Pixels:
    from mlx_vlm.models.internvl_chat.processor import InternVLImageProcessor

    pictures = np.array(InternVLImageProcessor().preprocess([image])["pixel_values"])[0]
    return pictures[:-1] if len(pictures) > 1 else pictures  # the overview is the last


def phi3(card: Card, image: PIL.Image.Image) -> Pixels:
    from mlx_vlm.models.phi3_v.processing_phi3_v import Phi3VImageProcessor

    return Phi3VImageProcessor(num_crops=16)._process_single_image(image)[0][1:]


def llava_next(card: Card, image: PIL.Image.Image) -> Pixels:
    from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

    resize: Any = card.image and card.image.resize
    side = resize.tile
    processor = LlavaNextImageProcessorPil(
        image_grid_pinpoints=[[rows * side, cols * side] for cols, rows in resize.grids],
        size={"shortest_edge": side},
        crop_size={"height": side, "width": side},
        do_normalize=False,  # so that the padding is black
    )
    return processor([image], return_tensors="np")["pixel_values"][0][1:]


def mllama(card: Card, image: PIL.Image.Image) -> Pixels:
    from transformers.models.mllama.image_processing_pil_mllama import MllamaImageProcessorPil

    processor = MllamaImageProcessorPil(size={"height": 560, "width": 560}, do_normalize=False)
    made = processor(image, return_tensors="np")
    return made["pixel_values"][0, 0][: int(made["num_tiles"][0][0])]


def smolvlm(card: Card, image: PIL.Image.Image) -> Pixels:
    from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

    processor = SmolVLMImageProcessorPil(
        size={"longest_edge": 1536}, max_image_size={"longest_edge": 384}, do_normalize=False
    )
    return processor(image, return_tensors="np")["pixel_values"][0][:-1]


TILED: dict[str, Callable[[Card, PIL.Image.Image], Pixels]] = {
    "internvl": internvl,
    "phi3-vision": phi3,
    "llava-next": llava_next,
    "llama3.2-vision": mllama,
    "smolvlm": smolvlm,
}
"""Families whose real processor cuts tiles: stretched, and padded on both sides or at the end."""


@pytest.mark.parametrize("name", TILED)
@example(size=(40, 40), place=(0.0, 0.0, 1.0, 1.0))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(size=SIZES, place=PLACES)
def test_a_box_across_tiles_of_the_real_processor_maps_back_to_where_it_was_drawn(
    name: str, size: tuple[int, int], place: tuple[float, float, float, float]
) -> None:
    pytest.importorskip("mlx_vlm")
    card = registry.card(name)
    plan = plan_image(card, *size, detail="full")
    assume(plan.rows)
    original = drawn(size, plan, place)
    assert card.image
    handed = fit_image(original.image, plan, card.image.resample)
    check(original, plan, joined(TILED[name](card, handed), plan))
