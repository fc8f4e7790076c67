"""Memory is checked before it is allocated: refused, warned about, or images made smaller. No mocks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import registry
from loader.checkpoint.disk import local
from loader.device import Device
from loader.errors import MemoryBudgetError, MLXCardsError, UnsupportedFeatureError
from loader.guard import LEAST_TOKENS, SMALLER, Guard, Question, least_tokens
from loader.memory.totals import compute
from loader.model import VisionModel
from loader.resize import plan_images
from loader.weighing import Scales, Weights, machine, request_for
from tests.checkpoints import checkpoint_files
from tests.fake_hub import FakeHub, point_client_at, serve

Build = Callable[[str], Path]
GB = 10**9
MODEL = "qwen2.5-vl-7b"
"""Whose dimensions count for the small checkpoint: nothing else is known of a folder but its files."""
ANSWER: dict[str, Any] = {"max_tokens": 4}
PHOTO_TOKENS = 1230


@pytest.fixture(scope="module")
def model(checkpoint: Build) -> VisionModel:
    return registry.load(checkpoint("qwen2.5-vl"), card=MODEL)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with serve() as hub:
        point_client_at(hub.url, tmp_path / "home", monkeypatch)
        yield hub


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def needed(model: VisionModel, photo: Path, **options: Any) -> int:
    """Bytes that the guard says a question about the photo takes."""
    with pytest.raises(MemoryBudgetError) as caught:
        model.prepare("What?", photo, memory_limit=1, on_exceed="refuse", **ANSWER, **options)
    assert caught.value.estimate is not None
    assert caught.value.estimate.total is not None
    return caught.value.estimate.total


# Loading.


def test_weights_that_cannot_fit_are_refused_before_the_network_is_asked(hub: FakeHub) -> None:
    with pytest.raises(MemoryBudgetError, match=r"qwen2\.5-vl-7b cannot be loaded") as caught:
        registry.load(f"{MODEL}@4bit", memory_limit="5gb")

    assert isinstance(caught.value, MemoryError)
    assert isinstance(caught.value, MLXCardsError)
    made = caught.value.estimate
    assert made is not None
    assert (made.weights, made.weights_source, made.verdict) == (5_637_363_712, "computed", "refuses")
    assert "The 3bit quantization fits, with weights of 4.7 GB." in str(caught.value)
    assert str(caught.value).endswith("check_memory=False (--memory-limit, --no-memory-check).")
    assert hub.requests == []


def test_a_repository_that_no_card_lists_is_weighed_by_the_hubs_sizes_before_a_file_is_fetched(
    hub: FakeHub,
) -> None:
    files = checkpoint_files()
    hub.add("someone/unlisted", files)

    with pytest.raises(MemoryBudgetError, match="unlisted cannot be loaded") as caught:
        registry.load("someone/unlisted", memory_limit=1000)

    made = caught.value.estimate
    assert made is not None
    assert (made.weights, made.weights_source) == (len(files["model.safetensors"]), "hub")
    assert made.total is None  # nothing but the weights is known
    assert hub.fetched() == []


def test_the_hubs_sizes_count_also_where_the_card_counted_less(hub: FakeHub) -> None:
    """Published files may be larger than what the card's backend version would make of the model."""
    hub.add("mlx-community/Qwen2.5-VL-3B-Instruct-3bit", checkpoint_files())

    with pytest.raises(MLXCardsError) as caught:
        registry.load("qwen2.5-vl-3b@3bit", memory_limit="2.9gb")

    assert not isinstance(caught.value, MemoryBudgetError)  # 2.7 GB, says the card; 66 kB, says the hub
    assert "model.safetensors" in hub.fetched()


def test_files_in_a_folder_are_weighed_themselves(checkpoint: Build) -> None:
    folder = checkpoint("qwen2.5-vl")

    with pytest.raises(MemoryBudgetError) as caught:
        registry.load(folder, card=MODEL, memory_limit=1000)

    made = caught.value.estimate
    assert made is not None
    assert (made.weights, made.weights_source) == (size_of(folder), "files")


def test_a_model_is_loaded_unchecked_where_that_is_asked_for(checkpoint: Build) -> None:
    model = registry.load(checkpoint("qwen2.5-vl"), card=MODEL, memory_limit=1000, check_memory=False)
    assert model.generate("Hello", **ANSWER).completion_tokens > 0


