"""Drawings in every form that a picture can have, what is asked about them, and how often an answer is right.

The same drawings for every form: what the demo model knows of the plain ones it knows of all others, unless
something on the way from the source to the model changed what is seen.
"""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageChops

from tests.pictures import encode, swapped_profile
from tools.train_demo.conversations import WHAT, WHERE, nth
from tools.train_demo.drawings import COLOURS, SIDES, Drawing, draw

if TYPE_CHECKING:
    from loader.model import VisionModel

LEAST = 0.95
"""Share of right answers. Of the 24 to a form one may be lost, say to the grain of a JPEG: the model is right
about 99.8 % of drawings (docs/demo.md), so that two wrong ones are no chance."""

Form = Callable[[Drawing], Any]
"""A drawing -> a source of it."""

_T = Image.Transpose
# What a camera held in one of eight ways stores, by the number that it writes (EXIF 2.32, 4.6.4.A): 6 means
# that the row stored first is the right side of what was seen.
STORED = {
    1: None,
    2: _T.FLIP_LEFT_RIGHT,
    3: _T.ROTATE_180,
    4: _T.FLIP_TOP_BOTTOM,
    5: _T.TRANSPOSE,
    6: _T.ROTATE_90,
    7: _T.TRANSVERSE,
    8: _T.ROTATE_270,
}
_FLIPPED = {
    _T.FLIP_LEFT_RIGHT: {"left": "right", "right": "left"},
    _T.FLIP_TOP_BOTTOM: {"top": "bottom", "bottom": "top"},
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A question or a conversation, the sources for it, and the only right answer."""

    prompt: str | list[dict[str, Any]]
    images: list[Any]
    answer: str


def answers(model: VisionModel, asked: Iterable[Asked]) -> list[tuple[str, str]]:
    """What the model says, and what it should say."""
    return [
        (model.generate(it.prompt, it.images, max_tokens=12, allow_private_urls=True).text, it.answer)
        for it in asked
    ]


def accuracy(model: VisionModel, asked: Iterable[Asked]) -> float:
    """Share of right answers."""
    said = answers(model, asked)
    return sum(answer == right for answer, right in said) / len(said)


@functools.cache
def shown() -> tuple[Drawing, ...]:
    """24 drawings of 64 to 600 pixels: each colour clearly at each side."""
    return tuple(_drawn("shown", (64, 600)))


def _drawn(seed: str, sides: tuple[int, int]) -> list[Drawing]:
    source = random.Random(seed)  # noqa: S311  # nothing is kept secret with it
    wanted = list(itertools.product(COLOURS, SIDES))
    found: dict[tuple[str, str], Drawing] = {}
    while len(found) < len(wanted):
        drawing = draw(source, sides=sides, at_side=True)
        if drawing.side is not None:
            found.setdefault((drawing.colour, drawing.side), drawing)
    return [found[colour, side] for colour, side in wanted]


def of_sides(least: int, most: int, number: int = 24) -> Iterator[Drawing]:
    """Drawings whose longer side has so many pixels; one at a time, because large ones are not kept."""
    source = random.Random(f"{least} to {most}")  # noqa: S311  # as above
    while number:
        drawing = draw(source, sides=(least, most), at_side=True)
        if drawing.side is not None:
            number -= 1
            yield drawing


# Questions


def what(form: Form, drawings: Iterable[Drawing] | None = None) -> Iterator[Asked]:
    """What each drawing shows."""
    for drawing in shown() if drawings is None else drawings:
        yield Asked(WHAT[0], [form(drawing)], drawing.what)


def where(form: Form, drawings: Iterable[Drawing] | None = None) -> Iterator[Asked]:
    """Where each shape is."""
    for drawing in shown() if drawings is None else drawings:
        assert drawing.side is not None
        yield Asked(WHERE, [form(drawing)], drawing.side)


def both(form: Form, drawings: Iterable[Drawing] | None = None) -> Iterator[Asked]:
    """What one drawing shows, where the shape of the next is."""
    for number, drawing in enumerate(shown() if drawings is None else drawings):
        yield from (what, where)[number % 2](form, [drawing])


def pairs() -> Iterator[tuple[int, Drawing, Drawing]]:
    """Which of two drawings is asked for, 0 or 1, and the two, which are called differently."""
    # Seven apart in a list sorted by colour and side: another colour, and mostly another side.
    for number, drawing in enumerate(shown()):
        yield number % 2, drawing, shown()[(number + 7) % len(shown())]


def in_order(form: Form) -> Iterator[Asked]:
    """What the first, or the second, of two images in one question shows."""
    for asked, *two in pairs():
        yield Asked(nth(asked), [form(drawing) for drawing in two], two[asked].what)


# Conversations


def user(*content: Any) -> dict[str, Any]:
    """A turn of the user."""
    return {"role": "user", "content": list(content)}


def assistant(content: str | None) -> dict[str, Any]:
    """A turn of the model."""
    return {"role": "assistant", "content": content}


def image(source: Any) -> dict[str, Any]:
    """An image part that has its source."""
    return {"type": "image", "image": source}


def asked_again(form: Form) -> Iterator[Asked]:
    """A second turn, without an image, about that of the first turn."""
    for number, drawing in enumerate(shown()):
        turns = [(WHAT[0], drawing.what), (WHERE, drawing.side or "")]
        (question, answer), (again, right) = turns[:: 1 if number % 2 else -1]
        yield Asked([user(image(form(drawing)), question), assistant(answer), user(again)], [], right)


def later_image(form: Form) -> Iterator[Asked]:
    """A second turn with an image of its own, about the first turn's image or about its own."""
    for asked, first, second in pairs():
        turns = [user(image(form(first)), WHAT[0]), assistant(first.what)]
        yield Asked([*turns, user(image(form(second)), nth(asked))], [], (first, second)[asked].what)


def other_of_two(form: Form) -> Iterator[Asked]:
    """Two images in the first turn, and a second turn about the one that was not asked about."""
    for asked, *two in pairs():
        turns = [user(*map(image, map(form, two)), nth(1 - asked)), assistant(two[1 - asked].what)]
        yield Asked([*turns, user(nth(asked))], [], two[asked].what)


# Forms


def plain(drawing: Drawing) -> Image.Image:
    """As it is drawn."""
    return drawing.image


def as_file(kind: str, **options: Any) -> Form:
    """The file that Pillow writes."""
    return lambda drawing: encode(drawing.image, kind, **options)


def oriented(number: int, *kinds: str) -> Form:
    """Stored as a camera does that was held so, in files of these kinds in turn; "PIL" is no file."""
    turn, next_kind = STORED[number], itertools.cycle(kinds)

    def form(drawing: Drawing) -> Any:
        stored = drawing.image if turn is None else drawing.image.transpose(turn)
        exif = Image.Exif()
        exif[0x0112] = number
        if (kind := next(next_kind)) != "PIL":
            return encode(stored, kind, exif=exif, quality=95)
        stored.info["exif"] = exif.tobytes()
        return stored

    return form


def mirrored(turn: Image.Transpose) -> list[Drawing]:
    """The drawings seen in a mirror."""
    flipped = _FLIPPED[turn]
    return [
        replace(it, image=it.image.transpose(turn), side=flipped.get(it.side or "", it.side))
        for it in shown()
    ]


def mask(drawing: Drawing) -> Image.Image:
    """Where the shape is: 255, elsewhere 0."""
    ground = Image.new("RGB", drawing.image.size, drawing.image.getpixel((0, 0)))
    bands = ImageChops.difference(drawing.image, ground).split()
    return functools.reduce(ImageChops.lighter, bands).point(lambda value: 255 * (value > 0))


def greys(drawing: Drawing) -> Image.Image:
    """Without its colours: a dark shape on light grey. The model knows where it is, though not what."""
    picture = Image.new("L", drawing.image.size, 235)
    picture.paste(60, mask=mask(drawing))
    return picture


def deep_greys(drawing: Drawing) -> bytes:
    """The same with sixteen bits."""
    return encode(greys(drawing).convert("I").point(lambda value: value * 257).convert("I;16"))


def cut_out(drawing: Drawing) -> Image.Image:
    """The shape alone; everything else is transparent, and black below that."""
    picture = Image.new("RGBA", drawing.image.size, (0, 0, 0, 0))
    picture.paste(drawing.image, mask=mask(drawing))
    return picture


def profiled(drawing: Drawing) -> bytes:
    """Red and green are exchanged, and the profile says so."""
    red, green, blue = drawing.image.split()
    return encode(Image.merge("RGB", (green, red, blue)), icc_profile=swapped_profile())
