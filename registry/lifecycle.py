"""What a name's age means: old names and deprecated models are reported, retired ones refused.

Works on data that is not validated yet, as `registry.naming` does.
"""

from __future__ import annotations

from typing import Any

from loader.errors import UnsupportedFeatureError
from registry.naming import Target, fold, model_name


def notice(used: str, target: Target, data: dict[str, Any]) -> str | None:
    """What somebody who uses a name should know; None: nothing.

    Raises UnsupportedFeatureError where it is retired, naming what replaces it.
    """
    name = target.family
    model = None if target.model is None else data["models"][target.model]
    if model is not None:
        name = model_name(target.family, str(target.model), model)
    old = {fold(str(former)) for former in (model or data).get("former_names") or ()}
    said = _stated(data, model)
    status, deprecated = said.get("status"), said.get("deprecated") or {}
    why = f"{deprecated.get('since')}: {_sentence(deprecated.get('message'))} {_instead(deprecated)}"
    if status == "retired":
        raise UnsupportedFeatureError(f"{name} is retired since {why}")
    if status == "deprecated":
        return f"{name} is deprecated since {why}"
    if fold(used) in old:
        return f"{used} is an old name and may go away. It is called {name} now: use that."
    return None


def _sentence(message: Any) -> str:
    text = str(message).strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _instead(deprecated: dict[str, Any]) -> str:
    replacement = deprecated.get("replacement")
    return (
        f"Use {replacement}." if replacement else "Nothing replaces it; `mlx-cards list` shows what there is."
    )


def is_retired(data: dict[str, Any], model: str | None = None) -> bool:
    """Whether a card, or one of its models, is there only to say what replaces it."""
    return _stated(data, data["models"][model] if model is not None else None).get("status") == "retired"


def _stated(data: dict[str, Any], model: dict[str, Any] | None) -> dict[str, Any]:
    """Where the status is stated: a model's own one goes before the family's."""
    return model if model and "status" in model else data