def test_weights_that_fit_only_by_paging_are_loaded_with_a_logged_warning(
    checkpoint: Build, caplog: pytest.LogCaptureFixture
) -> None:
    folder = checkpoint("qwen2.5-vl")
    busy = Device("a server", 10 * GB, 10 * GB, engine="cpu", in_use=10 * GB - 1000)

    with caplog.at_level(logging.WARNING):
        weights = Scales(folder, None, busy, check=True).weigh_files(registry.card(MODEL), local(folder))

    assert weights.bytes == size_of(folder)
    assert "qwen2.5-vl may page: " in caplog.text
    assert "10.0 GB of the memory are in use" in caplog.text


def test_a_loaded_model_and_the_log_say_why_its_quantization_was_taken(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, logger="loader.find"):
        model = registry.load("demo")

    assert model.choice is not None
    assert model.choice.quantization == "fp16"
    assert model.choice.why.startswith("The finest that leaves room: ")
    assert f"demo@fp16: {model.choice.why}" in caplog.text


def test_the_quantization_is_chosen_for_the_limit(hub: FakeHub) -> None:
    choice = registry.resolve(MODEL, device=machine("8gb"))
    assert choice.quantization == "4bit"

    with pytest.raises(MLXCardsError):
        registry.load(MODEL, memory_limit="8gb")  # the hub is empty

    assert {path.split("/revision/")[0] for _, path, _ in hub.requests} == {
        f"/api/models/{choice.repository}"
    }


def test_a_folder_was_not_chosen(model: VisionModel) -> None:
    assert model.choice is None


# Asking.


def test_what_does_not_fit_is_refused_with_its_parts_and_what_to_do(model: VisionModel, photo: Path) -> None:
    with pytest.raises(MemoryBudgetError) as caught:
        model.stream("What?", photo, memory_limit="0.5gb", on_exceed="refuse", **ANSWER)

    made = caught.value.estimate
    assert made is not None
    assert made.parts["weights"].bytes == size_of(model.checkpoint.folder)
    assert made.at_least > 500_000_000
    assert str(caught.value).startswith("This cannot be answered: ")
    assert "pixels fit." in str(caught.value)


def test_images_are_made_smaller_until_they_fit_and_their_plan_says_so(
    model: VisionModel, photo: Path
) -> None:
    limit = needed(model, photo) * 2 // 3

    response = model.generate("What?", photo, memory_limit=limit, **ANSWER)

    assert least_tokens(model.card) <= response.image_tokens < PHOTO_TOKENS
    assert response.images[0].plan.note.endswith(SMALLER)
    assert response.warnings == ()
    assert needed(model, photo, max_image_tokens=response.image_tokens) <= limit


def test_what_fits_is_not_made_smaller(model: VisionModel, photo: Path) -> None:
    response = model.generate("What?", photo, memory_limit=needed(model, photo), **ANSWER)
    assert response.image_tokens == PHOTO_TOKENS
    assert SMALLER not in response.images[0].plan.note


