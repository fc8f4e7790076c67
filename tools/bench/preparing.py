"""One side of the image benchmark, in a process of its own: a photograph on the disk -> a model's tensors.

`serve` loads, says what memory that took, and then prepares the photograph each time a line comes in. So
the sides take turns, and what is measured is the image: no imports, no checkpoint. Both load it with
mlx-vlm, and both get the same prompt.
"""

from __future__ import annotations

import gc
import json
import math
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

    from loader.resize import Detail, ImagePlan
    from registry.cards import Card

__all__ = ["QUESTION", "SIDES", "quality", "serve"]

QUESTION = "What is in this picture?"
_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss

Tensors = Mapping[str, Any]
Prepare = Callable[[str], Tensors]
"""The path of a photograph -> what the model is given."""


@dataclass(frozen=True, slots=True)
class _Ours:
    """What `VisionModel.generate` does before it generates."""

    detail: Detail

    def __call__(self, card: Card, folder: Path) -> Prepare:
        from loader.backend import Backend, Inputs
        from loader.checkpoint import local
        from loader.model import VisionModel

        class Noting(Backend):
            noted: dict[str, Any]

            def prepare(self, *arguments: Any, **options: Any) -> Inputs:
                inputs = super().prepare(*arguments, **options)
                self.noted = inputs.tensors
                return inputs

        backend = Noting(folder, card.backend)
        model = VisionModel(card, local(folder), backend)

        def prepare(photograph: str) -> Tensors:
            model.stream(QUESTION, photograph, detail=self.detail)  # generates only when it is read
            tensors, backend.noted = backend.noted, {}
            return tensors

        return prepare


def _upstream(card: Card, folder: Path) -> Prepare:
    """What mlx-vlm does before it generates."""
    from mlx_vlm.utils import load, load_image, prepare_inputs

    import loader

    _, processor = load(str(folder), trust_remote_code=False)
    message = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}
    prompt = loader.render(card, [message]).text

    def prepare(photograph: str) -> Tensors:
        image = load_image(photograph)
        return dict(prepare_inputs(processor, images=[image], prompts=prompt))

    return prepare


SIDES: dict[str, Callable[[Card, Path], Prepare]] = {
    "default": _Ours("auto"),
    "full": _Ours("full"),
    "mlx-vlm": _upstream,
}
"""Name of a side -> card and checkpoint folder -> how it prepares."""


def serve(side: str, model: str, checkpoint: str, photograph: str) -> None:
    """Load, print the state before any image, and answer every line on stdin with a run's figures."""
    import mlx.core as mx

    import registry

    card = registry.card(model)
    prepare = SIDES[side](card, Path(checkpoint))
    gc.collect()
    mx.clear_cache()
    _forget_peak()
    print(json.dumps({"before": _peak()}), flush=True)
    for _ in sys.stdin:
        start, used = time.perf_counter(), time.process_time()
        tensors = prepare(photograph)
        mx.eval([tensor for tensor in tensors.values() if isinstance(tensor, mx.array)])
        times = {"seconds": time.perf_counter() - start, "processor": time.process_time() - used}
        answer = {**times, "peak": _peak(), **_made(tensors, Path(checkpoint))}
        del tensors
        gc.collect()
        print(json.dumps(answer), flush=True)


def _made(tensors: Tensors, checkpoint: Path) -> dict[str, Any]:
    """Image tokens, and the shape of the pixels: by these the two sides are compared."""
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    token = config.get("image_token_id", config.get("image_token_index"))
    pixels = tensors["pixel_values"]
    shape = pixels.shape if hasattr(pixels, "shape") else [each.shape for each in pixels]
    return {"tokens": tensors["input_ids"].flatten().tolist().count(token), "shape": shape}


def _forget_peak() -> None:
    """From here on, the peak is the image's. Only Linux can forget what loading took at most."""
    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak() -> int:
    """The most bytes that were resident at once, of this process alone."""
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT
    # ru_maxrss would be that of the process that started this one, where that was larger.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def quality(model: str, photograph: str) -> None:
    """Print the PSNR, in dB, of what the model sees by default against the same with every pixel decoded.

    null: it is the same.
    """
    import loader
    import registry
    from loader.image import Opened

    card = registry.card(model)
    opened = Opened(photograph)
    plan = loader.plan_image(card, *opened.size)
    ours, exact = (_seen(opened, plan, card, exact=exact) for exact in (False, True))
    print(json.dumps(_psnr(ours, exact)))


def _seen(opened: Any, plan: ImagePlan, card: Card, *, exact: bool) -> Image.Image:
    from dataclasses import replace

    from loader.fit import fit_image, fit_opened

    assert card.image is not None  # noqa: S101  # there is a plan
    picture = fit_opened(opened, plan, card, exact=exact)
    # Where the processor resamples the picture, so it does, at this size.
    return picture if plan.stays else fit_image(picture, replace(plan, stays=True), card.image.resample)


def _psnr(one: Image.Image, other: Image.Image) -> float | None:
    from PIL import ImageChops, ImageStat

    squares = ImageStat.Stat(ImageChops.difference(one, other)).sum2
    error = sum(squares) / (3 * one.width * one.height)
    return 10 * math.log10(255**2 / error) if error else None
