"""What shows that a fault of the installed mlx-vlm is still there: those of the package itself."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

mx = pytest.importorskip("mlx.core")
pytest.importorskip("mlx_vlm")

Build = Callable[[str], Path]
Shown = Callable[[Build, Path], bool]
"""Whether the fault is there, told from what the package does; the folder is for files."""
SHOWN: dict[str, Shown] = {}
RED = PIL.Image.new("RGB", (112, 84), "red")
BLUE = PIL.Image.new("RGB", (112, 84), "blue")
IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"


def shows(defect: str) -> Callable[[Shown], Shown]:
    def add(shown: Shown) -> Shown:
        SHOWN[defect] = shown
        return shown

    return add


def changed(folder: Path, to: Path, **config: Any) -> Path:
    """A copy of a checkpoint whose config.json says something else."""
    shutil.copytree(folder, to)
    said = json.loads((to / "config.json").read_text(encoding="utf-8"))
    (to / "config.json").write_text(json.dumps(said | config), encoding="utf-8")
    return to


def loaded(folder: Path) -> tuple[Any, Any]:
    from mlx_vlm.utils import load

    model, processor = load(str(folder))
    return model, processor


@shows("padding")
def _(checkpoint: Build, _folder: Path) -> bool:
    _, processor = loaded(checkpoint("llava-1.5"))
    assert processor(text=["<image>\nHi"], images=[RED])["input_ids"].size > 0
    try:
        processor(text=["<image>\nHi"], images=[RED], padding=True)
    except TypeError as error:
        return "padding" in str(error)
    return False


@shows("prompt-function")
def _(checkpoint: Build, _folder: Path) -> bool:
    from mlx_vlm.prompt_utils import apply_chat_template
    from mlx_vlm.utils import load_config

    _, processor = loaded(checkpoint("internvl-chat"))
    said = [("user", "Hi"), ("assistant", "A cat."), ("user", "And now?")]
    messages = [{"role": role, "content": text} for role, text in said]
    config = load_config(checkpoint("internvl-chat"))
    return "A cat." not in str(apply_chat_template(processor, config, messages, num_images=1))


@shows("prompt-cache")
def _(_checkpoint: Build, _folder: Path) -> bool:
    from mlx_vlm.generate import PromptCacheState

    state = PromptCacheState()
    state.update([1, 2, 3], [])  # no word of which image the tokens stood for
    return bool(state.find_prefix_length([1, 2, 3]) == 3)


@shows("window")
def _(checkpoint: Build, _folder: Path) -> bool:
    from mlx_vlm.generate import stream_generate

    model, processor = loaded(checkpoint("qwen2-vl"))

    def answer(**options: int) -> list[int]:
        made = dict(processor(text=[f"{IMAGE}What?"], images=[RED.resize((336, 336))]))
        ids, pixels, mask = (made.pop(name) for name in ("input_ids", "pixel_values", "attention_mask"))
        steps = stream_generate(
            model,
            processor,
            "",
            input_ids=ids,
            pixel_values=pixels,
            mask=mask,
            max_tokens=6,
            **made,
            **options,
        )
        return [step.token for step in steps]

    return answer() != answer(max_kv_size=16)


@shows("bare-tokenizer")
def _(checkpoint: Build, folder: Path) -> bool:
    from mlx_vlm.utils import get_model_and_args, load_processor

    other = changed(checkpoint("qwen2-vl"), folder / "other", model_type="minicpmo")
    (other / "preprocessor_config.json").unlink()
    get_model_and_args({"model_type": "minicpmo"})
    return not hasattr(load_processor(other), "image_processor")


@shows("import-first")
def _(checkpoint: Build, _folder: Path) -> bool:
    folder = str(checkpoint("smolvlm-384"))
    load = f"import pathlib, mlx_vlm.utils; mlx_vlm.utils.load_processor(pathlib.Path({folder!r}))"
    first = "import mlx_vlm.models.smolvlm; "

    def works(code: str) -> bool:
        return subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0  # noqa: S603

    assert works(first + load)
    return not works(load)


@shows("enlarging")
def _(_checkpoint: Build, _folder: Path) -> bool:
    from mlx_vlm.utils import process_image

    return bool(process_image(RED, (448, 448), None).width > RED.width)


@shows("sources")
def _(_checkpoint: Build, _folder: Path) -> bool:
    from mlx_vlm.utils import process_image

    turned = PIL.Image.new("RGB", (60, 30))
    turned.getexif()[0x0112] = 6
    clear = PIL.Image.new("RGBA", (2, 2), (255, 0, 0, 0))
    deep = PIL.Image.new("I;16", (2, 2), 1000)
    seen = [process_image(picture, None, None) for picture in (turned, clear, deep)]
    sideways = seen[0].size == (60, 30)
    uncomposited = seen[1].getpixel((0, 0)) == (255, 0, 0)
    white = seen[2].getpixel((0, 0)) == (255, 255, 255)
    return bool(sideways and uncomposited and white)


@shows("missing-placeholder")
def _(checkpoint: Build, _folder: Path) -> bool:
    _, processor = loaded(checkpoint("qwen2-vl"))
    made = processor(text=[f"{IMAGE}What?"], images=[RED, BLUE])
    token = processor.tokenizer.convert_tokens_to_ids("<|image_pad|>")
    alone = processor(text=[f"{IMAGE}What?"], images=[RED])
    return len(made["image_grid_thw"]) == 2 and bool(
        (made["input_ids"] == token).sum() == (alone["input_ids"] == token).sum()
    )


@shows("code")
def _(checkpoint: Build, folder: Path) -> bool:
    from mlx_vlm.utils import load_model

    other = changed(checkpoint("qwen2-vl"), folder / "other", model_file="theirs.py")
    (other / "theirs.py").write_text("raise SystemExit('code of the checkpoint ran')\n", encoding="utf-8")
    try:
        load_model(other)
    except SystemExit:
        return True
    return False


@shows("markers")
def _(checkpoint: Build, _folder: Path) -> bool:
    _, processor = loaded(checkpoint("qwen2-vl"))
    try:
        processor(text=[f"{IMAGE}What does <|image_pad|> mean?"], images=[RED])
    except IndexError:  # it wants an image for what the user typed
        return True
    return False
