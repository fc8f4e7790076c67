"""Parameters of the resize strategies that cut an image into tiles.

`loader.resize` has one module for each `kind`; a published kind never changes its meaning.
"""

from __future__ import annotations

from typing import Literal

from registry.data import Positive, record


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
