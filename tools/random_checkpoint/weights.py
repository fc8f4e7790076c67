"""Random weights for the architecture that a `config.json` describes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import mlx.core as mx
    from mlx import nn

__all__ = ["DType", "write"]

DType = Literal["float32", "float16", "bfloat16"]

_MODULES = ["text", "vision", "perceiver", "projector", "audio"]


def write(folder: Path, *, seed: int, dtype: DType) -> None:
    """Write `model.safetensors` beside the `config.json` in `folder`."""
    import mlx.core as mx
    from mlx.utils import tree_flatten

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    parameters = sorted(tree_flatten(_model(config).parameters()))
    keys = mx.random.split(mx.random.key(seed), len(parameters))
    weights = {
        name: _draw(name, value, key).astype(getattr(mx, dtype))
        for (name, value), key in zip(parameters, keys, strict=True)
    }
    # "mlx" says that names and layouts are the backend's own, not those of the original release.
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})


def _model(config: dict[str, Any]) -> nn.Module:
    """The architecture, instantiated the way `mlx_vlm.load_model` does it (which needs weights)."""
    from mlx_vlm.utils import get_model_and_args, update_module_configs

    architecture, _ = get_model_and_args(config)
    config.setdefault("text_config", config.pop("llm_config", {}))
    for module in ("vision", "audio"):
        config.setdefault(f"{module}_config", {})
    settings = architecture.ModelConfig.from_dict(config)
    return architecture.Model(update_module_configs(settings, architecture, config, _MODULES))


def _draw(name: str, value: mx.array, key: mx.array) -> mx.array:
    """A random array like `value`; one-dimensional constants other than biases keep what they are.

    Those are the gains of normalizations, and a gain near zero would hide the image from the rest of
    the model. A gate of zeros would do so, too, and is drawn.
    """
    import mlx.core as mx

    if value.ndim == 0 or (value.ndim == 1 and not name.endswith(".bias") and _is_gain(value)):
        return value
    # Unit variance in, unit variance out, so that the image and every layer reach the logits.
    # Convolutions are (out, ...kernel, in); stacked experts are (experts, out, in).
    fan_in = math.prod(value.shape[1:]) if value.ndim > 3 else value.shape[-1]
    return mx.random.normal(value.shape, key=key) / math.sqrt(fan_in)


def _is_gain(value: mx.array) -> bool:
    """Whether all elements are the same one, and not zero."""
    first = value[0].item()
    return first != 0 and bool((value == first).all().item())
