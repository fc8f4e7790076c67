"""What a resize strategy answers: an ImagePlan. Pure integers, no pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

Size = tuple[int, int]
"""Width and height, in pixels."""
Setting = tuple[str, int]
"""A dotted attribute of the processor, and the value that it is lowered to for a call (False: turned off)."""


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """What becomes of one image. Sizes are in pixels; None where the family has no such thing."""

    source: Size
    """The caller's image, upright."""
    width: int
    """Width that the model sees, over all tiles of the grid."""
    height: int
    """Height that the model sees, over all tiles of the grid."""
    resizes: tuple[Size, ...]
    """Sizes that the pixels are resampled to, one after the other, as the model's own processor does."""
    offset: tuple[int, int]
    """Left and top of what the model sees, in the last of `resizes`."""
    image_tokens: int
    """Positions that hold the family's image token."""
    tokens: int | None
    """All positions that the processor writes for the image; None: not established."""
    patches: int | None
    """Patches that the vision encoder computes on, over all tiles."""
    tiles: int | None
    """Pictures handed to the encoder, the overview included."""
    rows: int | None
    """Rows of the tile grid."""
    cols: int | None
    """Columns of the tile grid."""
    note: str
    """What was done, in one line."""
    grid: Size | None = None
    """Columns and rows of image tokens, where they form one grid; the overview's are not counted."""
    overview_tokens: int | None = None
    """Image tokens of the overview, where it has another number than a tile."""
    cross_tokens: int | None = None
    """Encoder states that the language model attends to instead of image tokens in the prompt."""
    unseen_tokens: int = 0
    """Image tokens for which the processor makes no picture: the model would take them for anything."""
    setting: Setting | None = None
    """What the processor has to be set to for this plan, where it limits itself by an attribute."""
    stays: bool = True
    """Whether the model's own processor makes the same of the image when it is already at `resizes[-1]`."""

    @property
    def handed(self) -> Size:
        """Width and height of the picture that the processor is given, before any padding of its own."""
        width, height = self.resizes[-1]
        return min(width, self.width), min(height, self.height)

    @property
    def scale(self) -> tuple[float, float]:
        """Caller's pixels per pixel of the last resize, across and down."""
        width, height = self.resizes[-1]
        return self.source[0] / width, self.source[1] / height

    def to_source(self, x: float, y: float) -> tuple[float, float]:
        """A point that the model names, in the caller's pixels."""
        across, down = self.scale
        return (x + self.offset[0]) * across, (y + self.offset[1]) * down

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain data, for JSON."""
        return {
            "source": list(self.source),
            "width": self.width,
            "height": self.height,
            "tiles": self.tiles,
            "rows": self.rows,
            "cols": self.cols,
            "patches": self.patches,
            "image_tokens": self.image_tokens,
            "tokens": self.tokens,
            "cross_tokens": self.cross_tokens,
            "scale": list(self.scale),
            "offset": list(self.offset),
            "setting": None if self.setting is None else list(self.setting),
            "note": self.note,
        }


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the caller or the card allows one image; None: no limit besides the model's own."""

    tokens: int | None = None
    pixels: int | None = None


@dataclass(frozen=True, slots=True)
class Geometry:
    """What a strategy works out; the fields mean what they mean in ImagePlan."""

    resizes: tuple[Size, ...]
    image_tokens: int
    patches: int
    offset: tuple[int, int] = (0, 0)
    seen: Size | None = None
    """Width and height that the model sees, where they are not the last of `resizes`."""
    tiles: int = 1
    rows: int | None = None
    cols: int | None = None
    grid: Size | None = None
    """Columns and rows of image tokens, where they form one grid; the overview's are not counted."""
    extra_tokens: int | None = None
    """Positions that the processor writes for the image besides image tokens, where they depend on its
    size; None: the card's `image.extra_tokens` counts."""
    overview_tokens: int | None = None
    cross_tokens: int | None = None
    unseen_tokens: int = 0
    stays: bool = True


P_contra = TypeVar("P_contra", contravariant=True)


class Strategy(Protocol[P_contra]):
    """A resize strategy: a card's parameters, the size of an image and bounds -> its geometry.

    Honours the bounds as far as the family can. Raises ImageError for sizes that the model's own
    processor refuses, with the reason.
    """

    def __call__(self, parameters: P_contra, size: Size, bounds: Bounds) -> Geometry: ...
