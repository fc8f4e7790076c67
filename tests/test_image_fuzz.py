"""Whatever happens to a file, a picture or an ImageError comes out.

MLX_CARDS_FUZZ is the number of cases for each kind of file (1,000 unless told), MLX_CARDS_FUZZ_SECONDS
the time for all of them. A case is known by its kind and number, and the same each time.
"""

from __future__ import annotations

import base64
import functools
import importlib.util
import io
import os
import random
import re
import resource
import struct
import sys
import time
import warnings
import zlib
from collections.abc import Callable

import pytest
from PIL import Image, features

from loader.errors import ImageError
from loader.image import ImageSource, Limits, Opened
from tests.pictures import encode, swapped_profile

pytestmark = pytest.mark.filterwarnings("ignore")  # Pillow warns about odd metadata
CASES = int(os.environ.get("MLX_CARDS_FUZZ", "1000"))
SECONDS = float(os.environ.get("MLX_CARDS_FUZZ_SECONDS", "36"))
LIMITS = Limits(max_pixels=1_000_000, max_bytes=1_000_000, decode_seconds=1, download_seconds=1)
MEMORY = 200_000_000  # a picture at the limit is 4 MB; decoders have buffers of their own
TIME = 3.0


def noise(mode: str = "RGB") -> Image.Image:
    """Something to compress: half noise, half smooth."""
    image = Image.linear_gradient("L").resize((24, 40)).convert("RGB")
    image.paste(Image.frombytes("RGB", (12, 40), random.Random(1).randbytes(12 * 40 * 3)))  # noqa: S311
    return image.convert("L").convert(mode) if mode in ("I;16", "LA") else image.convert(mode)


def metadata() -> dict[str, object]:
    """What a phone writes beside the pixels."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    return {"exif": exif, "icc_profile": swapped_profile()}


def animated(kind: str, mode: str = "RGB") -> bytes:
    return encode(noise(mode), kind, save_all=True, append_images=[noise(mode).rotate(90), noise(mode)])


SEEDS: dict[str, Callable[[], list[bytes]]] = {
    "JPEG": lambda: [
        encode(noise(), "JPEG", **metadata()),
        encode(noise(), "JPEG", progressive=True),
        encode(noise("L"), "JPEG", restart_marker_blocks=2),
        encode(noise("CMYK"), "JPEG"),
        animated("MPO"),
    ],
    "PNG": lambda: [
        encode(noise(), "PNG", **metadata()),
        encode(noise("P"), "PNG", transparency=3),
        encode(noise("I;16"), "PNG"),
        encode(noise("RGBA"), "PNG"),
        animated("PNG"),
    ],
    "WEBP": lambda: [
        encode(noise(), "WEBP", **metadata()),
        encode(noise("RGBA"), "WEBP", lossless=True),
        animated("WEBP"),
    ],
    "GIF": lambda: [encode(noise("P"), "GIF", transparency=3, interlace=1), animated("GIF", "P")],
    "BMP": lambda: [encode(noise(mode), "BMP") for mode in ("RGB", "P", "1", "RGBA")],
    "TIFF": lambda: [
        encode(noise(), "TIFF", **metadata()),
        encode(noise("I;16"), "TIFF"),
        *(
            encode(noise(), "TIFF", compression=name, **metadata())
            for name in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")
        ),
        encode(noise("1"), "TIFF", compression="group4"),
        animated("TIFF"),
    ],
    "AVIF": lambda: [encode(noise(), "AVIF", **metadata()), animated("AVIF")],
    "HEIF": lambda: [encode(noise(), "HEIF", **metadata()), encode(noise("RGBA"), "HEIF")],
    "ICO": lambda: [
        encode(noise("RGBA"), "ICO", sizes=[(16, 16), (24, 24)], bitmap_format=name)
        for name in ("png", "bmp")
    ],
    "PPM": lambda: [encode(noise(mode), "PPM") for mode in ("RGB", "L", "1")],
    "TGA": lambda: [encode(noise(), "TGA"), encode(noise("P"), "TGA", compression="tga_rle")],
}


@functools.cache
def seeds(kind: str) -> list[bytes]:
    """Real files of one kind, small."""
    if kind == "HEIF":
        importlib.import_module("pillow_heif").register_heif_opener()
    return SEEDS[kind]()


def known(kind: str) -> bool:
    """Whether a library here gives the kind."""
    if kind == "HEIF":
        return importlib.util.find_spec("pillow_heif") is not None
    return kind != "AVIF" or bool(features.check("avif"))


# ---- what happens to a file


def flip(data: bytearray, rng: random.Random) -> None:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def overwrite(data: bytearray, rng: random.Random) -> None:
    place = rng.randrange(len(data))
    data[place : place + 8] = rng.randbytes(rng.randint(1, 8))


def declare(data: bytearray, rng: random.Random) -> None:
    """A number becomes huge, zero or negative, near the start or, where TIFF has its table, the end."""
    form = rng.choice("<>") + rng.choice("HI")
    places = len(data) - struct.calcsize(form)
    if places > 0:
        most = 256 ** struct.calcsize(form)
        number = rng.choice([0, 1, most - 1, most // 2, most // 2 - 1, 60_000, rng.randrange(most)])
        place = rng.randrange(min(places, 400))
        struct.pack_into(form, data, rng.choice([place, place, places - place - 1]), number % most)


def cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def remove(data: bytearray, rng: random.Random) -> None:
    place = rng.randrange(len(data))
    del data[place : place + rng.randint(1, 64)]


def insert(data: bytearray, rng: random.Random) -> None:
    place = rng.randrange(len(data))
    data[place:place] = rng.choice([rng.randbytes(rng.randint(1, 64)), bytes(rng.randint(1, 64))])


def repeat(data: bytearray, rng: random.Random) -> None:
    start, end = sorted(rng.randrange(len(data)) for _ in range(2))
    data[start:start] = data[start:end] * rng.randint(1, 20)


def blank(data: bytearray, rng: random.Random) -> None:
    start, end = sorted(rng.randrange(len(data)) for _ in range(2))
    data[start:end] = bytes(end - start)


def splice(data: bytearray, rng: random.Random) -> None:
    """The head of this file, the rest of another."""
    other = rng.choice(seeds(rng.choice([kind for kind in SEEDS if known(kind)])))
    data[rng.randrange(len(data)) :] = other[rng.randrange(len(other)) :]


CHANGES = [
    flip,
    flip,
    overwrite,
    overwrite,
    declare,
    declare,
    declare,
    cut,
    remove,
    insert,
    repeat,
    blank,
    splice,
]


def resealed(data: bytes) -> bytes:
    """A PNG whose chunks have right checksums: without them no change would come past the first look."""
    result, place = bytearray(data[:8]), 8
    while place + 12 <= len(data):
        size = min(struct.unpack_from(">I", data, place)[0], len(data) - place - 12)
        body = data[place + 4 : place + 8 + size]
        result += struct.pack(">I", size) + body + struct.pack(">I", zlib.crc32(body))
        place += 12 + size
    return bytes(result)


def changed(kind: str, rng: random.Random) -> bytes:
    """One of the seeds after one to four changes."""
    data = bytearray(rng.choice(seeds(kind)))
    for _ in range(rng.choice([1, 1, 1, 2, 3, 4])):
        if data:
            rng.choice(CHANGES)(data, rng)
    result = bytes(data)
    return resealed(result) if kind == "PNG" and rng.random() < 0.7 else result


def disguised(data: bytes, rng: random.Random) -> ImageSource:
    """The bytes, or one of the things that hold them, under a name that need not be right."""
    if rng.random() < 0.7:
        return data
    if rng.random() < 0.3:
        return io.BufferedReader(io.BytesIO(data))
    text = base64.b64encode(data).decode()
    if rng.random() < 0.2 and text:
        place = rng.randrange(len(text))
        text = text[:place] + rng.choice(["%", "=", "\n", "%zz", "\0", "é", ","]) + text[place:]
    name = rng.choice(["png", "jpeg", "svg+xml", "x-nothing", "gif;charset=utf-8"])
    return f"data:image/{name};base64,{text}"


# ---- what comes of it


def outcome(source: ImageSource, rng: random.Random) -> bool:
    """Whether it opened; what opened is a picture within the limits."""
    try:
        opened = Opened(source, limits=LIMITS)
        image, box = opened.pixels(rng.choice([None, (1, 1), (6, 8)]))
    except ImageError as error:
        message = str(error)
        if len(message) > 500 or not re.search(r"\. [A-Z].*\.$", message, re.DOTALL):
            raise AssertionError(f"not two short sentences: {message!r}") from error
        return False
    assert type(image) is Image.Image
    assert image.mode == "RGB"
    assert 0 < image.width * image.height <= opened.size[0] * opened.size[1] <= LIMITS.max_pixels
    assert 0 <= box[0] < box[2] <= image.width
    assert 0 <= box[1] < box[3] <= image.height
    assert len(image.tobytes()) == image.width * image.height * 3
    return True


def memory() -> int:
    """The most that this process has used, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@pytest.mark.parametrize("kind", SEEDS)
