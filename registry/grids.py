"""Parameters of the resize strategies that make one picture of every image.

`loader.resize` has one module for each `kind`; a published kind never changes its meaning.
"""

from __future__ import annotations

from typing import Literal

from registry.data import Positive, record


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
