"""Parameters and bytes of a model from its config.json alone, for a card's `parameters` and `bytes`.

python -m tools.weights config.json [--bits 4] [--group-size 64]

The backend builds the model lazily and quantizes it as its converter does; nothing is ever computed, so
a model of 400 billion parameters takes seconds and a few hundred megabytes.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GROUP_SIZE = 64
"""Weights that share a scale and a bias: the converter's default."""


@dataclass(frozen=True)
class Count:
    """What a model weighs."""

    parameters: int
    bytes: int
    unquantized_bytes: int
    """The part of `bytes` that the converter never quantizes: vision encoder and projector, as a rule."""


def count(config: dict[str, Any], bits: int | None = None, group_size: int = GROUP_SIZE) -> Count:
    """What the model of a config.json weighs in `bits` a weight, None: in bf16.

    The route is that of mlx-vlm 0.7.10: utils.load_model up to the weights, then convert.convert.
    """
    from mlx_vlm.quant_utils import quantize_model
    from mlx_vlm.utils import skip_multimodal_module

    model = build(config)
    parameters = sum(array.size for _, array in arrays(model))
    cast(model)
    if bits is not None:
        own = getattr(model, "quant_predicate", None)

        def quantized(path: str, module: Any) -> Any:
            if skip_multimodal_module(path):
                return False
            return own(path, module) if own is not None else True

        with contextlib.redirect_stdout(io.StringIO()):  # it reports its bits per weight
            model, _ = quantize_model(
                model, {"vision_config": {}}, group_size, bits, mode="affine", quant_predicate=quantized
            )
    sizes = {path: array.nbytes for path, array in arrays(model)}
    unquantized = sum(size for path, size in sizes.items() if skip_multimodal_module(path))
    return Count(parameters, sum(sizes.values()), unquantized)


def build(config: dict[str, Any]) -> Any:
    from mlx_vlm.utils import get_model_and_args, update_module_configs

    config = copy.deepcopy(config)  # the backend changes it
    architecture, _ = get_model_and_args(config)
    config.setdefault("text_config", config.pop("llm_config", {}))
    config.setdefault("vision_config", {})
    config.setdefault("audio_config", {})
    made = architecture.ModelConfig.from_dict(config)
    modules = ["text", "vision", "perceiver", "projector", "audio"]
    return architecture.Model(update_module_configs(made, architecture, config, modules))


def cast(model: Any) -> None:
    """To bf16, but for what the model itself keeps in 32 bits."""
    import mlx.core as mx
    from mlx.utils import tree_map_with_path

    keeps = getattr(model, "cast_predicate", lambda _: True)

    def cast(path: str, array: Any) -> Any:
        return array.astype(mx.bfloat16) if keeps(path) and mx.issubdtype(array.dtype, mx.floating) else array

    model.update(tree_map_with_path(cast, model.parameters()))


def arrays(model: Any) -> list[tuple[str, Any]]:
    import mlx.core as mx
    from mlx.utils import tree_flatten

    return [(path, array) for path, array in tree_flatten(model.parameters()) if isinstance(array, mx.array)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the three numbers that a card wants."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.weights", description="Parameters and bytes of a model from its config.json."
    )
    parser.add_argument("config", type=Path)
    parser.add_argument("--bits", type=int, choices=(2, 3, 4, 5, 6, 8), help="quantized; absent: bf16")
    parser.add_argument("--group-size", type=int, default=GROUP_SIZE)
    given = parser.parse_args(arguments)
    counted = count(json.loads(given.config.read_text(encoding="utf-8")), given.bits, given.group_size)
    print(f"parameters: {counted.parameters}")
    print(f"unquantized_bytes: {counted.unquantized_bytes}")
    print(f"bytes: {counted.bytes}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
