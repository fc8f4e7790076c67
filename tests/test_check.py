"""`mlx-cards check`: sound checkpoints pass, broken ones fail with the reason, a blind model is found out."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from loader.check import Line, check
from loader.check.canary import distance
from tests.command import Result, mlx_cards
from tests.families import CARDS, SEVERAL_IMAGES

Build = Callable[[str], Path]
Run = Callable[..., Result]
CANARY = {"load", "features", "two images", "repeated", "cache", "order", "text only"}
COPIED = "qwen2.5-vl"
"""The checkpoint whose copies are broken."""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return functools.partial(mlx_cards, capsys=capsys, monkeypatch=monkeypatch)


@pytest.fixture
def copy(checkpoint: Build, tmp_path: Path) -> Path:
    """A copy of a sound checkpoint, to be broken."""
    return Path(shutil.copytree(checkpoint(COPIED), tmp_path / "copy"))


def rewrite(path: Path, change: Mapping[str, Any]) -> None:
    said = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(said | change), encoding="utf-8")


def found(lines: Iterable[Line], status: str) -> dict[str, str]:
    """What is said of each check with this status."""
    return {line.check: line.said for line in lines if line.status == status}


def without_weights(folder: Path, card: str = COPIED) -> list[Line]:
    return list(check(folder, card=card, weights=False))


@pytest.mark.parametrize("name", CARDS)
def test_a_sound_checkpoint_of_every_family_passes_with_random_weights(name: str, checkpoint: Build) -> None:
    """What random weights cannot show is skipped with a reason; tiny dimensions are a warning."""
    lines = list(check(checkpoint(name), card=CARDS[name]))
    assert found(lines, "fail") == {}
    assert {line.check for line in lines} >= CANARY
    skipped = found(lines, "skip")
    assert set(skipped) == {
        *(["features"] if name == "llama3.2-vision" else []),
        *(["order"] if name not in SEVERAL_IMAGES else []),
    }
    warned = set(found(lines, "warn"))
    assert warned - {"order"} == {"dimensions", *(["features"] if name == "llava-next" else [])}


def test_a_known_fault_of_the_backend_is_a_warning_that_names_both_numbers(checkpoint: Build) -> None:
    (line,) = (
        line for line in check(checkpoint("llava-next"), card="llava-next") if line.check == "features"
    )
    assert line.status == "warn"
    assert isinstance(line.card, int)
    assert line.checkpoint > line.card
    assert "known: " in line.said


def test_an_image_token_of_another_number_is_found(copy: Path) -> None:
    rewrite(copy / "config.json", {"image_token_id": 7})
    lines = without_weights(copy)
    assert "config.json has image_token_id 7" in found(lines, "fail")["token ids"]
    assert found(lines, "skip")["canary"] == "it was not asked for"


def test_a_model_whose_images_would_not_arrive_is_not_even_loaded(copy: Path) -> None:
    rewrite(copy / "config.json", {"image_token_id": 7})
    lines = list(check(copy, card=COPIED))
    assert found(lines, "skip")["canary"] == "the processor has to be mended first"
    assert "load" not in {line.check for line in lines}


def test_a_missing_preprocessor_config_is_found(copy: Path) -> None:
    (copy / "preprocessor_config.json").unlink()
    assert "preprocessor_config.json is missing" in found(without_weights(copy), "fail")["files"]


def test_a_missing_tokenizer_is_found(copy: Path) -> None:
    (copy / "tokenizer.json").unlink()
    failed = found(without_weights(copy), "fail")
    assert "no tokenizer file" in failed["files"]
    assert "processor" in failed


def test_a_changed_template_is_found_with_both_readings(copy: Path) -> None:
    path = copy / "chat_template.jinja"
    text = path.read_text(encoding="utf-8")
    assert "You are a helpful assistant." in text
    path.write_text(text.replace("You are a helpful assistant.", "You are a pirate."), encoding="utf-8")
    (line,) = (line for line in without_weights(copy) if line.check == "template")
    assert line.status == "fail"
    assert "You are a helpful assistant." in line.card
    assert "You are a pirate." in line.checkpoint


def test_changed_limits_are_found_by_their_names_and_by_what_the_processor_does(copy: Path) -> None:
    rewrite(copy / "preprocessor_config.json", {"max_pixels": 1003520, "min_pixels": 200704})
    failed = [line for line in without_weights(copy) if line.status == "fail"]
    named = {line.said: (line.card, line.checkpoint) for line in failed if line.check == "limits"}
    assert set(named.values()) == {(3136, 200704), (12845056, 1003520)}
    assert "image tokens" in {line.check for line in failed}


def test_a_limit_that_the_probes_do_not_reach_is_found_by_its_name(copy: Path) -> None:
    rewrite(copy / "preprocessor_config.json", {"max_pixels": 9633792})
    (line,) = (line for line in without_weights(copy) if line.status == "fail")
    assert (line.check, line.card, line.checkpoint) == ("limits", 12845056, 9633792)
    assert line.said == "max_pixels is 12,845,056 by the card and 9,633,792 in the checkpoint"


def test_python_in_a_checkpoint_is_found_and_nothing_of_it_is_loaded(copy: Path) -> None:
    (copy / "modeling_x.py").write_text("raise SystemExit('code of the checkpoint ran')\n", encoding="utf-8")
    lines = list(check(copy, card=COPIED))
    assert "modeling_x.py" in found(lines, "fail")["code"]
    assert set(found(lines, "skip")) == {"processor", "canary"}


def test_trusted_code_is_a_warning(copy: Path) -> None:
    (copy / "notes.py").write_text("", encoding="utf-8")
    lines = list(check(copy, card=COPIED, weights=False, trust_remote_code=True))
    assert found(lines, "fail") == {}
    assert "code" in found(lines, "warn")


def test_damaged_weights_are_found_and_the_rest_is_checked_all_the_same(copy: Path) -> None:
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    lines = list(check(copy, card=COPIED))
    assert "cut off or damaged" in found(lines, "fail")["weights"]
    assert found(lines, "skip")["canary"] == "the weights are not all there"
    assert "image tokens" in found(lines, "pass")


def test_a_token_beyond_the_models_embeddings_is_found(copy: Path) -> None:
    """Some tokenizers name a token that the model has no row for: it would be read from foreign memory."""
    rewrite(copy / "config.json", {"vocab_size": 5})
    (line,) = (line for line in without_weights(copy) if line.check == "vocabulary")
    assert line.status == "fail"
    assert line.card == 5
    assert line.checkpoint > 5


def test_other_dimensions_are_a_warning_with_both_values(copy: Path) -> None:
    named = [line for line in without_weights(copy, "qwen2.5-vl-7b") if line.check == "dimensions"]
    assert {line.status for line in named} == {"warn"}
    assert named[0].card["layers"] == 28
    assert named[0].checkpoint["layers"] == 2


def test_another_patch_is_a_failure(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    rewrite(copy / "config.json", {"vision_config": config["vision_config"] | {"patch_size": 16}})
    assert "14 by the card and 16" in found(without_weights(copy), "fail")["dimensions"]


@pytest.mark.parametrize(
    ("write", "check_name", "piece"),
    [
        ("", "files", "has no config.json"),
        ("{", "files", "not valid JSON"),
        ("{}", "files", "no model_type"),
        ('{"model_type": "acme"}', "card", "no card is for that"),
        ('{"model_type": "gemma3"}', "card", "no card is for that"),
    ],
)
def test_a_folder_that_is_no_checkpoint_is_one_failed_line(
    tmp_path: Path, write: str, check_name: str, piece: str
) -> None:
    if write:
        (tmp_path / "config.json").write_text(write, encoding="utf-8")
    lines = list(check(tmp_path, card=None, weights=False))
    said = found(lines, "fail")
    if write != '{"model_type": "gemma3"}':
        assert piece in said[check_name]
    else:  # a family is known, and nothing else of it is there
        assert {"files", "weights", "processor"} <= set(said)


def blinded(folder: Path, parts: Iterable[str]) -> int:
    """Set all weights to zero whose names have one of these parts."""
    mx = pytest.importorskip("mlx.core")
    path = folder / "model.safetensors"
    weights = mx.load(str(path))
    zeros = {name: mx.zeros_like(value) for name, value in weights.items() if any(p in name for p in parts)}
    mx.eval(zeros)
    mx.save_safetensors(str(path), {**weights, **zeros}, metadata={"format": "mlx"})
    return len(zeros)


BLIND: Mapping[str, tuple[str, ...]] = {
    "qwen2.5-vl": ("vision_tower.",),
    "llava-1.5": ("multi_modal_projector.",),
    "smolvlm-384": ("connector.",),
    "pixtral": ("vision_tower.",),
}
"""Parts of the model that see, or hand on what is seen."""


@pytest.mark.parametrize("name", BLIND)
def test_a_blind_model_does_not_get_past_the_canary(name: str, checkpoint: Build, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(checkpoint(name), tmp_path / "blind"))
    assert blinded(folder, BLIND[name])
    lines = list(check(folder, card=CARDS[name]))
    failed = found(lines, "fail")
    assert set(failed) == {"features", "two images", "order"}
    assert "the model does not see" in failed["two images"]
    assert {"repeated", "cache", "text only"} <= set(found(lines, "pass"))


def test_weights_without_numbers_do_not_get_past_the_canary(copy: Path) -> None:
    mx = pytest.importorskip("mlx.core")
    path = copy / "model.safetensors"
    weights = mx.load(str(path))
    name = next(name for name in weights if name.endswith("embed_tokens.weight"))
    weights[name] = mx.full(weights[name].shape, float("nan"))
    mx.eval(weights)
    mx.save_safetensors(str(path), weights, metadata={"format": "mlx"})
    assert "its weights are damaged" in found(check(copy, card=COPIED), "fail")["text only"]


def test_a_model_that_keeps_something_of_the_last_call_does_not_get_past_the_canary(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a cached prefix would: the prompts about two images of one size have the same tokens."""
    from loader.backend import Backend

    answer = Backend.next_token
    kept: dict[tuple[int, ...], list[float]] = {}

    def from_cache(self: Backend, inputs: Any) -> list[float]:
        key = tuple(inputs.tensors["input_ids"].flatten().tolist())
        return kept.setdefault(key, answer(self, inputs))

    monkeypatch.setattr(Backend, "next_token", from_cache)
    assert "two images" in found(check(copy, card=COPIED), "fail")


