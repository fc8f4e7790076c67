"""Measurements: one is made, files are validated, and the page shows those that are stored."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import registry
from tools.measure import table
from tools.measure.__main__ import main
from tools.measure.cases import card_of, cases, released_config, sizes
from tools.measure.compare import BELOW, NEAR, compare
from tools.measure.record import MEASUREMENTS, Measurement, read, read_all, write
from tools.measure.run import measure

CAN_SKIP = (platform.system(), platform.machine()) == ("Linux", "x86_64")
RUNS, FAULTS = read_all(MEASUREMENTS)


def sound() -> dict[str, Any]:
    """A measurement as data."""
    data: dict[str, Any] = RUNS[0].model_dump(mode="json", exclude_none=True)
    return data


# One real run.


@pytest.fixture(scope="module")
def run() -> Measurement:
    """A small picture, asked about with the widths of Qwen2-VL 2B."""
    return measure("qwen2-vl-2b", cases()["qwen2-vl-2b"], "320x240", "skipped" if CAN_SKIP else "computed")


def test_a_run_loads_as_many_bytes_as_the_backends_own_model_has(run: Measurement) -> None:
    from tools.weights import count

    config = registry.cards.merge(released_config(run.model), cases()[run.model].config)

    assert 0 <= run.weights - count(config).bytes < 64 * 1024


def test_the_estimate_is_near_a_run_on_a_processor(run: Measurement) -> None:
    compared = compare(run)

    assert compared.measured > 50e6
    if run.engine == "cpu":
        assert -BELOW <= compared.difference <= NEAR


def test_a_run_is_written_where_it_belongs_and_read_again(run: Measurement, tmp_path: Path) -> None:
    file = write(run, tmp_path)

    assert file.parent == tmp_path / run.machine.chip
    assert file.name.startswith("qwen2-vl-2b_320x240")
    assert read(file) == run


# Stored measurements.


def test_every_stored_measurement_is_valid(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0
    assert capsys.readouterr().out == f"{len(RUNS)} measurements are valid\n"
    assert RUNS
    assert not FAULTS


def test_six_kinds_of_attention_and_tiling_were_measured_with_three_sizes_each() -> None:
    measured = {name: {run.images for run in RUNS if run.model == name} for name in cases()}

    assert len({cases()[name].kind for name, images in measured.items() if len(images) >= 3}) >= 6


def test_a_page_without_a_place_for_the_table_is_an_error() -> None:
    with pytest.raises(ValueError, match="no place for the table"):
        table.with_table("# Memory\n", [])


@pytest.mark.parametrize("name", list(cases()))
def test_a_case_has_fewer_layers_than_the_released_model_and_the_same_widths(name: str) -> None:
    whole, measured = registry.card(name), card_of(name, cases()[name].card)
    assert whole.memory is not None
    assert measured.memory is not None
    assert whole.model is not None
    assert measured.model is not None
    assert whole.model.text is not None
    assert measured.model.text is not None

    assert measured.memory.vision.layers < whole.memory.vision.layers
    assert measured.memory.vision.hidden == whole.memory.vision.hidden
    assert measured.model.text.layers < whole.model.text.layers
    assert (measured.model.text.hidden, measured.model.text.vocab) == (
        whole.model.text.hidden,
        whole.model.text.vocab,
    )
    assert sum(cache.layers for cache in measured.model.text.caches) == measured.model.text.layers


# The validator.


def check(folder: Path, data: object, capsys: pytest.CaptureFixture[str], chip: str = "amd-epyc") -> str:
    """What the validator says about one file; nothing if it is valid."""
    (folder / chip).mkdir()
    text = data if isinstance(data, str) else json.dumps(data)
    (folder / chip / "run.json").write_text(text, encoding="utf-8")
    code = main(["--check", str(folder)])
    said = capsys.readouterr().err
    assert code == (1 if said else 0)
    return said


def test_a_sound_file_is_accepted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not check(tmp_path, sound(), capsys, sound()["machine"]["chip"])


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda data: data.pop("peak"), "peak: Field required"),
        (lambda data: data.update(estimate=1), "estimate: Extra inputs are not permitted"),
        (lambda data: data.update(peak=data["weights"]), "this is not more than the weights"),
        (lambda data: data.update(images=[]), "images: Tuple should have at least 1 item"),
        (lambda data: data.update(engine="cuda"), "engine: Input should be 'metal' or 'cpu'"),
        (lambda data: data.update(model="qwen2-vl-3b"), "qwen2-vl-3b"),
        (lambda data: data.update(image_tokens=data["prompt_tokens"]), "no fewer than all positions"),
        (lambda data: data["machine"]["packages"].pop("mlx"), "the version of mlx is missing"),
        (lambda data: data["machine"].update(chip="M3 Max"), "machine.chip: String should match pattern"),
        (lambda data: data["machine"].update(chip="m3-max"), "this is m3-max, and the folder is amd-epyc"),
        (lambda data: data["changes"]["vision"].update(depth=2), "depth"),
    ],
)
def test_a_fault_is_named_with_its_file_and_field(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    break_it: Callable[[dict[str, Any]], object],
    says: str,
) -> None:
    data = sound()
    break_it(data)
    said = check(tmp_path, data, capsys)

    assert says in said
    assert str(tmp_path / "amd-epyc" / "run.json") in said


def test_a_file_that_is_no_json_is_a_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Invalid JSON" in check(tmp_path, "{", capsys)


def test_a_folder_that_is_not_there_is_a_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", str(tmp_path / "none")]) == 1
    assert "is not a folder" in capsys.readouterr().err


def test_an_unknown_case_and_sizes_that_are_none_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["qwen2-vl-3b"]) == 1
    assert "No case is called qwen2-vl-3b" in capsys.readouterr().err
    with pytest.raises(ValueError, match="is not a list of sizes"):
        sizes("640*480")
