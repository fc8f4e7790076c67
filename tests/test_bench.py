"""The image benchmark measures what it says, and reports what it measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from loader.image import Opened
from tests.conftest import PHOTO
from tools.bench import images, photographs
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
