"""`mlx-cards prompt`: what it shows on a terminal and to programs, and its answers to bad conversations."""

from __future__ import annotations

import functools
import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

import loader
import registry
from tests.command import Result, mlx_cards

Run = Callable[..., Result]
IMAGE = {"type": "image"}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return functools.partial(mlx_cards, "prompt", capsys=capsys, monkeypatch=monkeypatch)


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def test_on_a_terminal_each_placeholder_has_its_number_of_tokens_and_kinds_have_colours(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = run("qwen2.5-vl-7b", "-p", "Hi", "-i", "640x480", "-i", "100x100").out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr(click.utils, "should_strip_ansi", lambda *_: False)
    shown = run("qwen2.5-vl-7b", "-p", "Hi", "-i", "640x480", "-i", "100x100").out
    assert "\x1b[36m<|im_start|>user" in shown  # the family's own
    assert "\x1b[35m<|vision_start|>" in shown  # an image
    assert "\x1b[0mHi\x1b[0m" in shown  # the user's
    counts = re.findall(r"\[([\d,]+) image tokens\]", shown)
    assert counts == ["391", "16"]
    told = re.sub(r"\x1b\[\d+m|\[[\d,]+ image tokens\]", "", shown)
    assert told.rstrip("\n") == plain.rstrip("\n")


def test_what_a_user_typed_does_not_steer_the_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    shown = run("qwen2.5-vl-7b", "-p", "a\x1b[2Jb").out
    assert "a\ufffd[2Jb" in shown


def test_programs_get_the_tokens_of_each_image_beside_its_placeholder(run: Run) -> None:
    data = json.loads(run("gemma3-4b", "-p", "Hi", "-i", "640x480", "-i", "10x10", "--json").out)
    images = [segment for segment in data["segments"] if segment["kind"] == "image"]
    assert [segment["image_tokens"] for segment in images] == [256, 256]
    assert all(set(s) == {"kind", "text"} for s in data["segments"] if s["kind"] != "image")
    assert data["image_tokens"] == 512


def test_a_single_token_is_not_several(run: Run) -> None:
    said = run("llama3.2-vision-11b", "-p", "Hi", "-i", "10x10").err.splitlines()
    assert said[-1].startswith("1 image token, ")


BAD = {
    "a role that there is not": ([user("Hi"), {"role": "wizard", "content": "x"}], ["Message 1", "'wizard'"]),
    "an image in a system turn": (
        [{"role": "system", "content": ["x", IMAGE]}, user("Hi")],
        ["Part 1 of message 0", "'system'"],
    ),
    "a part that there is not": ([user("Hi", {"type": "audio"})], ["Part 1 of message 0", "'audio'"]),
    "text for a message": ([user("Hi"), "Hi"], ["Message 1 has no role"]),
    "nothing for content": ([{"role": "user"}], ["Message 0", "NoneType"]),
    "nothing for text": ([user({"type": "text", "text": None})], ["Part 0 of message 0", "without a text"]),
    "a number for an image": ([user({"type": "image", "image": 7})], ["type int", "Pass a path"]),
    "a local file as a URL": (
        [user({"type": "image_url", "image_url": {"url": "/etc/hosts"}})],
        ["Part 0 of message 0", "without an http(s) or data URL"],
    ),
    "more images than are given": ([user(IMAGE, "Hi")], ["Image parts without a source"]),
    "a tool call": ([{"role": "assistant", "content": "", "tool_calls": [1]}], ["Message 0", "tool calls"]),
    "one message": (user("Hi"), ["no list of messages"]),
    "nothing": ([], ["empty"]),
}


@pytest.mark.parametrize(("messages", "words"), BAD.values(), ids=BAD)
def test_a_bad_conversation_is_refused_in_words_that_say_where_and_what_to_do(
    messages: Any, words: list[str], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(messages)))
    result = run("qwen2.5-vl-7b", "--messages", "-")
    assert (result.code, result.out) == (1, "")
    assert [word for word in words if word not in result.err] == []
    assert re.fullmatch(r"error: [^\n]+\. [^\n]+\.\n", result.err)


@pytest.mark.parametrize("raw", [b"not json", b"\xff\xfe", b"[" * 100_000, b"NaN", b""], ids=range(5))
def test_a_file_that_is_no_conversation_is_refused(raw: bytes, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "conversation.json"
    file.write_bytes(raw)
    result = run("qwen2.5-vl-7b", "--messages", str(file))
    assert (result.code, result.out) == (1, "")
    assert re.fullmatch(r"error: [^\n]+\. [^\n]+\.\n", result.err)


def test_a_system_message_in_the_middle_says_where_a_family_takes_it(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "conversation.json"
    file.write_text(json.dumps([user("Hi"), {"role": "system", "content": "x"}]), encoding="utf-8")
    assert (
        "Message 1 is a system message, and gemma3 takes one only at the start."
        in run("gemma3-4b", "--messages", str(file)).err
    )


WEATHER = {"type": "function", "function": {"name": "weather", "description": "It rains, or not."}}


def tools_in(folder: Path, tools: Any) -> str:
    file = folder / "tools.json"
    file.write_text(json.dumps(tools), encoding="utf-8")
    return str(file)


def test_tools_of_a_file_are_in_the_prompt_as_the_family_writes_them(run: Run, tmp_path: Path) -> None:
    shown = run("qwen3-vl-8b", "-p", "Rain?", "--tools", tools_in(tmp_path, [WEATHER])).out
    card = registry.card("qwen3-vl-8b")
    assert shown == loader.render(card, [user("Rain?")], tools=[WEATHER]).text
    assert '"name": "weather"' in shown


@pytest.mark.parametrize(
    ("model", "tools", "words"),
    [
        ("gemma3-4b", [WEATHER], "no tool calls of its own"),
        ("qwen3-vl-8b", WEATHER, "no list of tools. Begin with [ and a tool."),
        ("qwen3-vl-8b", [1], "Tool 0 is not the definition of a function."),
    ],
)
def test_tools_that_cannot_be_said_are_refused(
    model: str, tools: Any, words: str, run: Run, tmp_path: Path
) -> None:
    result = run(model, "-p", "Rain?", "--tools", tools_in(tmp_path, tools))
    assert (result.code, result.out) == (1, "")
    assert words in result.err


def test_a_comparison_has_no_tools(run: Run, tmp_path: Path) -> None:
    arguments = ("-p", "Rain?", "--tools", tools_in(tmp_path, [WEATHER]))
    result = run("qwen3-vl-8b", *arguments, "--compare", "--checkpoint", str(tmp_path))
    assert (result.code, result.out) == (2, "")
    assert "--compare has no tools" in result.err
