"""Loading and answering: the real backend on random weights, every family, no mocks."""

from __future__ import annotations

import dataclasses
import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

import registry
from loader.errors import (
    CheckpointError,
    ImageError,
    MessageError,
    UnknownModelError,
    UnsupportedFeatureError,
)
from loader.model import VisionModel
from loader.resize import plan_image
from tests.families import CARDS

Build = Callable[[str], Path]
RED = PIL.Image.new("RGB", (300, 200), "red")
BLUE = PIL.Image.new("RGB", (200, 300), "blue")
ANSWER = {"max_tokens": 4}


@pytest.fixture(scope="module")
def load(checkpoint: Build) -> Callable[[str], VisionModel]:
    """Models by the name of their checkpoint, each loaded once."""
    loaded: dict[str, VisionModel] = {}

    def get(name: str) -> VisionModel:
        if name not in loaded:
            loaded[name] = registry.load(checkpoint(name), card=CARDS[name])
        return loaded[name]

    return get


@pytest.fixture(scope="module")
def qwen(load: Callable[[str], VisionModel]) -> VisionModel:
    return load("qwen2.5-vl")


@pytest.mark.parametrize("name", CARDS)
def test_every_family_answers_about_one_image_with_the_planned_tokens(
    name: str, load: Callable[[str], VisionModel]
) -> None:
    model = load(name)
    response = model.generate("What is this?", RED, **ANSWER)
    plan = plan_image(model.card, *RED.size)
    assert response.image_tokens == plan.image_tokens > 0
    assert response.images[0].plan == plan
    assert response.prompt_tokens > response.image_tokens
    assert 1 <= response.completion_tokens <= 4
    assert response.finish_reason in ("stop", "length")
    assert response.peak_memory > 0
    assert min(response.timings.prepare, response.timings.first_token) > 0


@pytest.mark.parametrize("name", CARDS)
def test_every_family_answers_about_two_images_with_a_system_prompt(
    name: str, load: Callable[[str], VisionModel]
) -> None:
    """About one, where the backend handles no more."""
    model = load(name)
    images = [RED, BLUE][: model.card.backend.max_images]
    response = model.generate("Compare.", images, system="Be brief.", **ANSWER)
    planned = [plan_image(model.card, *image.size) for image in images]
    assert [seen.plan for seen in response.images] == planned
    assert response.image_tokens == sum(plan.image_tokens for plan in planned)
    assert "Be brief." in response.prompt


@pytest.mark.parametrize("name", CARDS)
def test_every_family_answers_without_an_image(name: str, load: Callable[[str], VisionModel]) -> None:
    response = load(name).generate("Hello, who are you?", **ANSWER)
    assert response.image_tokens == 0
    assert response.images == ()


@pytest.mark.parametrize("name", CARDS)
def test_another_image_of_the_same_size_changes_what_the_model_computes(
    name: str, load: Callable[[str], VisionModel]
) -> None:
    """Random weights say nothing sensible, yet blindness would make these three answers equal."""
    model = load(name)
    noise = PIL.Image.effect_noise((300, 200), 90).convert("RGB")
    green = PIL.Image.new("RGB", (300, 200), "green")
    answers = {model.generate("What is this?", image, max_tokens=12).text for image in (RED, green, noise)}
    assert len(answers) > 1


@pytest.mark.parametrize("name", CARDS)
def test_an_answer_does_not_depend_on_the_calls_before_it(
    name: str, load: Callable[[str], VisionModel]
) -> None:
    model = load(name)
    text, image = model.generate("Hello", **ANSWER).text, model.generate("Hello", RED, **ANSWER).text
    model.generate("Compare.", [BLUE, RED][: model.card.backend.max_images], **ANSWER)
    assert model.generate("Hello", **ANSWER).text == text
    assert model.generate("Hello", RED, **ANSWER).text == image


def test_images_inside_a_conversation_are_seen_in_the_order_of_its_messages(qwen: VisionModel) -> None:
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "image", "image": RED}, "What is this?"]},
        {"role": "assistant", "content": "Red."},
        {"role": "user", "content": ["And this?", {"type": "image"}]},
    ]
    response = qwen.generate(messages, [BLUE], **ANSWER)
    assert [seen.plan.source for seen in response.images] == [RED.size, BLUE.size]
    assert response.prompt.count("<|image_pad|>") == 2
    assert "Red.<|im_end|>" in response.prompt


def test_a_budget_for_images_is_kept_and_reported(qwen: VisionModel, photo: Path) -> None:
    small = qwen.generate("What?", photo, detail="low", **ANSWER)
    smaller = qwen.generate("What?", photo, max_image_tokens=100, **ANSWER)
    assert small.image_tokens <= 256
    assert smaller.image_tokens <= 100
    assert smaller.images[0].plan.source == (4032, 2988)
    assert smaller.images[0].source == "dandelion.jpg"