def test_below_the_cards_small_budget_it_is_refused(model: VisionModel, photo: Path) -> None:
    low = needed(model, photo, detail="low")
    assert model.prepare("What?", photo, memory_limit=low, **ANSWER).inputs.image_tokens <= 256
    with pytest.raises(MemoryBudgetError) as caught:
        model.prepare("What?", photo, memory_limit=low * 3 // 4, **ANSWER)
    assert caught.value.estimate is not None
    assert caught.value.estimate.total == low  # the breakdown is that of the smallest images


def test_images_of_which_every_detail_is_asked_for_are_never_made_smaller(
    model: VisionModel, photo: Path
) -> None:
    limit = needed(model, photo)
    with pytest.raises(MemoryBudgetError, match='The images fit with detail="auto"'):
        model.prepare("What?", photo, detail="full", memory_limit=limit, **ANSWER)


def test_one_call_may_override_what_the_model_was_loaded_with(checkpoint: Build) -> None:
    folder = checkpoint("qwen2.5-vl")
    limit = size_of(folder) + 2 * 10**7
    tight = registry.load(folder, card=MODEL, memory_limit=limit)

    with pytest.raises(MemoryBudgetError):
        tight.prepare("Hello " * 2000, **ANSWER)
    assert tight.prepare("Hello " * 2000, check_memory=False, **ANSWER).warnings == ()
    assert tight.prepare("Hello " * 2000, memory_limit="20 GB", **ANSWER).warnings == ()

    unchecked = registry.load(folder, card=MODEL, check_memory=False)
    with pytest.raises(MemoryBudgetError):
        unchecked.prepare("Hello " * 2000, memory_limit=limit, **ANSWER)


def test_a_question_that_pages_is_answered_with_a_warning(model: VisionModel, photo: Path) -> None:
    weights = Weights(size_of(model.checkpoint.folder), "files")
    busy = Device("a server", 100 * GB, 100 * GB, engine="cpu", in_use=100 * GB - 1000)
    guarded = VisionModel(
        model.card, model.checkpoint, model._backend, guard=Guard(model.card, weights, busy)
    )

    response = guarded.generate("What?", photo, **ANSWER)

    (warning,) = response.warnings
    assert warning.startswith("This may page: ")
    assert "Close other programs: they hold 100.0 GB." in warning
    assert response.image_tokens == PHOTO_TOKENS  # only what MLX would refuse is made smaller


def test_a_high_limit_to_the_answer_counts_as_far_as_the_context_reaches(model: VisionModel) -> None:
    assert model.prepare("Hello", max_tokens=10**9, memory_limit="12gb").warnings == ()


def test_an_unknown_way_to_exceed_is_refused(model: VisionModel) -> None:
    with pytest.raises(UnsupportedFeatureError, match=r"Use shrink or refuse\."):
        model.prepare("Hello", on_exceed="maybe")  # type: ignore[arg-type]


# The limit.


@pytest.mark.parametrize(
    ("limit", "size"),
    [
        (1000, 1000),
        ("1000", 1000),
        ("20gb", 20 * GB),
        ("1.5 GiB", 3 * 2**29),
        (" 64mb ", 64 * 10**6),
        ("1mib", 2**20),
    ],
)
def test_a_limit_is_bytes_or_text_with_a_unit(limit: int | str, size: int) -> None:
    device = machine(limit)
    assert device.room == device.working_set == size
    assert device.limit == size


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "", "lots", "gb", "20tb", "-1gb", "1e9", b"1", "0.1"])
def test_a_limit_that_is_none_is_refused(limit: Any) -> None:
    with pytest.raises(UnsupportedFeatureError, match="no amount of memory"):
        machine(limit)


# Whatever is asked.

FAMILIES = ["qwen2.5-vl-7b", "gemma3-4b", "gemma4-e4b", "internvl3-8b", "qwen3.5-4b", "smolvlm2-2.2b"]
requests = st.fixed_dictionaries(
    {
        "name": st.sampled_from(FAMILIES),
        "sizes": st.lists(st.tuples(st.integers(100, 5000), st.integers(100, 5000)), max_size=6),
        "text": st.integers(1, 20_000),
        "answer": st.integers(1, 100_000),
        "engine": st.sampled_from(["metal", "cpu"]),
        "memory": st.integers(GB, 40 * GB),
        "max_image_tokens": st.none() | st.integers(1, 5000),
    }
)


@settings(max_examples=400, deadline=None)
@given(asked=requests)
def test_what_is_admitted_is_within_the_limit_and_images_are_never_made_smaller_than_their_least(
    asked: dict[str, Any],
) -> None:
    card = registry.card(asked["name"])
    device = Device("made up", asked["memory"], asked["memory"] * 3 // 4, engine=asked["engine"])
    weights = Weights(asked["memory"] // 2, "files", "4bit")
    plans = plan_images(card, asked["sizes"], "auto", asked["max_image_tokens"]) if asked["sizes"] else []
    question = Question(
        asked["sizes"], plans, "auto", asked["max_image_tokens"], None, None, asked["text"], asked["answer"]
    )

    try:
        admitted, warnings = Guard(card, weights, device).admit(question, "shrink")
    except MemoryBudgetError as error:
        refused = error.estimate
    else:
        refused = None
    if refused is not None:
        assert refused.verdict == "refuses"
        return
    made = compute(request_for(card, weights, admitted, text=asked["text"], answer=1), device)
    assert made.at_least <= device.limit
    assert made.verdict != "refuses"
    assert not warnings or warnings[0].startswith("This may page: ")
    for plan, was in zip(admitted, plans, strict=True):
        assert plan.image_tokens <= was.image_tokens
        assert plan.note.endswith(SMALLER) == (plan.image_tokens < was.image_tokens)


def test_a_card_without_a_budget_has_a_least_all_the_same() -> None:
    assert least_tokens(registry.card("qwen3.5-4b")) == LEAST_TOKENS
    assert least_tokens(registry.card("gemma4-e4b")) == 70
