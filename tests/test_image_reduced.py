"""A large JPEG is decoded no larger than its plan needs, and looks as if it had been decoded whole."""

from __future__ import annotations

import functools
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.ImageFile import ImageFile

import loader.decode
import loader.image
from loader.errors import ImageError
from loader.image import ImageSource, Limits, Opened, open_image
from loader.rgb import turned
from tests.image_server import ImageServer
from tests.pictures import BLUE, GREEN, RED, SOURCES, WHITE, encode, pixel_at, swapped_profile

FILTERS = [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS]


@functools.cache
def photograph(name: Path, crop: tuple[int, int] | None = None) -> bytes:
    """The photograph as it is, or a part of it that ends within a block of 8 x 8 pixels."""
    if crop is None:
        return name.read_bytes()
    return encode(open_image(name).crop((0, 0, *crop)), "JPEG", quality=92)


def psnr(one: Image.Image, other: Image.Image) -> float:
    """Peak signal-to-noise ratio in dB."""
    error = float(np.square(np.asarray(one, float) - np.asarray(other, float)).mean())
    return 10 * math.log10(255**2 / max(error, 1e-9))


def corners(width: int, height: int, orientation: int = 1, **options: Any) -> bytes:
    """A JPEG, four flat quarters, each of one colour: red and green above blue and white."""
    image = Image.new("RGB", (width, height))
    for x, y, colour in ((0, 0, RED), (1, 0, GREEN), (0, 1, BLUE), (1, 1, WHITE)):
        box = (x * width // 2, y * height // 2, width if x else width // 2, height if y else height // 2)
        image.paste(colour, box)
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(image, "JPEG", exif=exif, quality=95, subsampling=0, **options)


# ---- how small


@pytest.mark.parametrize(
    ("at_least", "size"),
    [
        (None, (800, 400)),
        ((400, 200), (800, 400)),
        ((236, 118), (800, 400)),  # 1.7 times that is more than half
        ((235, 117), (400, 200)),
        ((235, 118), (800, 400)),
        ((117, 58), (200, 100)),
        ((58, 29), (100, 50)),
        ((1, 1), (100, 50)),
        ((2000, 2000), (800, 400)),
        ((1, 400), (800, 400)),
    ],
)
def test_a_margin_over_the_wanted_size_remains_in_both_directions(
    at_least: tuple[int, int] | None, size: tuple[int, int]
) -> None:
    """A half, a quarter or an eighth, whichever is the smallest that is large enough."""
    assert Opened(corners(800, 400)).pixels(at_least).image.size == size


@pytest.mark.parametrize("number", range(1, 9))
def test_the_size_is_upright_before_anything_is_decoded(number: int) -> None:
    """A plan is made from the picture as it is seen, not as it is stored."""
    assert Opened(corners(80, 40, number)).size == ((80, 40) if number < 5 else (40, 80))


@pytest.mark.parametrize("number", range(5, 9))
def test_the_wanted_size_is_upright_too(number: int) -> None:
    """A picture that is stored lying is compared with its height and width exchanged."""
    opened = Opened(corners(800, 400, number))
    assert opened.pixels((50, 117)).image.size == (100, 200)
    assert opened.pixels((117, 50)).image.size == (200, 400)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "BMP", "PIL", "array"])
def test_what_cannot_be_reduced_is_decoded_whole(kind: str) -> None:
    """Only JPEG has smaller pictures inside."""
    image = Image.new("RGB", (800, 400), RED)
    sources: dict[str, ImageSource] = {"PIL": image, "array": np.asarray(image)}
    opened = Opened(sources[kind] if kind in sources else encode(image, kind))
    assert opened.size == (800, 400)
    assert opened.pixels((1, 1)).image.size == (800, 400)
    assert opened.pixels((1, 1)).box == (0, 0, 800, 400)


# ---- how good


