"""Memory of the vision encoder: the tensors of a block that are alive together, and attention scores.

The factors were measured on MLX's backend for processors (mlx 0.32.4): 84 runs of seven families came
out within -4 and +9 %. u is one tensor of the width of the encoder over all rows, m one of the width of
its feed-forward part. MLX allocates some 110 operations ahead of the one it computes, which is most of
the factor; on Metal it runs less far ahead, and the tight factor counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, repeat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loader.device import Engine
    from loader.memory.request import Request
    from loader.resize import ImagePlan
    from registry.memory import VisionTower

TIGHT = 10.0
"""Tensors of the encoder's width that are alive without running ahead: 8 to 10."""
RUN_AHEAD = {"batch": 33.0, "joint": 29.0}
"""Batches took from 30 to 34 (docs/memory.md)."""
RUN_AHEAD_FLOAT32 = 15.0
"""With weights in 16 bits and activations in 32; the weights of a block are copied, too."""
SEGMENTS = (40.0, 34.0, 28.0, 22.0, 16.0)
"""With segments and windows, for the largest image, the second, ...; 28 for all after these. Of n images of
one size that makes 40 - 3 (n - 1) for each, as measured."""
SEGMENTS_FLOAT32 = 24.5
MORE_SEGMENTS = 28.0
SCORES_FLOAT32 = 4
ONE_HOT = 11
"""Bytes that each element of one-hot codes took with its copies: 539.5 MB for 2,394 rows of 20,480."""
FRAMES = {"segments": 2, "windows": 2}
"""Frames of a still image: encoders that take sequences of any length take films, too, and see it twice."""


@dataclass(frozen=True, slots=True)
class VisionBytes:
    """Bytes of the encoder."""

    activations: int
    scores: int
    """Attention scores and masks."""
    pixels: int
    codes: int
    """One-hot codes of positions, which are gone when the blocks begin."""
    largest: int
    """The biggest single allocation."""

    @property
    def total(self) -> int:
        """Bytes while images are encoded, besides their pixels."""
        return max(self.activations + self.scores, self.codes)


def vision_bytes(
    tower: VisionTower, plans: tuple[ImagePlan, ...], patch: int, request: Request, engine: Engine
) -> VisionBytes:
    """What the images of one call take, all encoded together."""
    size = 4 if tower.float32 else 2
    sequences = _sequences(tower, plans)
    scores, largest_scores = _scores(tower, sequences, size, request, engine)
    rows = sum(sequences)
    widest = max(3 * tower.hidden, tower.intermediate) * rows * size  # queries, keys and values are one
    pixels = 3 * 4 * patch * patch * sum(plan.patches or 0 for plan in plans) * FRAMES.get(tower.attention, 1)
    return VisionBytes(
        activations=_activations(tower, plans, rows, size, engine),
        scores=scores,
        pixels=pixels,
        codes=ONE_HOT * tower.one_hot * rows,
        largest=max(largest_scores, widest, pixels),
    )


def _sequences(tower: VisionTower, plans: tuple[ImagePlan, ...]) -> list[int]:
    """Rows of each sequence that attends to itself."""
    if tower.attention == "batch":
        pictures = [max(1, plan.tiles or 1) for plan in plans]
        longest = max(-(-(plan.patches or 0) // n) for plan, n in zip(plans, pictures, strict=True))
        return [longest + tower.extra] * sum(pictures)  # a batch is as long as its longest picture
    rows = [(plan.patches or 0) + tower.extra for plan in plans]
    if tower.attention == "joint":
        return [sum(rows)]
    if tower.separate is not None and len(rows) > tower.separate:
        return [*rows[: tower.separate], sum(rows[tower.separate :])]
    return rows


def _scores(
    tower: VisionTower, sequences: list[int], size: int, request: Request, engine: Engine
) -> tuple[int, int]:
    """Bytes of scores and masks, and of the biggest one tensor of them."""
    squares = [n * n for n in sequences]
    together = tower.attention == "batch" or tower.mask  # one tensor, otherwise one for each sequence
    masks = sum(squares) * size if tower.mask or tower.attention == "joint" else 0
    if tower.explicit:
        # Of scores, their scaled and their normalized form two are alive.
        one = tower.heads * SCORES_FLOAT32
        return 2 * one * sum(squares) + masks, one * (sum(squares) if together else max(squares))
    if request.fuses(tower.hidden // tower.heads, engine):
        return masks, masks
    one = tower.heads * size
    return one * sum(squares) + masks, one * (sum(squares) if together else max(squares))


def _activations(
    tower: VisionTower, plans: tuple[ImagePlan, ...], rows: int, size: int, engine: Engine
) -> int:
    unit = tower.hidden * size
    wide = tower.attention in {"batch", "joint"}
    forward = (2 if wide and not tower.float32 else 1) * rows * tower.intermediate * size
    copied = 4 * (4 * tower.hidden**2 + 2 * tower.hidden * tower.intermediate) if tower.float32 else 0
    if engine == "metal":
        return int(TIGHT * rows * unit) + forward + copied
    if wide:
        factor = RUN_AHEAD_FLOAT32 if tower.float32 else RUN_AHEAD[tower.attention]
        return int(factor * rows * unit) + forward + copied
    if tower.float32:
        return int(SEGMENTS_FLOAT32 * rows * unit) + forward + copied
    largest_first = sorted(((plan.patches or 0) + tower.extra for plan in plans), reverse=True)
    factors = chain(SEGMENTS, repeat(MORE_SEGMENTS))
    return int(sum(factor * n for factor, n in zip(factors, largest_first, strict=False)) * unit) + forward
