"""Every kind of source becomes the same picture, and has a short name for messages."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

import loader.image
from loader.image import open_image
from loader.source import describe
from tests.pictures import BLACK, SOURCES, WHITE, encode, fails, picture, pixels, written


@pytest.mark.parametrize("kind", SOURCES)
def test_every_kind_of_source_gives_the_same_picture(kind: str, tmp_path: Path) -> None:
    """The pixels do not depend on how the picture is handed over."""
    source = SOURCES[kind](tmp_path)
    with contextlib.ExitStack() as stack:
        if hasattr(source, "close"):
            stack.callback(source.close)
        assert pixels(open_image(source)) == pixels(picture())


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "PPM", "TGA", "WEBP"])
def test_every_lossless_format_gives_the_same_picture(kind: str) -> None:
    """What was saved is what is seen."""
    options = {"lossless": True} if kind == "WEBP" else {}
    assert pixels(open_image(encode(picture(), kind, **options))) == pixels(picture())


def test_a_file_object_is_read_from_where_it_stands() -> None:
    """Bytes before the position are not looked at."""
    file = io.BytesIO(b"a header of another layer" + encode(picture()))
    file.seek(25)
    assert pixels(open_image(file)) == pixels(picture())


def test_the_result_needs_no_file(tmp_path: Path) -> None:
    """The file may go away as soon as the call returns."""
    path = written(tmp_path)
    image = open_image(path)
    path.unlink()
    assert type(image) is Image.Image
    assert pixels(image) == pixels(picture())


def test_the_callers_image_is_left_alone() -> None:
    """The result is a copy, also where nothing had to change."""
    source = picture()
    source.info["note"] = "kept"
    open_image(source).putpixel((0, 0), BLACK)
    assert pixels(source) == pixels(picture())
    assert source.info == {"note": "kept"}


@pytest.mark.parametrize("shape", [(2, 2), (2, 2, 1)])
def test_grey_arrays_of_either_shape_are_grey_pictures(shape: tuple[int, ...]) -> None:
    """A last axis of one channel changes nothing."""
    assert pixels(open_image(np.array([0, 10, 20, 255], "uint8").reshape(shape)))[1] == (10, 10, 10)


def test_a_bool_array_is_black_and_white() -> None:
    """True is white."""
    assert pixels(open_image(np.array([[True, False]]))) == [WHITE, BLACK]


def test_a_uint16_array_is_scaled_and_rounded() -> None:
    """Each 257 steps of sixteen bits are one of eight."""
    values = np.array([[0, 128, 129, 257, 32768, 65535]], "uint16")
    assert [p[0] for p in pixels(open_image(values))] == [0, 0, 1, 1, 128, 255]


@settings(deadline=None, database=None)
@given(arrays("uint8", array_shapes(min_dims=2, max_dims=2, max_side=9).map(lambda shape: (*shape, 3))))
def test_uint8_arrays_keep_every_pixel(values: npt.NDArray[np.uint8]) -> None:
    """An RGB array comes back exactly."""
    assert np.array_equal(np.asarray(open_image(values)), values)


def test_importing_does_not_import_numpy() -> None:
    """Arrays are recognised without numpy, which is optional."""
    code = "import sys, loader.image; sys.exit('numpy' in sys.modules)"
    root = Path(loader.image.__file__).parent.parent
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0  # noqa: S603


# ---- labels


@pytest.mark.parametrize(
    ("source", "label"),
    [
        ("holiday/photo.jpg", "photo.jpg"),
        (Path("holiday") / "photo.jpg", "photo.jpg"),
        ("data:image/png;base64," + "A" * 12_323, "a data URI of 12,345 characters"),
        (b"a" * 1234, "bytes (1,234)"),
        (memoryview(b"a" * 1234), "bytes (1,234)"),
        (Image.new("RGB", (640, 480)), "PIL image 640x480"),
        (np.zeros((480, 640, 3), "uint8"), "array 480x640x3 of uint8"),
        (io.BytesIO(), "a file object"),
        ("https://me:secret@example.com:8443/a.png?key=secret#x", "https://example.com:8443/a.png"),
        ("http://[::1", "a malformed URL"),
        (3, "an object of type int"),
        ("a\nb\x1b[31m.png", "a?b?[31m.png"),
    ],
)
def test_a_label_is_short_and_plain(source: Any, label: str) -> None:
    """Each source has a name for messages, without secrets or control characters."""
    assert describe(source) == label


@pytest.mark.parametrize("source", ["x" * 500, "https://example.com/" + "y" * 500, Path("z" * 500)])
def test_a_label_is_never_long(source: Any) -> None:
    """Eighty characters are the most."""
    assert len(describe(source)) == 80


def test_a_file_object_has_the_name_of_its_file(tmp_path: Path) -> None:
    """An open file is known by its name."""
    with written(tmp_path).open("rb") as file:
        assert describe(file) == "photo.png"


def test_a_label_never_fails() -> None:
    """A source that cannot even be looked at still has a label."""
    view = memoryview(b"abc")
    view.release()
    assert describe(view) == "an object of type memoryview"
    fails(view, "an object of type memoryview")
