"""AbstractLLM's sessions with this project's provider: later turns know the images of earlier ones."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from abstractllm import create_session
from abstractllm.exceptions import UnsupportedFeatureError
from abstractllm.tools.core import ToolCall

import loader.abstractllm  # noqa: F401  # registers the provider
from tests.abstractllm_sessions import NAME, circle, llm, looking, session, square

WHAT, WHERE = "What is in this image?", "Where is it?"
FIRST, SECOND = "What is in the first image?", "What is in the second image?"
IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Sessions write logs below it."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def demo() -> Any:
    return llm()


def prompt_of(provider: Any) -> str:
    """The prompt that the model was given last."""
    return str(provider.get_last_verbatim_context()["context"])


def test_a_later_turn_knows_the_image_of_an_earlier_one(demo: Any) -> None:
    talk = session(demo)
    assert talk.generate(WHAT, files=[circle("red")]).content == "a red circle"
    talk.generate(WHERE)
    assert prompt_of(demo) == (
        f"<|im_start|>user\n{IMAGE}{WHAT}<|im_end|>\n"
        "<|im_start|>assistant\na red circle<|im_end|>\n"
        f"<|im_start|>user\n{WHERE}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_an_image_of_a_later_turn_joins_those_before(demo: Any) -> None:
    talk = session(demo)
    talk.generate(WHAT, files=[circle("red")])
    assert talk.generate(SECOND, files=[square("blue")]).content == "a blue square"
    assert talk.generate(FIRST).content == "a red circle"
    assert prompt_of(demo).count(IMAGE) == 2


def test_images_named_in_prompts_are_known_later_too(demo: Any, tmp_path: Path) -> None:
    circle("red").save(tmp_path / "red.png")
    talk = session(demo)
    talk.generate(f"{WHAT} @{tmp_path / 'red.png'}")
    talk.generate(WHERE)
    assert f"{IMAGE}{WHAT}<|im_end|>" in prompt_of(demo)
    assert "red.png" not in prompt_of(demo)


def test_a_streamed_turn_is_known_later(demo: Any) -> None:
    talk = session(demo)
    pieces = talk.generate(WHAT, files=[circle("red")], stream=True)
    assert "".join(piece.content for piece in pieces) == "a red circle"
    talk.generate(WHERE)
    assert IMAGE in prompt_of(demo)


def test_sessions_with_the_same_words_keep_their_own_images(demo: Any) -> None:
    red, blue = session(demo), session(demo)
    red.generate(WHAT, files=[circle("red")])
    blue.generate(WHAT, files=[square("blue")])
    assert red.generate(FIRST).content == "a red circle"
    assert blue.generate(FIRST).content == "a blue square"


def test_sessions_with_the_same_words_and_answers_keep_their_own_images(demo: Any) -> None:
    small = circle("red").resize((96, 96))
    one, other = session(demo), session(demo)
    for talk, image in ((one, circle("red")), (other, small)):
        assert talk.generate(WHAT, files=[image]).content == "a red circle"
    sizes = [talk.generate(WHERE).raw_response.images[0].plan.source for talk in (one, other)]
    assert sizes == [(160, 160), (96, 96)]


def test_what_cannot_be_told_apart_is_refused_and_never_guessed(demo: Any) -> None:
    history: list[dict[str, Any]] = [{"role": "user", "content": WHAT}]
    answers = [
        demo.generate(WHAT, messages=history, files=[image]).content
        for image in (circle("red"), circle("red").resize((96, 96)))
    ]
    copied = json.loads(json.dumps(answers[0]))  # equal, and neither of the two
    messages = [*history, {"role": "assistant", "content": copied}, {"role": "user", "content": WHERE}]
    with pytest.raises(UnsupportedFeatureError, match="which of them is meant"):
        demo.generate(WHERE, messages=messages)


@pytest.mark.parametrize("limit", ["HELD", "REMEMBERED"])
def test_images_of_old_conversations_are_let_go_and_then_never_left_out_unsaid(
    demo: Any, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(f"loader.abstractllm.history.{limit}", 1)
    old, new = session(demo), session(demo)
    image = circle("red")
    kept = weakref.ref(image)
    old.generate("What is it, then?", files=[image])
    del image
    assert new.generate(WHAT, files=[square("blue")]).content == "a blue square"
    gc.collect()
    assert kept() is None
    assert new.generate(FIRST).content == "a blue square"
    with pytest.raises(UnsupportedFeatureError, match="remembered no longer"):
        old.generate(WHERE, enable_retry=False)


def test_a_conversation_that_was_never_led_here_has_no_images(demo: Any) -> None:
    talk = session(demo)
    talk.generate(WHAT, files=[circle("red")])
    other = session(demo)
    other.add_message("user", WHAT)
    other.add_message("assistant", "a green star")
    other.generate(WHERE)
    assert IMAGE not in prompt_of(demo)


def test_the_system_prompt_of_a_session_comes_first(demo: Any) -> None:
    talk = session(demo, system_prompt="Be brief.")
    talk.generate(WHAT, files=[circle("red")])
    talk.generate(WHERE)
    prompt = prompt_of(demo)
    assert prompt.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n" + IMAGE)
    assert prompt.count("Be brief.") == 1


def test_create_session_takes_the_same_configuration() -> None:
    talk = create_session(NAME, model="demo", temperature=0.0, system_prompt="Be brief.")
    talk.enable_memory = False
    assert talk.generate(WHAT, files=[circle("blue")]).content == "a blue circle"


def test_a_session_sends_without_blocking_and_remembers(demo: Any) -> None:
    talk = session(demo)

    async def ask() -> str:
        first = await talk.send_async(WHAT, files=[circle("red")])
        assert first.content == "a red circle"
        await talk.send_async(WHERE)
        return prompt_of(demo)

    assert f"{IMAGE}{WHAT}<|im_end|>" in asyncio.run(ask())


@pytest.fixture
def wordy(checkpoint: Callable[[str], Path]) -> Any:
    """A model with room for what AbstractLLM's memory writes into every prompt; its weights are random."""
    return llm(str(checkpoint("qwen2.5-vl")), max_tokens=4)