def test_a_changed_file_is_a_picture_or_an_image_error(kind: str) -> None:
    """Nothing else, and nothing that takes long or much memory; the process stays as it was."""
    if not known(kind):
        pytest.skip("no library here")
    end = time.process_time() + SECONDS / len(SEEDS)
    before, filters, limit = memory(), list(warnings.filters), Image.MAX_IMAGE_PIXELS
    outcomes = []
    for number in range(CASES):
        rng = random.Random(f"{kind} {number}")  # noqa: S311
        source = disguised(changed(kind, rng), rng)
        started = time.thread_time()
        try:
            outcomes.append(outcome(source, rng))
        except Exception as error:
            raise AssertionError(f"{kind} {number}") from error
        assert time.thread_time() - started < TIME, f"{kind} {number}"
        assert memory() - before < MEMORY, f"{kind} {number}"
        if time.process_time() > end:
            break
    assert (warnings.filters, Image.MAX_IMAGE_PIXELS) == (filters, limit)
    assert True in outcomes
    assert False in outcomes


@pytest.mark.parametrize("kind", SEEDS)
def test_the_files_that_are_changed_open_as_they_are(kind: str) -> None:
    """Otherwise the changes would show nothing."""
    if not known(kind):
        pytest.skip("no library here")
    assert all(outcome(data, random.Random(1)) for data in seeds(kind))  # noqa: S311


def test_the_start_of_every_kind_of_file_alone_is_an_image_error() -> None:
    """However few bytes there are, from none to a header."""
    for kind in filter(known, SEEDS):
        for count in range(32):
            data = seeds(kind)[0][:count]
            assert not outcome(data, random.Random(1)), (kind, count)  # noqa: S311
            outcome(data + bytes(64), random.Random(1))  # noqa: S311
