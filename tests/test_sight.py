"""In whatever form it comes, a picture is seen as what it shows: as often right as about the plain drawing.

The whole way is gone each time, from the source to the answer of a model that sees (docs/demo.md).
tests/test_sight_mutations.py breaks that way, and finds that the same questions notice.
"""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import registry
from loader.model import VisionModel
from tests import image_server, sight
from tests.image_server import ImageServer
from tests.pictures import encode, png
from tests.sight import LEAST, Asked, Form, accuracy, answers, image, user
from tools.train_demo.conversations import NO_IMAGE, WHAT, WHERE, nth
from tools.train_demo.drawings import Drawing


@pytest.fixture(scope="module")
def demo() -> VisionModel:
    """The model that sees."""
    return registry.load("demo", strict=True, local_files_only=True)


def test_the_plain_drawings_are_known(demo: VisionModel) -> None:
    """What all forms are compared with: the model is right about every one of these drawings."""
    assert accuracy(demo, sight.what(sight.plain)) == 1
    assert accuracy(demo, sight.where(sight.plain)) == 1


# Upright


@pytest.mark.parametrize("number", sight.STORED)
def test_where_it_is_is_said_of_the_upright_picture(demo: VisionModel, number: int) -> None:
    """Each of the eight EXIF orientations, in files of each kind that has them, and in a PIL image."""
    form = sight.oriented(number, "JPEG", "PNG", "TIFF", "WEBP", "PIL")
    assert accuracy(demo, sight.where(form)) >= LEAST


@pytest.mark.parametrize("number", [3, 5, 6, 8])
def test_a_large_jpeg_that_is_stored_turned_is_seen_upright(demo: VisionModel, number: int) -> None:
    """It is decoded at a part of its size, and turned all the same."""
    asked = sight.where(sight.oriented(number, "JPEG"), sight.of_sides(1500, 3000, 8))
    assert accuracy(demo, asked) == 1


@pytest.mark.parametrize("turn", [Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM])
def test_a_mirrored_picture_shows_the_shape_at_the_other_side(
    demo: VisionModel, turn: Image.Transpose
) -> None:
    assert accuracy(demo, sight.where(sight.plain, sight.mirrored(turn))) >= LEAST


# Colours


def deep(drawing: Drawing) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """Sixteen bits a channel."""
    return np.asarray(drawing.image).astype("uint16") * 257


def deep_png(drawing: Drawing) -> bytes:
    """A PNG of sixteen bits, which Pillow does not write."""
    return png(2, 16, drawing.image.size, [row.astype(">u2").tobytes() for row in deep(drawing)])


