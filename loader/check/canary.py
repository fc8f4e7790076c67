"""The canary: whether a loaded model sees, told from the distribution of the next token.

A blind model gives the same distribution for any image; one that keeps something of the last call gives
another one when it is asked again. Both show with random weights, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from loader.check import pictures
from loader.check.line import Line
from loader.errors import MLXCardsError
from registry.defects import known_defect

if TYPE_CHECKING:
    import PIL.Image

    from loader.checkpoint import Checkpoint
    from loader.model import Prepared, VisionModel
    from registry.cards import Card

SAME = 1e-3
"""Total variation up to which two distributions are one: kernels on a GPU may add up in another order."""
FAINT = 1e-2
"""Below this an image has an influence, but none that an answer would show."""
_TOKENS = 64
"""Image tokens of one image, where the family can be limited: a glance is enough."""
_MARKS = 0.15
"""Part of an image's tokens that may close rows: in the smallest grids, one of seven does."""
_QUESTION = "What is in this image?"
_SECOND = "What is in the second image?"
_BEGUN = "a"
"""How the answer begins that the model goes on with. Without it many models say the same word first, whatever
they see."""


def check(card: Card, checkpoint: Checkpoint, *, trust_remote_code: bool) -> Iterator[Line]:
    """Load the model and ask it; a line for each thing that has to be the same or to differ."""
    from loader.backend import Backend
    from loader.model import VisionModel

    try:
        backend = Backend(checkpoint.folder, card.backend, trust_remote_code=trust_remote_code)
        yield Line("load", "pass", "the weights are those of the architecture")
        yield from _lines(VisionModel(card, checkpoint, backend))
    except MLXCardsError as error:
        yield Line("canary", "fail", str(error))


def _lines(model: VisionModel) -> Iterator[Line]:
    text = _asked(model, "Hello")
    before = model.next_token(text)
    if not all(map(math.isfinite, (math.exp(value) for value in before))):
        yield Line("text only", "fail", "the model computes no numbers: its weights are damaged")
        return
    if model.card.image is None:
        yield Line("text only", "pass", "it answers")
        return
    yield from _one_image(model)
    yield from _order(model)
    after = model.next_token(text)
    yield _same("text only", before, after, "it answers, and as before once it has seen images")


def _one_image(model: VisionModel) -> Iterator[Line]:
    disc, square = (_asked(model, picture, _QUESTION) for picture in (pictures.disc(), pictures.square()))
    yield _features(model, disc, square)
    of_disc, of_square = model.next_token(disc), model.next_token(square)
    yield _other("two images", of_disc, of_square, "another image of the same size")
    yield _same("repeated", of_square, model.next_token(square), "the same image twice gives the same")
    yield _same(
        "cache", of_disc, model.next_token(disc), "nothing of an image is left when another is asked about"
    )


def _features(model: VisionModel, disc: Prepared, square: Prepared) -> Line:
    """Whether the model has as many features as the prompt has places for them."""
    plan = disc.images[0].plan
    if (reached := model.reached(disc, square)) is None:
        said = "the model keeps what it sees beside the prompt, where there are no places to count"
        return Line("features", "skip", said)
    if reached == plan.image_tokens:
        said = f"{reached:,} placeholders, planned and filled"
        return Line("features", "pass", said)
    marks = plan.image_tokens - reached
    if 0 < marks < _MARKS * plan.image_tokens and _has_marks(model.card):
        said = f"{plan.image_tokens:,} placeholders as planned, {marks:,} of which only close rows"
        return Line("features", "pass", said)
    said = f"the plan has {plan.image_tokens:,} places for features, and the model fills {reached:,}"
    if (defect := known_defect(model.card.id, "features")) is not None:
        said += f"; known: {defect.fault}; {defect.how}"
        return Line("features", "warn", said, plan.image_tokens, reached)
    return Line("features", "fail", said, plan.image_tokens, reached)


def _has_marks(card: Card) -> bool:
    """Whether some image tokens stand for no part of the image, but for the end of a row of it."""
    resize: Any = card.image and card.image.resize
    row_end = getattr(resize, "row_end", None) == "image" or getattr(resize, "row_ends", False)
    return bool(resize.kind == "anyres" or row_end)


def _order(model: VisionModel) -> Iterator[Line]:
    most = model.card.backend.max_images
    if most == 1 or (model.card.image is not None and model.card.image.max_images == 1):
        yield Line("order", "skip", f"{model.card.name} takes one image")
        return
    # Of two images side by side some models cannot know which is which: cross-attention has no places.
    for between in ([], ["And this is the second one:"]):
        given, swapped = (
            model.next_token(_asked(model, one, *between, other, _SECOND))
            for one, other in (
                (pictures.disc(), pictures.square()),
                (pictures.square(), pictures.disc()),
            )
        )
        if distance(given, swapped) > FAINT:
            break
    yield _other("order", given, swapped, "the same two images in another order")


def _asked(model: VisionModel, *parts: str | PIL.Image.Image) -> Prepared:
    """A question of texts and images, and the begin of its answer."""
    content = [part if isinstance(part, str) else {"type": "image", "image": part} for part in parts]
    return model.prepare(
        [{"role": "user", "content": content}, {"role": "assistant", "content": _BEGUN}],
        max_tokens=1,
        max_image_tokens=_TOKENS if model.card.image is not None else None,
        continue_final_message=True,
    )


def _other(check: str, one: Sequence[float], other: Sequence[float], what: str) -> Line:
    far = distance(one, other)
    if far > FAINT:
        return Line(check, "pass", f"{what} changes what comes next by {far:.1%}")
    if far > SAME:
        return Line(
            check, "warn", f"{what} changes what comes next by no more than {far:.2%}: it hardly sees"
        )
    return Line(check, "fail", f"{what} changes nothing ({far:.3%}): the model does not see")


def _same(check: str, one: Sequence[float], other: Sequence[float], what: str) -> Line:
    far = distance(one, other)
    if far <= SAME:
        return Line(check, "pass", what)
    return Line(check, "fail", f"not so: {what} (it differs by {far:.1%})")


def distance(one: Sequence[float], other: Sequence[float]) -> float:
    """Total variation between two distributions given as log-probabilities: 0 the same, 1 disjoint.

    What is no number is as far away as can be.
    """
    far = sum(abs(math.exp(a) - math.exp(b)) for a, b in zip(one, other, strict=True)) / 2
    return far if math.isfinite(far) else 1.0
