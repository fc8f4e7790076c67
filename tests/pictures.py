"""A small picture as every kind of source, and what is looked for in what became of it."""

from __future__ import annotations

import base64
import io
import struct
import urllib.parse
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from loader.errors import ImageError
from loader.image import ImageSource, Limits, open_image

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)
Colour = tuple[int, ...]


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The file that Pillow writes."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def picture() -> Image.Image:
    """3x2 with four different corners, so that every turn and flip shows."""
    image = Image.new("RGB", (3, 2), (9, 9, 9))
    for place, colour in (((0, 0), RED), ((2, 0), GREEN), ((0, 1), BLUE), ((2, 1), WHITE)):
        image.putpixel(place, colour)
    return image


def png(
    colour_type: int, depth: int, size: tuple[int, int], rows: Sequence[bytes], key: bytes = b""
) -> bytes:
    """A PNG by hand, for the kinds that Pillow does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour_type, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + head + (chunk(b"tRNS", key) if key else b"") + data + chunk(b"IEND", b"")


def pixel_at(image: Image.Image, place: tuple[int, int]) -> Colour:
    """One pixel of a picture with several channels."""
    colour = image.getpixel(place)
    assert isinstance(colour, tuple)
    return colour


def pixels(image: Image.Image) -> list[Colour]:
    """All pixels of an RGB picture, row by row."""
    assert image.mode == "RGB"
    return [pixel_at(image, (x, y)) for y in range(image.height) for x in range(image.width)]


class Options(TypedDict, total=False):
    """What `fails` hands on to `open_image`."""

    background: str
    limits: Limits


def fails(source: Any, *pieces: str, **options: Unpack[Options]) -> ImageError:
    """The source is refused, in two sentences that hold these pieces."""
    with pytest.raises(ImageError) as caught:
        open_image(source, **options)
    message = str(caught.value)
    for piece in pieces:
        assert piece in message
    assert ". " in message
    assert message.endswith(".")
    return caught.value


class Trickle(io.RawIOBase):
    """A file that never ends, gives little at a time, and counts what it gave."""

    given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer)
        count = min(len(view), 7)
        view[:count] = b"\xff" * count
        self.given += count
        return count


def written(folder: Path) -> Path:
    """The picture as a file."""
    path = folder / "photo.png"
    path.write_bytes(encode(picture()))
    return path


def text() -> str:
    """The picture as base64."""
    return base64.b64encode(encode(picture())).decode()


def array() -> npt.NDArray[np.uint8]:
    """The picture as numpy sees it."""
    return np.asarray(picture())


SOURCES: dict[str, Callable[[Path], ImageSource]] = {
    "str": lambda folder: str(written(folder)),
    "Path": written,
    "bytes": lambda _: encode(picture()),
    "bytearray": lambda _: bytearray(encode(picture())),
    "memoryview": lambda _: memoryview(encode(picture())),
    "BytesIO": lambda _: io.BytesIO(encode(picture())),
    "unbuffered file": lambda folder: written(folder).open("rb", buffering=0),
    "PIL": lambda _: picture(),
    "PIL not yet decoded": lambda folder: Image.open(written(folder)),
    "base64 URI": lambda _: f"data:image/png;base64,{text()}",
    "base64 URI with parameter and line ends": lambda _: (
        f"DATA:image/png;a=b;BASE64,{text()[:9]}\r\n{text()[9:]}"
    ),
    "base64 URI without padding": lambda _: f"data:image/png;base64,{text().rstrip('=')}",
    "base64 URI percent-encoded": lambda _: f"data:image/png;base64,{urllib.parse.quote(text(), safe='')}",
    "percent-encoded URI": lambda _: f"data:image/png,{urllib.parse.quote_from_bytes(encode(picture()))}",
    "uint8": lambda _: array(),
    "uint8 in Fortran order": lambda _: np.asfortranarray(array()),
    "uint8 with opaque alpha": lambda _: np.dstack([array(), np.full((2, 3), 255, "uint8")]),
    "uint16": lambda _: array().astype("uint16") * 257,
    "uint16 big-endian": lambda _: (array().astype("uint16") * 257).astype(">u2"),
    "float32": lambda _: array().astype("float32") / 255,
    "float64": lambda _: array() / 255,
}


def swapped_profile() -> bytes:
    """A profile in which red is green: sRGB with two names exchanged, and a name of its own."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = data.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
    return data.replace("sRGB".encode("utf-16-be"), "XRGB".encode("utf-16-be"))


def p3_profile() -> bytes:
    """Display P3: the curves of sRGB, with primaries of its own (as ICC writes them, for D50)."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    primaries = {
        b"rXYZ": (0.51512, 0.24120, -0.00105),
        b"gXYZ": (0.29198, 0.69225, 0.04189),
        b"bXYZ": (0.15710, 0.06657, 0.78407),
    }
    for tag, values in primaries.items():
        place = struct.unpack_from(">I", data, data.index(tag) + 4)[0] + 8
        numbers = struct.pack(">3i", *(round(value * 65536) for value in values))
        data = data[:place] + numbers + data[place + 12 :]
    return data.replace("sRGB".encode("utf-16-be"), "P3P3".encode("utf-16-be"))
