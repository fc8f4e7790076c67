"""What a card may say about images: placeholder, token, resize strategy, budget.

`loader.resize` has one module for each `kind`; a published kind never changes its meaning.
"""

from __future__ import annotations

from typing import Annotated, Literal

from registry.data import ByKind, Count, Positive, record


@record
class SmartResize:
    """Both sides become multiples of patch x merge, the area stays within two bounds (Qwen-VL)."""

    kind: Literal["smart_resize"]
    """The strategy."""
    patch: Positive
    """Side of a patch, in pixels."""
    merge: Positive
    """Patches per side that become one token."""
    min_pixels: Positive
    """Smaller images are enlarged to this area. Of the released checkpoint, not the class default."""
    max_pixels: Positive
    """Larger images are shrunk to this area. Of the released checkpoint, not the class default."""
    max_aspect: Positive
    """Images whose long side is more than this many times the short one are refused."""

    def __post_init__(self) -> None:
        if self.min_pixels > self.max_pixels:
            raise ValueError("min_pixels: larger than max_pixels")


@record
class Fixed:
    """Every image becomes one picture of one size (SigLIP and CLIP towers)."""

    kind: Literal["fixed"]
    """The strategy."""
    width: Positive
    """Width that the model sees, in pixels."""
    height: Positive
    """Height that the model sees, in pixels."""
    fit: Literal["stretch", "crop"]
    """stretch: the aspect ratio is lost; crop: the short side fits and the long side loses its ends."""
    patch: Positive
    """Side of a patch, in pixels."""
    tokens: Positive
    """Image tokens, whatever the picture."""

    def __post_init__(self) -> None:
        if self.fit == "crop" and self.width != self.height:
            raise ValueError("height: a crop needs a square")


@record
class SplitTiles:
    """Scaled until the longest edge fits, cut into square tiles, one overview added (Idefics3)."""

    kind: Literal["split_tiles"]
    """The strategy."""
    longest_edge: Positive
    """The longest edge after scaling, in pixels; smaller images are enlarged to it."""
    tile: Positive
    """Side of a tile, in pixels."""
    patch: Positive
    """Side of a patch, in pixels."""
    tokens_per_tile: Positive
    """Image tokens of one tile, and of the overview."""


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
