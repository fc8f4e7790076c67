"""Plans: exactly the model's own processor at full detail, budgets that only ever shrink."""

from __future__ import annotations

import dataclasses
import timeit
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

import registry
from loader.errors import ImageError, UnsupportedFeatureError
from loader.resize import STRATEGIES, ImagePlan, made_of, plan_image
from registry.cards import Card
from registry.data import build
from registry.grids import SmartResize
from registry.vision import Resize
from tests.golden_rows import rows

WITHOUT_CARD = yaml.safe_load((Path(__file__).parent / "data" / "geometry.yaml").read_text(encoding="utf-8"))
NAMES = (*registry.families(), "smolvlm2")
SIDES = st.integers(1, 12_000)


def aspect(width: int, height: int) -> float:
    return max(width, height) / min(width, height)


def facts_of(plan: ImagePlan, names: Iterable[str]) -> dict[str, Any]:
    seen = {"size": [plan.width, plan.height], **plan.to_dict()}
    return {name: seen[name] for name in names}


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, id=f"{row['case']}-{row['width']}x{row['height']}") for _, row in rows("images")],
)
def test_every_golden_size_is_planned_as_the_models_own_processor_does_it(row: dict[str, Any]) -> None:
    plan = plan_image(registry.card(row["case"]), row["width"], row["height"], detail="full")
    facts = {key: row[key] for key in row if key not in ("case", "width", "height")}
    assert facts_of(plan, facts) == facts


@pytest.mark.parametrize("case", sorted(WITHOUT_CARD))
def test_every_size_measured_for_a_family_without_a_card_is_planned_alike(case: str) -> None:
    card, measured = registry.card("qwen2.5-vl"), WITHOUT_CARD[case]
    assert card.image is not None
    image = dataclasses.replace(
        card.image, resize=build(Resize, measured["resize"]), extra_tokens=measured["extra_tokens"]
    )
    card = dataclasses.replace(card, image=image)
    for row in measured["rows"]:
        facts = {key: row[key] for key in row if key not in ("width", "height")}
        assert facts_of(plan_image(card, row["width"], row["height"], detail="full"), facts) == facts


@example(name="kimi-vl", width=36, height=7168)
@given(name=st.sampled_from(NAMES), width=SIDES, height=SIDES)
def test_every_size_has_a_plan_or_a_reason(name: str, width: int, height: int) -> None:
    card = registry.card(name)
    try:
        plan = plan_image(card, width, height)
    except ImageError:
        assert aspect(width, height) > 200 or min(width, height) < 28
        return
    assert plan.source == (width, height)
    assert min(plan.width, plan.height, plan.patches or 1) > 0
    assert plan.image_tokens >= (0 if plan.cross_tokens else 1)


@given(width=SIDES, height=SIDES, tokens=st.integers(1, 20_000))
def test_a_token_budget_is_kept_or_the_plan_says_that_it_cannot_be(
    width: int, height: int, tokens: int
) -> None:
    card = registry.card("qwen2.5-vl")
    if aspect(width, height) > 200:
        return
    full = plan_image(card, width, height, detail="full")
    plan = plan_image(card, width, height, max_tokens=tokens)
    assert plan.image_tokens <= full.image_tokens
    assert plan.image_tokens <= tokens or "the least this model can see" in plan.note


@given(width=SIDES, height=SIDES)
def test_less_detail_never_takes_more_tokens(width: int, height: int) -> None:
    card = registry.card("qwen2.5-vl")
    if aspect(width, height) > 200:
        return
    counts = [plan_image(card, width, height, detail=d).image_tokens for d in ("low", "auto", "full")]
    assert counts == sorted(counts)


@example(name="kimi-vl", width=36, height=7168, tokens=None)  # its processor refuses such a side
@given(
    name=st.sampled_from(NAMES),
    width=st.integers(1, 9000),
    height=st.integers(1, 9000),
    tokens=st.one_of(st.none(), st.integers(1, 2000)),
)
def test_an_image_at_its_planned_size_is_planned_to_stay_as_it_is(
    name: str, width: int, height: int, tokens: int | None
) -> None:
    """The backend's processor sees the planned size and plans again: it must not resize anew."""
    card = registry.card(name)
    if aspect(width, height) > 200 or min(width, height) < 28:
        return
    plan = plan_image(card, width, height, max_tokens=tokens)
    if not plan.stays:
        return  # the processor gets the image itself
    if tokens is None and aspect(plan.width, plan.height) > 200:
        return  # without a budget the sizes are upstream's own, and the loader refuses these few
    assert card.image is not None
    again = made_of(card.image, plan.handed, plan.setting)
    assert again is not None
    assert (again.seen or again.resizes[-1]) == (plan.width, plan.height)
    assert again.image_tokens == plan.image_tokens


