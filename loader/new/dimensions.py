"""Dimensions for the memory estimate, from config.json: what stands there, and nothing besides."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, get_args, get_type_hints

from loader.checkpoint.dimensions import TEXT, VISION, language, seeing
from loader.new import kin
from loader.new.settings import CONTEXT, SWITCHES, number
from loader.new.source import Files
from registry.memory import VisionTower

_ATTENTION = get_args(get_type_hints(VisionTower)["attention"])
_NEEDED = ("layers", "hidden", "heads", "kv_heads", "head_dim", "vocab")
_VISION_NEEDED = ("layers", "hidden", "heads", "intermediate")


def text_tower(files: Files) -> tuple[dict[str, Any], list[str]]:
    """The language model's dimensions, and the keys that are missing (then there are no dimensions)."""
    merged = language(files.config)
    found: dict[str, Any] = {
        field: number(merged, paths, switch=field in SWITCHES) for field, paths in TEXT.items()
    }
    if found["head_dim"] is None and found["hidden"] and found["heads"]:
        found["head_dim"] = found["hidden"] // found["heads"]  # as every class of transformers does
    if merged.get("use_sliding_window") is False:
        found["window"] = None  # the key stays in configs that do not use it
    if found["window"] is None:
        found["full_every"] = None
    missing = [field for field in _NEEDED if not found[field]]
    if found["intermediate"] is None and found["expert_intermediate"] is None:
        missing.append("intermediate")
    if found["experts"] is not None and not (found["active_experts"] and found["expert_intermediate"]):
        missing += ["active_experts", "expert_intermediate"]
    kept = {field: value for field, value in found.items() if value not in (None, False)}
    return ({}, missing) if missing else (kept, [])


def context(files: Files) -> int | None:
    """Positions that config.json names."""
    return number(language(files.config), CONTEXT)


def vision_tower(
    files: Files, processor: str | None, without: str | None = None
) -> tuple[dict[str, Any], str | None, str | None]:
    """The vision encoder's dimensions, why they are not enough, or None, and the card that knew the rest.

    How it attends is not in config.json. A card of the same model type knows it, as it is the same code, but
    not the one `without`.
    """
    said = seeing(files.config).get("vision_config")
    if not isinstance(said, dict):
        return {}, "config.json has no vision_config", None
    found: dict[str, Any] = {field: number(said, paths) for field, paths in VISION.items()}
    kept = {field: value for field, value in found.items() if value is not None}
    if missing := [field for field in _VISION_NEEDED if field not in kept]:
        return kept, f"config.json does not say {', '.join(missing)}", None
    same = [card for card in kin.related(files.model_type, processor, without) if card.memory is not None]
    if not same or files.model_type not in same[0].backend.model_types:
        code = _code(files.model_type)
        return kept, f"its attention ({', '.join(_ATTENTION)}) is in the backend's code, {code}", None
    assert same[0].memory is not None  # noqa: S101  # just looked
    tower = same[0].memory.vision
    kept["attention"] = tower.attention
    layers = said.get("fullatt_block_indexes")
    if tower.attention == "windows" and isinstance(layers, list):
        kept["full_layers"] = layers
    for field in ("separate", "extra", "mask", "explicit", "float32"):
        if value := getattr(tower, field):
            kept[field] = value
    return kept, None, same[0].id


def _code(model_type: str) -> str:
    """Where the backend's encoder is written, as far as that can be told without importing it."""
    spec = importlib.util.find_spec("mlx_vlm")
    places = spec.submodule_search_locations if spec is not None else None
    file = Path("models", model_type, "vision.py")
    found = any(Path(place, file).is_file() for place in places or ())
    return f"mlx_vlm/{file.as_posix()}" if found else "models/ of mlx_vlm"
