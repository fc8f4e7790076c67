"""What goes wrong in AbstractLLM's provider is one of that package's own errors, and says what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from abstractllm import create_llm
from abstractllm import exceptions as theirs

from loader.errors import CheckpointError, ImageError, MemoryBudgetError
from tests.abstractllm_sessions import NAME, circle, llm

WHAT = "What is in this image?"


@pytest.fixture(scope="module")
def demo() -> Any:
    return llm()


def refused(kind: type[BaseException], call: Callable[[], object]) -> BaseException:
    """The error, whose message has two sentences at least: what is wrong, what to do."""
    with pytest.raises(kind) as caught:
        call()
    text = str(caught.value)
    assert text.count(". ") >= 1, text
    assert "[mlx]" in text
    return caught.value


@pytest.mark.parametrize("stream", [False, True])
def test_a_source_that_is_no_image(demo: Any, stream: bool) -> None:
    error = refused(
        theirs.ImageProcessingError, lambda: demo.generate(WHAT, files=[b"no image"], stream=stream)
    )
    assert isinstance(error, theirs.AbstractLLMError)
    assert isinstance(error.original_exception, ImageError)


def test_an_image_that_is_not_there(demo: Any, tmp_path: Path) -> None:
    missing = tmp_path / "photo.jpg"
    for call in (lambda: demo.generate(WHAT, files=[missing]), lambda: demo.generate(f"{WHAT} @{missing}")):
        assert "Nothing was found" in str(refused(theirs.ImageProcessingError, call))


def test_a_text_that_is_not_there(demo: Any, tmp_path: Path) -> None:
    error = refused(theirs.FileProcessingError, lambda: demo.generate("Read", files=[tmp_path / "note.txt"]))
    assert str(tmp_path / "note.txt") == error.file_path  # type: ignore[attr-defined]


def test_a_text_that_is_none(demo: Any, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_bytes(b"\xff\xfe\x00\xd8")
    refused(theirs.FileProcessingError, lambda: demo.generate("Read", files=[tmp_path / "note.txt"]))


def test_a_document_says_what_to_make_of_it(demo: Any, tmp_path: Path) -> None:
    (tmp_path / "paper.pdf").write_bytes(b"%PDF-1.7\n")
    error = refused(theirs.ImageProcessingError, lambda: demo.generate(WHAT, files=[tmp_path / "paper.pdf"]))
    assert "Convert it to PNG" in str(error)


def test_a_shape_that_the_model_refuses(demo: Any) -> None:
    strip = PIL.Image.new("RGB", (4000, 10))
    refused(theirs.ImageProcessingError, lambda: demo.generate(WHAT, files=[strip]))


def test_an_option_that_nobody_knows(demo: Any) -> None:
    error = refused(theirs.UnsupportedFeatureError, lambda: demo.generate("Hello", enable_thinkin=True))
    assert "enable_thinkin" in str(error)


@pytest.mark.parametrize("name", ["frequency_penalty", "presence_penalty", "stop"])
def test_what_the_backend_does_not_have(demo: Any, name: str) -> None:
    error = refused(theirs.UnsupportedFeatureError, lambda: demo.generate("Hello", **{name: 0.5}))
    assert error.feature == name  # type: ignore[attr-defined]


def test_a_number_that_is_no_use(demo: Any) -> None:
    refused(theirs.UnsupportedFeatureError, lambda: demo.generate("Hello", temperature=-1))


def test_an_answer_of_no_length(demo: Any) -> None:
    refused(theirs.UnsupportedFeatureError, lambda: demo.generate("Hello", max_tokens=0))


@pytest.mark.parametrize("name", ["quantize", "cache_dir", "load_in_4bit", "revision"])
def test_what_is_loaded_is_not_said_in_a_call(demo: Any, name: str) -> None:
    error = refused(theirs.UnsupportedFeatureError, lambda: demo.generate("Hello", **{name: "4"}))
    assert "create_llm" in str(error)


def test_a_conversation_that_makes_no_sense(demo: Any) -> None:
    refused(theirs.InvalidRequestError, lambda: demo.generate(messages=[{"content": "Hello"}]))
    refused(theirs.InvalidRequestError, demo.generate)


def test_an_unknown_model_comes_with_suggestions() -> None:
    error = refused(theirs.ModelLoadingError, lambda: llm("qwen2.5-vl-33b"))
    assert "qwen2.5-vl-32b" in str(error)
    assert error.model_name == "qwen2.5-vl-33b"  # type: ignore[attr-defined]


def test_no_model_at_all() -> None:
    refused(theirs.ModelLoadingError, lambda: create_llm(NAME))


def test_a_folder_that_is_no_checkpoint(tmp_path: Path) -> None:
    error = refused(theirs.ModelLoadingError, lambda: llm(str(tmp_path)))
    assert isinstance(error.original_exception, CheckpointError)  # type: ignore[attr-defined]


def test_a_model_that_cannot_be_downloaded_names_the_switch_that_abstractllm_sets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    error = refused(theirs.ModelLoadingError, lambda: llm("smolvlm2-500m", cache_dir=str(tmp_path)))
    assert "HF_HUB_OFFLINE=0" in str(error)


def test_weights_that_are_too_large_are_pythons_memory_error_as_well() -> None:
    for kind in (MemoryError, theirs.MemoryExceededError):
        error = refused(kind, lambda: llm("qwen2.5-vl-72b", memory_limit="4gb"))
    assert isinstance(error, theirs.MemoryExceededError)
    assert isinstance(error.original_exception, MemoryBudgetError)
    assert error.required_memory > error.available_memory


def test_a_call_that_takes_more_than_it_may(demo: Any) -> None:
    error = refused(MemoryError, lambda: demo.generate(WHAT, files=[circle("red")], memory_limit=1_000_000))
    assert "memory_limit" in str(error)


def test_a_prompt_that_is_longer_than_allowed(demo: Any) -> None:
    demo.set_memory_limits(max_input_tokens=30, max_output_tokens=8)
    try:
        error = refused(theirs.ContextWindowExceededError, lambda: demo.generate(WHAT, files=[circle("red")]))
        assert (error.context_window, error.content_length) == (30, 41)  # type: ignore[attr-defined]
        assert demo.generate("Hello").usage["completion_tokens"] <= 8
        assert demo.generate(WHAT, files=[circle("red")], max_input_tokens=41).content == "a red circle"
    finally:
        demo.set_config(max_input_tokens=None, max_output_tokens=None, max_tokens=None)


def test_a_quantization_that_is_none() -> None:
    refused(theirs.InvalidParameterError, lambda: llm(quantize=True))
    refused(theirs.ModelLoadingError, lambda: llm("qwen2.5-vl-7b", quantize=17))