@pytest.mark.parametrize("name", ["qwen2-vl", "qwen3-vl"])
@pytest.mark.parametrize("tokens", [1, 4, 16, 64, 65, 80, 300])
def test_a_small_budget_on_an_ordinary_photo_gives_what_the_model_takes(name: str, tokens: int) -> None:
    card = registry.card(name)
    resize = card.image.resize if card.image else None
    assert isinstance(resize, SmartResize)
    plan = plan_image(card, 4032, 3024, max_tokens=tokens)
    assert plan.width * plan.height >= resize.min_pixels


@given(name=st.sampled_from(NAMES), width=st.integers(8, 9000), height=st.integers(8, 9000))
def test_the_corners_of_what_the_model_sees_map_back_into_the_callers_image(
    name: str, width: int, height: int
) -> None:
    card = registry.card(name)
    if aspect(width, height) > 200 or min(width, height) < 28:
        return
    plan = plan_image(card, width, height)
    (wide, high), (x, y) = plan.resizes[-1], plan.offset
    left, top = plan.to_source(max(-x, 0), max(-y, 0))  # without what is padded
    right, bottom = plan.to_source(min(plan.width, wide - x), min(plan.height, high - y))
    assert -1e-6 <= left < right <= width + 1e-6
    assert -1e-6 <= top < bottom <= height + 1e-6
    across, down = plan.scale
    third = plan.width / 3, plan.height / 3
    there = plan.to_source(*third)
    assert (there[0] / across - x, there[1] / down - y) == pytest.approx(third)


def test_the_photo_that_started_this_project_takes_its_documented_sizes() -> None:
    card = registry.card("qwen2-vl-2b")
    full = plan_image(card, 4032, 3024, detail="full")
    auto = plan_image(card, 4032, 3024)
    assert (full.patches, full.image_tokens) == (62_208, 15_552)
    assert (auto.width, auto.height, auto.image_tokens) == (1148, 840, 1230)


def test_an_overlong_image_is_refused_with_its_aspect_and_the_bound() -> None:
    with pytest.raises(ImageError, match=r"4000x10 is 400 times as long as wide.*at most 200"):
        plan_image(registry.card("qwen3-vl"), 4000, 10)


@pytest.mark.parametrize(("width", "height"), [(0, 10), (10, 0), (-3, 4)])
def test_a_size_without_pixels_is_refused(width: int, height: int) -> None:
    with pytest.raises(ImageError, match="no pixels"):
        plan_image(registry.card("gemma3"), width, height)


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(UnsupportedFeatureError, match="max_tokens=0"):
        plan_image(registry.card("qwen2-vl"), 10, 10, max_tokens=0)


def test_a_family_without_vision_plans_nothing() -> None:
    blind = dataclasses.replace(registry.card("qwen2.5-vl"), image=None)
    with pytest.raises(UnsupportedFeatureError, match="takes no images"):
        plan_image(blind, 10, 10)


def test_a_limit_that_cannot_act_is_said_in_the_note() -> None:
    plan = plan_image(registry.card("gemma3"), 640, 480, max_tokens=100)
    assert plan.image_tokens == 256
    assert "the least this model can see, though 100 tokens were asked for" in plan.note


def test_the_explicit_dict_has_every_kind_that_a_card_may_name() -> None:
    union = get_args(get_args(Resize)[0])
    assert {get_args(get_type_hints(kind)["kind"])[0] for kind in union} == set(STRATEGIES)


@pytest.mark.parametrize("name", NAMES)
def test_a_plan_takes_microseconds(name: str) -> None:
    card: Card = registry.card(name)
    seconds = min(timeit.repeat(lambda: plan_image(card, 4032, 3024), number=200, repeat=5)) / 200
    assert seconds < 200e-6  # the aim is 50; four times that leaves room for a busy machine
