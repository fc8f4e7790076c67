"""Parameters of the resize strategies that cut an image into tiles.

`loader.resize` has one module for each `kind`; a published kind never changes its meaning.
"""

from __future__ import annotations

from typing import Annotated, Literal

from registry.crops import Grid
from registry.data import Count, Positive, Rule, record


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


@record
class Overview:
    """The whole image once more, as one square picture beside its tiles."""

    side: Positive
    """Side of the square, in pixels."""
    # "absent" in one family only, Llama 4: its processor writes tokens for an overview that it never makes.
    fit: Literal["stretch", "pad", "absent"]
    """stretch: the aspect ratio is lost; pad: it is kept, with borders on both sides; absent: the prompt
    has the overview's tokens, and the encoder gets no such picture."""
    when: Literal["cut", "always"]
    """cut: only of images that become more than one tile; always: of every image."""


@record
class Kept:
    """Pictures with the image's own aspect ratio: an image too small to cut, and the overview of others."""

    min_tokens: Positive
    """Smaller images are enlarged to the area of this many tokens."""
    max_tokens: Positive
    """Larger images are shrunk to the area of this many tokens."""
    uncut_tokens: Positive
    """Only images with more than the area of this many tokens are cut into tiles."""

    def __post_init__(self) -> None:
        if not self.min_tokens <= self.max_tokens <= self.uncut_tokens:
            raise ValueError("max_tokens: not between min_tokens and uncut_tokens")


@record
class StretchTiles:
    """Stretched onto the grid of square tiles that suits its aspect ratio (InternVL, Aya Vision, Phi-3)."""

    kind: Literal["stretch_tiles"]
    """The strategy."""
    tile: Positive
    """Side of a tile, in pixels."""
    patch: Positive
    """Side of a patch, in pixels."""
    merge: Positive
    """Patches per side that become one token, rounded up."""
    min_tiles: Positive = 1
    """Tiles at least, the overview not counted."""
    max_tiles: Positive
    """Tiles at most, the overview not counted."""
    # Three of these are one family's each. They are different orders on the same grids: nothing else that
    # these families do differs from the others, and no order can be said by the numbers of another one.
    choose: Literal["difference", "quotient", "gap", "most"]
    """Which grid, by aspect ratios: difference: the nearest one; quotient: the nearest one by a factor;
    gap: the one that an unstretched image would leave the narrowest border on; most: as many columns (of
    an upright image, rows) as leave enough tiles for the other side."""
    tie: Literal["area", "half"] | None = None
    """Which of two equally near grids: area: the one whose area is nearer to the image's; half: the larger,
    if the image has more than half its area. For difference and quotient, which need it."""
    overview: Overview | None = None
    """The overview. Absent: none, or `kept` says it."""
    # One family only: the sizes of `overview` are fixed, those here follow the image.
    kept: Kept | None = None
    """Small images and overviews keep their aspect ratio. Absent: they do not."""
    uncut_side: Positive | None = None
    """Images with no side longer than this, in pixels, become the overview alone. Absent: none do."""
    row_ends: bool = False
    """Whether every row of tokens, of the tiles' grid as of the overview, ends in one more image token."""
    separators: Count = 0
    """Image tokens that stand for no pixels, once in an image, besides `row_ends`."""

    def __post_init__(self) -> None:
        if self.min_tiles > self.max_tiles:
            raise ValueError("min_tiles: larger than max_tiles")
        if (self.tie is None) == (self.choose in {"difference", "quotient"}):
            raise ValueError("tie: choose=difference and choose=quotient need it, the others have none")
        if self.kept and (self.overview or self.min_tiles == 1):
            raise ValueError("kept: replaces the overview, and needs min_tiles from 2")
        if self.uncut_side and not (self.overview and self.overview.when == "always"):
            raise ValueError("uncut_side: nothing is left of such images without an overview")


@record
class CanvasTiles:
    """Fitted unstretched into the best canvas of square tiles, the rest padded (Llama 3.2, DeepSeek-VL2)."""

    kind: Literal["canvas_tiles"]
    """The strategy."""
    tile: Positive
    """Side of a tile, in pixels."""
    patch: Positive
    """Side of a patch, in pixels."""
    merge: Positive
    """Patches per side that become one token, rounded up."""
    grids: Annotated[tuple[Grid, ...], Rule(min_length=1)]
    """The canvases to choose from, each [columns, rows] of tiles. Of equally good ones the first is taken."""
    # Each of the two is one family's: they share the canvas and differ in how an image gets onto it.
    fit: Literal["corner", "centre"]
    """corner: the canvas that asks for the least scaling, upwards if there is one; the image stands at its
    top left and is enlarged to one tile at most. centre: the canvas that keeps most of the image's own
    pixels; the image fills it and has borders on both sides."""
    overview: Overview | None = None
    """The overview. Absent: none."""
    row_ends: bool = False
    """Whether every row of tokens, of the tiles' grid as of the overview, ends in one more image token."""
    separators: Count = 0
    """Image tokens that stand for no pixels, once in an image, besides `row_ends`."""
    # One family only: its prompt has one token whatever the canvas, which no number of the others says.
    cross: bool = False
    """true: the prompt has one image token, and the language model attends to the encoder's states, one of
    each patch and one of each tile, of as many tiles as the largest canvas has."""

    def __post_init__(self) -> None:
        if self.cross and (self.overview or self.row_ends or self.separators):
            raise ValueError("cross: the prompt has one image token and no others")


@record
class Windows:
    """Padded to a square, cut into as many windows as its side is long, with an overview (Step 3).

    No case of `stretch_tiles`: the number of windows follows from the side in pixels, not from the aspect
    ratio, and images may be too small for any.
    """

    kind: Literal["windows"]
    """The strategy."""
    tile: Positive
    """Side of a window, in pixels."""
    patch: Positive
    """Side of a patch, in pixels."""
    merge: Positive
    """Patches per side that become one token."""
    overview: Positive
    """Side of the overview, in pixels; no image with a side of at most this is cut."""
    max_side: Positive
    """Larger squares are shrunk to this side, in pixels, before they are cut."""

    def __post_init__(self) -> None:
        if not self.tile <= self.overview <= self.max_side:
            raise ValueError("overview: not between tile and max_side")


@record
class Quarters:
    """Cut into four quarters, each scaled by itself, with an overview (Idefics2).

    No case of the other kinds: the pieces are of the image's own aspect ratio, and are cut before they are
    scaled.
    """

    kind: Literal["quarters"]
    """The strategy."""
    split: bool
    """false: not cut, the picture that would be the overview is the only one."""
    shortest_edge: Positive
    """No side of a picture is shorter than this, in pixels; narrow ones are stretched to it."""
    longest_edge: Positive
    """Longer pictures are shrunk to this longest edge, in pixels."""
    patch: Positive
    """Side of a patch, in pixels."""
    tokens_per_tile: Positive
    """Image tokens of a quarter, and of the overview."""

    def __post_init__(self) -> None:
        if self.shortest_edge > self.longest_edge:
            raise ValueError("shortest_edge: larger than longest_edge")
