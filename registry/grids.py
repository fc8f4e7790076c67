"""Parameters of the resize strategies that make one picture of every image.

`loader.resize` has one module for each `kind`; a published kind never changes its meaning.
"""

from __future__ import annotations

from typing import Literal

from registry.data import Count, Positive, record

RowEnd = Literal["image", "other"]


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
    """Smaller images are enlarged to this area. Of the released checkpoint, not the class default. Half
    of it where upstream counts the two frames that it makes of an image."""
    max_pixels: Positive
    """Larger images are shrunk to this area. Of the released checkpoint, not the class default. Half
    of it where upstream counts the two frames that it makes of an image."""
    max_aspect: Positive
    """Images whose long side is more than this many times the short one are refused, or cut short."""
    short_side: Literal["area", "one", "enlarge", "enlarge_rounded"] = "area"
    """What becomes of a side that is too short for one token. area: nothing, unless it rounds to none, and
    then the whole image is enlarged to min_pixels; one: it becomes one token; enlarge: first of all the
    image is enlarged until that side is one token, the sides in whole pixels; enlarge_rounded: the same,
    the sides rounded to the nearest pixel."""
    # ERNIE 4.5 alone: neither another max_aspect nor another kind takes an image of 1 x 1,000.
    overlong: Literal["refuse", "widen"] = "refuse"
    """What becomes of an image beyond max_aspect. widen: the short side counts as if it kept to it."""
    # ERNIE 4.5 alone: 10 x 23 is enlarged to 56 x 84 by it and to 56 x 112 by all others.
    whole_pixels: bool = False
    """Whether the scaled sides are cut to whole pixels before they become multiples."""
    shortest_edge: Positive | None = None
    """An image with a shorter side is first of all enlarged until that side has this many pixels
    (Falcon-OCR, Falcon Perception)."""
    longest_edge: Positive | None = None
    """An image with a longer side is first of all shrunk until that side has this many pixels."""
    row_end: RowEnd | None = None
    """What closes every row of tokens. image: one more image token, and one stands before and one after all
    rows; other: another token. Absent: nothing."""

    def __post_init__(self) -> None:
        if self.min_pixels > self.max_pixels:
            raise ValueError("min_pixels: larger than max_pixels")
        if (self.shortest_edge is None) != (self.longest_edge is None):
            raise ValueError("longest_edge: goes with shortest_edge")
        if self.shortest_edge and self.longest_edge and self.shortest_edge > self.longest_edge:
            raise ValueError("shortest_edge: larger than longest_edge")


@record
class TokenBudget:
    """A grid of tokens in the image's shape, as large as a budget of tokens allows (Gemma 4)."""

    kind: Literal["token_budget"]
    """The strategy."""
    patch: Positive
    """Side of a patch, in pixels."""
    merge: Positive
    """Patches per side that become one cell of the grid, which is one token."""
    max_tokens: Positive
    """Cells of the grid at most."""
    min_tokens: Count = 0
    """Smaller images are enlarged to about this many cells. Without meaning for the grids that fill."""
    # Each family rounds in a way of its own, and none of them gives the grid of another: of 456 x 200 pixels
    # with patch 14, merge 2 and 256 tokens they make 24 x 10, 23 x 11, 24 x 11, 16 x 7, 15 x 7 and 17 x 8.
    grid: Literal["fill_down", "fill_up", "fill_nearest", "shape", "rows", "even"]
    """How whole rows and columns are found. fill_: every image is scaled to max_tokens, then both sides are
    rounded down, up or to the nearest. The others scale only what is above max_tokens or below min_tokens.
    shape: of the grids next to the exact one, that which distorts least; rows: as many whole rows as fit,
    then as many columns as they leave; even: patches rounded up, then to whole tokens."""
    tokens: Positive | None = None
    """Image tokens whatever the grid is, where a resampler makes them of it. Absent: one for each cell."""
    padded: bool = False
    """Whether the encoder computes on max_tokens whatever the grid is, the rest of them masked."""
    budgets: tuple[Positive, ...] = ()
    """Values of max_tokens that the model was trained for."""

    def __post_init__(self) -> None:
        if self.min_tokens > self.max_tokens:
            raise ValueError("min_tokens: larger than max_tokens")