def test_a_model_whose_answers_depend_on_the_calls_before_does_not_get_past_the_canary(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from loader.backend import Backend

    answer = Backend.next_token
    before: list[list[float]] = []

    def late(self: Backend, inputs: Any) -> list[float]:
        before.append(answer(self, inputs))
        return before[-2] if len(before) > 1 else before[-1]

    monkeypatch.setattr(Backend, "next_token", late)
    assert {"repeated", "cache", "text only"} <= set(found(check(copy, card=COPIED), "fail"))


def test_the_distance_of_distributions_is_zero_to_one_and_one_for_what_is_no_number() -> None:
    import math

    certain, even = [0.0, -math.inf], [math.log(0.5)] * 2
    assert distance(certain, certain) == 0
    assert distance(certain, certain[::-1]) == 1
    assert distance(certain, even) == pytest.approx(0.5)
    assert distance([math.nan, 0.0], even) == 1


def test_the_demo_model_passes_by_its_name(run: Run) -> None:
    result = run("check", "demo")
    assert result.code == 0, result.out
    assert "fail" not in result.out


def test_the_command_ends_with_1_and_json_has_both_values(run: Run, copy: Path) -> None:
    sound = run("check", str(copy), "--card", COPIED, "--no-weights")
    assert sound.code == 0
    assert "pass  template: " in sound.out
    rewrite(copy / "preprocessor_config.json", {"merge_size": 1})
    broken = run("check", str(copy), "--card", COPIED, "--no-weights", "--json")
    data = json.loads(broken.out)
    assert broken.code == 1
    assert not data["ok"]
    assert {"check": "limits", "status": "fail", "card": 2, "checkpoint": 1}.items() <= next(
        line for line in data["lines"] if line["check"] == "limits"
    ).items()


def test_a_name_that_means_nothing_is_refused_with_suggestions(run: Run) -> None:
    result = run("check", "qwen2.5-vl-8b")
    assert result.code == 1
    assert "Did you mean" in result.err


def test_lines_come_as_soon_as_they_are_known(copy: Path) -> None:
    lines: Iterator[Line] = check(copy, card=COPIED)
    assert next(lines).check == "files"