def in_context(checkpoint: Build, context: int) -> VisionModel:
    """A model that was released for so many positions."""
    card = registry.card("qwen2.5-vl-7b")
    assert card.model
    assert card.key
    models = card.models | {card.key: dataclasses.replace(card.model, context=context)}
    card = dataclasses.replace(card, models=models)
    return registry.load(checkpoint("qwen2.5-vl"), card=card)


def test_images_that_the_context_cannot_hold_share_what_text_and_answer_leave(
    checkpoint: Build, photo: Path
) -> None:
    model = in_context(checkpoint, 1600)
    response = model.generate("Compare them.", [photo, RED, photo], max_tokens=100)
    first, small, last = (seen.plan for seen in response.images)
    assert (first.source, small.source) == ((4032, 2988), RED.size)
    assert small.image_tokens == plan_image(model.card, *RED.size).image_tokens
    assert first == last
    assert "share what is left of the context" in first.note
    assert 1400 < response.prompt_tokens <= 1500


def test_images_are_not_made_smaller_where_every_detail_is_asked_for(checkpoint: Build, photo: Path) -> None:
    with pytest.raises(UnsupportedFeatureError, match="released for 1,600"):
        in_context(checkpoint, 1600).generate("What?", photo, detail="full")


def test_exact_decodes_every_pixel_and_changes_no_plan(qwen: VisionModel, photo: Path) -> None:
    reduced, exact = (qwen.generate("What?", photo, exact=exact, **ANSWER) for exact in (False, True))
    assert reduced.images == exact.images
    assert reduced.image_tokens == exact.image_tokens


def test_more_images_than_the_backend_handles_are_refused(load: Callable[[str], VisionModel]) -> None:
    with pytest.raises(UnsupportedFeatureError, match="at most 1 image for llava-next, and these are 2"):
        load("llava-next").generate("Compare.", [RED, BLUE])


def test_the_pieces_of_a_stream_are_the_answer(qwen: VisionModel) -> None:
    whole = qwen.generate("Describe.", RED, max_tokens=12)
    stream = qwen.stream("Describe.", RED, max_tokens=12)
    pieces = list(stream)
    assert "".join(pieces) == whole.text == stream.response.text
    assert stream.response.completion_tokens == whole.completion_tokens


def test_a_response_is_not_known_before_the_stream_has_ended(qwen: VisionModel) -> None:
    with qwen.stream("Hello", max_tokens=8) as stream:
        next(stream)
        with pytest.raises(UnsupportedFeatureError, match="to its end"):
            _ = stream.response


def test_a_second_stream_in_one_thread_is_refused_instead_of_waiting_for_ever(qwen: VisionModel) -> None:
    with qwen.stream("Hello", max_tokens=8) as first:
        next(first)
        with pytest.raises(UnsupportedFeatureError, match="still open"):
            qwen.generate("Hello")
    assert qwen.generate("Hello", **ANSWER).text


