"""Two pictures that nobody who sees takes for each other, not even a corner of one for that of the other."""

from __future__ import annotations

import PIL.Image
import PIL.ImageDraw

SIDE = 336
"""Pixels. Small enough for an answer in seconds, large enough for more than a few tokens."""
_BOX = (90, 100, 230, 240)


def disc() -> PIL.Image.Image:
    """A red disc on white."""
    picture = PIL.Image.new("RGB", (SIDE, SIDE), (255, 255, 255))
    PIL.ImageDraw.Draw(picture).ellipse(_BOX, fill=(220, 20, 30))
    return picture


def square() -> PIL.Image.Image:
    """A blue square on light grey, of the same size."""
    picture = PIL.Image.new("RGB", (SIDE, SIDE), (225, 225, 225))
    PIL.ImageDraw.Draw(picture).rectangle(_BOX, fill=(20, 40, 210))
    return picture