@pytest.mark.parametrize("crop", [None, (2981, 4027)])
@pytest.mark.parametrize("scale", [2, 4, 8])
def test_a_reduced_photograph_is_within_40_db_of_the_exact_one(
    photo: Path, crop: tuple[int, int] | None, scale: int
) -> None:
    """With each filter, at the least margin of each scale, and where the last block is cut."""
    data = photograph(photo, crop)
    whole, opened = open_image(data), Opened(data)
    size = (int(whole.width / scale / 1.7), int(whole.height / scale / 1.7))
    image, box = opened.pixels(size)
    assert image.size == (-(-whole.width // scale), -(-whole.height // scale))
    for chosen in FILTERS:
        assert psnr(whole.resize(size, chosen), image.resize(size, chosen, box=box)) > 40


@pytest.mark.parametrize("number", range(1, 9))
def test_the_picture_is_where_the_box_says_in_every_orientation(number: int) -> None:
    """A column that holds one pixel of the file and seven of padding counts as an eighth."""
    whole = open_image(corners(801, 401, number))
    image, box = Opened(corners(801, 401, number)).pixels((20, 20))
    assert image.size == ((101, 51) if number < 5 else (51, 101))
    assert (box[2] - box[0], box[3] - box[1]) == (whole.width / 8, whole.height / 8)
    small = (whole.width // 20, whole.height // 20)
    assert psnr(whole.resize(small), image.resize(small, box=box)) > 40


def test_a_turn_moves_a_box_as_it_moves_pixels() -> None:
    """The corner of an image that is cut off is the one that was turned there."""
    image = Image.new("L", (3, 2))
    image.putpixel((2, 1), 255)
    for turn in (None, *Image.Transpose):
        moved = image if turn is None else image.transpose(turn)
        assert moved.getbbox() == turned((2, 1, 3, 2), image.size, turn)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_ink_are_reduced_like_colour(mode: str) -> None:
    """What stands in a JPEG makes no difference to how large it is decoded."""
    data = encode(Image.new("RGB", (800, 400), (200, 200, 200)).convert(mode), "JPEG")
    image = Opened(data).pixels((50, 25)).image
    assert image.size == (100, 50)
    assert image.mode == "RGB"
    assert all(abs(value - 200) < 3 for value in pixel_at(image, (50, 25)))


def test_a_profile_is_applied_to_the_reduced_picture() -> None:
    """Red is green there, as in the whole picture."""
    data = corners(800, 400, icc_profile=swapped_profile())
    red, green, _ = pixel_at(Opened(data).pixels((50, 25)).image, (5, 5))
    assert red < 20
    assert green > 235


def test_the_first_picture_of_several_is_reduced() -> None:
    """Phones store a second picture behind the first; the file is an MPO then."""
    first, second = Image.new("RGB", (800, 400), RED), Image.new("RGB", (800, 400), BLUE)
    data = encode(first, "MPO", save_all=True, append_images=[second])
    image = Opened(data).pixels((50, 25)).image
    assert image.size == (100, 50)
    assert pixel_at(image, (0, 0))[0] > 250


# ---- one source, once


def test_a_source_is_fetched_once(server: ImageServer) -> None:
    """Size and pixels come from the same bytes, however often they are asked for."""
    before = len(server.requests)
    opened = Opened(f"{server.url}/image", allow_private_urls=True)
    assert opened.size == opened.pixels().image.size == opened.pixels((1, 1)).image.size
    assert len(server.requests) - before == 1


def test_a_file_object_is_read_once_and_pixels_may_be_asked_for_again() -> None:
    """Each time at the size that is needed then."""
    opened = Opened(io.BytesIO(corners(800, 400)))
    sizes = [opened.pixels(wanted).image.size for wanted in ((50, 25), None, (100, 50))]
    assert sizes == [(100, 50), (800, 400), (200, 100)]


@pytest.mark.parametrize("kind", SOURCES)
def test_every_kind_of_source_has_its_size(kind: str, tmp_path: Path) -> None:
    """The size is that of the picture, whatever it comes from."""
    source = SOURCES[kind](tmp_path)
    assert Opened(source).size == (3, 2)
    if hasattr(source, "close"):
        source.close()


def test_open_image_decodes_every_pixel(photo: Path) -> None:
    """Nothing is reduced unless a size is given."""
    whole = open_image(photo)
    assert whole.size == (4032, 2988)
    assert Opened(photo).pixels().image.tobytes() == whole.tobytes()


def test_the_callers_own_jpeg_is_not_reduced() -> None:
    """Its next user would find a smaller picture."""
    image = Image.open(io.BytesIO(corners(800, 400)))
    assert Opened(image).pixels((50, 25)).image.size == (800, 400)
    assert image.size == (800, 400)


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_jpeg_cut_short_is_refused_when_reduced(photo: Path, share: float) -> None:
    """The header is whole, so the size is known; the pixels are refused."""
    data = photograph(photo)
    opened = Opened(data[: int(len(data) * share)])
    with pytest.raises(ImageError, match="damaged or cut short"):
        opened.pixels((300, 300))


def test_the_limit_counts_the_pixels_of_the_file() -> None:
    """A reduced picture does not bring a larger file within the limits."""
    with pytest.raises(ImageError, match="800x400, more than the limit of 10,000 pixels"):
        Opened(corners(800, 400), limits=Limits(max_pixels=10_000))


def test_a_reduced_picture_is_never_decoded_whole(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time and memory follow the plan: what the decoder fills is no larger than needed."""
    filled: list[tuple[int, int]] = []
    decode = loader.decode.decode

    def noted(image: ImageFile, data: bytes, what: str, limits: Limits) -> None:
        decode(image, data, what, limits)
        filled.append(image.size)

    monkeypatch.setattr(loader.image, "decode", noted)
    opened = Opened(photo)
    assert filled == []
    opened.pixels((1148, 840))
    assert filled == [(1494, 2016)]
