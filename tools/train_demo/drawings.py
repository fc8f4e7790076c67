"""Pictures that the demo model knows: one coloured shape on a light, plain background."""

from __future__ import annotations

import colorsys
import io
import math
import random
from dataclasses import dataclass

from PIL import Image, ImageDraw

__all__ = ["COLOURS", "SHAPES", "SIDES", "Drawing", "draw"]

COLOURS = ("red", "green", "blue", "yellow", "purple", "orange")
SHAPES = ("circle", "square", "triangle")
SIDES = ("left", "right", "top", "bottom")

# Degrees of hue and share of brightness. The ranges hold the CSS colours of these names, and leave gaps:
# nobody can tell what lies halfway between orange and yellow.
_PAINT = {
    "red": ((-8, 8), (0.72, 1)),
    "orange": ((25, 40), (0.88, 1)),
    "yellow": ((51, 61), (0.88, 1)),
    "green": ((95, 145), (0.42, 0.92)),
    "blue": ((208, 244), (0.6, 1)),
    "purple": ((270, 303), (0.45, 0.85)),
}
_CLEAR = 0.14
"""How far from the middle, as a share of the side, a shape is that clearly stands at one side."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture and what is to be said about it."""

    image: Image.Image
    colour: str
    shape: str
    side: str | None
    """Where the shape stands; None where one could argue."""

    @property
    def what(self) -> str:
        """The shape as the model is to name it: "a red circle"."""
        article = "an" if self.colour == "orange" else "a"
        return f"{article} {self.colour} {self.shape}"


def draw(
    source: random.Random,
    *,
    sides: tuple[int, int] = (64, 4000),
    share: tuple[float, float] = (0.2, 0.5),
    at_side: bool = False,
) -> Drawing:
    """A drawing by chance.

    `sides`: pixels of the longer side, from and to. `share`: the shape's size as a share of the
    shorter side. `at_side`: the shape stands at one side, mostly clearly; otherwise anywhere.
    """
    size = _size(source, sides)
    colour, shape = source.choice(COLOURS), source.choice(SHAPES)
    extent = source.uniform(*share) * min(size)
    # How far the shape's middle may be from the picture's, as shares of its width and height.
    reach = (0.5 - extent / 2 / size[0], 0.5 - extent / 2 / size[1])
    if at_side:
        side = source.choice(SIDES)
        offset = _at(side, source, reach)
    else:
        offset = source.uniform(-reach[0], reach[0]), source.uniform(-reach[1], reach[1])
    image = Image.new("RGB", size, _background(source))
    middle = size[0] * (0.5 + offset[0]), size[1] * (0.5 + offset[1])
    _paint(ImageDraw.Draw(image), shape, middle, extent / 2, _colour(source, colour))
    return Drawing(image, colour, shape, _side(offset, size))


def as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    """The picture after it has been saved as JPEG and opened again."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def _size(source: random.Random, sides: tuple[int, int]) -> tuple[int, int]:
    least, most = sides
    long = round(math.exp(source.uniform(math.log(least), math.log(most))))
    short = round(long / 2 ** source.uniform(0, 1)) if source.random() < 0.75 else long
    short = max(short, min(long, 64))
    return (long, short) if source.random() < 0.5 else (short, long)


def _at(side: str, source: random.Random, reach: tuple[float, float]) -> tuple[float, float]:
    along, across = reach if side in ("left", "right") else reach[::-1]
    far = source.uniform(min(_CLEAR + 0.04, along), along) * (-1 if side in ("left", "top") else 1)
    aside = min(across, abs(far) / 2.2) * source.uniform(-1, 1)
    return (far, aside) if side in ("left", "right") else (aside, far)


def _side(offset: tuple[float, float], size: tuple[int, int]) -> str | None:
    """A side only where it is clear both in shares of the picture and in pixels."""
    (x, y), (wide, high) = offset, size
    if abs(x) >= _CLEAR and abs(x) > 2 * abs(y) and abs(x) * wide > 1.5 * abs(y) * high:
        return "left" if x < 0 else "right"
    if abs(y) >= _CLEAR and abs(y) > 2 * abs(x) and abs(y) * high > 1.5 * abs(x) * wide:
        return "top" if y < 0 else "bottom"
    return None


def _colour(source: random.Random, name: str) -> tuple[int, int, int]:
    hues, values = _PAINT[name]
    red, green, blue = colorsys.hsv_to_rgb(
        source.uniform(*hues) / 360 % 1, source.uniform(0.75, 1), source.uniform(*values)
    )
    return round(255 * red), round(255 * green), round(255 * blue)


def _background(source: random.Random) -> tuple[int, int, int]:
    light = source.randint(216, 255)
    red, green, blue = (min(255, light + source.randint(-8, 8)) for _ in range(3))
    return red, green, blue


def _paint(
    canvas: ImageDraw.ImageDraw,
    shape: str,
    middle: tuple[float, float],
    half: float,
    fill: tuple[int, int, int],
) -> None:
    x, y = middle
    box = (x - half, y - half, x + half, y + half)
    if shape == "circle":
        canvas.ellipse(box, fill=fill)
    elif shape == "square":
        canvas.rectangle(box, fill=fill)
    else:
        canvas.polygon([(x, y - half), (x - half, y + half), (x + half, y + half)], fill=fill)
