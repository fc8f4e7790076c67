"""AbstractLLM itself, with this project's provider and the checkpoint that comes with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import abstractllm
import PIL.Image
import PIL.ImageDraw
from abstractllm.session import Session

import loader.abstractllm

NAME = "mlx-cards"
"""The provider's name without a check of the platform."""

__all__ = ["NAME", "Session", "circle", "llm", "looking", "session", "square", "stored"]


def llm(model: str = "demo", **config: Any) -> Any:
    """The provider as a user makes it, choosing the likeliest token."""
    loader.abstractllm.register()
    return abstractllm.create_llm(NAME, **{"model": model, "temperature": 0.0, **config})


def session(provider: Any, **options: Any) -> Any:
    """A conversation; without AbstractLLM's memory, which writes its state into every prompt."""
    return Session(provider=provider, **{"enable_memory": False, **options})


def circle(colour: str) -> PIL.Image.Image:
    """A disc that the demo model knows by shape and colour."""
    return _drawn("ellipse", colour)


def square(colour: str) -> PIL.Image.Image:
    return _drawn("rectangle", colour)


def _drawn(shape: str, colour: str) -> PIL.Image.Image:
    image = PIL.Image.new("RGB", (160, 160), "white")
    getattr(PIL.ImageDraw.Draw(image), shape)((40, 40, 120, 120), fill=colour)
    return image


def stored(image: PIL.Image.Image, folder: Path) -> Path:
    """An image on disk."""
    path = folder / "image.png"
    image.save(path)
    return path


def looking() -> Any:
    """A tool, and what it was asked."""

    def look(what: str) -> str:
        """Looks again."""
        asked.append(what)
        return f"{what} it is"

    asked: list[str] = []
    look.asked = asked  # type: ignore[attr-defined]
    return look
