"""What programs get that render and encode themselves: pictures and plain data."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import loader
import registry
from loader.errors import ImageError
from tests.conftest import ROOT
from tests.packages import packages

PAGE = ROOT / "docs" / "abstractllm.md"


def test_the_data_is_plain_and_needs_no_mlx() -> None:
    code = """
import json, sys
import loader
prepared = loader.prepare_images("qwen2.5-vl-7b", ["examples/dandelion.jpg"], device="m4-max-64gb")
print(json.dumps(prepared.to_dict()))
assert not {"mlx", "mlx_vlm", "transformers", "numpy"} & set(sys.modules)
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603  # ours
    said = json.loads(done.stdout)
    assert said["placeholder"] == "<|vision_start|><|image_pad|><|vision_end|>"
    assert said["image_tokens"] == 1230
    assert said["images"][0]["width"] == 1148
    assert said["estimate"]["verdict"] == "fits"
    assert said["setting"] is None


def test_pictures_have_the_planned_sizes(photo: Path) -> None:
    prepared = loader.prepare_images("qwen2.5-vl-7b", [photo, photo], max_image_tokens=300)
    assert [picture.size for picture in prepared.pictures] == [(p.width, p.height) for p in prepared.plans]
    assert prepared.image_tokens == sum(plan.image_tokens for plan in prepared.plans) <= 600


def test_a_limit_of_the_processor_that_must_be_lowered_is_named(photo: Path) -> None:
    prepared = loader.prepare_images("smolvlm2-2.2b", [photo], max_image_tokens=500)
    assert prepared.to_dict()["setting"] == {"image_processor.size.longest_edge": 768}


def test_a_model_with_these_pictures_makes_the_planned_tokens(
    checkpoint: Callable[[str], Path], photo: Path
) -> None:
    model = registry.load(checkpoint("qwen2.5-vl"))
    prepared = loader.prepare_images(model.card, [photo], max_image_tokens=100)
    response = model.generate("What?", prepared.pictures, detail="full", max_tokens=1)
    assert response.image_tokens == prepared.image_tokens


def test_a_source_that_is_no_image_is_refused() -> None:
    with pytest.raises(ImageError):
        loader.prepare_images("qwen2.5-vl-7b", [b"nothing"])


def test_the_recipe_for_abstractcore_runs(
    pytestconfig: pytest.Config, checkpoint: Callable[[str], Path], photo: Path, tmp_path: Path
) -> None:
    """Its MLX lane for images, on a checkpoint with random weights; abstractcore pins an older Pillow, so
    it is installed beside this environment, without its dependencies."""
    site = packages(pytestconfig, "abstractcore==2.30.0", "httpx<1", "httpcore<2")
    (recipe,) = re.findall(r"```py\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[-1:]
    (tmp_path / "recipe.py").write_text(recipe, encoding="utf-8")
    (tmp_path / "photo.jpg").symlink_to(photo)
    (tmp_path / "Qwen3-VL-4B-Instruct-4bit").symlink_to(checkpoint("qwen3-vl"))
    env = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": f"{site}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, "recipe.py"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "280 image tokens, as planned" in done.stdout
