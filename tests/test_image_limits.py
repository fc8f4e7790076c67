"""Limits hold for every source, and are ours alone: nothing of the process is changed or waited for."""

from __future__ import annotations

import io
import os
import socket
import struct
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image, features

import loader.decode
from loader.image import Limits, open_image
from tests.pictures import RED, SOURCES, Trickle, encode, fails, picture, png

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


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


@pytest.mark.skipif(os.name != "posix", reason="pipes have names there")
def test_a_pipe_that_nobody_writes_to_ends_with_the_time(tmp_path: Path) -> None:
    """Even opening it would wait for good."""
    os.mkfifo(tmp_path / "pipe")
    fails(tmp_path / "pipe", "came to no end", "limit of 0.2 seconds", limits=Limits(download_seconds=0.2))


def test_a_pipe_that_is_written_to_is_read(tmp_path: Path) -> None:
    """As the shell does it with <(command)."""
    reading, writing = os.pipe()
    os.write(writing, encode(picture()))
    os.close(writing)
    with open(reading, "rb") as file:  # noqa: PTH123
        assert open_image(file).size == (3, 2)


@pytest.mark.parametrize("first", [b"", b"\x89PNG"])
def test_a_socket_that_falls_silent_ends_with_the_time(first: bytes) -> None:
    """It may have sent something before."""
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("rb") as file:
        theirs.sendall(first)
        fails(file, "came to no end", "Limits.download_seconds", limits=Limits(download_seconds=0.2))
        theirs.close()  # lets the reading thread go before the file is closed


def test_a_file_that_drips_ends_with_the_time() -> None:
    """Bytes that keep coming win no time, and are no longer read afterwards."""

    class Dripping(Trickle):
        def readinto(self, buffer: WriteableBuffer, /) -> int:
            time.sleep(0.01)
            return super().readinto(buffer)

    file = Dripping()
    fails(file, "limit of 0.2 seconds", limits=Limits(download_seconds=0.2))
    time.sleep(0.1)
    given = file.given
    time.sleep(0.1)
    assert file.given == given


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


def test_the_default_limit_holds_the_largest_phone_photo_and_no_more() -> None:
    """200 megapixels are within it, a picture of 60,000 x 60,000 is not."""
    assert Limits().max_pixels > 16_320 * 12_240
    fails(png(2, 8, (60_000, 60_000), []), "60000x60000", "limit of 268,435,456 pixels")


# Pillow looks at its own limit inside these plugins, not only in Image.open.
GUARDED = ("WEBP", "ICO")
OPENED = ["JPEG", "PNG", "GIF", "BMP", "TIFF", "PPM", "TGA", "AVIF"]


@pytest.mark.parametrize("kind", OPENED)
def test_pillows_limit_does_not_matter_below_ours(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to our limit a picture opens, in silence, and nothing of the process is changed for it."""
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    data = encode(Image.new("RGB", (32, 32), RED), kind)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = list(warnings.filters)
        assert open_image(data).size == (32, 32)
        assert warnings.filters == before
    assert Image.MAX_IMAGE_PIXELS == 4


@pytest.mark.parametrize("kind", GUARDED)
def test_where_pillows_limit_cannot_be_passed_it_is_explained(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says which number it is."""
    data = encode(Image.new("RGB", (32, 32), RED), kind)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    fails(data, "larger than Pillow opens", "PIL.Image.MAX_IMAGE_PIXELS")


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "I;16", "1", "CMYK", "F"])
@pytest.mark.parametrize("compression", ["raw", "tiff_adobe_deflate"])
def test_a_large_tiff_of_every_mode_opens(
    mode: str, compression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is asked for past Pillow's limit, and holds the same picture, also when it is turned."""
    image = Image.new("RGB", (9, 5), RED).convert("L" if mode in ("I;16", "F") else mode).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(image, "TIFF", compression=compression, exif=exif)
    expected = open_image(data)
    assert expected.size == (5, 9)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    assert open_image(data).tobytes() == expected.tobytes()


def test_threads_decode_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pictures are inside the decoder at the same time, each waiting there for the other."""
    both = threading.Barrier(2, timeout=20)
    whole = loader.decode.load

    def meet(image: Image.Image, what: str, limits: Limits) -> None:
        both.wait()
        whole(image, what, limits)

    monkeypatch.setattr(loader.decode, "load", meet)
    with ThreadPoolExecutor(2) as pool:
        sizes = pool.map(lambda kind: open_image(encode(picture(), kind)).size, ["JPEG", "PNG"])
        assert list(sizes) == [(3, 2), (3, 2)]


def test_an_icon_cannot_hide_a_larger_picture() -> None:
    """The size that was decoded counts, not only the one that was declared."""
    icon = bytearray(encode(Image.new("RGB", (64, 64)), "ICO", sizes=[(64, 64)]))
    icon[6:8] = bytes([8, 8])
    fails(bytes(icon), "64x64", limits=Limits(max_pixels=100))


@pytest.mark.parametrize("inside", [png(2, 8, (9000, 9000), []), struct.pack("<Iii", 40, 9000, 18_000)])
def test_the_pictures_in_an_icon_are_counted_before_decoding(inside: bytes) -> None:
    """Pillow decodes one as soon as it opens the icon."""
    entry = struct.pack("<4B2H2I", 16, 16, 0, 0, 1, 24, len(inside), 22)
    icon = b"\0\0\1\0\1\0" + entry + inside
    fails(icon, "9000x9000", "limit of 1,000 pixels", limits=Limits(max_pixels=1000))
