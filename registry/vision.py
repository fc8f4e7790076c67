"""What a card may say about images: placeholder, token, resize strategy, budget.

The parameters of the strategies stand in `registry.grids` (one picture) and `registry.tiles`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from registry.crops import Anyres, Crops, MergedCrops, Slices
from registry.data import ByKind, Count, Positive, Rule, record
from registry.grids import Fixed, LongestEdge, PaddedGrid, PatchLimit, SmartResize, TokenBudget
from registry.tiles import CanvasTiles, Quarters, SplitTiles, StretchTiles, Windows

Resize = Annotated[
    Anyres
    | Crops
    | MergedCrops
    | Slices
    | SmartResize
    | Fixed
    | SplitTiles
    | StretchTiles
    | CanvasTiles
    | Windows
    | Quarters
    | LongestEdge
    | PaddedGrid
    | PatchLimit
    | TokenBudget,
    ByKind(),
]

LEVER = r"^[a-z][a-z_]*(\.[a-z][a-z_]*)*$"
"""A dotted path of public names."""


@record
class Budget:
    """How much of a prompt one image may take unless the caller says otherwise."""

    tokens: Positive
    """Image tokens of one image with detail="auto"."""
    low: Positive | None = None
    """Image tokens of one image with detail="low"."""


@record
class Expansion:
    """The text that the processor puts in the place of one image, `tokens` image tokens among it.

    open  (tile rows, each tile with its tokens, and the overview)  close. Families with one picture have
    rows of tokens instead of tiles.
    """

    replaces: str | None = None
    """The part of the placeholder that is replaced. Absent: the image token."""
    open: str = ""
    """Before everything."""
    close: str = ""
    """After everything."""
    row_end: str = ""
    """After every row of image tokens of the one picture."""
    last_row_end: str | None = None
    """After the last row, where it differs."""
    tile_open: str = ""
    """Before a tile's tokens; {row} and {col} count from 1, {n} counts tiles from 1."""
    tile_close: str = ""
    """After a tile's tokens."""
    tile_between: str = ""
    """Between two tiles of a row."""
    tile_row_end: str = ""
    """After a row of tiles."""
    tile_last_row_end: str | None = None
    """After the last row of tiles, where it differs."""
    overview: Literal["first", "last"] = "last"
    """Where the overview stands among the tiles."""
    overview_open: str = ""
    """Before the overview's tokens."""
    overview_close: str = ""
    """After the overview's tokens."""
    alone_open: str | None = None
    """Before the tokens of an image that is not cut, where it differs from `overview_open`."""
    alone_close: str | None = None
    """After them, where it differs from `overview_close`."""


@record
class Image:
    """How a family takes images."""

    placeholder: str
    """What the prompt holds for one image, before the processor expands it."""
    token: str
    """The token that the processor repeats, once for each position with image features."""
    positions: Literal["token", "negative", "spliced"] = "token"
    """What the processor writes where the image goes: `token` each time; ids below zero each time; or one
    id below zero, in the place of which the model puts all the features."""
    extra_tokens: Count | None = None
    """Positions that the processor writes for one image besides `token`. Absent: not established."""
    reserved: tuple[str, ...] = ()
    """Further text that the processor takes for an image wherever it stands."""
    expansion: Expansion | None = None
    """What the processor writes for one image. Absent: not established."""
    max_images: Positive | None = None
    """Images in one conversation. Absent: no limit is known."""
    resample: Literal["bilinear", "bicubic", "lanczos"]
    """The filter of the model's own processor."""
    background: str = "white"
    """Colour under transparent pixels."""
    resize: Resize
    """The resize strategy and its parameters."""
    lever: Annotated[str, Rule(pattern=LEVER)] | None = None
    """Attribute of the loaded processor that holds the one parameter which a budget may lower, such as
    image_processor.max_patches. Absent: it has none, or needs none, because it is handed a smaller image."""
    budget: Budget | None = None
    """The recommended budget. Absent: detail="auto" does what the model's own processor does."""
