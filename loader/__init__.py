"""What is done with a card: prompt, pixels, memory, model.

Everything is imported when it is first used, so that `import loader` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loader.calls import parse_tool_calls
    from loader.find import load
    from loader.fit import fit_image
    from loader.image import open_image
    from loader.memory import Estimate, estimate
    from loader.model import VisionModel
    from loader.prepared_images import PreparedImages, prepare_images
    from loader.prompt import Prompt, Segment, render
    from loader.prompt.encode import encode
    from loader.prompt.expand import expand
    from loader.resize import ImagePlan, plan_image, plan_images
    from loader.response import Response, SeenImage
    from loader.tools import ToolCall

__all__ = [
    "Estimate",
    "ImagePlan",
    "PreparedImages",
    "Prompt",
    "Response",
    "SeenImage",
    "Segment",
    "ToolCall",
    "VisionModel",
    "encode",
    "estimate",
    "expand",
    "fit_image",
    "load",
    "open_image",
    "parse_tool_calls",
    "plan_image",
    "plan_images",
    "prepare_images",
    "render",
]

_HOMES = {
    "Estimate": "loader.memory",
    "ImagePlan": "loader.resize",
    "PreparedImages": "loader.prepared_images",
    "Prompt": "loader.prompt",
    "Response": "loader.response",
    "SeenImage": "loader.response",
    "Segment": "loader.prompt",
    "ToolCall": "loader.tools",
    "VisionModel": "loader.model",
    "encode": "loader.prompt.encode",
    "estimate": "loader.memory",
    "expand": "loader.prompt.expand",
    "fit_image": "loader.fit",
    "load": "loader.find",
    "open_image": "loader.image",
    "parse_tool_calls": "loader.calls",
    "plan_image": "loader.resize",
    "plan_images": "loader.resize",
    "prepare_images": "loader.prepared_images",
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
