"""Limits hold for every source, and hostile bytes lead to nothing worse than an ImageError."""

from __future__ import annotations

import contextlib
import io
import random
import warnings
from pathlib import Path

import pytest
from PIL import Image

from loader.errors import ImageError
from loader.image import Limits, open_image
from tests.pictures import SOURCES, Trickle, encode, fails, picture, png, swapped_profile

# ---- limits


@pytest.mark.parametrize("kind", ["str", "bytes", "BytesIO", "base64 URI", "percent-encoded URI"])
def test_too_many_bytes_are_refused(kind: str, tmp_path: Path) -> None:
    """The limit counts for every source."""
    fails(SOURCES[kind](tmp_path), "limit of 50 bytes", "Limits.max_bytes", limits=Limits(max_bytes=50))


def test_a_long_data_uri_is_refused_before_it_is_decoded() -> None:
    """Its length alone shows that it cannot fit."""
    uri = "data:image/png;base64," + "A" * 5000
    fails(uri, "limit of 1,000 bytes", limits=Limits(max_bytes=1000))


def test_an_endless_file_is_read_to_the_limit_only() -> None:
    """One byte past the limit is enough to know."""
    file = Trickle()
    fails(file, "limit of 1,000 bytes", limits=Limits(max_bytes=1000))
    assert file.given <= 1001


def test_exactly_the_limit_is_allowed() -> None:
    """The limit itself is still inside."""
    data = encode(picture())
    assert open_image(io.BytesIO(data), limits=Limits(max_bytes=len(data), max_pixels=6)).size == (3, 2)


@pytest.mark.parametrize("kind", ["bytes", "PIL", "uint8"])
def test_too_many_pixels_are_refused(kind: str, tmp_path: Path) -> None:
    """The limit counts for every source, and the message says the size."""
    fails(SOURCES[kind](tmp_path), "3x2", "limit of 5 pixels", limits=Limits(max_pixels=5))


def test_pixels_are_counted_before_decoding() -> None:
    """A header is enough, however little data follows it."""
    data = png(2, 8, (12_000, 12_000), [])
    fails(data, "12000x12000", "limit of 100,000,000 pixels", limits=Limits(max_pixels=100_000_000))


def test_a_decompression_bomb_is_refused() -> None:
    """A size beyond Pillow's own limit is an ImageError as well."""
    fails(png(2, 8, (60_000, 60_000), []), "larger than Pillow", "MAX_IMAGE_PIXELS")


def test_pillows_warning_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to our limit a picture opens in silence, and the global limit stays as it was."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = list(warnings.filters)
        assert open_image(encode(picture())).size == (3, 2)
        assert warnings.filters == before
    assert Image.MAX_IMAGE_PIXELS == 4


def test_an_icon_cannot_hide_a_larger_picture() -> None:
    """The size that was decoded counts, not only the one that was declared."""
    icon = bytearray(encode(Image.new("RGB", (64, 64)), "ICO", sizes=[(64, 64)]))
    icon[6:8] = bytes([8, 8])
    fails(bytes(icon), "64x64", limits=Limits(max_pixels=100))


# ---- hostile bytes


def mutate(original: bytes, rng: random.Random) -> bytes:
    data = bytearray(original)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(data)) if data else 0
        what = rng.randrange(4)
        if what == 0 and data:
            data[place] ^= 1 << rng.randrange(8)
        elif what == 1 and data:
            data[place] = rng.choice((0, 1, 127, 128, 255))
        elif what == 2:
            del data[place:]
        else:
            data[place:place] = rng.randbytes(rng.randint(1, 8))
    return bytes(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"])
def test_mutated_files_are_images_or_image_errors(kind: str) -> None:
    """Whatever happens to a file, nothing but an RGB picture or an ImageError comes out."""
    rng = random.Random(kind)  # noqa: S311
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.frombytes("RGB", (16, 12), rng.randbytes(16 * 12 * 3))
    options = {"icc_profile": swapped_profile(), "exif": exif} if kind not in ("GIF", "BMP") else {}
    seeds = [
        encode(image, kind, **options),
        encode(image.convert("P"), kind) if kind in ("GIF", "PNG") else b"",
    ]
    for number in range(250):
        data = mutate(seeds[number % 2] or seeds[0], rng)
        with contextlib.suppress(ImageError):
            opened = open_image(data, limits=Limits(max_pixels=4_000_000))
            assert opened.mode == "RGB"
            assert opened.width * opened.height > 0
