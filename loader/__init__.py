"""What is done with a card: prompt, pixels, memory, model.

Everything is imported when it is first used, so that `import loader` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loader.find import load
    from loader.image import open_image
    from loader.model import VisionModel
    from loader.prompt import Prompt, Segment, render
    from loader.resize import ImagePlan, plan_image
    from loader.response import Response, SeenImage

__all__ = [
    "ImagePlan",
    "Prompt",
    "Response",
    "SeenImage",
    "Segment",
    "VisionModel",
    "load",
    "open_image",
    "plan_image",
    "render",
]

_HOMES = {
    "ImagePlan": "loader.resize",
    "Prompt": "loader.prompt",
    "Response": "loader.response",
    "SeenImage": "loader.response",
    "Segment": "loader.prompt",
    "VisionModel": "loader.model",
    "load": "loader.find",
    "open_image": "loader.image",
    "plan_image": "loader.resize",
    "render": "loader.prompt",
}


def __getattr__(name: str) -> object:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'loader' has no attribute {name!r}") from None
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