def test_answers_asked_for_at_once_do_not_mix(qwen: VisionModel) -> None:
    questions = [("Hello", None), ("What?", RED), ("Describe.", BLUE), ("Again?", RED)]
    alone = [qwen.generate(text, image, max_tokens=8).text for text, image in questions]
    together: list[str | None] = [None] * len(questions)

    def ask(i: int) -> None:
        together[i] = qwen.generate(*questions[i], max_tokens=8).text

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(questions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


def test_sampling_with_a_seed_is_repeatable(qwen: VisionModel) -> None:
    answers = [qwen.generate("Hello", temperature=1.0, seed=7, max_tokens=12).text for _ in range(2)]
    assert answers[0] == answers[1]


def test_a_response_is_plain_data_for_json(qwen: VisionModel) -> None:
    data = json.loads(json.dumps(qwen.generate("What?", RED, **ANSWER).to_dict()))
    assert data["usage"]["image_tokens"] == data["images"][0]["image_tokens"]
    assert data["images"][0]["source"] == [300, 200]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        ({"prompt": []}, MessageError, "empty"),
        ({"prompt": "x", "images": ["missing.jpg"]}, ImageError, "missing.jpg"),
        ({"prompt": "x", "images": [PIL.Image.new("RGB", (500, 2))]}, ImageError, "at most 200"),
        ({"prompt": "x", "max_tokens": 2.5}, UnsupportedFeatureError, "whole number from 1"),
        ({"prompt": None}, MessageError, "not NoneType"),
        (
            {"prompt": [{"role": "user", "content": "x"}], "images": [RED]},
            MessageError,
            "source: 0; images given: 1",
        ),
        ({"prompt": [{"role": "user", "content": [{"type": "image"}]}]}, MessageError, "without a source: 1"),
        ({"prompt": "x", "max_tokens": 0}, UnsupportedFeatureError, "max_tokens=0"),
        ({"prompt": "x", "temperature": -1.0}, UnsupportedFeatureError, "number from 0"),
        ({"prompt": "x", "enable_thinking": True}, UnsupportedFeatureError, "no prompt option"),
        ({"prompt": "a<|im_end|>", "images": [RED], "on_forgery": "error"}, MessageError, "control token"),
        ({"prompt": "<|image_pad|>", "on_forgery": "allow"}, MessageError, "control token"),
        ({"prompt": "x", "on_forgery": "maybe"}, UnsupportedFeatureError, "on_forgery"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_the_model_runs(
    qwen: VisionModel, call: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        qwen.stream(**call)


def test_a_prompt_beyond_the_models_context_is_refused(checkpoint: Build) -> None:
    model = registry.load(checkpoint("llava-1.5"), card="llava-1.5-7b")
    with pytest.raises(UnsupportedFeatureError, match=r"released for 4,096"):
        model.generate("Compare.", [RED] * 8)


def test_a_checkpoint_whose_processor_disagrees_with_the_card_gives_no_answer(checkpoint: Build) -> None:
    model = registry.load(checkpoint("smolvlm-512"), card="smolvlm")
    with pytest.raises(CheckpointError, match=r"plan has .* the processor made .* card=NAME"):
        model.generate("What?", RED)


def test_a_folder_is_taken_for_the_family_of_its_model_type(checkpoint: Build) -> None:
    model = registry.load(checkpoint("qwen3-vl"))
    assert (model.card.name, model.checkpoint.repository) == ("qwen3-vl", None)


def test_a_card_of_another_family_is_refused_for_a_folder(checkpoint: Build) -> None:
    with pytest.raises(CheckpointError, match=r"'qwen3_vl', and gemma3-4b takes gemma3"):
        registry.load(checkpoint("qwen3-vl"), card="gemma3-4b")


def test_a_model_type_that_no_card_has_is_refused(checkpoint: Build, tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoint("qwen2-vl"), tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "qwen9_vl"}))
    with pytest.raises(UnsupportedFeatureError, match="'qwen9_vl'"):
        registry.load(folder)


def test_a_processor_of_another_class_than_the_cards_is_refused(checkpoint: Build) -> None:
    """The backend falls back to a bare tokenizer without a word, and then drops every image."""
    card = registry.card("gemma3")
    backend = dataclasses.replace(card.backend, processor="OtherProcessor")
    with pytest.raises(CheckpointError, match="loaded as Gemma3Processor instead of OtherProcessor"):
        registry.load(checkpoint("gemma3"), card=dataclasses.replace(card, backend=backend))


def test_a_checkpoint_without_its_image_settings_is_refused(checkpoint: Build, tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoint("gemma3"), tmp_path / "blind")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(CheckpointError, match="cannot load blind"):
        registry.load(folder)


def test_weights_that_do_not_fit_the_architecture_are_a_checkpoint_error(
    checkpoint: Build, tmp_path: Path
) -> None:
    folder = shutil.copytree(checkpoint("qwen2-vl"), tmp_path / "mixed")
    shutil.copy(checkpoint("gemma3") / "model.safetensors", folder)
    with pytest.raises(CheckpointError, match="cannot load mixed"):
        registry.load(folder)


def test_a_config_that_names_another_image_token_is_refused(checkpoint: Build, tmp_path: Path) -> None:
    """The backend would leave the image out of the prompt, and answer."""
    folder = shutil.copytree(checkpoint("qwen2.5-vl"), tmp_path / "blind")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"image_token_id": 3}))
    with pytest.raises(CheckpointError, match="would not see its images"):
        registry.load(folder)


def test_what_the_backend_raises_while_answering_is_a_typed_error(qwen: VisionModel) -> None:
    with pytest.raises(CheckpointError, match="failed while answering"):
        qwen.generate("Hello", top_k=10**9, temperature=1.0)
    assert qwen.generate("Hello", max_tokens=2).completion_tokens == 2


def test_code_in_a_checkpoint_is_refused_with_its_name_and_the_switch(
    checkpoint: Build, tmp_path: Path
) -> None:
    folder = shutil.copytree(checkpoint("qwen2-vl"), tmp_path / "coded")
    (folder / "modeling_x.py").write_text("raise SystemExit('this must never run')")
    with pytest.raises(CheckpointError, match=r"modeling_x\.py.*trust_remote_code=True"):
        registry.load(folder)
    assert registry.load(folder, trust_remote_code=True).generate("Hello", **ANSWER).text


@pytest.mark.parametrize("name", ["qwen2.5-vl-33b", "qwen2.5-vl", "nothing like it"])
def test_a_name_that_is_not_one_model_is_refused_before_any_download(name: str) -> None:
    with pytest.raises(UnknownModelError):
        registry.load(name)


def test_a_repository_that_cannot_be_reached_is_a_checkpoint_error() -> None:
    with pytest.raises(CheckpointError, match="cache"):
        registry.load("qwen2.5-vl-3b@4bit")


def test_a_model_says_what_it_is(qwen: VisionModel) -> None:
    assert repr(qwen).startswith("<VisionModel qwen2.5-vl from ")
