"""AbstractLLM's provider on the embedded checkpoint: what goes in, what comes out."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import abstractllm
import numpy as np
import pytest
from abstractllm.enums import ModelCapability, ModelParameter
from abstractllm.media.image import ImageInput
from abstractllm.providers.registry import get_provider_class
from abstractllm.types import GenerateResponse

import registry
from loader.abstractllm import MLXProvider, register
from tests.abstractllm_sessions import circle, llm, square, stored

WHAT = "What is in this image?"
FIRST, SECOND = "What is in the first image?", "What is in the second image?"


@pytest.fixture(scope="module")
def demo() -> Any:
    return llm()


@pytest.fixture
def red(tmp_path: Path) -> Path:
    """A red circle on disk."""
    return stored(circle("red"), tmp_path)


def test_register_makes_the_provider_the_one_of_both_names() -> None:
    register()
    assert get_provider_class("mlx") is get_provider_class("mlx-cards") is MLXProvider


def test_the_first_name_keeps_abstractllms_check_of_the_platform() -> None:
    import platform

    if (platform.system(), platform.processor()) == ("Darwin", "arm"):
        assert isinstance(abstractllm.create_llm("mlx", model="demo"), MLXProvider)
    else:
        with pytest.raises(ValueError, match="Apple Silicon"):
            abstractllm.create_llm("mlx", model="demo")


def test_a_question_about_an_image_is_answered(demo: Any, red: Path) -> None:
    response = demo.generate(WHAT, files=[str(red)])
    assert isinstance(response, GenerateResponse)
    assert response.content == "a red circle"
    assert response.finish_reason == "stop"
    assert response.model == "demo"


def test_a_response_says_what_was_used_and_what_was_done_to_each_image(demo: Any, red: Path) -> None:
    response = demo.generate(WHAT, files=[str(red)])
    usage = response.usage
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    plan = response.raw_response.images[0].plan
    assert usage["image_tokens"] == plan.image_tokens == 25
    assert response.image_paths == [str(red)]
    assert plan.source == (160, 160)


def test_the_prompt_is_the_one_that_the_registry_makes(demo: Any, red: Path) -> None:
    import loader

    content = [{"type": "image"}, WHAT]
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": content},
    ]
    expected = loader.render(registry.card("demo"), messages).text
    assert demo.generate(WHAT, "Be brief.", files=[red]).raw_response.prompt == expected
    assert demo.get_last_verbatim_context()["context"] == expected


def test_the_pieces_of_a_stream_are_the_answer_and_its_end_has_the_usage(demo: Any, red: Path) -> None:
    pieces = list(demo.generate(WHAT, files=[red], stream=True))
    assert "".join(piece.content for piece in pieces) == "a red circle"
    assert len(pieces) > 2
    assert pieces[-1].usage["completion_tokens"] == 4
    assert pieces[-1].finish_reason == "stop"


def sources(image: Any, folder: Path) -> dict[str, Any]:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    path = folder / "image.png"
    path.write_bytes(buffer.getvalue())
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return {
        "path": str(path),
        "Path": path,
        "bytes": buffer.getvalue(),
        "file": buffer,
        "PIL": image,
        "numpy": np.asarray(image),
        "data URI": f"data:image/png;base64,{encoded}",
        "base64": encoded,
        "ImageInput": ImageInput(str(path)),
        "dictionary": {"type": "image", "source": {"type": "base64", "data": encoded}},
        "chat API": {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded}"}},
    }


@pytest.mark.parametrize("kind", sources(circle("red"), Path("/tmp")).keys())  # noqa: S108
def test_an_image_may_come_in_every_form(demo: Any, tmp_path: Path, kind: str) -> None:
    source = sources(circle("red"), tmp_path)[kind]
    if kind == "file":
        source.seek(0)
    assert demo.generate(WHAT, files=[source]).content == "a red circle"


def test_an_image_may_be_a_url_of_any_name(demo: Any, server: Any) -> None:
    response = demo.generate(WHAT, files=[f"{server.url}/image"], allow_private_urls=True)
    assert response.usage["image_tokens"] > 0


def test_several_images_keep_their_order(demo: Any) -> None:
    files = [circle("red"), square("blue")]
    assert demo.generate(FIRST, files=files).content == "a red circle"
    assert demo.generate(SECOND, files=files).content == "a blue square"
    assert demo.generate(FIRST, files=files[::-1]).content == "a blue square"


def test_a_file_may_be_named_in_the_prompt(demo: Any, red: Path) -> None:
    response = demo.generate(f"{WHAT} @{red}")
    assert response.content == "a red circle"
    assert "@" not in response.raw_response.prompt
    assert response.raw_response.prompt.count(WHAT) == 1


def test_punctuation_after_a_name_is_not_part_of_it(demo: Any, red: Path) -> None:
    assert demo.generate(f"What is in @{red}?").usage["image_tokens"] == 25


def test_a_folder_and_a_pattern_name_their_files_in_order(demo: Any, tmp_path: Path) -> None:
    circle("red").save(tmp_path / "1.png")
    square("blue").save(tmp_path / "2.png")
    assert demo.generate(f"{SECOND} @{tmp_path}/").content == "a blue square"
    assert demo.generate(f"{SECOND} @{tmp_path}/*.png").content == "a blue square"


def test_an_address_in_a_prompt_is_no_file(demo: Any) -> None:
    prompt = demo.generate("Write to me@example.org and ask @nobody").raw_response.prompt
    assert "me@example.org and ask @nobody" in prompt


def test_texts_and_tables_follow_the_words_as_abstractllm_writes_them(demo: Any, tmp_path: Path) -> None:
    (tmp_path / "note.md").write_text("The sky is blue.")
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    files = [tmp_path / "note.md", tmp_path / "table.csv", circle("red")]
    prompt = demo.generate("Look:", files=files, max_tokens=2).raw_response.prompt
    assert "<|image_pad|><|vision_end|>Look:" in prompt
    assert prompt.index("Look:") < prompt.index("The sky is blue.") < prompt.index("| a | b |\n")
    assert prompt.count("The sky is blue.") == 1


def test_a_text_that_is_named_in_the_prompt_is_in_it_once(demo: Any, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("The sky is blue.")
    prompt = demo.generate(f"Read @{tmp_path / 'note.txt'} now", max_tokens=2).raw_response.prompt
    assert prompt.count("The sky is blue.") == 1
    assert "Error" not in prompt


def test_messages_may_hold_images_of_their_own(demo: Any) -> None:
    messages = [
        {
            "role": "user",
            "content": [{"type": "image", "image": circle("red")}, {"type": "text", "text": WHAT}],
        },
        {"role": "assistant", "content": "a red circle"},
        {"role": "user", "content": SECOND},
    ]
    assert demo.generate(SECOND, messages=messages, files=[square("blue")]).content == "a blue square"


def test_capabilities_are_those_of_the_card(demo: Any) -> None:
    capabilities = demo.get_capabilities()
    assert capabilities[ModelCapability.VISION]
    assert capabilities[ModelCapability.SYSTEM_PROMPT]
    assert capabilities[ModelCapability.STREAMING]
    assert demo.get_model_limits() == {"input": 2048, "output": 2048}


def test_limits_of_a_model_that_no_card_lists_are_those_of_its_configuration(
    checkpoint: Callable[[str], Path],
) -> None:
    folder = checkpoint("qwen2.5-vl")
    stated = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    context = stated["max_position_embeddings"]
    assert llm(str(folder)).get_model_limits() == {"input": context, "output": 4096}


@pytest.mark.parametrize("key", ["max_tokens", ModelParameter.MAX_TOKENS])
def test_a_parameter_has_one_value_under_both_of_its_names(demo: Any, key: str, red: Path) -> None:
    try:
        demo.set_config(**{key: 2})
        assert demo.get_param("max_tokens") == demo.get_param(ModelParameter.MAX_TOKENS) == 2
        assert demo.generate(WHAT, files=[red]).content == "a red"
    finally:
        demo.set_config(max_tokens=None)


def test_a_call_overrides_the_configuration(demo: Any, red: Path) -> None:
    response = demo.generate(WHAT, files=[red], max_tokens=1)
    assert (response.content, response.finish_reason) == ("a", "length")


def test_parameters_about_a_service_say_nothing_here(demo: Any, red: Path) -> None:
    options = {"api_key": "x", "timeout": 30, ModelParameter.USER.value: "me", "max_retries": 2}
    assert demo.generate(WHAT, files=[red], **options).content == "a red circle"


def test_a_seed_repeats_what_was_sampled(demo: Any, red: Path) -> None:
    options = {"temperature": 3.0, "top_p": 1.0, "max_tokens": 12, "files": [red]}
    one, again, other = (demo.generate(WHAT, seed=seed, **options).content for seed in (1, 1, 2))
    assert one == again != other


def test_another_model_is_loaded_when_the_configuration_names_one() -> None:
    folder = registry.resolve("demo").folder
    provider = llm()
    provider.set_config(model=str(folder), card="demo")
    assert provider.generate("Hello", max_tokens=1).model == str(folder)


def test_tools_are_described_to_a_model_that_sees_and_read_out_of_its_answer(demo: Any, red: Path) -> None:
    def colour_of(name: str) -> str:
        """Says which colour a thing has."""
        return name

    response = demo.generate(WHAT, files=[red], tools=[colour_of], max_tokens=4)
    prompt = response.raw_response.prompt
    assert prompt.startswith("<|im_start|>system\n")
    assert "Says which colour a thing has." in prompt
    assert response.usage["image_tokens"] == 25
    call = json.dumps({"name": "colour_of", "arguments": {"name": "sky"}})
    assert demo._extract_tool_calls(call).tool_calls[0].arguments == {"name": "sky"}


def test_a_models_own_messages_with_tools_become_ones_that_cards_know(demo: Any) -> None:
    messages = [
        {"role": "user", "content": "Which?"},
        {"role": "assistant", "content": ""},
        {"role": "tool", "name": "look", "content": "blue"},
    ]
    prompt = demo.generate(messages=messages, max_tokens=1).raw_response.prompt
    assert "<|im_start|>user\n[Tool Result: look]\nblue<|im_end|>" in prompt
