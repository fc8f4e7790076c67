"""AbstractLLM's tools, with a model whose card writes them as its family does."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from abstractllm.enums import ModelCapability
from abstractllm.exceptions import InvalidRequestError, UnsupportedFeatureError
from abstractllm.tools import ToolDefinition

from tests.abstractllm_sessions import circle, llm, looking, session
from tests.caller import answering

IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
CALL = '<tool_call>\n{"name": "look", "arguments": {"what": "red"}}\n</tool_call>'
WHAT = "What is in this image?"
DEFINED = {
    "name": "look",
    "description": "Looks again.",
    "parameters": {"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"]},
}


@pytest.fixture(scope="module")
def caller(checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A model that always says a few words and calls a tool."""
    folder = tmp_path_factory.mktemp("caller") / "qwen3-vl"
    return llm(str(answering(checkpoint("qwen3-vl"), folder, f"I look.\n{CALL}")), max_tokens=8)


@pytest.fixture
def look() -> Any:
    """A tool, and what it was asked."""
    return looking()


def prompt_of(response: Any) -> str:
    return str(response.raw_response.prompt)


def test_the_card_says_whether_tools_are_the_familys_own(
    caller: Any, checkpoint: Callable[[str], Path]
) -> None:
    described = llm(str(checkpoint("qwen2.5-vl")))
    assert caller.get_capabilities()["tool_support"] == "native"
    assert described.get_capabilities()["tool_support"] == "prompted"
    for provider in (caller, described):
        assert provider.get_capabilities()[ModelCapability.TOOL_USE]


def test_tools_are_defined_in_the_familys_form_and_a_call_comes_back_as_abstractllms_own(
    caller: Any, look: Any
) -> None:
    response = caller.generate(WHAT, files=[circle("red")], tools=[look])
    definition = json.dumps({"type": "function", "function": DEFINED})
    assert f"<tools>\n{definition}\n</tools>" in prompt_of(response)
    assert f"{IMAGE}{WHAT}<|im_end|>" in prompt_of(response)
    assert response.content == "I look."
    (called,) = response.tool_calls.tool_calls
    assert (called.name, called.arguments) == ("look", {"what": "red"})
    assert called.id
    assert response.raw_response.text == f"I look.\n{CALL}"


@pytest.mark.parametrize(
    "tool", [DEFINED, {"type": "function", "function": DEFINED}, ToolDefinition(**DEFINED)]
)
def test_a_tool_is_a_function_a_definition_or_a_map_and_all_mean_the_same(
    caller: Any, look: Any, tool: Any
) -> None:
    assert prompt_of(caller.generate("Hi", tools=[tool])) == prompt_of(caller.generate("Hi", tools=[look]))


def test_what_is_no_tool_is_refused(caller: Any) -> None:
    with pytest.raises(InvalidRequestError, match="Tool 0 is of type int"):
        caller.generate("Hi", tools=[3])


def test_without_tools_a_call_in_the_answer_is_text(caller: Any) -> None:
    response = caller.generate("Hi")
    assert (response.content, response.tool_calls) == (f"I look.\n{CALL}", None)


def test_the_end_of_a_stream_has_the_calls(caller: Any, look: Any) -> None:
    *pieces, last = caller.generate("Hi", tools=[look], stream=True)
    assert "".join(piece.content for piece in pieces) == f"I look.\n{CALL}"
    assert (last.content, last.tool_calls.tool_calls[0].arguments) == ("", {"what": "red"})