@pytest.fixture
def look() -> Any:
    """A tool, and what it was asked."""
    return looking()


def calls_of(what: str) -> Any:
    """No model here calls tools, so a call stands for what is read out of the first answer."""
    answers = [[ToolCall("look", {"what": what})]]
    return lambda *_: answers.pop() if answers else []


def test_tools_of_a_session_run_and_the_image_stays_in_its_turn(
    wordy: Any, look: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("abstractllm.tools.handler.detect_tool_calls", lambda *_: True)
    monkeypatch.setattr("abstractllm.tools.handler.parse_tool_calls", calls_of("red"))
    # Without its memory, the session fails at every call of a tool (its scratchpad has no cycle).
    talk = session(wordy, tools=[look], enable_memory=True, enable_retry=False)
    talk.generate(WHAT, files=[circle("red")])
    assert look.asked == ["red"]
    prompt = prompt_of(wordy)
    assert prompt.count(IMAGE) == 1
    assert prompt.index(IMAGE) < prompt.index(WHAT) < prompt.rindex("red it is")


@pytest.mark.parametrize("by", ["files", "name"])
def test_tools_of_a_streaming_session_run_and_the_image_stays_in_its_turn(
    demo: Any, look: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, by: str
) -> None:
    circle("red").save(tmp_path / "red.png")
    question = WHAT if by == "files" else f"{WHAT} @{tmp_path / 'red.png'}"
    files = [circle("red")] if by == "files" else None
    monkeypatch.setattr("abstractllm.tools.parser.parse_tool_calls", calls_of("blue"))
    talk = session(demo, tools=[look])
    list(talk.generate(question, files=files, max_tokens=6, stream=True))
    assert look.asked == ["blue"]
    prompt = prompt_of(demo)
    assert prompt.count(IMAGE) == 1
    assert prompt.index(IMAGE) < prompt.index(WHAT) < prompt.rindex("blue it is")


def test_a_session_with_memory_keeps_its_images_too(wordy: Any) -> None:
    talk = session(wordy, enable_memory=True)
    talk.generate(WHAT, files=[circle("red")])
    talk.generate(WHERE)
    assert prompt_of(wordy).count(IMAGE) == 1
