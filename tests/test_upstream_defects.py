"""The faults in registry/defects.yaml are still in the installed mlx-vlm: what is done about them is needed.

A test that fails here says that upstream has mended something: then the work-around, the limit in the card
and the entry in the table can go.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

import registry
from loader.backend import Backend
from loader.errors import CheckpointError, UnsupportedFeatureError
from loader.model import VisionModel
from registry.defects import Defect, known
from tests.defects_of_families import moondream3_processor
from tests.defects_of_package import BLUE, RED, SHOWN, Build, changed
from tests.test_budget_levers import around, tokenizer


def test_every_known_defect_has_a_test_here() -> None:
    assert sorted(SHOWN) == sorted(defect.id for defect in known().defects)


@pytest.mark.parametrize("defect", known().defects, ids=lambda defect: defect.id)
def test_the_defect_is_still_there(defect: Defect, checkpoint: Build, tmp_path: Path) -> None:
    shown = SHOWN[defect.id](checkpoint, tmp_path)
    assert shown, f"mended upstream: {defect.fault}. What can go: {defect.how}, and the entry {defect.id}."


@pytest.mark.parametrize("defect", known().defects, ids=lambda defect: defect.id)
def test_a_defect_names_cards_that_exist_and_that_have_the_limit_which_refuses_it(defect: Defect) -> None:
    cards = [registry.card(family) for family in defect.families]
    assert [card.id for card in cards] == list(defect.families)
    if defect.how == "backend.max_images in the card":
        assert all(most_images(family) for family in defect.families)


def most_images(family: str) -> int | None:
    """The number of images that the backend handles for the family, or for one of its models."""
    card = registry.card(family)
    own = [
        registry.card(name).backend.max_images
        for name in registry.names()
        if registry.card(name).id == family
    ]
    return next((most for most in (card.backend.max_images, *own) if most is not None), None)


def test_code_in_a_checkpoint_is_refused_before_the_backend_can_run_it(
    checkpoint: Build, tmp_path: Path
) -> None:
    other = changed(checkpoint("qwen2-vl"), tmp_path / "other", model_file="theirs.py")
    (other / "theirs.py").write_text("raise SystemExit('code of the checkpoint ran')\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"theirs\.py"):
        registry.load(other, card="qwen2-vl")


def test_a_processor_that_became_a_tokenizer_is_refused(checkpoint: Build, tmp_path: Path) -> None:
    other = changed(checkpoint("qwen2-vl"), tmp_path / "other", model_type="minicpmo")
    (other / "preprocessor_config.json").unlink()
    with pytest.raises(CheckpointError, match="would drop images without a word"):
        Backend(other, registry.card("minicpm-v-4.5").backend, weights=False)


@pytest.mark.parametrize("name", ["fastvlm-0.5b", "paddleocr-vl", "moondream3", "step-3.7"])
def test_a_family_that_the_backend_takes_one_image_for_says_so(name: str) -> None:
    assert registry.card(name).backend.max_images == 1


def test_a_second_image_for_a_model_that_reads_one_is_refused(checkpoint: Build) -> None:
    model = registry.load(checkpoint("llava-next"), card="llava-next")
    with pytest.raises(UnsupportedFeatureError, match="at most 1 image"):
        model.prepare("Compare.", [RED, BLUE])


def test_a_processor_that_puts_an_image_where_the_card_has_none_is_refused(
    checkpoint: Build, tmp_path: Path
) -> None:
    folder = registry.load(checkpoint("smolvlm-384"), card="smolvlm").checkpoint
    phi4mm = import_module("mlx_vlm.models.phi4mm.processing_phi4mm").Phi4MMProcessor
    for family, processor in {
        "moondream3": moondream3_processor(tmp_path),
        "phi4mm": phi4mm(tokenizer=tokenizer(tmp_path)),
    }.items():
        model = VisionModel(registry.card(family), folder, around(processor))
        with pytest.raises(CheckpointError, match=r"The plan has [\d,]+ image tokens and the processor made"):
            model.prepare("What?", RED)
