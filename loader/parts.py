"""What a plan has parts of: tiles, the overview, the cells of tokens, in pixels of what the model sees.

Pure numbers, for the terminal and for pictures. An ImagePlan says how many tiles and tokens there are;
where they lie follows from the card's strategy, and is worked out here.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from loader.errors import takes_no_images
from registry.crops import Anyres, Crops, MergedCrops
from registry.grids import Fixed, TokenBudget
from registry.tiles import CanvasTiles, Quarters, SplitTiles, StretchTiles, Windows

if TYPE_CHECKING:
    from loader.resize.plan import ImagePlan, Size
    from registry.cards import Card
    from registry.vision import Resize

__all__ = ["Box", "Cells", "Overview", "Parts", "Tile", "parts"]

Box = tuple[float, float, float, float]
"""Left, top, right and bottom."""
Edges = tuple[float, ...]
"""Borders of tiles along one side, the outermost included."""
Spans = tuple[tuple[float, float], ...]
"""Start and end of each cell along one side."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One picture that the encoder is given. Of tiles that overlap: what the tile has for itself."""

    box: Box
    tokens: int | None
    """Image tokens; None: the tokens are not those of single tiles."""


@dataclass(frozen=True, slots=True)
class Cells:
    """The fine grid, over all tiles."""

    unit: Literal["token", "patch"]
    """What a cell is: an image token or, where these have no place in the image, a patch."""
    side: float
    """Of one cell, in pixels."""
    columns: Spans
    rows: Spans


@dataclass(frozen=True, slots=True)
class Overview:
    """The whole image once more."""

    size: Size | None
    """Width and height; None: in the image's own shape, the plan does not say how large."""
    fit: Literal["stretch", "centre", "corner"]
    """Stretched, or padded on both sides, or on the right and at the bottom."""
    cells: int
    """Columns, and rows, of image tokens; 0: it has none, or not in a square."""
    tokens: int
    """Image tokens; 0: its positions hold another token."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Where everything is."""

    content: Box
    """Where the image lies: smaller than what is seen with padding, larger with a crop."""
    tiles: tuple[Tile, ...]
    """Row by row; one, of everything that is seen, where nothing is cut."""
    across: Edges
    down: Edges
    overlap: int
    """Pixels on each side of an inner border that both tiles see."""
    cells: Cells
    overview: Overview | None
    rest: int
    """Image tokens that are no tile's and not the overview's: they end rows, or separate."""
    states: int | None = None
    """Encoder states of a tile, where the language model attends to these instead of image tokens."""

    @property
    def tokens_per_tile(self) -> int | None:
        """Image tokens of each tile; None: tiles differ, or have none of their own."""
        counts = {tile.tokens for tile in self.tiles}
        return counts.pop() if len(counts) == 1 else None

    @property
    def tile(self) -> Size:
        """Width and height of a tile, with what it shares with its neighbours."""
        wide, high = (
            edges[1] + (self.overlap if len(edges) > 2 else 0) for edges in (self.across, self.down)
        )
        return round(wide), round(high)

    @property
    def facts(self) -> str:
        """The parts in a few words, to follow the plan's note; may be empty."""
        cells = f"{len(self.cells.columns)} x {len(self.cells.rows)}"
        side = round(self.cells.side)
        said = []
        if self.states:
            said.append(f"{self.states:,} encoder states for each tile")
        elif len(self.tiles) > 1 and self.tokens_per_tile is not None:
            said.append(f"{self.tokens_per_tile:,} for each tile of {self.tile[0]}x{self.tile[1]}")
        elif self.cells.unit == "token":
            of_tiles = " for the tiles" if len(self.tiles) > 1 else ""
            said.append(f"{cells}{of_tiles}, each of {side}x{side} pixels")
        if self.overview and self.overview.tokens:
            said.append(f"{self.overview.tokens:,} for the overview")
        if self.rest and not self.states:
            said.append(f"{self.rest:,} that stand for no pixels")
        return ", ".join(said)