@record
class PaddedGrid:
    """Kept in shape and padded to a grid of tokens, within a least area and a budget of tokens."""

    kind: Literal["padded_grid"]
    """The strategy."""
    patch: Positive
    """Side of a patch, in pixels."""
    merge: Positive
    """Patches per side that become one token."""
    min_pixels: Positive
    """Smaller images are enlarged to this area."""
    max_tokens: Positive
    """Image tokens at most, those that close rows included."""
    # GLM-5-Next and DeepSeek-V4.1: 640 x 480 is padded to 644 x 504 by the one, 644 x 490 by the other.
    whole: Literal["tokens", "patches"]
    """What both sides are padded to multiples of. tokens: on the right and at the bottom; patches: on both
    sides alike, and what is missing of the last tokens is filled up behind the encoder."""
    row_end: RowEnd | None = None
    """What closes every row of tokens. image: one more image token, and one stands before and one after all
    rows; other: another token. Absent: nothing."""


@record
class PatchLimit:
    """Shrunk to a number of patches, then both sides become multiples of patch x merge (Kimi)."""

    kind: Literal["patch_limit"]
    """The strategy."""
    patch: Positive
    """Side of a patch, in pixels."""
    merge: Positive
    """Patches per side that become one token."""
    max_patches: Positive | None = None
    """Images of more patches are shrunk. Padding and stretching may go beyond. Absent: no limit."""
    max_side: Positive | None = None
    """Patches of one side at most. Absent: no limit."""
    overlong: Literal["shrink", "refuse"] = "shrink"
    """What becomes of an image with a side of more patches than max_side."""
    fit: Literal["crop", "pad", "stretch"]
    """How the sides become multiples. crop: the ends of both sides are cut off; pad: on the right and at the
    bottom; stretch: a second time of scaling, up."""
    # Inkling alone: no other strategy gives a width of 80 three columns of 40, and one of 79 two.
    spare_column: bool = False
    """Whether a width that is a multiple gets one more column, all padding."""

    def __post_init__(self) -> None:
        if self.spare_column and self.fit != "pad":
            raise ValueError("spare_column: needs fit: pad")


@record
class LongestEdge:
    """Shrunk until the longest edge fits, then stretched up to whole tokens, in one step (Pixtral)."""

    kind: Literal["longest_edge"]
    """The strategy."""
    patch: Positive
    """Side of a patch, in pixels."""
    merge: Positive
    """Patches per side that become one token."""
    longest_edge: Positive
    """Images with a longer side are shrunk until it has this many pixels."""
    row_end: RowEnd | None = None
    """What closes every row of tokens. image: one more image token, and one stands before and one after all
    rows; other: another token. Absent: nothing."""


@record
class Fixed:
    """Every image becomes one picture of one size (SigLIP and CLIP towers)."""

    kind: Literal["fixed"]
    """The strategy."""
    width: Positive
    """Width that the model sees, in pixels."""
    height: Positive
    """Height that the model sees, in pixels."""
    # Two ways to pad, of one family each: DeepSeek-VL pads what it has scaled, FastVLM scales what it has
    # padded, which is not the same to the pixel.
    fit: Literal["stretch", "crop", "pad", "pad_first"]
    """stretch: the aspect ratio is lost; crop: the short side fits and the long side loses its ends; pad: the
    long side fits and the short one is padded on both sides; pad_first: padded before it is scaled."""
    patch: Positive
    """Side of a patch, in pixels."""
    tokens: Positive
    """Image tokens, whatever the picture."""
    # DeepSeek-VL alone: of an image of 2,000 x 10 it makes a height of 14 pixels, not of 1.
    least: Positive = 1
    """With fit: pad, the fewest pixels that the short side is scaled to."""

    def __post_init__(self) -> None:
        if self.fit != "stretch" and self.width != self.height:
            raise ValueError(f"height: fit {self.fit} needs a square")
