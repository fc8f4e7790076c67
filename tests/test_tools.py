"""Tools in the family's own form: written, read out of an answer, and never control tokens themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import loader
import registry
from loader.checkpoint.template import ChatTemplate
from loader.cli.show import summary
from loader.errors import CardError, MessageError, UnsupportedFeatureError
from loader.new.infer import infer
from loader.new.upstream import of_template
from loader.prompt import render
from loader.prompt.encode import tokenizer_of
from loader.prompt.tools import can_write_tools
from loader.tools import ToolCall
from registry.catalog import CARDS, Catalog
from tests.caller import answering

PARAMETERS = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "share": {"type": "number"},
        "now": {"type": "boolean"},
        "box": {"type": "array"},
        "more": {"type": ["object", "null"]},
    },
}
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {"name": "weather", "description": "The weather.", "parameters": PARAMETERS},
}
ASK: dict[str, Any] = {"role": "user", "content": [{"type": "image"}, "Will it rain there?"]}
WRITING = [name for name in registry.families() if can_write_tools(registry.card(name))]
WRITTEN = {
    "definitions": {"place": "after_text", "open": "", "between": "", "close": "", "separator": ""},
    "calls": {"open": "<", "close": ">"},
    "results": {"turn_open": "", "open": "", "close": "", "turn_close": ""},
}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=6,
)
ARGUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "city": st.from_regex(r"[^<>]{0,20}", fullmatch=True).filter(lambda text: text.isprintable()),
        "days": st.integers(-(2**53), 2**53),
        "share": st.floats(allow_nan=False, allow_infinity=False, width=32),
        "now": st.booleans(),
        "box": st.lists(st.integers(), max_size=3),
        "more": st.none() | st.dictionaries(st.sampled_from("ab"), TEXT.filter(lambda t: "<" not in t)),
    },
)


def call(name: str = "weather", **arguments: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


def answered(*calls: dict[str, Any], text: str = "") -> list[dict[str, Any]]:
    """A conversation whose last message calls tools."""
    return [ASK, {"role": "assistant", "content": text, "tool_calls": list(calls)}]


def written(name: str, messages: list[dict[str, Any]], **options: Any) -> str:
    return render(registry.card(name), messages, False, tools=[WEATHER], **options).text


def test_at_least_three_families_write_tools_themselves() -> None:
    assert {"qwen3-vl", "qwen3.5", "step-3.7"} <= set(WRITING)


@given(name=st.sampled_from(WRITING), made=st.lists(ARGUMENTS, min_size=1, max_size=3))
def test_what_a_card_writes_as_calls_is_read_as_the_same_calls(name: str, made: list[Any]) -> None:
    card = registry.card(name)
    messages = answered(*(call(**arguments) for arguments in made), text="I will look.")
    answer = written(name, messages).rpartition("I will look.")
    found = loader.parse_tool_calls(card, answer[1] + answer[2], [WEATHER])[1]
    assert [made.arguments for made in found] == made
    assert {made.name for made in found} == {"weather"}


@settings(deadline=None)  # the backend is imported once
@given(
    name=st.sampled_from(WRITING),
    city=st.text(st.characters(categories=["L", "N", "S"], exclude_characters="<>"), min_size=5),
    days=st.integers(-(10**9), 10**9),
    now=st.booleans(),
    box=st.lists(st.integers(), max_size=3),
)
def test_the_backends_own_parser_reads_what_a_card_writes(
    name: str, city: str, days: int, now: bool, box: list[int]
) -> None:
    from mlx_vlm.tools.parsers import json_tools, qwen3_coder

    card = registry.card(name)
    assert card.prompt is not None
    assert card.prompt.tools is not None
    assert card.prompt.tools.calls is not None
    parser = json_tools if card.prompt.tools.calls.elements is None else qwen3_coder
    arguments: dict[str, Any] = {"city": city, "days": days, "now": now, "box": box}
    text = written(name, answered(call(**arguments))).rpartition(parser.tool_call_start)[2]
    found = parser.parse_tool_call(text.partition(parser.tool_call_end)[0].strip(), [WEATHER])
    assert found == {"name": "weather", "arguments": arguments}


@pytest.mark.parametrize("name", WRITING)
def test_the_words_beside_a_call_are_given_without_it(name: str) -> None:
    prompt = written(name, answered(call(city="Paris", days=2), text="I will look."))
    answer = prompt[prompt.index("I will look.") : prompt.rindex("<|im_end|>")]
    words, calls = loader.parse_tool_calls(registry.card(name), answer, [WEATHER])
    assert words == "I will look."
    assert calls == (ToolCall("weather", {"city": "Paris", "days": 2}),)


@given(name=st.sampled_from(WRITING), text=st.text(max_size=80), cut=st.integers(0, 400))
def test_an_answer_that_is_no_call_stays_text(name: str, text: str, cut: int) -> None:
    card = registry.card(name)
    whole = written(name, answered(call(city="Paris", more={"a": "b"})))
    start = whole.rindex("<tool_call>")
    broken = whole[start : min(start + cut, whole.rindex("</tool_call>"))]
    for answer in (text, broken, broken + text.replace("</tool_call>", "")):
        assert loader.parse_tool_calls(card, answer, [WEATHER]) == (answer, ())


@pytest.mark.parametrize(
    "inside",
    [
        "{",
        "[" * 100_000,
        '{"name": 3, "arguments": {}}',
        '{"name": "a b", "arguments": {}}',
        '{"name": "weather", "arguments": [1]}',
        '{"name": "weather", "arguments": {"days": NaN}}',
        '{"name": "weather", "arguments": {"days": 1e999}}',
        '{"name": "weather", "arguments": {"city": "\\ud800"}}',
    ],
)
def test_json_that_is_no_call_stays_text(inside: str) -> None:
    answer = f"<tool_call>\n{inside}\n</tool_call>"
    assert loader.parse_tool_calls(registry.card("qwen3-vl"), answer) == (answer, ())


def test_a_call_may_have_other_white_space_and_another_order_than_the_card_writes() -> None:
    answer = '<tool_call>{"arguments":"{\\"city\\": \\"Oslo\\"}","name":"weather"}</tool_call>\n'
    found = loader.parse_tool_calls(registry.card("qwen3-vl"), answer)
    assert found == ("", (ToolCall("weather", {"city": "Oslo"}),))


def test_what_a_thought_says_of_tools_is_no_call() -> None:
    called = "<tool_call>\n<function=weather>\n</function>\n</tool_call>"
    card = registry.card("qwen3.5")
    _, calls = loader.parse_tool_calls(card, f"Perhaps {called}\n</think>\n\n{called}", [WEATHER])
    assert calls == (ToolCall("weather", {}),)


def test_without_a_schema_a_bare_number_is_text_and_a_list_is_one() -> None:
    answer = (
        "<tool_call>\n<function=f>\n<parameter=a>\n3\n</parameter>\n"
        "<parameter=b>\n[3]\n</parameter>\n</function>\n</tool_call>"
    )
    assert loader.parse_tool_calls(registry.card("qwen3.5"), answer)[1][0].arguments == {"a": "3", "b": [3]}


@pytest.mark.parametrize("name", WRITING)
@given(forged=st.sampled_from(["<|im_end|>", "</tools>", "<tool_call>", "<|image_pad|>"]), value=PLAIN)
def test_what_tools_spell_is_never_the_familys_own_text(name: str, forged: str, value: Any) -> None:
    def tool(words: str) -> dict[str, Any]:
        return {"type": "function", "function": {"name": "f", "description": words, "x": [words, value]}}

    def said(words: str) -> list[tuple[str, str]]:
        result = {"role": "tool", "content": words}
        messages = [*answered(call(a=words)), result]
        segments = render(registry.card(name), messages, tools=[tool(words)]).segments
        return [segment for segment in segments if segment.kind != "text"]

    assert said(f"x{forged}x") == said("x")


def test_a_control_token_in_a_tools_description_is_encoded_as_text(
    checkpoint: Callable[[str], Path],
) -> None:
    tokenizer = tokenizer_of(checkpoint("qwen3-vl"))
    card, end = registry.card("qwen3-vl"), tokenizer.token_to_id("<|im_end|>")
    forged = {"type": "function", "function": {"name": "f", "description": "<|im_end|>"}}
    prompt = render(card, [{"role": "user", "content": "Hi"}], tools=[forged])
    assert prompt.text.count("<|im_end|>") == 3
    assert loader.encode(prompt, tokenizer).count(end) == 2


def test_arguments_may_be_the_json_that_chat_apis_send() -> None:
    text = {"function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}
    for name in WRITING:
        assert written(name, answered(text)) == written(name, answered(call(city="Oslo")))


def test_a_call_needs_no_words_beside_it() -> None:
    silent = {"role": "assistant", "content": None, "tool_calls": [call()]}
    assert written("qwen3-vl", [ASK, silent]) == written("qwen3-vl", answered(call()))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("qwen2.5-vl", "has no tool calls of its own"),
        ("gemma4", "in a form that cards cannot say yet"),
        ("pixtral", "is not established"),
        ("moondream3", "is not established"),
    ],
)
def test_tools_are_refused_where_the_card_cannot_write_them(name: str, why: str) -> None:
    card = registry.card(name)
    with pytest.raises(UnsupportedFeatureError, match=rf"{why}\. Describe the tools in words"):
        render(card, [{"role": "user", "content": "Hi"}], tools=[WEATHER])
    with pytest.raises(UnsupportedFeatureError, match=why):
        loader.parse_tool_calls(card, "Hi")
    with pytest.raises(MessageError, match="for which this prompt has no form") as caught:
        render(card, answered(call()))
    assert caught.value.message == 1


@pytest.mark.parametrize(
    "tools",
    [
        {"a": 1},
        "weather",
        ["weather"],
        [{"name": "weather"}],
        [{"type": "function", "function": {}}],
        [{"type": "function", "function": {"name": "two words"}}],
        [{"type": "function", "function": {"name": "<|im_end|>"}}],
        [{"type": "function", "function": {"name": "f", "parameters": [1]}}],
        [{"type": "function", "function": {"name": "f", "x": {1, 2}}}],
        [{"type": "function", "function": {"name": "f", "x": float("nan")}}],
        [{"type": "function", "function": {"name": "f", "x": "\ud800"}}],
    ],
)
def test_what_is_no_definition_of_a_tool_is_refused(tools: Any) -> None:
    with pytest.raises(MessageError, match=r"^Tool.*\. "):
        render(registry.card("qwen3-vl"), [ASK], tools=tools)


def test_a_definition_that_is_nested_without_end_is_refused() -> None:
    deep: dict[str, Any] = {}
    deep["deep"] = deep
    with pytest.raises(MessageError, match="cannot be written as JSON"):
        render(
            registry.card("qwen3-vl"),
            [ASK],
            tools=[{"type": "function", "function": {"name": "f", "x": deep}}],
        )


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ([ASK, {"role": "tool", "content": "x"}], 1),
        ([{"role": "tool", "content": "x"}], 0),
        ([{"role": "user", "content": "x", "tool_calls": [call()]}], 0),
        ([ASK, {"role": "assistant", "content": "x", "tool_calls": "f"}], 1),
        ([ASK, {"role": "assistant", "content": "x", "tool_calls": ["f"]}], 1),
        ([ASK, {"role": "assistant", "content": "x", "tool_calls": [{"function": "f"}]}], 1),
        (answered(call("two words")), 1),
        (answered({"function": {"name": "f", "arguments": "[1]"}}), 1),
        (answered({"function": {"name": "f", "arguments": {1: 2}}}), 1),
        (answered(call(x=float("inf"))), 1),
        ([*answered(call()), {"role": "tool", "content": 3}], 2),
    ],
)
def test_calls_and_results_that_cannot_be_said_name_their_message(turns: Any, message: int) -> None:
    with pytest.raises(MessageError) as caught:
        render(registry.card("qwen3-vl"), turns, tools=[WEATHER])
    assert caught.value.message == message


def test_a_message_that_calls_tools_cannot_be_continued() -> None:
    with pytest.raises(MessageError, match="cannot be continued"):
        render(registry.card("qwen3-vl"), answered(call()), continue_final_message=True)


def test_an_image_in_a_result_stands_in_its_place() -> None:
    result = {"role": "tool", "content": ["Cut:", {"type": "image", "image": b"x"}]}
    prompt = render(registry.card("qwen3-vl"), [*answered(call()), result])
    assert prompt.images == (None, b"x")
    assert prompt.text.count("<|image_pad|>") == 2
    assert "<tool_response>\nCut:<|vision_start|>" in prompt.text


def test_a_loaded_model_is_told_of_tools_beside_an_image_and_its_call_is_read(
    checkpoint: Callable[[str], Path], tmp_path: Path, photo: Path
) -> None:
    said = 'I look.\n<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
    model = loader.load(answering(checkpoint("qwen3-vl"), tmp_path / "calling", said))
    response = model.generate("And?", [photo], max_image_tokens=100, tools=[WEATHER], max_tokens=8)
    assert response.text == said
    assert response.tool_calls == (ToolCall("weather", {"city": "Oslo"}),)
    assert response.prompt.count("<|image_pad|>") == 1
    assert f"<tools>\n{json.dumps(WEATHER)}\n</tools>" in response.prompt
    assert response.to_dict()["tool_calls"] == [call(city="Oslo")]
    assert model.generate("And?", max_tokens=8).tool_calls == ()


def test_a_checkpoints_own_template_is_given_no_tools(checkpoint: Callable[[str], Path]) -> None:
    model = loader.load(checkpoint("qwen3-vl"), prompt="checkpoint")
    with pytest.raises(UnsupportedFeatureError, match="given no tools"):
        model.generate("Hi", tools=[WEATHER])


@pytest.mark.parametrize(
    ("start", "native"), [("{% if tools %}<s>{{ tools | tojson }}</s>{% endif %}", True), ("", None)]
)
def test_a_new_card_says_that_a_template_writes_tools_and_nothing_where_it_does_not(
    start: str, native: bool | None
) -> None:
    source = start + (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
        "{{ '<assistant>' if add_generation_prompt }}"
    )
    tools = infer(of_template(ChatTemplate(source))).draft.prompt.tools
    assert (None if tools is None else tools.native) == native


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ("qwen3-vl", "its own calls"),
        ("qwen2.5-vl", "no calls of its own: describe tools in words"),
        ("gemma4", "its own calls, in a form that cards cannot say yet"),
        ("moondream3", "whether the family has calls of its own is not established"),
    ],
)
def test_show_tells_how_tools_are_called(card: str, words: str) -> None:
    assert ("tools", words) in list(summary(registry.card(card)))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"tools": {"native": True, "calls": {"open": "<", "close": ">"}}}, "tools need `definitions`"),
        ({"tools": {"native": False, **WRITTEN}}, "a form of its own means `native: true`"),
        ({"tools": {"native": True, **WRITTEN}, "alternate": True}, "definitions need `system: turn`"),
        ({"tools": "none"}, "this should be a map"),
        ({"tools": {"native": True, "form": "json"}}, "this key is not known"),
    ],
)
def test_a_card_that_says_tools_by_halves_is_refused(
    changes: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    data = yaml.safe_load((CARDS / "qwen2.5-vl.yaml").read_text(encoding="utf-8"))
    data["prompt"] |= changes
    (tmp_path / "qwen2.5-vl.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    catalog = Catalog(tmp_path)
    target = catalog.find("qwen2.5-vl-7b")
    with pytest.raises(CardError, match=problem):
        catalog.card(target)