def parts(plan: ImagePlan, card: Card) -> Parts:
    """The parts of a plan that was made with this card."""
    if card.image is None:
        raise takes_no_images(card.name)
    resize = card.image.resize
    across = _borders(resize, plan.width, max(plan.cols or 0, 1))
    down = _borders(resize, plan.height, max(plan.rows or 0, 1))
    count = (len(across) - 1) * (len(down) - 1)
    cells = _cells(resize, plan, across, down)
    in_cells = cells.unit == "token"
    overview = _overview(resize, plan, count)
    left = plan.image_tokens - (overview.tokens if overview else 0)
    if _shared(resize, plan, cells, count):
        tiles = tuple(_tiles(across, down, None, None))
        left -= len(cells.columns) * len(cells.rows) if in_cells else 0
    else:
        tiles = tuple(_tiles(across, down, cells if in_cells else None, left // count))
        left -= sum(tile.tokens or 0 for tile in tiles)
    states = None
    if plan.cross_tokens and isinstance(resize, CanvasTiles):
        states = plan.cross_tokens // max(cols * rows for cols, rows in resize.grids)
    (x, y), (wide, high) = plan.offset, plan.resizes[-1]
    content = (-x, -y, wide - x, high - y)
    return Parts(content, tiles, across, down, _overlap(resize), cells, overview, left, states)


def _overlap(resize: Resize) -> int:
    return resize.margin * resize.patch if isinstance(resize, Crops | MergedCrops) else 0


def _borders(resize: Resize, side: int, count: int) -> Edges:
    """Borders of `count` tiles on `side` pixels; of tiles that overlap, the middle of what both see."""
    if isinstance(resize, Crops | MergedCrops):
        step = resize.tile - 2 * _overlap(resize)
        return (0, *(_overlap(resize) + step * number for number in range(1, count)), side)
    return tuple(side * number / count for number in range(count + 1))


def _cells(resize: Resize, plan: ImagePlan, across: Edges, down: Edges) -> Cells:
    """The cells of all tiles."""
    patch = resize.patch
    merge: int | None
    if isinstance(resize, Anyres):
        return _unpadded(resize, plan, across, down)
    if isinstance(resize, MergedCrops):
        across, down, merge = (0, plan.width), (0, plan.height), None
    elif isinstance(resize, Fixed):
        merge = _merge(resize.width // patch, resize.height // patch, resize.tokens)
    elif isinstance(resize, SplitTiles):
        merge = _merge(resize.tile // patch, resize.tile // patch, resize.tokens_per_tile)
    elif isinstance(resize, Quarters) or (isinstance(resize, TokenBudget) and resize.tokens):
        merge = None  # a resampler makes the tokens
    else:
        merge = resize.merge
    side = patch * (merge or 1)
    # In the tiles of some crops the cells begin anew, whatever the sum of them is.
    if plan.grid and merge and not (isinstance(resize, Crops) and not resize.merge_across):
        columns, rows = plan.grid
        return Cells(
            "token", side, _regular(0, plan.width, side, columns), _regular(0, plan.height, side, rows)
        )
    unit: Literal["token", "patch"] = "token" if merge and not plan.cross_tokens else "patch"
    return Cells(unit, side, _by_tile(across, patch, merge or 1), _by_tile(down, patch, merge or 1))


def _merge(cols: int, rows: int, tokens: int) -> int | None:
    """Patches along the square that one of `tokens` stands for, in a picture of cols x rows patches.

    Of some kinds a card says how many tokens a picture has, and not how they lie; None: in no grid.
    """
    merge = math.isqrt(cols * rows // tokens)
    whole = merge and (cols % merge, rows % merge) == (0, 0) and cols * rows == tokens * merge**2
    return merge if whole else None


def _regular(start: float, end: float, side: float, count: int) -> Spans:
    """`count` cells; the last may be cut short."""
    return tuple((start + side * number, min(start + side * (number + 1), end)) for number in range(count))


def _by_tile(borders: Edges, patch: int, merge: int) -> Spans:
    """Cells that begin anew with every tile; patches that are not whole do not count."""
    pairs = itertools.pairwise(borders)
    spans = [_regular(a, b, patch * merge, math.ceil((b - a) // patch / merge)) for a, b in pairs]
    return tuple(itertools.chain(*spans))


def _unpadded(resize: Anyres, plan: ImagePlan, across: Edges, down: Edges) -> Cells:
    """The cells of anyres: without those that saw only padding, and scaled where there were too many."""
    columns, rows = (_by_tile(borders, resize.patch, resize.merge) for borders in (across, down))
    cols, lines = plan.grid or (len(columns), len(rows))
    if cols and lines and cols != len(columns) and lines != len(rows):
        (wide, high), (x, y) = plan.resizes[-1], plan.offset
        columns = _regular(-x, wide - x, wide / cols, cols)
        return Cells("token", wide / cols, columns, _regular(-y, high - y, high / lines, lines))
    left, top = (len(columns) - cols) // 2, (len(rows) - lines) // 2
    side = resize.patch * resize.merge
    return Cells("token", side, columns[left : left + cols], rows[top : top + lines])


def _shared(resize: Resize, plan: ImagePlan, cells: Cells, tiles: int) -> bool:
    """Whether tokens are not those of single tiles: averaged, merged across borders, scaled, or elsewhere."""
    if isinstance(resize, Crops):
        return resize.merge_across and tiles > 1
    scaled = isinstance(resize, Anyres) and cells.side != resize.patch * resize.merge
    return scaled or isinstance(resize, MergedCrops) or plan.cross_tokens is not None


def _tiles(across: Edges, down: Edges, cells: Cells | None, share: int | None) -> Iterator[Tile]:
    """All tiles; the tokens of each are the cells that begin in it or, without cells, `share`."""
    for top, bottom in itertools.pairwise(down):
        for left, right in itertools.pairwise(across):
            tokens = share
            if cells:
                columns = sum(left <= start < right for start, _ in cells.columns)
                tokens = columns * sum(top <= start < bottom for start, _ in cells.rows)
            yield Tile((left, top, right, bottom), tokens)


def _overview(resize: Resize, plan: ImagePlan, tiles: int) -> Overview | None:
    """The overview, if the model is given one."""
    if isinstance(resize, Windows):  # which does not count it as a tile
        side = resize.overview // resize.patch // resize.merge
        square = resize.overview, resize.overview
        return Overview(square, "corner", side, plan.overview_tokens or side**2) if plan.rows else None
    if (plan.tiles or 0) <= tiles:
        return None
    padded, merge = False, None
    if isinstance(resize, StretchTiles | CanvasTiles) and resize.overview:
        side, merge, padded = resize.overview.side, resize.merge, resize.overview.fit == "pad"
    elif isinstance(resize, Crops):
        # Some have another kind of token there.
        side, padded = resize.tile, resize.fit == "pad"
        merge = resize.merge if resize.overview == "image" else None
    elif isinstance(resize, Anyres | MergedCrops):
        side, merge = resize.tile, 1 if isinstance(resize, MergedCrops) else resize.merge
    elif isinstance(resize, SplitTiles):
        cells = _cells(resize, plan, (0, resize.tile), (0, resize.tile))
        count = len(cells.columns) if cells.unit == "token" else 0
        return Overview((resize.tile, resize.tile), "stretch", count, resize.tokens_per_tile)
    else:
        return Overview(None, "stretch", 0, _remaining(resize, plan, tiles))
    count = math.ceil(side // resize.patch / merge) if merge else 0
    return Overview((side, side), "centre" if padded else "stretch", count, count**2)


def _remaining(resize: Resize, plan: ImagePlan, tiles: int) -> int:
    """Tokens of an overview in the image's own shape."""
    if plan.overview_tokens is not None:
        return plan.overview_tokens
    if isinstance(resize, StretchTiles):
        return plan.image_tokens - tiles * math.ceil(resize.tile // resize.patch / resize.merge) ** 2
    return plan.image_tokens // (tiles + 1)
