"""The benchmarks of images and of the overhead measure what they say, and report what they measured."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import registry
from loader.image import Opened
from tests.conftest import PHOTO, ROOT
from tools import weights
from tools.bench import calling, images, overhead, photographs
from tools.bench.timing import MeasurementError

SMALLEST = "1 MP JPEG"


@pytest.fixture(scope="module")
def figures() -> images.Figures:
    """One family, the smallest photograph, one round."""
    return images.measured({"gemma3": "gemma3"}, [SMALLEST], 1)


def figure(**changes: Any) -> Mapping[str, Any]:
    """Figures of one model and photograph as the benchmark makes them, all aims met."""
    sides = dict.fromkeys(images.SIDES, 1.0)
    ratios = {"default": 9.0, "full": 1.5}
    names = ("seconds_ratio", "processor_ratio", "growth_ratio")
    everything = dict.fromkeys(("tokens", "seconds", "growth", "peak"), sides) | dict.fromkeys(names, ratios)
    return everything | {"psnr": 50.0} | changes


def test_every_side_makes_the_same_tokens_and_takes_time_and_memory(figures: images.Figures) -> None:
    """Gemma 3 has one size for all images, so it shows that all sides did the same."""
    found = figures["gemma3", SMALLEST]
    assert found["tokens"] == dict.fromkeys(images.SIDES, 256)
    for side in images.SIDES:
        assert found["seconds"][side] > 0
        # The picture at the model's size, as numbers, at the least.
        assert found["peak"][side] > found["growth"][side] > 896 * 896 * 3 * 4
    assert found["psnr"] is None  # too small to be reduced


def test_the_table_has_a_line_for_each_figure(figures: images.Figures) -> None:
    """And as many cells as headings; the data holds every round."""
    report = images.report(figures, 1)
    heading, row = report.rows
    assert len(heading) == len(row)
    assert row[:2] == (f"gemma3, {SMALLEST}", "256 / 256 / 256")
    assert row[-1] == "the same"
    assert {len(rounds) for rounds in report.data["figures"][0]["times"]["seconds"].values()} == {1}


def test_an_aim_that_is_missed_names_what_missed_it() -> None:
    """A benchmark is not a test: it says so and goes on."""
    slow = {"default": 7.9, "full": 1.5}
    report = images.report(
        {
            ("gemma3", images.LARGEST): figure(),
            ("mistral3", images.LARGEST): figure(seconds_ratio=slow),
        },
        5,
    )
    lines = report.conclusion.splitlines()
    missed = f"the aim is 8 or more: missed by mistral3, {images.LARGEST}"
    assert f"{images.LARGEST}, times faster: 7.90 to 9.00; {missed}" in lines
    assert f"{images.LARGEST}, times less memory: 9.00 to 9.00; the aim is 8 or more: met" in lines


def test_a_side_that_fails_ends_the_benchmark_with_its_own_words() -> None:
    """The processor of a checkpoint of another family is refused before anything is measured."""
    with pytest.raises(MeasurementError, match="instead of Gemma3Processor"):
        images.measured({"gemma3": "smolvlm-384"}, [SMALLEST], 1)


def test_photographs_have_the_size_that_they_are_called_by(tmp_path: Path) -> None:
    """Stored turned, as the original is."""
    path = photographs.write(SMALLEST, tmp_path)
    assert Opened(path).size == (1152, 864)
    with Image.open(path) as stored:
        assert stored.size == (864, 1152)


def test_the_photograph_of_12_megapixels_is_the_one_in_examples(tmp_path: Path) -> None:
    """Not a copy that was compressed again."""
    assert photographs.write("12 MP JPEG", tmp_path).read_bytes() == PHOTO.read_bytes()


def calls(*longer: float, **changes: Any) -> dict[str, Any]:
    """Pairs of calls, ours so much longer, as the process that measures prints them."""
    answer = {"prompt": "User:<image>", "prompt_tokens": 358, "tokens": 8, "text": "noise"}
    times = {calling.OURS: list(longer), calling.UPSTREAM: [1.0] * len(longer)}
    answers = {calling.OURS: answer | changes, calling.UPSTREAM: answer}
    return {"length": 8, "answers": answers, "seconds": times, "processor": times}


def test_the_provider_and_the_backend_do_the_same_work(checkpoint: Callable[[str], Path]) -> None:
    """The same positions, pixels and answer, of as many tokens as asked for; it is an error otherwise."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    figures = overhead.measured("small", checkpoint(calling.SMALL), (3, 5), 1, environment)
    short, long = figures["small", 3], figures["small", 5]
    assert short["prompt_tokens"] == long["prompt_tokens"] > 5 * 64  # five tiles
    assert long["text"].startswith(short["text"])
    assert short["text"]
    assert {len(seconds) for seconds in short["rounds"]["seconds"].values()} == {1}
    assert all(seconds > 0 for seconds in long["seconds"].values())
    heading, *rows = overhead.report(figures).rows
    assert [len(row) for row in rows] == [len(heading)] * 2


def test_a_call_that_takes_too_long_misses_the_aim() -> None:
    """And says by how much; a benchmark is not a test."""
    figures = {
        (overhead.REAL, i): overhead.figure(overhead.REAL, calls(*longer))
        for i, longer in enumerate(((1.03, 1.03), (1.01, 1.01), (0.9, 1.01, 1.2)))
    }
    slow, quick, noisy = overhead.report(figures).conclusion.splitlines()
    assert "a call takes +3.0%" in slow
    assert slow.endswith("the aim is at most +2%: missed")
    assert quick.endswith("the aim is at most +2%: met")
    assert "the aim is at most +2%: open" in noisy


@pytest.mark.parametrize("change", [{"prompt_tokens": 359}, {"tokens": 7}, {"text": "sound"}, {"prompt": ""}])
def test_sides_that_did_different_work_are_not_compared(change: dict[str, Any]) -> None:
    with pytest.raises(MeasurementError, match="did not do the same work"):
        overhead.figure(overhead.REAL, calls(1.0, **change))


@pytest.mark.parametrize("name", ["input_ids", "pixel_values"])
def test_sides_that_give_the_model_something_else_are_not_compared(name: str) -> None:
    """One position or one pixel is enough."""
    import mlx.core as mx

    ours = {"input_ids": mx.array([[1, 2]]), "pixel_values": mx.array([0.25, 0.5])}
    calling.check_tensors(ours, dict(ours))
    with pytest.raises(MeasurementError, match=f"different {name}"):
        calling.check_tensors(ours, ours | {name: ours[name] + 1})


def test_the_measured_model_has_the_parameters_of_the_released_one(checkpoint: Callable[[str], Path]) -> None:
    """Only its weights are random."""
    config = json.loads((checkpoint(calling.SMALL) / "config.json").read_text(encoding="utf-8"))
    card = registry.card(calling.MODEL)
    calling.widen(config, card)
    assert card.model is not None
    assert weights.count(config).parameters == card.model.parameters == 256_484_928


def test_every_token_that_is_written_has_a_text_of_its_own(checkpoint: Callable[[str], Path]) -> None:
    """So equal answers are equal tokens; what is read is read as before."""
    from tokenizers import Tokenizer

    text = (checkpoint(calling.SMALL) / "tokenizer.json").read_text(encoding="utf-8")
    data = json.loads(text)
    calling.fill(data, 2000)
    small, filled = Tokenizer.from_str(text), Tokenizer.from_str(json.dumps(data))
    added = range(small.get_vocab_size(), 2000)
    assert len({filled.decode([number]) for number in added}) == len(added)
    assert filled.encode("What is 1999?").ids == small.encode("What is 1999?").ids
