"""Parameters of the resize strategies that cut an image into overlapping, padded or unequal tiles.

`loader.resize` has one module for each `kind`; a published kind never changes its meaning.
"""

from __future__ import annotations

from typing import Annotated, Literal

from registry.data import Positive, Rule, record
from registry.grids import SmartResize

Grid = tuple[Positive, Positive]
"""Columns and rows of tiles."""


@record
class Anyres:
    """Fitted into the best of some grids of square tiles, with a stretched overview (LLaVA-NeXT, Granite).

    Borders of tokens that saw only padding are left out again, and every row of tokens ends in one more.
    """

    kind: Literal["anyres"]
    """The strategy."""
    tile: Positive
    """Side of a tile, and of the overview, in pixels."""
    patch: Positive
    """Side of a patch, in pixels."""
    # 2 in one family only; a larger patch cannot say it, because the encoder computes on the small ones.
    merge: Positive = 1
    """Patches per side that become one token."""
    grids: Annotated[tuple[Grid, ...], Rule(min_length=1)]
    """The grids to choose from, each [columns, rows] of tiles. Of two that fit alike the first is taken."""
    # One family only: no other kind has more features than tokens and scales them down behind the encoder.
    shrink_above: Positive | None = None
    """Tiles' worth of tokens: more than 1.21 times as many are scaled down to it. Absent: never."""


@record
class Crops:
    """Scaled to a grid of square tiles that overlap, with an overview (Molmo)."""

    kind: Literal["crops"]
    """The strategy."""
    # One family only, and it cannot be left to the others: the tiles are chosen for the scaled size.
    scaled: SmartResize | None = None
    """How an image is scaled before tiles are chosen for it. Absent: not at all."""
    tile: Positive
    """Side of a tile, and of the overview, in pixels."""
    patch: Positive
    """Side of a patch, in pixels."""
    margin: Positive
    """Patches on each side of a tile that belong to its neighbour, or are the outermost of the image."""
    merge: Positive
    """Patches per side that become one token, rounded up."""
    merge_across: bool
    """true: patches are merged in the whole grid; false: in each tile, without its neighbours' patches."""
    max_tiles: Positive
    """Tiles at most, the overview not counted."""
    fit: Literal["stretch", "pad"]
    """stretch: the aspect ratio is lost; pad: it is kept, with borders on both sides."""
    # One family says "other": its second kind of image token follows from no other field.
    overview: Literal["image", "other"] = "image"
    """image: the overview's positions hold the image token too, and each of its rows has a separator;
    other: they hold another token, and its rows have no separators."""

    def __post_init__(self) -> None:
        if self.tile // self.patch <= 2 * self.margin:
            raise ValueError("margin: nothing is left of a tile between its margins")


@record
class MergedCrops:
    """Square crops that overlap, averaged into the positions of the overview (Moondream).

    No case of `crops`: the grid is chosen by a score, each crop is cut from the caller's own pixels, and
    the number of tokens never changes.
    """

    kind: Literal["merged_crops"]
    """The strategy."""
    tile: Positive
    """Side of a crop, and of the overview, in pixels."""
    patch: Positive
    """Side of a patch, in pixels; a patch of the overview is one token."""
    margin: Positive
    """Patches on each side of a crop that belong to its neighbour, or are the outermost of the image."""
    max_tiles: Positive
    """Crops at most, the overview counted."""

    def __post_init__(self) -> None:
        if self.tile // self.patch <= 2 * self.margin:
            raise ValueError("margin: nothing is left of a crop between its margins")


@record
class Slices:
    """An overview and, of large images, a grid of slices, both of about one area (MiniCPM-V)."""

    kind: Literal["slices"]
    """The strategy."""
    tile: Positive
    """Side of a square with the area of a slice, and of the overview, in pixels."""
    patch: Positive
    """Side of a patch, in pixels."""
    merge: Positive
    """Patches per side that become one token; all sides are multiples of patch x merge."""
    max_tiles: Positive
    """Slices at most, the overview not counted."""
