"""A checkpoint's own chat template, held against the card."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import loader
import registry
from loader.checkpoint.template import ChatTemplate, chat_template
from loader.errors import CheckpointError, MessageError, UnsupportedFeatureError
from loader.messages import conversation
from loader.prompt import render
from loader.prompt.upstream import check_drift, differing_line, drift, render_checkpoint
from tests.families import CARDS

ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}"
    "{% if p.type == 'text' %}{{ p.text }}{% else %}<|vision_start|><|image_pad|><|vision_end|>{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def template(source: str, **tokens: str) -> ChatTemplate:
    return ChatTemplate(source, tokens)


@pytest.mark.parametrize("name", CARDS)
def test_a_checkpoint_that_says_what_the_card_says_does_not_drift(
    name: str, checkpoint: Callable[[str], Path]
) -> None:
    shipped = chat_template(checkpoint(name))
    assert shipped is not None
    assert drift(registry.card(CARDS[name]), shipped) is None


def test_a_template_without_the_default_system_text_drifts_in_the_first_line_that_differs() -> None:
    found = drift(registry.card("qwen2.5-vl"), template(CHATML))
    assert found is not None
    assert (found.line, found.card, found.checkpoint) == (1, "<|im_start|>system", "<|im_start|>user")


def test_a_start_token_that_only_one_of_the_two_writes_is_no_drift() -> None:
    own = template("{{ bos_token }}" + CHATML, bos_token="<s>")  # noqa: S106  # no secret
    assert drift(registry.card("qwen3-vl"), own) is None


@pytest.mark.parametrize("source", ["{{ raise_exception('no') }}", "{{ nothing.at.all }}", "{% if %}"])
def test_a_template_that_renders_nothing_is_no_drift(source: str) -> None:
    assert drift(registry.card("qwen2.5-vl"), template(source)) is None


def test_drift_names_the_sibling_that_says_the_same() -> None:
    thinking, instruct = registry.card("qwen3-vl-8b-thinking"), registry.card("qwen3-vl-8b")
    message = check_drift(thinking, template(CHATML), "x/y", [instruct], strict=False)
    assert message is not None
    assert "line 4 is '<think>' by the card" in message
    assert "card='qwen3-vl-8b'" in message


def test_strict_refuses_drift() -> None:
    with pytest.raises(CheckpointError, match="differs from the card"):
        check_drift(registry.card("qwen2.5-vl"), template(CHATML), "x/y", [], strict=True)


@pytest.fixture
def drifting(tmp_path: Path, checkpoint: Callable[[str], Path]) -> Path:
    folder = tmp_path / "drifting"
    shutil.copytree(checkpoint("qwen2.5-vl"), folder)
    (folder / "chat_template.jinja").write_text(CHATML, encoding="utf-8")
    return folder


def test_loading_a_checkpoint_that_drifts_says_so_once(
    drifting: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        model = loader.load(drifting)
        model.generate("Hello", max_tokens=1)
    assert [record.message.count("differs from the card") for record in caplog.records] == [1]


def test_loading_strictly_refuses_a_checkpoint_that_drifts(drifting: Path) -> None:
    with pytest.raises(CheckpointError, match="differs from the card"):
        loader.load(drifting, strict=True)


def test_the_checkpoints_own_prompt_is_used_when_asked_for(drifting: Path, photo: Path) -> None:
    model = loader.load(drifting, prompt="checkpoint")
    answer = model.generate("What is this?", images=[photo], max_tokens=1)
    assert answer.prompt == (
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>What is this?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_another_word_than_card_or_checkpoint_is_refused(drifting: Path) -> None:
    prompt: Any = "template"
    with pytest.raises(UnsupportedFeatureError, match="prompt='template'"):
        loader.load(drifting, prompt=prompt)


def test_a_checkpoint_without_a_template_has_no_prompt_of_its_own(drifting: Path) -> None:
    (drifting / "chat_template.jinja").unlink()
    with pytest.raises(CheckpointError, match="ships no chat template"):
        loader.load(drifting, prompt="checkpoint")


def test_a_turn_to_continue_stays_open_in_a_checkpoints_template() -> None:
    turns = [*conversation("What is this?", 1), {"role": "assistant", "content": "It is"}]
    prompt = render_checkpoint(registry.card("qwen3-vl"), template(CHATML), turns, leave_open=True)
    assert prompt.text == render(registry.card("qwen3-vl"), turns, continue_final_message=True).text
    assert [segment.kind for segment in prompt.segments] == ["literal", "image", "literal"]


def test_an_image_token_in_the_text_is_refused_where_it_cannot_be_told_apart() -> None:
    with pytest.raises(MessageError, match="image_pad"):
        render_checkpoint(registry.card("qwen3-vl"), template(CHATML), conversation("<|image_pad|>", 1))


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        ("{{ raise_exception('roles must alternate') }}", MessageError, "roles must alternate"),
        ("{{ 1 / 0 }}", CheckpointError, "cannot be used"),
        (ENDLESS, CheckpointError, "longer than"),
        ("{{ ''.__class__.__mro__ }}", CheckpointError, "cannot be used"),
        ("no place for images", CheckpointError, "does not place its 1 images"),
    ],
)
def test_a_checkpoints_template_that_fails_is_an_error_with_its_reason(
    source: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        render_checkpoint(registry.card("qwen3-vl"), template(source), conversation("x", 1))


def test_the_template_is_looked_for_where_upstream_looks_and_in_its_order(tmp_path: Path) -> None:
    def write(name: str, value: Any) -> None:
        (tmp_path / name).write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")

    assert chat_template(tmp_path) is None
    several = [{"name": "tools", "template": "T"}, {"name": "default", "template": "D"}]
    write(
        "tokenizer_config.json",
        {"chat_template": several, "bos_token": {"content": "<s>"}, "eos_token": None},
    )
    assert chat_template(tmp_path) == ChatTemplate("D", {"bos_token": "<s>"})
    write("chat_template.json", {"chat_template": "J"})
    assert chat_template(tmp_path) == ChatTemplate("J", {"bos_token": "<s>"})
    write("chat_template.jinja", "own")
    assert chat_template(tmp_path) == ChatTemplate("own", {"bos_token": "<s>"})


@pytest.mark.parametrize(
    ("ours", "theirs", "found"),
    [
        ("a\nb", "a\nb", None),
        ("a\nb", "a\nc", (2, "b", "c")),
        ("a", "a\nb", (2, "", "b")),
        ("a", "a\n", (2, "", "")),
    ],
)
def test_the_first_differing_line_is_found(
    ours: str, theirs: str, found: tuple[int, str, str] | None
) -> None:
    assert differing_line(ours, theirs) == found
