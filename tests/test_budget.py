"""What images may take: of the context, among each other, and of a processor that cuts or fills."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import registry
from loader.resize import plan_image, plan_images, room_for

SIZES = st.lists(st.tuples(st.integers(60, 6000), st.integers(60, 6000)), min_size=1, max_size=5)


@pytest.mark.parametrize(
    ("context", "text", "answer", "room"),
    [(None, 10, 512, None), (4096, 96, 512, 3488), (4096, 96, 10**6, 2000), (4096, 5000, 512, 0)],
)
def test_images_have_what_text_and_answer_leave_and_half_of_it_at_least(
    context: int | None, text: int, answer: int, room: int | None
) -> None:
    assert room_for(context, text, answer) == room


@given(sizes=SIZES, room=st.integers(400, 20_000), name=st.sampled_from(["qwen2.5-vl", "pixtral"]))
def test_images_that_share_a_context_keep_to_it_in_their_order(
    name: str, sizes: list[tuple[int, int]], room: int
) -> None:
    card = registry.card(name)
    sizes = [size for size in sizes if max(size) < 40 * min(size)] or [(100, 100)]
    alone = [plan_image(card, *size) for size in sizes]
    plans = plan_images(card, sizes, room=room)
    assert [plan.source for plan in plans] == sizes
    assert sum(plan.tokens or 0 for plan in plans) <= max(room, 400)
    assert all(plan.image_tokens <= before.image_tokens for plan, before in zip(plans, alone, strict=True))
    if sum(plan.tokens or 0 for plan in alone) <= room:
        assert plans == alone
