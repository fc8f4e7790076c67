"""The checkpoint's own processor, without weights, against the card: its class, token ids, and image tokens.

Whatever the settings are called, these are the numbers that an answer depends on.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

from loader.check.line import Line
from loader.checkpoint.dimensions import language
from loader.errors import CheckpointError, MLXCardsError, UnsupportedFeatureError

if TYPE_CHECKING:
    from loader.backend import Backend
    from loader.checkpoint import Checkpoint
    from loader.model import VisionModel
    from loader.resize import Size
    from registry.cards import Card

SIZES: tuple[Size, ...] = ((640, 480), (90, 160), (1600, 400), (1600, 1200))
"""Small and large, wide and high: tiles, limits from below and from above."""


def check(card: Card, checkpoint: Checkpoint, *, trust_remote_code: bool) -> Generator[Line, None, bool]:
    """Lines, and whether images can be given to the model at all."""
    if importlib.util.find_spec("mlx_vlm") is None:
        said = "mlx-vlm is not installed (pip install 'mlx-cards[mlx]')"
        yield Line("processor", "skip", said)
        return False
    from loader.backend import Backend
    from loader.model import VisionModel

    try:
        backend = Backend(checkpoint.folder, card.backend, trust_remote_code=trust_remote_code, weights=False)
    except (CheckpointError, UnsupportedFeatureError) as error:
        yield Line("processor", "fail", str(error))
        return False
    yield Line("processor", "pass", f"it loads as {card.backend.processor}")
    if card.image is None:
        return True
    ids = _token_ids(card, checkpoint, backend)
    yield ids
    wrong = list(_image_tokens(VisionModel(card, checkpoint, backend)))
    yield from wrong or [
        Line("image tokens", "pass", f"as planned for {', '.join(f'{w}x{h}' for w, h in SIZES)}")
    ]
    return ids.status != "fail" and not any(line.status == "fail" for line in wrong)


def _token_ids(card: Card, checkpoint: Checkpoint, backend: Backend) -> Line:
    image = card.image
    assert image is not None  # noqa: S101  # the caller looked
    if image.positions != "token":
        return Line("token ids", "skip", "this family marks images with ids below zero, not with a token")
    try:
        backend.check_image_token(image.token, checkpoint.config)
    except CheckpointError as error:
        return Line("token ids", "fail", str(error))
    return Line(
        "token ids", "pass", f"{image.token} is {backend.token_id(image.token)} for tokenizer and model"
    )


def _image_tokens(model: VisionModel) -> Iterator[Line]:
    """Sizes for which the processor does not do what the plan says; nothing where it does."""
    import PIL.Image

    rows = _rows(model.checkpoint)
    for size in SIZES:
        picture = PIL.Image.linear_gradient("L").resize(size).convert("RGB")
        for detail in ("full", "auto"):
            try:
                highest = model.prepare("What is this?", picture, detail=detail).inputs.highest_id
            except UnsupportedFeatureError:
                continue  # more than the family, or its context, takes: refused before any answer
            except MLXCardsError as error:
                yield Line("image tokens", "fail", f"{size[0]}x{size[1]} with detail {detail!r}: {error}")
                break
            if rows is not None and highest >= rows:
                said = (
                    f"the tokenizer writes the id {highest:,} and the model has {rows:,} embeddings: "
                    "it would take the next one from memory that is not its own"
                )
                yield Line("vocabulary", "fail", said, rows, highest)
                return


def _rows(checkpoint: Checkpoint) -> int | None:
    """Embeddings that the model has, as config.json says."""
    config = language(checkpoint.config)
    size, further = config.get("vocab_size"), config.get("additional_vocab_size", 0)
    return size + further if isinstance(size, int) and isinstance(further, int) else None
