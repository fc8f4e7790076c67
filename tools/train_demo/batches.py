"""Drawings and conversations as arrays. Nothing here needs MLX: it runs in a process of its own."""

from __future__ import annotations

import multiprocessing
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from loader.fit import fit_image
from loader.prompt import render
from loader.resize import plan_image
from tools.train_demo.checkpoint import MEAN, STD, smart_resize
from tools.train_demo.conversations import Conversation, about_none, about_one, about_two
from tools.train_demo.drawings import COLOURS, SHAPES, SIDES, Drawing, as_jpeg, draw

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image
    from tokenizers import Tokenizer

    from registry.cards import Card

__all__ = ["Batch", "Rows", "Writer", "batches", "patches", "positions"]

DRAWINGS = 24
"""Drawings of one batch; each is asked about alone, and in one pair."""
_LEAST, _MOST = (0.35, 0.14), 0.6
"""The smallest shape, at first and later, and the largest, as shares of the shorter side: a little more than
is asked of the model."""
_PAIRS_FROM = 0.12
"""Share of the training before which there is only one image at a time."""
_IMAGE, _END = "<|image_pad|>", "<|im_end|>"
_WEIGHT = {"article": 0.1, "sure": 0.1, "colour": 0.4}
"""What a token counts in the loss. Those that decide nothing count little, shapes and sides count 1."""

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Rows:
    """Conversations of about the same length."""

    ids: Ints
    """(rows, length)"""
    positions: Ints
    """(3, rows, length): time, height and width of every token."""
    features: Ints
    """(rows, length): which feature stands there, -1 for text."""
    answered: Ints
    """Places, in `ids` as one line, after which a token of an answer follows."""
    answers: Ints
    """Those tokens."""
    weights: Floats
    """What they count."""
    ordinals: Ints
    """(rows, length): 0 in the first image of a conversation, 1 in the second, -1 elsewhere."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step learns from."""

    patches: Floats
    """(patches, channels x side x side) of all drawings."""
    grids: Ints
    """(drawings, 3): frames, rows and columns of patches."""
    truth: Ints
    """(drawings, 3): numbers of colour, shape and side, -1 for no clear side."""
    alone: Rows
    pairs: Rows | None


def batches(card: Card, tokenizer: Path, seed: int, steps: int) -> Iterator[Batch]:
    """`steps` batches, drawn one after the other by one process: the same seed gives the same ones."""
    context = multiprocessing.get_context("spawn")
    queue: Any = context.Queue(16)
    process = context.Process(target=_produce, args=(queue, card, tokenizer, seed, steps), daemon=True)
    process.start()
    try:
        for _ in range(steps):
            yield queue.get(timeout=300)
    finally:
        process.terminate()


def _produce(queue: Any, card: Card, tokenizer: Path, seed: int, steps: int) -> None:
    from tokenizers import Tokenizer

    writer = Writer(card, Tokenizer.from_file(str(tokenizer)))
    source = random.Random(seed)  # noqa: S311  # nothing is kept secret with it
    for step in range(steps):
        queue.put(_batch(writer, source, step / steps))


def _batch(writer: Writer, source: random.Random, progress: float) -> Batch:
    """Shapes begin large and pairs begin late: what to look for is learnt first, then where to look."""
    least = max(_LEAST[1], _LEAST[0] - 1.4 * progress)
    drawings = [_drawing(source, (least, _MOST)) for _ in range(DRAWINGS)]
    pixels, grids = zip(*(patches(drawing.image, writer.card) for drawing in drawings), strict=True)
    alone = [about_one(drawings, number, source) for number in range(DRAWINGS)]
    alone.append(about_none(source))
    pairs: list[Conversation] = []
    if progress >= _PAIRS_FROM:
        order = source.sample(range(DRAWINGS), DRAWINGS)
        both = zip(order[::2], order[1::2], strict=True)
        pairs = [about_two(drawings, pair, source) for pair in both if _differ(drawings, pair)]
    truth = [
        (COLOURS.index(d.colour), SHAPES.index(d.shape), SIDES.index(d.side) if d.side else -1)
        for d in drawings
    ]
    return Batch(
        np.concatenate(pixels),
        np.array(grids, np.int32),
        np.array(truth, np.int32),
        writer.rows(alone, grids),
        writer.rows(pairs, grids) if pairs else None,
    )


def _differ(drawings: list[Drawing], pair: tuple[int, int]) -> bool:
    """Of two drawings that are called the same, nothing about their order is to be learnt."""
    return drawings[pair[0]].what != drawings[pair[1]].what


def _drawing(source: random.Random, share: tuple[float, float]) -> Drawing:
    sides = (64, 200) if source.random() < 0.3 else (120, 900)
    made = draw(source, sides=sides, share=share, at_side=source.random() < 0.55)
    if source.random() < 0.25:
        seen = as_jpeg(made.image, source.randint(60, 95))
        return Drawing(seen, made.colour, made.shape, made.side)
    return made


