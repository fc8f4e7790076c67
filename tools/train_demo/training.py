"""From random weights to a model that sees drawings."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tools.train_demo.batches import Batch, Rows, batches
from tools.train_demo.drawings import COLOURS, SHAPES, SIDES
from tools.train_demo.losses import Losses, arrays

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from registry.cards import Card

__all__ = ["STEPS", "build", "save", "train"]

STEPS = 5000
_RATE = 1.5e-3
_WARM_UP = 100
_LAST = 0.02
"""The rate falls along a cosine to this share of itself."""
_REPORT = 100
"""Steps between two lines about how it goes."""


def train(
    card: Card,
    folder: Path,
    tokenizer: Tokenizer,
    config: dict[str, Any],
    *,
    seed: int,
    steps: int = STEPS,
    report: Callable[[str], None] = print,
) -> Any:
    """A trained model of the architecture in `config`; `folder` has the tokenizer's file."""
    import mlx.core as mx
    from mlx import nn, optimizers

    mx.set_default_device(mx.cpu)
    mx.random.seed(seed)
    model = build(config)
    mx.eval(model.parameters())
    learn = nn.value_and_grad(model, Losses(tokenizer))
    optimizer = optimizers.AdamW(learning_rate=_RATE, betas=[0.9, 0.98], weight_decay=0.01)
    progress = Progress(tokenizer)
    for step, batch in enumerate(batches(card, folder / "tokenizer.json", seed, steps)):
        optimizer.learning_rate = _rate(step, steps)
        (loss, right), gradients = learn(model, arrays(batch))
        gradients, _ = optimizers.clip_grad_norm(gradients, 1.0)
        optimizer.update(model, gradients)
        mx.eval(model.parameters(), optimizer.state, loss, right)
        progress.add(batch, [np.array(it) for it in right])
        if (step + 1) % _REPORT == 0:
            report(f"{step + 1:,} of {steps:,} steps, loss {loss.item():.3f}; {progress}")
    return model


def save(model: Any, folder: Path) -> int:
    """Write the weights in half precision; the bytes that they take."""
    import mlx.core as mx
    from mlx.utils import tree_flatten

    weights = {name: value.astype(mx.float16) for name, value in tree_flatten(model.parameters())}
    # "mlx" says that names and layouts are the backend's own, not those of the original release.
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})
    return sum(int(value.nbytes) for value in weights.values())


def build(config: dict[str, Any]) -> Any:
    """The architecture with random weights, instantiated as `mlx_vlm.load_model` does it."""
    from mlx_vlm.utils import get_model_and_args, update_module_configs

    settings = dict(config)
    architecture, _ = get_model_and_args(settings)
    settings |= {"text_config": {}, "audio_config": {}}
    made = architecture.ModelConfig.from_dict(settings)
    return architecture.Model(update_module_configs(made, architecture, settings, ["text", "vision"]))


def _rate(step: int, steps: int) -> float:
    fallen = _LAST + (1 - _LAST) * 0.5 * (1 + math.cos(math.pi * step / steps))
    return _RATE * min(1, (step + 1) / _WARM_UP) * fallen


class Progress:
    """How many of the deciding words were right lately, by their kind."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        kinds = {
            "colour": [f"Ġ{colour}" for colour in COLOURS],
            "shape": [f"Ġ{shape}" for shape in SHAPES],
            "side": list(SIDES),
        }
        self._ids = {
            kind: np.array([tokenizer.token_to_id(word) for word in words], np.int32)
            for kind, words in kinds.items()
        }
        self._shares: dict[str, float] = {}
        self._start = time.monotonic()

    def add(self, batch: Batch, right: list[Any]) -> None:
        """Count one step."""
        for where, rows, hits in zip(("", " of two"), _rows(batch), right, strict=False):
            for kind, ids in self._ids.items():
                asked = np.isin(rows.answers, ids)
                if asked.any():
                    share, old = float(hits[asked].mean()), self._shares.get(kind + where, 0.0)
                    self._shares[kind + where] = 0.98 * old + 0.02 * share

    def __str__(self) -> str:
        minutes = (time.monotonic() - self._start) / 60
        shares = ", ".join(f"{kind} {share:.1%}" for kind, share in self._shares.items())
        return f"{shares}; {minutes:.1f} minutes"


def _rows(batch: Batch) -> Iterator[Rows]:
    yield batch.alone
    if batch.pairs is not None:
        yield batch.pairs
