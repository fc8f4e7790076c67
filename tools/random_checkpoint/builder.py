"""From a recipe to a folder on disk."""

from __future__ import annotations

import json
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tools.random_checkpoint import recipe, tokenizer, weights

__all__ = ["build"]


def build(name: str, folder: Path, *, seed: int = 0, dtype: weights.DType = "float32") -> Path:
    """Write the checkpoint `name` into `folder` and return it.

    The same name, seed and dtype give the same bytes. The folder appears complete or not at all.

    Raises:
        LookupError: no recipe has this name.
        FileExistsError: `folder` exists and is not an empty folder.
        ModuleNotFoundError: the backend is not installed.
    """
    parts = recipe.load(name)
    _require_backend()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(
            f"{folder} exists and is not an empty folder, and nothing is overwritten. "
            "Give a new path or remove it first."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        # A child of the scratch folder: that one is private (mode 0700), a checkpoint is not.
        draft = Path(scratch) / "checkpoint"
        draft.mkdir()
        _write(parts, draft, seed=seed, dtype=dtype)
        draft.rename(folder)
    return folder


def _write(parts: recipe.Recipe, folder: Path, *, seed: int, dtype: weights.DType) -> None:
    vocabulary = tokenizer.write(parts.tokenizer, folder)
    template = parts.chat_preamble + parts.chat_template
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    files: dict[str, dict[str, Any] | None] = {
        "config": parts.config,
        "generation_config": parts.generation_config,
        "preprocessor_config": parts.preprocessor_config,
        "processor_config": parts.processor_config,
    }
    for stem, content in files.items():
        if content is not None:
            resolved = recipe.resolve(content, vocabulary.tokens, vocabulary.size)
            text = json.dumps(resolved, indent=2, ensure_ascii=False) + "\n"
            (folder / f"{stem}.json").write_text(text, encoding="utf-8")
    weights.write(folder, seed=seed, dtype=dtype)


def _require_backend() -> None:
    missing = [module for module in ("mlx", "mlx_vlm", "tokenizers") if find_spec(module) is None]
    if missing:
        raise ModuleNotFoundError(
            f"A checkpoint is built from the backend's own classes, but {', '.join(missing)} is "
            "not installed. Install it with: pip install 'mlx-cards[mlx]'",
            name=missing[0],
        )
