"""Models of text through AbstractLLM's provider, on real weights where they are installed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from abstractllm.enums import ModelCapability
from abstractllm.exceptions import InvalidRequestError, ModelLoadingError, UnsupportedFeatureError

from tests import smollm
from tests.abstractllm_sessions import circle, llm, session

QUESTION = "What is the capital of France?"


@pytest.fixture(scope="module")
def whole(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2-135M-Instruct."""
    into = tmp_path_factory.mktemp("smollm") / "SmolLM2-135M-Instruct"
    return smollm.convert(smollm.weights(pytestconfig), into)


@pytest.fixture(scope="module")
def folder(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its tokenizer, template and first two layers, for what does not ask whether an answer is right."""
    into = tmp_path_factory.mktemp("layers") / "SmolLM2-135M-Instruct"
    return smollm.convert(smollm.weights(pytestconfig), into, layers=2)


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return llm(str(folder), max_tokens=24)


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Sessions write logs below it."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def test_it_knows_the_capital_of_france(whole: Path) -> None:
    response = llm(str(whole), max_tokens=24).generate(QUESTION)
    assert "Paris" in response.content
    assert response.finish_reason == "stop"
    assert response.usage["prompt_tokens"] == 37
    assert response.usage["image_tokens"] == 0


def test_it_streams_and_answers_without_blocking(model: Any) -> None:
    async def read() -> str:
        pieces = await model.generate_async(QUESTION, stream=True, max_tokens=4)
        return "".join([piece.content async for piece in pieces])

    pieces = model.generate(QUESTION, stream=True, max_tokens=4)
    assert asyncio.run(read()) == "".join(piece.content for piece in pieces) != ""


def test_its_prompt_is_what_its_own_template_writes(model: Any, folder: Path) -> None:
    from transformers import AutoTokenizer

    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    expected = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    response = model.generate(QUESTION, "Be brief.", max_tokens=1)
    assert response.raw_response.prompt == expected
    assert response.usage["prompt_tokens"] == len(tokenizer(expected)["input_ids"])


def test_a_typed_control_token_is_text(model: Any) -> None:
    count = model.generate("a<|im_end|>b", max_tokens=1).usage["prompt_tokens"]
    assert count > model.generate("ab", max_tokens=1).usage["prompt_tokens"] + 2


def test_images_are_refused(model: Any) -> None:
    assert not model.get_capabilities()[ModelCapability.VISION]
    with pytest.raises(UnsupportedFeatureError, match="takes no images") as caught:
        model.generate("What is this?", files=[circle("red")])
    assert caught.value.feature == "vision"


def test_texts_are_part_of_the_prompt(model: Any, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("The secret word is dandelion.")
    response = model.generate(f"What is the secret word? @{tmp_path / 'note.txt'}", max_tokens=1)
    assert "The secret word is dandelion." in response.raw_response.prompt


def test_a_session_keeps_what_was_said(model: Any) -> None:
    talk = session(model)
    talk.generate("My name is Ada.", max_tokens=2)
    talk.generate(QUESTION, max_tokens=2)
    prompt = model.get_last_verbatim_context()["context"]
    assert prompt.index("My name is Ada.") < prompt.index(QUESTION)


def test_its_context_is_what_its_configuration_says(model: Any) -> None:
    assert model.get_model_limits() == {"input": 8192, "output": 4096}
    with pytest.raises(UnsupportedFeatureError, match="8,192"):
        model.generate("word " * 9000)


def test_a_budget_holds_for_text_too(folder: Path) -> None:
    with pytest.raises(MemoryError, match="memory_limit"):
        llm(str(folder), memory_limit="10mb")


def test_unloading_and_loading_again_gives_the_same_answer(folder: Path) -> None:
    import mlx.core as mx

    provider = llm(str(folder), max_tokens=4)
    answer = provider.generate(QUESTION).content
    before = mx.get_active_memory()
    provider.unload()
    assert before - mx.get_active_memory() > 20_000_000
    assert provider.generate(QUESTION).content == answer


def with_template(folder: Path, into: Path, template: str | None) -> str:
    """The same checkpoint with another chat template."""
    for file in folder.iterdir():
        (into / file.name).symlink_to(file)
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings["chat_template"] = template
    (into / "tokenizer_config.json").unlink()
    (into / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return str(into)


def test_a_checkpoint_without_a_template_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelLoadingError, match="no chat template"):
        llm(with_template(folder, tmp_path, None))


STRICT = (
    "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}[{{ message['content'] }}]{% endfor %}"
)
"""Refuses system text, and users who speak twice, as templates of Mistral and Gemma do."""


@pytest.fixture(scope="module")
def strict(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return llm(with_template(folder, tmp_path_factory.mktemp("strict"), STRICT), max_tokens=1)


def test_its_own_template_says_whether_it_takes_system_text_and_tools(model: Any, strict: Any) -> None:
    for provider, takes in ((model, True), (strict, False)):
        capabilities = provider.get_capabilities()
        assert capabilities[ModelCapability.SYSTEM_PROMPT] is takes
        assert capabilities[ModelCapability.TOOL_USE] is takes
    with pytest.raises(InvalidRequestError, match="Roles must alternate"):
        strict.generate(QUESTION, "Be brief.")
    with pytest.raises(UnsupportedFeatureError, match="no place for system text") as caught:
        strict.generate(QUESTION, tools=[{"name": "look", "description": "", "parameters": {}}])
    assert caught.value.feature == "tools"


def test_messages_in_a_row_are_one_only_where_its_template_refuses_them(model: Any, strict: Any) -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    assert strict.generate(messages=messages).raw_response.prompt == "[a\n\nb]"
    assert "user\na<|im_end|>\n" in model.generate(messages=messages, max_tokens=1).raw_response.prompt


def test_tools_are_described_to_it_in_words(model: Any) -> None:
    tool = {"name": "look", "description": "Looks again.", "parameters": {}}
    response = model.generate(QUESTION, tools=[tool], max_tokens=1)
    assert "Looks again." in response.raw_response.prompt
