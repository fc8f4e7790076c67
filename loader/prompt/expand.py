"""What a processor writes in the place of an image: the placeholder, expanded as the card describes it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from loader.errors import MessageError, UnsupportedFeatureError
from loader.prompt.forgery import spelled
from loader.prompt.segments import Prompt, Segment

if TYPE_CHECKING:
    from loader.resize import ImagePlan
    from registry.cards import Card
    from registry.vision import Expansion, Image


def expand(card: Card, prompt: Prompt, plans: Sequence[ImagePlan]) -> Prompt:
    """The prompt with every placeholder as the model reads it; `plans` are those of its images, in order.

    Raises UnsupportedFeatureError where the card does not say what the processor writes, MessageError for
    another number of plans than of images.
    """
    images = sum(segment.kind == "image" for segment in prompt.segments)
    if len(plans) != images:
        raise MessageError(
            f"The number of images in the prompt is {images}, and that of the plans is {len(plans)}. "
            "Give the plan of each image, in their order."
        )
    rest = iter(plans)
    segments = [
        _expanded(card, segment, next(rest)) if segment.kind == "image" else segment
        for segment in prompt.segments
    ]
    return Prompt(tuple(segments), prompt.images, prompt.warnings)


def _expanded(card: Card, placeholder: Segment, plan: ImagePlan) -> Segment:
    image = card.image
    if image is None or image.expansion is None:
        raise UnsupportedFeatureError(
            f"What the processor of {card.id} writes for an image is not established. "
            "The number of tokens is known all the same: ask for that."
        )
    text = _expansion(image.expansion, image.token, plan, _overviews(image, plan))
    replaced = spelled(image.expansion.replaces or image.token)
    return Segment("image", re.sub(replaced, lambda _: text, placeholder.text, count=1))


def _overviews(image: Image, plan: ImagePlan) -> int:
    """How many overviews of an image that is cut the processor writes tokens for, 0 or 1."""
    tiles = (plan.rows or 0) * (plan.cols or 0)
    overview = getattr(image.resize, "overview", None)
    # Not among the plan's tiles where the processor writes its tokens and makes no such picture.
    unseen = getattr(overview, "fit", None) == "absent"
    return int(unseen or (plan.tiles or tiles) > tiles)


def _expansion(rule: Expansion, token: str, plan: ImagePlan, overviews: int) -> str:
    inner = (rule.row_end, rule.tile_open, rule.tile_close, rule.tile_between, rule.tile_row_end)
    if not any((*inner, rule.overview_open, rule.overview_close)):
        return f"{rule.open}{token * plan.image_tokens}{rule.close}"
    tiles = (plan.rows or 0) * (plan.cols or 0)
    if tiles <= 1:
        opened = rule.overview_open if rule.alone_open is None else rule.alone_open
        closed = rule.overview_close if rule.alone_close is None else rule.alone_close
        return f"{rule.open}{opened}{_picture(rule, token, plan)}{closed}{rule.close}"
    overview = plan.overview_tokens
    if overview is None:  # every picture, the overview included, has as many
        overview = overviews * plan.image_tokens // (tiles + overviews)
    each = (plan.image_tokens - overview) // tiles
    rows = _rows(rule, token * each, plan.rows or 0, plan.cols or 0)
    last = f"{rule.overview_open}{token * overview}{rule.overview_close}" if overview else ""
    return rule.open + (last + rows if rule.overview == "first" else rows + last) + rule.close


def _picture(rule: Expansion, token: str, plan: ImagePlan) -> str:
    """The tokens of a single picture, in rows where the rows are closed."""
    if plan.grid is None or not (rule.row_end or rule.last_row_end):
        return token * plan.image_tokens
    cols, rows = plan.grid
    last = rule.row_end if rule.last_row_end is None else rule.last_row_end
    return (token * cols + rule.row_end) * (rows - 1) + token * cols + last


def _rows(rule: Expansion, tokens: str, rows: int, cols: int) -> str:
    last = rule.tile_row_end if rule.tile_last_row_end is None else rule.tile_last_row_end
    out = []
    for row in range(rows):
        tiles = [
            rule.tile_open.replace("{row}", str(row + 1))
            .replace("{col}", str(col + 1))
            .replace("{n}", str(row * cols + col + 1))
            + tokens
            + rule.tile_close
            for col in range(cols)
        ]
        out.append(rule.tile_between.join(tiles) + (last if row == rows - 1 else rule.tile_row_end))
    return "".join(out)