def grey_with_colour(drawing: Drawing) -> Image.Image:
    """A palette of greys, in which one entry is the colour of the shape."""
    picture = sight.greys(drawing).convert("P")
    palette = [value for value in range(256) for _ in range(3)]
    inside = sight.mask(drawing).getbbox()
    assert inside is not None
    left, top, right, bottom = inside
    colour = drawing.image.getpixel(((left + right) // 2, (top + bottom) // 2))
    assert isinstance(colour, tuple)
    palette[3 * 60 : 3 * 61] = colour[:3]
    picture.putpalette(palette)
    return picture


def on_grey(drawing: Drawing) -> Image.Image:
    """The shape on a neutral grey."""
    picture = Image.new("RGB", drawing.image.size, (224, 224, 224))
    picture.paste(drawing.image, mask=sight.mask(drawing))
    return picture


COLOURED: dict[str, Form] = {
    "JPEG": sight.as_file("JPEG", quality=80),
    "CMYK": lambda drawing: drawing.image.convert("CMYK"),
    "CMYK JPEG": lambda drawing: encode(drawing.image.convert("CMYK"), "JPEG", quality=90),
    "CMYK TIFF": lambda drawing: encode(drawing.image.convert("CMYK"), "TIFF"),
    "YCbCr": lambda drawing: drawing.image.convert("YCbCr"),
    "16-bit PNG": deep_png,
    "16-bit array": deep,
    "palette": lambda drawing: drawing.image.quantize(16),
    "web palette": lambda drawing: drawing.image.convert("P"),
    "GIF": sight.as_file("GIF"),
    "greys with a colour": lambda drawing: encode(grey_with_colour(drawing)),
    "on grey": on_grey,
    "profile": sight.profiled,
}


@pytest.mark.parametrize("form", COLOURED)
def test_colours_are_seen_in_every_mode(demo: VisionModel, form: str) -> None:
    """Whatever stands for them in the file."""
    assert accuracy(demo, sight.what(COLOURED[form])) >= LEAST


GREY: dict[str, Form] = {
    "L": sight.greys,
    "LA": lambda drawing: sight.greys(drawing).convert("LA"),
    "1": lambda drawing: sight.mask(drawing).point(lambda value: 255 - value).convert("1"),
    "16 bits": sight.deep_greys,
    "F": lambda drawing: Image.fromarray(np.asarray(sight.greys(drawing), "float32") / 255),
}


@pytest.mark.parametrize("form", GREY)
def test_a_grey_shape_is_seen_where_it_is(demo: VisionModel, form: str) -> None:
    """The model knows no greys, but where something dark is."""
    assert accuracy(demo, sight.where(GREY[form])) >= LEAST


# Transparency


def with_decoy(drawing: Drawing) -> Image.Image:
    """The shape alone, and under what is transparent another picture."""
    alpha, under = sight.mask(drawing), sight.shown()[0]
    if under.what == drawing.what:
        under = sight.shown()[-1]
    picture = under.image.resize(drawing.image.size)
    picture.paste(drawing.image, mask=alpha)
    picture.putalpha(alpha)
    return picture


def keyed(drawing: Drawing) -> bytes:
    """A dark background, which the file declares transparent by its colour."""
    picture = Image.new("RGB", drawing.image.size, (1, 2, 3))
    picture.paste(drawing.image, mask=sight.mask(drawing))
    return encode(picture, transparency=(1, 2, 3))


def indexed(drawing: Drawing) -> Image.Image:
    """A palette whose entry for the background, black, is transparent."""
    picture = sight.cut_out(drawing).convert("RGB").quantize(8)
    picture.info["transparency"] = picture.getpixel((0, 0))
    return picture


def translucent_grey(drawing: Drawing) -> Image.Image:
    """Black all over, and opaque at the shape only."""
    return Image.merge("LA", (Image.new("L", drawing.image.size, 0), sight.mask(drawing)))


CUT_OUT: dict[str, Form] = {
    "RGBA": with_decoy,
    "RGBA PNG": lambda drawing: encode(with_decoy(drawing)),
    "RGBA WebP": lambda drawing: encode(sight.cut_out(drawing), "WEBP", lossless=True),
    "RGBa": lambda drawing: sight.cut_out(drawing).convert("RGBa"),
    "array": lambda drawing: np.asarray(with_decoy(drawing)) / 255,
    "colour key": keyed,
    "palette": indexed,
    "GIF": lambda drawing: encode(indexed(drawing), "GIF", transparency=indexed(drawing).getpixel((0, 0))),
    "PA": lambda drawing: indexed(drawing).convert("PA"),
}


@pytest.mark.parametrize("form", CUT_OUT)
def test_what_is_transparent_shows_the_background_of_the_card(demo: VisionModel, form: str) -> None:
    """And nothing of what lies below it."""
    assert accuracy(demo, sight.what(CUT_OUT[form])) >= LEAST


def test_a_transparent_grey_shows_the_background_of_the_card(demo: VisionModel) -> None:
    """LA: black all over, but for its transparency."""
    assert accuracy(demo, sight.where(translucent_grey)) >= LEAST


# Size


def test_the_smallest_images_are_seen(demo: VisionModel) -> None:
    """64 pixels a side."""
    assert accuracy(demo, sight.both(sight.as_file("PNG"), sight.of_sides(64, 64))) >= LEAST


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize(("side", "number"), [(4000, 6), (6000, 2)])
def test_the_largest_images_are_seen(demo: VisionModel, kind: str, side: int, number: int) -> None:
    """4,000 pixels, which is what the model was made for, and beyond: it is shown no more pixels of them."""
    options = {"quality": 85} if kind == "JPEG" else {"compress_level": 1}
    asked = list(sight.both(sight.as_file(kind, **options), sight.of_sides(side, side, number)))
    assert all(answer == right for answer, right in answers(demo, asked))


def test_every_pixel_of_a_large_jpeg_may_be_decoded(demo: VisionModel) -> None:
    """What is seen of it is the same."""
    for drawing in sight.of_sides(3000, 3000, 2):
        data = encode(drawing.image, "JPEG", quality=85)
        assert demo.generate(WHAT[0], data, max_tokens=12, exact=True).text == drawing.what


# Sources


def written(drawing: Drawing, folder: Path) -> Path:
    """The drawing as a file."""
    path = folder / "drawing.png"
    path.write_bytes(encode(drawing.image))
    return path


def data_uri(drawing: Drawing) -> str:
    """The drawing as text."""
    return f"data:image/png;base64,{base64.b64encode(encode(drawing.image)).decode()}"


SOURCES: dict[str, Callable[[Drawing, Path], Any]] = {
    "path": lambda drawing, folder: str(written(drawing, folder)),
    "Path": written,
    "data URI": lambda drawing, _: data_uri(drawing),
    "bytes": lambda drawing, _: encode(drawing.image),
    "bytearray": lambda drawing, _: bytearray(encode(drawing.image)),
    "memoryview": lambda drawing, _: memoryview(encode(drawing.image)),
    "BytesIO": lambda drawing, _: io.BytesIO(encode(drawing.image)),
    "file": lambda drawing, folder: written(drawing, folder).open("rb"),
    "PIL": lambda drawing, _: drawing.image,
    "PIL not yet decoded": lambda drawing, folder: Image.open(written(drawing, folder)),
    "uint8": lambda drawing, _: np.asarray(drawing.image),
    "uint8 from right to left": lambda drawing, _: np.asarray(
        drawing.image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    )[:, ::-1],
    "float32": lambda drawing, _: np.asarray(drawing.image, "float32") / np.float32(255),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_kind_of_source_is_seen(demo: VisionModel, tmp_path: Path, kind: str) -> None:
    """No pixel is lost on the way, so that all answers are those to the plain drawings."""
    asked = sight.both(lambda drawing: SOURCES[kind](drawing, tmp_path), sight.shown()[::2])
    assert accuracy(demo, asked) == 1


@pytest.fixture
def url(server: ImageServer, monkeypatch: pytest.MonkeyPatch) -> Form:
    """Where a drawing can be downloaded."""
    served: dict[str, bytes] = {}

    def form(drawing: Drawing) -> str:
        served["image"] = encode(drawing.image, "JPEG", quality=90)
        return f"{server.url}/image"

    monkeypatch.setattr(image_server, "png", lambda: served["image"])
    return form


def test_an_image_at_a_url_is_seen(demo: VisionModel, url: Form) -> None:
    assert accuracy(demo, sight.both(url)) >= LEAST


# Several images, and conversations


def alternating(folder: Path) -> Form:
    """A source of another kind each time."""
    kinds, number = itertools.cycle(("data URI", "PIL", "bytes", "uint8", "BytesIO", "float32", "Path")), 0

    def form(drawing: Drawing) -> Any:
        nonlocal number
        number += 1
        own = folder / str(number)
        own.mkdir()
        return SOURCES[next(kinds)](drawing, own)

    return form


CONVERSATIONS: dict[str, Callable[[Form], Iterator[Asked]]] = {
    "the first and the second of two": sight.in_order,
    "asked again about the first image": sight.asked_again,
    "an image in each turn": sight.later_image,
    "the other of two images": sight.other_of_two,
}


@pytest.mark.parametrize("kind", CONVERSATIONS)
def test_each_image_of_a_conversation_is_seen_in_its_place(
    demo: VisionModel, tmp_path: Path, kind: str
) -> None:
    assert accuracy(demo, CONVERSATIONS[kind](alternating(tmp_path))) >= LEAST


def test_images_of_two_sizes_stay_apart(demo: VisionModel) -> None:
    """Each has its own pixels, its own turn and its own number of tokens."""
    asked: list[Asked] = []
    for number, large in enumerate(sight.of_sides(2000, 2500, 8)):
        small = next(it for it in sight.shown() if it.colour != large.colour)
        turned = sight.oriented(6, "JPEG")(large)
        sources, right = [small.image, turned], (small, large)
        asked.append(Asked(nth(number % 2), sources, right[number % 2].what))
        asked.append(Asked(nth(number % 2), sources[::-1], right[1 - number % 2].what))
    assert accuracy(demo, asked) >= LEAST


def filled(first: Drawing, second: Drawing) -> Iterator[tuple[list[Any], list[Any]]]:
    """The ways to give two images to one message: its parts, and the call's images."""
    empty = {"type": "image"}
    one, other = first.image, second.image
    yield [empty, empty], [one, other]
    yield [image(one), image(other)], []
    yield [empty, image(other)], [one]
    yield [image(one), empty], [other]
    yield [{"type": "image_url", "image_url": {"url": data_uri(first)}}, empty], [other]
    yield [empty, {"type": "input_image", "image_url": data_uri(second)}], [one]


def test_image_parts_take_their_own_sources_and_the_images_of_the_call_in_order(demo: VisionModel) -> None:
    """However the two are mixed, the first part is the first image."""
    asked: list[Asked] = []
    for number, first, second in itertools.islice(sight.pairs(), 4):
        right = (first, second)[number].what
        asked += [
            Asked([user(*parts, nth(number))], images, right) for parts, images in filled(first, second)
        ]
    assert accuracy(demo, asked) >= LEAST


def test_an_image_after_the_words_and_under_a_system_message_is_seen(demo: VisionModel) -> None:
    system = {"role": "system", "content": "Be brief."}
    asked = [
        Asked([system, user(WHERE, image(drawing.image))], [], drawing.side or "")
        for drawing in sight.shown()
    ]
    assert accuracy(demo, asked) >= LEAST


def test_nothing_of_an_image_is_left_for_a_question_without_one(demo: VisionModel) -> None:
    """Each call sees its own images only."""
    for drawing in sight.shown()[:4]:
        assert demo.generate(WHAT[0], [drawing.image], max_tokens=12).text == drawing.what
        assert demo.generate(WHAT[0], max_tokens=12).text == NO_IMAGE
