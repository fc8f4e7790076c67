"""What a card may say about images: placeholder, token, resize strategy, budget.

The parameters of the strategies stand in `registry.grids` (one picture) and `registry.tiles`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from registry.data import ByKind, Count, Positive, record
from registry.grids import Fixed, SmartResize
from registry.tiles import SplitTiles

Resize = Annotated[SmartResize | Fixed | SplitTiles, ByKind()]


@record
class Budget:
    """How much of a prompt one image may take unless the caller says otherwise."""

    tokens: Positive
    """Image tokens of one image with detail="auto"."""
    low: Positive | None = None
    """Image tokens of one image with detail="low"."""


@record
class Image:
    """How a family takes images."""

    placeholder: str
    """What the prompt holds for one image, before the processor expands it."""
    token: str
    """The token that the processor repeats, once for each position with image features."""
    extra_tokens: Count | None = None
    """Positions that the processor writes for one image besides `token`. Absent: not established."""
    max_images: Positive | None = None
    """Images in one conversation. Absent: no limit is known."""
    resample: Literal["bilinear", "bicubic", "lanczos"]
    """The filter of the model's own processor."""
    background: str = "white"
    """Colour under transparent pixels."""
    resize: Resize
    """The resize strategy and its parameters."""
    budget: Budget | None = None
    """The recommended budget. Absent: detail="auto" does what the model's own processor does."""
