"""The bytes that cards state, against mlx-vlm's own models built from their configs.

tests/data/weights.json has a config for all models of one architecture and size. A reconstruction of
config.json where none was read: what bears weights is right, because the parameters come out right.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest

import registry
from registry.cards import Model
from tests.conftest import ROOT
from tools.weights import GROUP_SIZE, Count, count, main

CONFIGS: list[dict[str, Any]] = json.loads(
    (ROOT / "tests" / "data" / "weights.json").read_text(encoding="utf-8")
)
LACKING = {"fastvlm-0.5b"}
"""Its only conversion lacks the output matrix, so that the backend's own model is no measure of it."""
PUBLISHED = {
    "qwen2-vl-7b": 16582751232,
    "qwen2.5-vl-7b": 16584333312,
    "gemma3-27b": 54864813280,
}
"""`total_size` in the index of checkpoints with that architecture in bf16, in bytes: olmOCR-7B-0225, a
derivative of Qwen2.5-VL-7B, medgemma-27b-it."""
STORED_TWICE = {"gemma3-27b"}
"""The backend stores the tied output matrix, which the original files have not."""


def bits_of(quantization: str) -> int | None:
    bits = int(quantization.removesuffix("bit")) if quantization.endswith("bit") else 16
    return None if bits == 16 else bits


def model_of(name: str) -> Model:
    model = registry.card(name).model
    assert model is not None
    return model


@functools.cache
def counted(row: int, bits: int | None) -> Count:
    return count(CONFIGS[row]["config"], bits, CONFIGS[row].get("group_size", GROUP_SIZE))


@pytest.mark.parametrize("row", range(len(CONFIGS)), ids=[row["models"][0] for row in CONFIGS])
def test_every_conversion_weighs_what_the_backends_own_model_does(row: int) -> None:
    stated = 0
    for name in CONFIGS[row]["models"]:
        model = model_of(name)
        for quantization, weights in model.quantizations.items():
            if weights.bytes is None:
                assert name in LACKING
                continue
            built = counted(row, bits_of(quantization))
            assert (name, quantization, weights.bytes) == (name, quantization, built.bytes)
            assert model.unquantized_bytes == built.unquantized_bytes
            assert model.parameters == built.parameters
            stated += 1
    assert stated or set(CONFIGS[row]["models"]) <= LACKING
    counted.cache_clear()


def test_every_model_with_a_conversion_has_a_config() -> None:
    converted = {
        name for name in registry.names() if any(w.repository for w in model_of(name).quantizations.values())
    }

    assert {name for row in CONFIGS for name in row["models"]} == converted


def test_what_stays_unquantized_is_a_part_of_the_smallest_conversion() -> None:
    for name in registry.names():
        model = model_of(name)
        sizes = [weights.bytes for weights in model.quantizations.values() if weights.bytes is not None]
        if model.unquantized_bytes is not None and sizes:
            assert model.unquantized_bytes < min(sizes)


@pytest.mark.parametrize(("name", "published"), PUBLISHED.items())
def test_full_precision_is_within_half_a_percent_of_published_files(name: str, published: int) -> None:
    model = model_of(name)
    assert model.parameters is not None
    assert model.text is not None
    again = model.text.vocab * model.text.hidden if name in STORED_TWICE else 0

    assert abs(2 * (model.parameters - again) - published) <= 0.005 * published


def test_the_tool_prints_what_a_card_wants(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = next(row for row in CONFIGS if "smolvlm2-500m" in row["models"])
    (tmp_path / "config.json").write_text(json.dumps(row["config"]), encoding="utf-8")

    assert main([str(tmp_path / "config.json")]) == 0

    model = model_of("smolvlm2-500m")
    said = capsys.readouterr().out
    assert f"parameters: {model.parameters}\nunquantized_bytes: {model.unquantized_bytes}\nbytes: " in said