@pytest.fixture
def prompts(caller: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the model was given, call by call."""
    said: list[str] = []
    monkeypatch.setattr(caller, "_capture_verbatim_context", said.append)
    return said


@pytest.mark.parametrize("stream", [False, True])
def test_a_sessions_calls_and_results_are_said_in_the_familys_form(
    caller: Any, look: Any, stream: bool, prompts: list[str]
) -> None:
    talk = session(caller, tools=[look], enable_memory=True, enable_retry=False)
    # The model calls tools for ever, and a session asks once more after the last call that it allows.
    answer = talk.generate(WHAT, files=[circle("red")], max_tool_calls=1 + stream, stream=stream)
    if stream:
        list(answer)
    assert look.asked[0] == "red"
    assert prompts[1].count(IMAGE) == 1
    assert prompts[1].index(IMAGE) < prompts[1].index(WHAT)
    said = f"<|im_start|>assistant\nI look.\n{CALL}<|im_end|>\n<|im_start|>user\n<tool_response>\nred it is\n"
    assert f"{said}</tool_response><|im_end|>\n<|im_start|>assistant\n" in prompts[1]


def test_an_answer_that_is_nothing_but_a_call_is_known_again(
    look: Any, checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    silent = llm(str(answering(checkpoint("qwen3-vl"), tmp_path / "silent", CALL)), max_tokens=8)
    talk = session(silent, tools=[look], enable_memory=True, enable_retry=False)
    response = talk.generate(WHAT, files=[circle("red")], max_tool_calls=1)
    assert (response.content, look.asked) == ("", ["red"])
    assert f"<|im_start|>assistant\n{CALL}<|im_end|>\n<|im_start|>user\n<tool_response>" in prompt_of(
        response
    )


def test_messages_of_chat_apis_with_calls_and_results_are_said_in_the_familys_form(
    caller: Any, look: Any
) -> None:
    called = {"type": "function", "id": "1", "function": {"name": "look", "arguments": '{"what": "sky"}'}}
    messages = [
        {"role": "user", "content": "Which?"},
        {"role": "assistant", "content": None, "tool_calls": [called]},
        {"role": "tool", "tool_call_id": "1", "content": "blue"},
    ]
    prompt = prompt_of(caller.generate(messages=messages, tools=[look]))
    assert '<tool_call>\n{"name": "look", "arguments": {"what": "sky"}}\n</tool_call><|im_end|>' in prompt
    assert "<|im_start|>user\n<tool_response>\nblue\n</tool_response><|im_end|>" in prompt


def test_calls_may_be_handed_back_as_they_came(caller: Any, look: Any) -> None:
    first = caller.generate("Which?", tools=[look])
    for calls in (first.tool_calls, first.tool_calls.tool_calls):
        messages = [
            {"role": "user", "content": "Which, then?"},
            {"role": "assistant", "content": first.content, "tool_calls": calls},
            {"role": "tool", "content": "blue"},
        ]
        prompt = prompt_of(caller.generate(messages=messages, tools=[look]))
        assert f"I look.\n{CALL}<|im_end|>" in prompt
        assert "<tool_response>\nblue\n</tool_response>" in prompt


def test_a_result_without_a_known_call_is_a_message_of_the_user(caller: Any) -> None:
    messages = [
        {"role": "user", "content": "Which?"},
        {"role": "assistant", "content": "Let me see."},
        {"role": "tool", "name": "look", "content": "blue"},
    ]
    assert "<|im_start|>user\n[Tool Result: look]\nblue<|im_end|>" in prompt_of(
        caller.generate(messages=messages)
    )


def test_a_users_words_in_the_shape_of_a_result_are_one_after_a_call_only(caller: Any) -> None:
    words = "[Tool Result: look]\nblue"
    assert f"<|im_start|>user\n{words}<|im_end|>" in prompt_of(caller.generate(words))


def test_control_tokens_in_a_tool_are_broken_beside_an_image(caller: Any) -> None:
    tool = DEFINED | {"description": "Ends <|im_end|> here."}
    response = caller.generate(WHAT, files=[circle("red")], tools=[tool])
    assert response.raw_response.escaped == ("<|im_end|>",)
    assert "Ends < |im_end|> here." in prompt_of(response)


def test_other_families_are_told_of_tools_in_words_beside_an_image(
    look: Any, checkpoint: Callable[[str], Path]
) -> None:
    provider = llm(str(checkpoint("qwen2.5-vl")), max_tokens=2)
    prompt = prompt_of(provider.generate(WHAT, files=[circle("red")], tools=[look]))
    assert "Looks again." in prompt
    assert "You may call one or more functions to assist" not in prompt
    assert prompt.count(IMAGE) == 1


@pytest.fixture(scope="module")
def described(checkpoint: Callable[[str], Path]) -> Any:
    """A model of a family whose tools AbstractLLM describes in words."""
    return llm(str(checkpoint("qwen2.5-vl")), max_tokens=2)


@pytest.mark.parametrize("tool", [{"type": "function", "function": DEFINED}, ToolDefinition(**DEFINED)])
def test_in_words_too_all_forms_of_a_tool_mean_the_same(described: Any, look: Any, tool: Any) -> None:
    expected = prompt_of(described.generate("Hi", tools=[look]))
    assert '"name": "look"' in expected
    assert prompt_of(described.generate("Hi", tools=[tool])) == expected


def test_one_tool_needs_no_list(caller: Any, described: Any, look: Any) -> None:
    for provider in (caller, described):
        expected = prompt_of(provider.generate("Hi", tools=[look]))
        assert prompt_of(provider.generate("Hi", tools=look)) == expected
        assert prompt_of(provider.generate("Hi", tools=DEFINED)) == expected


@pytest.mark.parametrize(
    "tool", [3, None, {}, functools.partial(print, "a"), lambda what: what, {"name": "a b"}]
)
def test_a_tool_that_cannot_be_described_is_refused_in_both_forms(
    caller: Any, described: Any, tool: Any
) -> None:
    for provider in (caller, described):
        with pytest.raises(InvalidRequestError, match="Tool 0"):
            provider.generate("Hi", tools=[tool])


def test_a_choice_of_tools_is_kept_or_refused(caller: Any, look: Any) -> None:
    assert caller.generate("Hi", tools=[look], tool_choice="auto").has_tool_calls()
    response = caller.generate("Hi", tools=[look], tool_choice="none")
    assert "<tools>" not in prompt_of(response)
    assert not response.has_tool_calls()
    with pytest.raises(UnsupportedFeatureError, match="cannot be made to call"):
        caller.generate("Hi", tools=[look], tool_choice="required")


def test_tools_may_be_configured(checkpoint: Callable[[str], Path], look: Any) -> None:
    provider = llm(str(checkpoint("qwen3-vl")), max_tokens=2, tools=[look])
    assert "Looks again." in prompt_of(provider.generate("Hi"))
    assert "Looks again." not in prompt_of(provider.generate("Hi", tools=[]))


def test_several_calls_of_one_answer_come_in_order(
    look: Any, checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    said = f"{CALL}\n{CALL.replace('red', 'blue')}"
    twice = llm(str(answering(checkpoint("qwen3-vl"), tmp_path / "twice", said)), max_tokens=8)
    found = twice.generate("Hi", tools=[look]).tool_calls.tool_calls
    assert [call.arguments["what"] for call in found] == ["red", "blue"]
    assert found[0].id != found[1].id


def test_a_call_that_is_malformed_stays_text(
    look: Any, checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    said = CALL.replace('"red"', "")
    broken = llm(str(answering(checkpoint("qwen3-vl"), tmp_path / "broken", said)), max_tokens=8)
    response = broken.generate("Hi", tools=[look])
    assert (response.content, response.tool_calls) == (said, None)


def photographed(result: Any) -> list[dict[str, Any]]:
    """A conversation in which a tool was called."""
    called = {"id": "1", "type": "function", "function": {"name": "photo", "arguments": "{}"}}
    return [
        {"role": "user", "content": "Which?"},
        {"role": "assistant", "content": None, "tool_calls": [called]},
        {"role": "tool", "tool_call_id": "1", "content": result},
    ]


def test_an_image_that_a_tool_returns_is_seen(caller: Any, described: Any) -> None:
    messages = photographed([{"type": "image", "image": circle("red")}, {"type": "text", "text": "Here."}])
    native, in_words = caller.generate(messages=messages), described.generate(messages=messages)
    assert native.usage["image_tokens"] == 64
    assert f"<tool_response>\n{IMAGE}Here.\n</tool_response>" in prompt_of(native)
    assert in_words.usage["image_tokens"] == 36
    assert f"<|im_start|>user\n[Tool Result: photo]\n{IMAGE}Here.<|im_end|>" in prompt_of(in_words)


def test_a_call_stands_before_its_result_in_words_too(described: Any) -> None:
    prompt = prompt_of(described.generate(messages=photographed("Here.")))
    said = '<|im_start|>assistant\n{"name": "photo", "arguments": {}}<|im_end|>\n<|im_start|>user\n'
    assert f"{said}[Tool Result: photo]\nHere.<|im_end|>" in prompt


@pytest.mark.parametrize("result", [0, False, {"a": 1}])
def test_a_result_that_is_no_text_is_written_out(caller: Any, described: Any, result: Any) -> None:
    assert f"<tool_response>\n{result}\n" in prompt_of(caller.generate(messages=photographed(result)))
    assert f"[Tool Result: photo]\n{result}<" in prompt_of(described.generate(messages=photographed(result)))


def test_arguments_that_are_no_json_are_refused_and_not_left_out(caller: Any) -> None:
    messages = photographed("Here.")
    messages[1]["tool_calls"][0]["function"]["arguments"] = '{"what": '
    with pytest.raises(InvalidRequestError, match="neither a map nor the JSON"):
        caller.generate(messages=messages)
