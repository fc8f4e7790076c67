"""One run in a process of its own: load, ask, and print what MLX allocated at most, as JSON."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from tools.measure.cases import Changes, card_of

NICENESS = 5
ANSWER = 2
"""Tokens of the answer: the peak is before them."""
QUESTION = "What is in this picture?"


def measure(folder: Path, model: str, changes: Changes | None, images: list[Any], how: dict[str, Any]) -> Any:
    """Bytes and positions of one question about pictures of the given sizes."""
    import mlx.core as mx
    import PIL.Image

    import loader

    if how["engine"] == "cpu":
        mx.set_default_device(mx.cpu)
    loaded = loader.load(folder, card=card_of(model, changes), check_memory=False)
    active = mx.get_active_memory()
    if how["products"] == "skipped":  # not while loading, which computes tables that are looked up later
        from tools.measure.products import skip

        skip()
    pictures = [PIL.Image.new("RGB", tuple(size), (90, 120, 150)) for size in images]
    answered = loaded.generate(QUESTION, images=pictures, max_tokens=ANSWER, detail=how["detail"])
    return {
        "weights": active,
        "peak": answered.peak_memory,
        "prompt_tokens": answered.prompt_tokens,
        "image_tokens": answered.image_tokens,
        "answer_tokens": ANSWER,
        "seconds": round(answered.timings.first_token + answered.timings.generate, 1),
    }


def main() -> int:
    """Read the run from standard input; print its figures."""
    os.nice(NICENESS)
    run = json.load(sys.stdin)
    changes = None if run["changes"] is None else Changes.model_validate(run["changes"])
    with contextlib.redirect_stdout(sys.stderr):  # backends print
        made = measure(Path(run["folder"]), run["model"], changes, run["images"], run["how"])
    print(json.dumps(made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
