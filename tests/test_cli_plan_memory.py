"""`mlx-cards plan` says what a question takes: a bar, a verdict, and what fits in each quantization."""

from __future__ import annotations

import functools
import json
import re
from typing import Any

import pytest

import registry
from loader.cli.memory import LETTERS, WIDTH, at_the_peak, bar
from loader.device import Device
from loader.errors import ImageError
from loader.memory import Estimate, estimate
from loader.resize import plan_images, room_for
from tests.command import Result, mlx_cards

GB = 10**9
PHOTO = "4032x3024"
SIZE = (4032, 3024)
MAC = "m4-pro-24gb"


@pytest.fixture
def plan(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    return functools.partial(mlx_cards, "plan", capsys=capsys, monkeypatch=monkeypatch)


def memory(result: Result) -> dict[str, Any]:
    assert result.code == 0, result.err
    found: dict[str, Any] = json.loads(result.out)["memory"]
    return found


def test_the_plan_shows_every_part_with_its_size_and_how_sure_it_is(plan: Any) -> None:
    out = plan("qwen2.5-vl-7b@4bit", PHOTO, "--device", MAC).out

    assert f"qwen2.5-vl-7b@4bit: 6.2 GB of the 19.3 GB that can be used on {MAC} (estimate)" in out
    assert re.search(r"^  w weights +5\.6 GB  exact ", out, re.MULTILINE)
    assert re.search(r"^  p prefill +0\.4 GB  estimate .*not measured on Metal$", out, re.MULTILINE)
    assert re.search(r"^    vision +0\.2 GB  estimate .*; not at the peak$", out, re.MULTILINE)
    assert re.search(r"^fits: 6\.2 GB are needed of the 19\.3 GB", out, re.MULTILINE)


def test_what_does_not_fit_is_shown_with_what_to_do(plan: Any) -> None:
    out = plan("qwen2.5-vl-32b@bf16", PHOTO, "--device", "m4-max-64gb").out

    assert "refuses: 68.1 GB are needed; MLX allocates 65.3 GB at most" in out
    assert "\n  The 8bit quantization fits, with weights of 36.2 GB.\n" in out


def test_every_quantization_has_a_row_and_the_one_that_load_takes_a_mark(plan: Any) -> None:
    out = plan("qwen2.5-vl-7b", PHOTO, "--device", MAC).out
    rows = {line.split()[0]: line for line in out.splitlines() if re.match(r"(\d+bit|bf16) ", line)}

    assert list(rows) == ["bf16", "8bit", "6bit", "4bit", "3bit"]
    choice = registry.resolve("qwen2.5-vl-7b", device=MAC)
    assert [name for name, line in rows.items() if "*" in line] == [choice.quantization]
    assert f"\n* {choice.why}\n" in out


def test_what_is_unknown_is_called_so_and_never_zero(plan: Any) -> None:
    result = plan("gemma3n-e4b@4bit", "100x100", "--device", "m1-8gb")

    assert re.search(r"^    vision +unknown  ", result.out, re.MULTILINE)
    assert re.search(r"^4bit \*  +unknown  at least 6\.0 GB .* unknown +unknown$", result.out, re.MULTILINE)
    data = memory(plan("gemma3n-e4b@4bit", "100x100", "--device", "m1-8gb", "--json"))
    assert (data["total"], data["parts"]["vision"]["bytes"]) == (None, None)
    assert data["quantizations"][-1]["most_images"] is None


def test_json_has_the_estimate_as_it_is(plan: Any) -> None:
    asked = {"device": MAC, "context": 8192, "kv_bits": 4, "max_tokens": 100}
    arguments = ("--context", "8k", "--kv-bits", "4", "--max-tokens", "100", "--json")
    data = memory(plan("qwen2.5-vl-7b@6bit", PHOTO, "--device", MAC, *arguments))
    made = estimate("qwen2.5-vl-7b@6bit", [SIZE], **asked)  # type: ignore[arg-type]

    assert {key: data[key] for key in made.to_dict()} == json.loads(json.dumps(made.to_dict()))
    assert (data["quantization"], data["why"]) == ("6bit", "It was asked for.")
    assert data["tokens"] == 8192 + 100


@pytest.mark.parametrize(
    "name", ["qwen2.5-vl-7b", "gemma3-27b", "internvl3-8b", "qwen3.5-27b", "smolvlm2-2.2b"]
)
@pytest.mark.parametrize("device", ["m1-8gb", MAC])
def test_the_largest_image_and_the_most_images_fit_and_one_more_does_not(
    plan: Any, name: str, device: str
) -> None:
    data = memory(plan(name, PHOTO, "--device", device, "--json"))

    for row in data["quantizations"]:
        checkpoint = f"{name}@{row['quantization']}"
        if row["largest_image"] is not None:
            assert fits(checkpoint, [tuple(row["largest_image"])], device)
        else:
            assert not fits(checkpoint, [(28, 21)], device)
        assert row["most_images"] == 0 or fits(checkpoint, [SIZE] * row["most_images"], device)
        assert not fits(checkpoint, [SIZE] * (row["most_images"] + 1), device) or in_context(name, row)


def fits(checkpoint: str, images: list[Any], device: str) -> bool:
    """Whether images that share the context fit."""
    card = registry.card(checkpoint)
    room = room_for(card.model.context if card.model else None, 256, 512)
    try:
        plans = plan_images(card, images, room=room)
    except ImageError:
        return False
    return estimate(checkpoint, device=device, plans=plans).verdict == "fits"


def in_context(name: str, row: dict[str, Any]) -> bool:
    """Whether it is the context that holds no more images, not the memory."""
    card = registry.card(name)
    assert card.model is not None
    assert card.model.context is not None
    (one,) = plan_images(card, [SIZE])
    more: int = row["most_images"] + 1
    return more * (one.tokens or one.image_tokens) > card.model.context - 256 - 512


def test_a_family_has_no_memory_and_says_so_where_it_is_asked_for(plan: Any) -> None:
    assert json.loads(plan("qwen2.5-vl", PHOTO, "--json").out)["memory"] is None
    assert "verdict" not in plan("qwen2.5-vl", PHOTO).out
    result = plan("qwen2.5-vl", PHOTO, "--device", MAC)
    assert (result.code, result.out) == (1, "")
    assert "qwen2.5-vl is a family, not one model" in result.err


def test_without_a_device_this_machine_is_meant(plan: Any) -> None:
    data = memory(plan("qwen2.5-vl-3b@4bit", PHOTO, "--json"))
    assert data["device"]["name"] == "this machine"


def test_a_model_without_a_conversion_has_one_row(plan: Any) -> None:
    data = memory(plan("molmo2-er", PHOTO, "--device", MAC, "--json"))
    assert [row["quantization"] for row in data["quantizations"]] == [None]
    assert "none published" in plan("molmo2-er", PHOTO, "--device", MAC).out


@pytest.mark.parametrize("value", ["0", "8 k", "-1", "8m", "k", "1.5k"])
def test_a_context_that_is_no_number_is_wrong_usage(plan: Any, value: str) -> None:
    result = plan("qwen2.5-vl-7b", PHOTO, "--context", value)
    assert result.code == 2
    assert "write 8192 or 8k" in result.err


def test_a_cache_cannot_be_quantized_to_any_number_of_bits(plan: Any) -> None:
    assert plan("qwen2.5-vl-7b", PHOTO, "--kv-bits", "7").code == 2


# The bar.


@pytest.mark.parametrize("name", ["qwen2-vl-2b@bf16", "gemma3n-e4b@4bit", "qwen2.5-vl-72b@4bit", "demo@fp16"])
@pytest.mark.parametrize("gigabytes", [1, 6, 24, 100])
def test_the_bar_is_as_long_as_the_parts_are_large(name: str, gigabytes: int) -> None:
    made = estimate(name, [SIZE], device=Device("made up", 2 * gigabytes * GB, gigabytes * GB))
    drawn = bar(made)
    cells = drawn[1:-1].replace("|", "")
    scale = max(made.at_least, made.device.room)

    assert (drawn[0], drawn[-1], len(cells)) == ("[", "]", WIDTH)
    assert cells.rstrip(".") == "".join(sorted(cells.rstrip("."), key="wvkpo".index))
    for part in made.parts:
        size = made.parts[part].bytes if part in at_the_peak(made) else 0
        count = cells.count(LETTERS[part])
        assert (count > 0) == bool(size), part
        assert abs(count - WIDTH * (size or 0) / scale) <= 5
    assert drawn.index("|") - 1 == round(WIDTH * made.device.room / scale)


def test_the_parts_of_the_bar_are_those_of_the_total() -> None:
    def drawn(made: Estimate) -> int:
        return sum(made.parts[name].bytes or 0 for name in at_the_peak(made))

    for detail in ("auto", "full"):
        made = estimate("qwen2-vl-2b@4bit", [SIZE], device=MAC, detail=detail)
        assert drawn(made) == made.total
        assert ("vision" in at_the_peak(made)) == (detail == "full")
