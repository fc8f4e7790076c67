"""What a card may say about images: placeholder, token, resize strategy, budget.

`loader.resize` has one module for each `kind`; a published kind never changes its meaning.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from registry.grammar import Data


class SmartResize(Data):
    """Both sides become multiples of patch x merge, the area stays within two bounds (Qwen-VL)."""

    kind: Literal["smart_resize"]
    """The strategy."""
    patch: PositiveInt
    """Side of a patch, in pixels."""
    merge: PositiveInt
    """Patches per side that become one token."""
    min_pixels: PositiveInt
    """Smaller images are enlarged to this area. Of the released checkpoint, not the class default."""
    max_pixels: PositiveInt
    """Larger images are shrunk to this area. Of the released checkpoint, not the class default."""
    max_aspect: PositiveInt
    """Images whose long side is more than this many times the short one are refused."""

    @model_validator(mode="after")
    def _bounds_in_order(self) -> SmartResize:
        if self.min_pixels > self.max_pixels:
            raise ValueError("min_pixels: larger than max_pixels")
        return self


class Fixed(Data):
    """Every image becomes one picture of one size (SigLIP and CLIP towers)."""

    kind: Literal["fixed"]
    """The strategy."""
    width: PositiveInt
    """Width that the model sees, in pixels."""
    height: PositiveInt
    """Height that the model sees, in pixels."""
    fit: Literal["stretch", "crop"]
    """stretch: the aspect ratio is lost; crop: the short side fits and the long side loses its ends."""
    patch: PositiveInt
    """Side of a patch, in pixels."""
    tokens: PositiveInt
    """Image tokens, whatever the picture."""


class SplitTiles(Data):
    """Scaled until the longest edge fits, cut into square tiles, one overview added (Idefics3)."""

    kind: Literal["split_tiles"]
    """The strategy."""
    longest_edge: PositiveInt
    """The longest edge after scaling, in pixels; smaller images are enlarged to it."""
    tile: PositiveInt
    """Side of a tile, in pixels."""
    patch: PositiveInt
    """Side of a patch, in pixels."""
    tokens_per_tile: PositiveInt
    """Image tokens of one tile, and of the overview."""


Resize = Annotated[SmartResize | Fixed | SplitTiles, Field(discriminator="kind")]


class Budget(Data):
    """How much of a prompt one image may take unless the caller says otherwise."""

    tokens: PositiveInt
    """Image tokens of one image with detail="auto"."""
    low: PositiveInt | None = None
    """Image tokens of one image with detail="low"."""


class Image(Data):
    """How a family takes images."""

    placeholder: str
    """What the prompt holds for one image, before the processor expands it."""
    token: str
    """The token that the processor repeats, once for each position with image features."""
    extra_tokens: int | None = Field(None, ge=0)
    """Positions that the processor writes for one image besides `token`. Absent: not established."""
    max_images: PositiveInt | None = None
    """Images in one conversation. Absent: no limit is known."""
    resample: Literal["bilinear", "bicubic", "lanczos"]
    """The filter of the model's own processor."""
    background: str = "white"
    """Colour under transparent pixels."""
    resize: Resize
    """The resize strategy and its parameters."""
    budget: Budget | None = None
    """The recommended budget. Absent: detail="auto" does what the model's own processor does."""
