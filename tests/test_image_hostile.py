"""Hostile bytes lead to nothing worse than an ImageError, and to that within time and memory."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
from PIL import Image, features

from loader.errors import ImageError
from loader.image import Limits, Opened, open_image
from tests.conftest import ROOT
from tests.pictures import encode, fails, picture


@pytest.mark.parametrize(
    "tile",
    [{322: 20_000, 323: 20_000, 324: 134, 325: 9}, {273: 122, 278: 20_000, 279: 9, 322: 20_000}],
    ids=["both sides", "rows of a strip"],
)
def test_a_small_picture_cannot_lie_in_a_huge_tile(tile: dict[int, int]) -> None:
    """A TIFF's tile is unpacked as a whole, however little of it shows and whatever declares its height."""
    fields = dict(sorted(({256: 16, 257: 16, 258: 8, 259: 8, 262: 1, 277: 1} | tile).items()))
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields.items())
    data = b"II*\0" + struct.pack("<IH", 8, len(fields)) + table + b"\0\0\0\0"
    fails(data + zlib.compress(b"\0"), "A tile of", "20000x20000", "limit of 268,435,456 pixels")


def many_scans(side: int, count: int) -> bytes:
    """A progressive JPEG that goes over its pixels again and again, with 36 bytes for each time."""
    data = encode(Image.new("L", (side, side), 128), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xc4") : -2]
    return data[:-2] + last * count + data[-2:]


@pytest.mark.parametrize("at_least", [None, (10, 10)])
def test_endless_work_in_a_small_file_ends_with_the_time(at_least: tuple[int, int] | None) -> None:
    """Three megabytes here would take minutes, in whatever size they are decoded."""
    data = many_scans(2000, 100_000)
    opened = Opened(data, limits=Limits(decode_seconds=0.3))
    started = time.thread_time()
    with pytest.raises(ImageError, match=r"takes longer to decode than the limit of 0\.3 seconds"):
        opened.pixels(at_least)
    assert time.thread_time() - started < 5


def test_endless_work_before_the_first_pixel_ends_with_the_time() -> None:
    """A PNG of nothing but small chunks."""
    chunk = struct.pack(">I", 0) + b"aaAa" + struct.pack(">I", zlib.crc32(b"aaAa"))
    data = encode(picture())
    fails(data[:33] + chunk * 500_000 + data[33:], "takes longer", limits=Limits(decode_seconds=0.2))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_an_animation_costs_what_its_first_frame_costs(kind: str) -> None:
    """Later frames are not decoded, so their number and their damage do not matter."""
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    rng = random.Random(1)  # noqa: S311
    frames = [Image.frombytes("RGB", (64, 64), rng.randbytes(64 * 64 * 3)) for _ in range(40)]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:])
    started = time.thread_time()
    image = open_image(data)
    assert time.thread_time() - started < 0.25
    alone = open_image(encode(frames[0], kind))
    assert np.abs(np.asarray(image, float) - np.asarray(alone, float)).mean() < 12
    if kind in ("GIF", "PNG", "TIFF"):  # of the others the table of frames, too, lies at the end
        broken = bytearray(data)
        broken[-len(data) // 4 :] = rng.randbytes(len(data) // 4)
        assert open_image(bytes(broken)).tobytes() == image.tobytes()


BOMBS = """
import io, resource, struct, sys, time, zlib
from PIL import Image
import loader.image
from tests.pictures import encode, picture, png, swapped_profile
from tests.test_image_hostile import many_scans
def resized(kind, place, form, *size, **options):
    data = bytearray(encode(Image.new("RGB", (8, 8)), kind, **options))
    struct.pack_into(form, data, place(data), *size)
    return bytes(data)
bombs = {
    "PNG": png(2, 8, (16384, 16384), [b"\\0" * 40]),
    "PNG, larger": png(2, 8, (2**31 - 1, 2**31 - 1), []),
    "JPEG": resized("JPEG", lambda d: d.index(b"\\xff\\xc0") + 5, ">HH", 65500, 65500),
    "BMP": resized("BMP", lambda d: 18, "<ii", 60000, 60000),
    "GIF": resized("GIF", lambda d: 6, "<HH", 65535, 65535),
    "TIFF": resized("TIFF", lambda d: d.index(struct.pack("<HHI", 257, 4, 1)) + 8, "<I", 2**31 - 1),
    "JPEG of scans": many_scans(4000, 1000),
    "profile": encode(picture(), icc_profile=swapped_profile().replace(
        b"mluc" + bytes(7) + b"\\1", b"mluc" + bytes(4) + b"\\2\\0\\0\\1")),
}
limits = loader.image.Limits(decode_seconds=1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name, data in bombs.items():
    started, error = time.process_time(), "opened"
    try:
        loader.image.Opened(data, limits=limits).pixels((100, 100))
    except loader.image.ImageError as caught:
        error = caught
    print(name, "|", error, "|", time.process_time() - started)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((after - before) * (1 if sys.platform == "darwin" else 1024))
"""


def test_bombs_end_within_time_and_memory() -> None:
    """A few kilobytes that declare what would fill gigabytes are refused, with little spent on them.

    A profile is not the picture: where it is one, the picture opens without it.
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    # A shell between, since on Linux the peak of memory is inherited from who starts the process.
    done = subprocess.run(  # noqa: S603
        ["/bin/sh", "-c", '"$0" -c "$1"; exit $?', sys.executable, BOMBS],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    *lines, memory = done.stdout.splitlines()
    rows = [line.split(" | ") for line in lines]
    assert [name for name, outcome, _ in rows if outcome == "opened"] == ["profile"]
    assert all(float(seconds) < 3 for _, _, seconds in rows)
    assert len(rows) == 8
    assert int(memory) < 200_000_000
