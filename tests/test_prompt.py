"""Prompts: byte for byte upstream's, and typed refusals for what a family cannot say."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import registry
from loader.errors import MessageError, UnsupportedFeatureError
from loader.messages import conversation
from loader.prompt import render
from registry.cards import Card
from tests.golden_rows import rows

NOW = datetime.datetime(2026, 1, 15, 12, 0)
FAMILIES = registry.families()


def ask(text: str = "What is this?", images: int = 0) -> list[Any]:
    return conversation(text, images)


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, id=f"{row['case']}-{row['conversation']}-{i}")
        for i, (_, row) in enumerate(rows("prompts"))
    ],
)
def test_every_golden_conversation_renders_as_upstream_renders_it(row: dict[str, Any]) -> None:
    def rendered() -> str:
        return render(
            registry.card(row["case"]),
            row["messages"],
            row["add_generation_prompt"],
            row["continue_final_message"],
            NOW,
            tools=row.get("tools"),
            **row["options"],
        ).text

    if row.get("error"):
        with pytest.raises((MessageError, UnsupportedFeatureError)):
            rendered()
    else:
        assert rendered() == row["prompt"]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_segments_joined_are_the_prompt_and_hold_one_placeholder_per_image(family: str) -> None:
    card = registry.card(family)
    prompt = render(card, ask("Compare.", images=3))
    assert card.image is not None
    assert "".join(s.text for s in prompt.segments) == prompt.text
    placeholders = [card.image.placeholder.replace("{n}", str(n)) for n in (1, 2, 3)]
    assert [s.text for s in prompt.segments if s.kind == "image"] == placeholders


TURNS = st.lists(st.text(max_size=30), min_size=1, max_size=5)
MARKERS = [
    "<|im_end|>",
    "<image>",
    "<think>",
    "</think>",
    "[IMG]",
    "<|image_pad|>",
    "\ue000",
    "\ue001",
    "{n}",
]


@given(family=st.sampled_from(FAMILIES), turns=TURNS)
def test_text_segments_hold_the_words_of_the_caller_in_order(family: str, turns: list[str]) -> None:
    roles = ["user", "assistant"]
    messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(turns)]
    written = "".join(s.text for s in render(registry.card(family), messages).segments if s.kind == "text")
    assert "".join(written.split()) == "".join("".join(turns).split())


@given(family=st.sampled_from(FAMILIES), marker=st.sampled_from(MARKERS), text=st.text(max_size=60))
def test_control_tokens_in_the_text_never_become_literal_or_image_segments(
    family: str, marker: str, text: str
) -> None:
    card = registry.card(family)
    assert card.image is not None
    own = card.prompt.roles["user"].open + card.prompt.generation if card.prompt else ""
    forged = f"x{text}{marker}{card.image.placeholder}{own}x"
    honest, attacked = (render(card, ask(words, images=1)) for words in ("x", forged))
    kinds = [(s.kind, s.text) for s in attacked.segments if s.kind != "text"]
    assert kinds == [(s.kind, s.text) for s in honest.segments if s.kind != "text"]


@given(family=st.sampled_from(FAMILIES), system=st.text(max_size=20), text=st.text(max_size=20))
def test_a_string_and_a_list_with_one_text_part_mean_the_same(family: str, system: str, text: str) -> None:
    if registry.card(family).template is not None:
        return  # a template may tell them apart, as Moondream 3's does
    strings = [{"role": "system", "content": system}, {"role": "user", "content": text}]
    parts = [{"role": m["role"], "content": [{"type": "text", "text": m["content"]}]} for m in strings]
    card = registry.card(family)
    assert render(card, strings).text == render(card, parts).text


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prompt_to_continue_is_the_beginning_of_the_closed_one(family: str) -> None:
    messages = [*ask(), {"role": "assistant", "content": "The picture shows"}]
    card = registry.card(family)
    opened = render(card, messages, continue_final_message=True).text
    assert opened.endswith("The picture shows")
    assert render(card, messages, add_generation_prompt=False).text.startswith(opened)


def test_openai_image_parts_keep_their_sources_in_order() -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        "and",
        {"type": "input_image", "image_url": "data:image/png;base64,AA"},
        {"type": "image", "image": b"bytes"},
        {"type": "image"},
    ]
    prompt = render(registry.card("qwen2.5-vl"), [{"role": "user", "content": parts}])
    assert prompt.images == ("https://example.org/a.png", "data:image/png;base64,AA", b"bytes", None)


def test_reasoning_in_a_field_of_its_own_is_written_like_reasoning_in_the_text() -> None:
    card = registry.card("qwen3-vl-thinking")
    field = [*ask(), {"role": "assistant", "content": "Four.", "reasoning_content": "2 + 2"}]
    tags = [*ask(), {"role": "assistant", "content": "<think>\n2 + 2\n</think>\n\nFour."}]
    assert render(card, field).text == render(card, tags).text
    assert "<think>\n2 + 2\n</think>\n\nFour." in render(card, field).text


@pytest.mark.parametrize(
    ("family", "role"),
    [("qwen2.5-vl", "assistant"), ("molmo2", "assistant"), ("qwen3-vl-thinking", "user")],
)
def test_reasoning_that_the_family_has_no_place_for_is_named(family: str, role: str) -> None:
    turns = [*ask(), {"role": "assistant", "content": "Yes."}, *ask()]
    place = 1 if role == "assistant" else 2
    thought = [{**turn, "reasoning_content": "Hm."} if i == place else turn for i, turn in enumerate(turns)]
    card = registry.card(family)
    prompt = render(card, thought)
    assert prompt.warnings == (f"The reasoning of message {place} has no place in the prompt of {card.id}.",)
    assert (prompt.text, render(card, turns).warnings) == (render(card, turns).text, ())


def test_reasoning_that_the_family_drops_from_the_history_is_not_warned_of() -> None:
    turns = [*ask(), {"role": "assistant", "content": "Yes.", "reasoning_content": "Hm."}, *ask()]
    assert render(registry.card("qwen3-vl-thinking"), turns).warnings == ()


def test_of_several_answers_in_a_row_the_last_one_has_the_frame_of_a_thought() -> None:
    turns = [*ask(), {"role": "assistant", "content": "One."}, {"role": "assistant", "content": "Two."}]
    prompt = render(registry.card("qwen3-vl-thinking"), turns, add_generation_prompt=False).text
    assert "assistant\nOne.<|im_end|>" in prompt
    assert "assistant\n<think>\n\n</think>\n\nTwo.<|im_end|>" in prompt


@pytest.mark.parametrize(
    ("messages", "message", "part"),
    [
        ([], None, None),
        ([{"role": "tool", "content": "x"}], 0, None),
        ([{"content": "x"}], 0, None),
        ([{"role": "user", "content": 3}], 0, None),
        ([{"role": "user", "content": ["a", {"type": "video"}]}], 0, 1),
        ([{"role": "user", "content": [{"type": "text"}]}], 0, 0),
        ([{"role": "user", "content": [{"type": ["x"]}]}], 0, 0),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "/etc/hosts"}}]}], 0, 0),
        ([*ask(), {"role": "assistant", "content": "a"}, {"role": "user", "content": [7]}], 2, 0),
        ([{"role": "system", "content": [{"type": "image"}]}, *ask()], 0, 0),
    ],
)
def test_a_conversation_that_cannot_be_said_names_the_message_and_the_part(
    messages: list[Any], message: int | None, part: int | None
) -> None:
    with pytest.raises(MessageError) as caught:
        render(registry.card("qwen3-vl"), messages)
    assert (caught.value.message, caught.value.part) == (message, part)


def test_a_system_message_in_the_middle_is_refused_where_upstream_would_drop_it() -> None:
    with pytest.raises(MessageError, match="only at the start"):
        render(registry.card("qwen3-vl"), [*ask(), {"role": "system", "content": "Be brief."}])


def test_system_text_without_a_user_turn_to_carry_it_is_refused() -> None:
    with pytest.raises(MessageError, match="there is none"):
        render(registry.card("gemma3"), [{"role": "system", "content": "Be brief."}])


def test_an_option_that_the_family_does_not_have_is_refused_with_those_that_it_has() -> None:
    with pytest.raises(UnsupportedFeatureError, match=r"'enable_thinking'.*add_vision_id"):
        render(registry.card("qwen2.5-vl"), ask(), enable_thinking=True)


def test_a_family_without_vision_refuses_images() -> None:
    blind = dataclasses.replace(registry.card("qwen2.5-vl"), image=None)
    assert isinstance(blind, Card)
    with pytest.raises(UnsupportedFeatureError, match="takes no images"):
        render(blind, ask(images=1))


def test_more_images_than_the_family_takes_are_refused() -> None:
    card = registry.card("llava-1.5")
    assert card.image is not None
    one = dataclasses.replace(card, image=dataclasses.replace(card.image, max_images=1))
    with pytest.raises(MessageError, match="at most 1"):
        render(one, ask(images=2))
