"""`mlx-cards fit` ranks all models by what runs on a machine, in a fraction of a second."""

from __future__ import annotations

import functools
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import registry
from loader.capacity import MOST_PIXELS, ORDER, scaled_to
from loader.device import find
from loader.memory import estimate
from tests.command import mlx_cards
from tests.conftest import ROOT

MAC = "m4-pro-24gb"
LIMIT = 0.6
"""Seconds. It took 0.24 on two cores."""


@pytest.fixture
def fit(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    return functools.partial(mlx_cards, "fit", capsys=capsys, monkeypatch=monkeypatch)


def models(fit: Any, *arguments: str) -> list[dict[str, Any]]:
    result = fit(*arguments, "--json")
    assert result.code == 0, result.err
    found: list[dict[str, Any]] = json.loads(result.out)["models"]
    return found


def test_every_model_is_there_once_and_the_table_has_the_same_rows(fit: Any) -> None:
    rows = models(fit, "--device", MAC)
    lines = fit("--device", MAC).out.splitlines()[1:]

    assert sorted(row["name"] for row in rows) == sorted(registry.names())
    assert [line.split()[0] for line in lines[: len(rows)]] == [row["name"] for row in rows]
    fitting = sum(row["verdict"] == "fits" and row["quantization"] is not None for row in rows)
    assert lines[-1] == (
        f"{fitting} of {len(rows)} models fit 19.3 GB on {MAC} (estimate), with an image of 4032x3024"
    )


def test_what_can_be_loaded_comes_first_then_what_fits_then_the_largest(fit: Any) -> None:
    rows = models(fit, "--device", MAC)

    def rank(row: dict[str, Any]) -> tuple[bool, int, int]:
        return row["quantization"] is None, ORDER.index(row["verdict"]), -(row["parameters"] or 0)

    assert [rank(row) for row in rows] == sorted(map(rank, rows))
    assert {row["verdict"] for row in rows} == set(ORDER)


@pytest.mark.parametrize("device", ["m1-8gb", MAC, "m2-ultra-192gb"])
def test_the_quantization_is_the_one_that_load_takes(fit: Any, device: str) -> None:
    """Of what fits: where nothing does, the row is that of the smallest that comes nearest."""
    rows = [row for row in models(fit, "--device", device) if row["quantization"] is not None]
    for row in rows:
        if row["verdict"] in ("fits", "unknown"):
            assert row["quantization"] == registry.resolve(row["name"], device=device).quantization


def test_totals_shares_and_verdicts_are_those_of_the_estimate(fit: Any) -> None:
    room = find("m1-8gb").working_set
    for row in models(fit, "--device", "m1-8gb", "--image", "1000x1000", "--context", "2k"):
        name = row["name"] if row["quantization"] is None else f"{row['name']}@{row['quantization']}"
        made = estimate(name, [(1000, 1000)], device="m1-8gb", context=2048)
        assert (row["total"], row["at_least"], row["verdict"]) == (made.total, made.at_least, made.verdict)
        assert row["share"] == round(made.at_least / room, 4)


def test_the_largest_image_fits_and_is_no_less_than_the_one_that_fits(fit: Any) -> None:
    for row in models(fit, "--device", "m1-16gb", "--image", "2000x1000"):
        if row["verdict"] == "fits":
            width, height = row["largest_image"]
            assert width >= 2000
            assert width * height <= MOST_PIXELS
        elif row["verdict"] == "unknown":
            assert row["largest_image"] is None


@pytest.mark.parametrize(
    ("given", "size"), [("12mp", [4000, 3000]), ("0.3MP", [632, 474]), ("640x480", [640, 480])]
)
def test_an_image_is_a_size_or_megapixels(fit: Any, given: str, size: list[int]) -> None:
    assert json.loads(fit("--device", MAC, "--image", given, "--json").out)["image"] == size


def test_models_that_were_released_for_less_are_left_out_and_counted(fit: Any) -> None:
    result = json.loads(fit("--device", MAC, "--context", "64k", "--json").out)
    short = {name for name in registry.names() if (registry.card(name).model.context or 10**9) < 65536}  # type: ignore[union-attr]

    assert set(result["left_out"]) == short
    assert {row["name"] for row in result["models"]}.isdisjoint(short)
    out = fit("--device", MAC, "--context", "64k").out
    assert f"{len(short)} left out: released for a shorter context" in out


def test_models_that_take_no_image_of_such_a_shape_are_left_out(fit: Any) -> None:
    result = fit("--device", MAC, "--image", "30000x100")
    assert result.code == 0
    assert "left out: an image of this shape or size is refused" in result.out


@pytest.mark.parametrize("arguments", [("--image", "big"), ("--image", "0mp"), ("--context", "0"), ("NAME",)])
def test_wrong_usage_ends_with_2(fit: Any, arguments: tuple[str, ...]) -> None:
    assert fit(*arguments).code == 2


def test_without_a_device_this_machine_is_meant(fit: Any) -> None:
    assert json.loads(fit("--json").out)["device"] == "this machine"


def test_a_picture_scaled_to_a_number_of_pixels_keeps_its_shape_and_stays_below() -> None:
    for shape in [(4032, 3024), (1, 1), (1, 5000), (30000, 7)]:
        width, height = scaled_to(shape, MOST_PIXELS)
        assert width * height <= MOST_PIXELS
        assert abs(width / height / (shape[0] / shape[1]) - 1) < 0.1


def test_the_whole_catalogue_takes_a_fraction_of_a_second(tmp_path: Path) -> None:
    """From the start of the process to its end. Time on the processor, the best of four: other work on the
    machine counts as little as possible."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | {
        "PYTHONPATH": str(ROOT),
        "PYTHONPYCACHEPREFIX": str(tmp_path),
    }
    command = [sys.executable, "-m", "loader.cli", "fit", "--device", MAC, "--context", "4k"]
    taken = []
    for _ in range(4):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, env=environment, check=True, capture_output=True)  # noqa: S603  # this interpreter
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(taken) < LIMIT