def patches(image: Image.Image, card: Card) -> tuple[Floats, tuple[int, int, int]]:
    """What the processor makes of a picture: its patches, and frames, rows and columns of them."""
    resize = smart_resize(card)
    seen = fit_image(image, plan_image(card, *image.size), "bicubic")
    side, merge = resize.patch, resize.merge
    values = (np.asarray(seen, np.float32) / 255 - MEAN) / STD
    high, wide = values.shape[0] // side, values.shape[1] // side
    values = values.transpose(2, 0, 1).reshape(3, high // merge, merge, side, wide // merge, merge, side)
    # Rows and columns of cells, patches within a cell, then channels and pixels.
    flat = values.transpose(1, 4, 2, 5, 0, 3, 6).reshape(high * wide, -1)
    return np.ascontiguousarray(flat, np.float32), (1, high, wide)


def positions(tokens: list[int], image: int | None, grids: list[tuple[int, int, int]], merge: int) -> Ints:
    """Time, height and width of every token, as Qwen2-VL's `get_rope_index` counts them."""
    out, at, start = np.zeros((3, len(tokens)), np.int32), 0, 0
    left = iter(grids)
    while at < len(tokens):
        if tokens[at] != image:
            out[:, at] = start
            at, start = at + 1, start + 1
            continue
        _, high, wide = next(left)
        rows, columns = np.divmod(np.arange(high * wide // merge**2), wide // merge)
        end = at + len(rows)
        out[:, at:end] = start + np.stack([np.zeros_like(rows), rows, columns])
        at, start = end, start + max(high, wide) // merge
    return out


class Writer:
    """Conversations as rows of tokens."""

    def __init__(self, card: Card, tokenizer: Tokenizer) -> None:
        self.card = card
        self._merge = smart_resize(card).merge
        self._tokenizer = tokenizer
        self._image = tokenizer.token_to_id(_IMAGE)
        self._weight = {
            tokenizer.token_to_id(token): _WEIGHT[kind]
            for kind, tokens in {
                "article": ("a", "an"),
                "sure": (_END, "Ġis", "Ġno", "Ġimage"),
                "colour": tuple(f"Ġ{colour}" for colour in COLOURS),
            }.items()
            for token in tokens
        }

    def rows(self, conversations: list[Conversation], grids: Any) -> Rows:
        """The conversations, the drawings' features counted through in the order of `grids`."""
        counts = [high * wide // self._merge**2 for _, high, wide in grids]
        starts = np.concatenate([[0], np.cumsum(counts)])
        written = [self._row(it, grids) for it in conversations]
        rows, length = len(written), max(len(tokens) for tokens, _ in written)
        out = Rows(
            np.zeros((rows, length), np.int32),
            np.zeros((3, rows, length), np.int32),
            np.full((rows, length), -1, np.int32),
            np.array([r * length + at for r, (_, asked) in enumerate(written) for at, _ in asked], np.int32),
            np.array([token for _, asked in written for _, token in asked], np.int32),
            np.array([self._weight.get(t, 1.0) for _, asked in written for _, t in asked], np.float32),
            np.full((rows, length), -1, np.int32),
        )
        for row, (conversation, (tokens, _)) in enumerate(zip(conversations, written, strict=True)):
            out.ids[row, : len(tokens)] = tokens
            shown = [grids[number] for number in conversation.drawings]
            out.positions[:, row, : len(tokens)] = positions(tokens, self._image, shown, self._merge)
            places = np.flatnonzero(np.array(tokens) == self._image)
            out.features[row, places] = [
                x for n in conversation.drawings for x in range(starts[n], starts[n + 1])
            ]
            out.ordinals[row, places] = np.repeat(
                np.arange(len(shown)), [counts[n] for n in conversation.drawings]
            )
        return out

    def _row(self, conversation: Conversation, grids: Any) -> tuple[list[int], list[tuple[int, int]]]:
        """Tokens, and for each token of an answer the place before it and the token."""
        messages = conversation.messages
        tokens: list[int] = []
        asked: list[tuple[int, int]] = []
        done, shown = 0, iter(conversation.drawings)
        for number, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            text = render(self.card, messages[:number]).text
            parts = text[done:].split(_IMAGE)
            filled = parts[0]
            for part in parts[1:]:
                _, high, wide = grids[next(shown)]
                filled += _IMAGE * (high * wide // self._merge**2) + part
            tokens += self._tokenizer.encode(filled).ids
            answer = self._tokenizer.encode(message["content"] + _END).ids
            asked += [(len(tokens) - 1 + at, token) for at, token in enumerate(answer)]
            tokens += answer
            done = len(text) + len(message["content"]) + len(_END)
        return tokens, asked
