"""What is no image is an ImageError that says what it is instead, and what helps."""

from __future__ import annotations

import io
import os
import random
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from PIL import Image

import loader.decode
from loader.image import ImageSource, open_image
from tests.pictures import encode, fails, picture, written

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 40


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The message holds the path."""
    error = fails(str(tmp_path / "none.png"), "Nothing was found", "none.png", "spelling")
    assert isinstance(error.__cause__, FileNotFoundError)


def test_a_directory_is_not_an_image(tmp_path: Path) -> None:
    """A folder is told from a file."""
    fails(tmp_path, "is a directory", "Pass one image file")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_explained(tmp_path: Path) -> None:
    """Rights are told from absence."""
    path = written(tmp_path)
    path.chmod(0)
    fails(path, "may not be read", "permissions")


def test_a_refusal_by_the_system_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rights are told from absence, also where the tests run as root."""

    def refuse(*_args: object, **_kwargs: object) -> NoReturn:
        raise PermissionError

    monkeypatch.setattr(Path, "open", refuse)
    fails("photo.png", "photo.png", "may not be read", "permissions")


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_an_impossible_path_is_refused(path: str) -> None:
    """No file can have such a name."""
    fails(path, "can name no file", "Pass the path")


def test_bare_base64_is_recognised() -> None:
    """Text too long for a path is probably base64 without its start."""
    fails("A" * 9000, "could not be read", "data:image/png;base64,")


@pytest.mark.parametrize("url", ["file:///tmp/photo.png", "file:photo.png", "FILE:///photo.png"])
def test_a_file_url_is_refused(url: str) -> None:
    """A URL from a stranger must not read local files."""
    fails(url, "file URLs are not followed", "Pass the path itself")


@pytest.mark.parametrize("url", ["ftp://host/a.png", "s3://bucket/a.png", "gopher://host/"])
def test_other_schemes_are_refused(url: str) -> None:
    """They are URLs that are not followed, rather than files that are missing."""
    fails(url, url.partition(":")[0], "are not followed", "Download it")


@pytest.mark.parametrize("make", [lambda _: b"", lambda _: io.BytesIO(), lambda folder: folder / "empty"])
def test_an_empty_source_is_said_to_be_empty(make: Callable[[Path], ImageSource], tmp_path: Path) -> None:
    """Zero bytes have a message of their own."""
    (tmp_path / "empty").touch()
    fails(make(tmp_path), "empty", "zero bytes")


def test_a_file_read_to_its_end_should_be_rewound() -> None:
    """The usual mistake with file objects is named."""
    file = io.BytesIO(encode(picture()))
    file.read()
    fails(file, "already read to its end", "seek(0)")


def test_a_file_open_as_text_is_refused() -> None:
    """Text mode has already spoilt the bytes."""
    fails(io.StringIO("abc"), "open as text", '"rb"')


@pytest.mark.parametrize(
    ("data", "pieces"),
    [
        (b"Dear reader,\nthis is a letter.", ("look like text", "Dear reader,")),
        ("Grüße an alle, auch an Zoë, über die Straße und weiter".encode(), ("look like text",)),
        (b"\x07\x08\x09\x0b\x0c\x0e\x0f\x10" * 9, ("no known format", "07 08 09 0b")),
        (encode(picture(), "JPEG2000"), ("JPEG 2000", "Save it as PNG or JPEG")),
        (encode(picture(), "JPEG2000", no_jp2=True), ("JPEG 2000", "no limit of memory")),
        (b"8BPS\0\1" + bytes(20), ("a Photoshop document", "Export it as PNG")),
        (b"%PDF-1.7\n", ("PDF", "Convert it to PNG")),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', ("SVG", "Convert it to PNG")),
        (b"<!DOCTYPE html><html></html>", ("a web page", "Save the image itself")),
        (b"version https://git-lfs.github.com/spec/v1\n", ("Git LFS pointer", "git lfs pull")),
        (b"PK\x03\x04" + b"\0" * 40, ("archive", "Unpack it")),
        (b"\x89PNG\r\n\x1a\n", ("starts like one", "damaged or cut short")),
    ],
)
def test_what_is_no_image_is_named(data: bytes, pieces: tuple[str, ...]) -> None:
    """The message says what the bytes are instead."""
    fails(data, "is not an image", *pieces)


def test_postscript_is_never_run() -> None:
    """Pillow would start Ghostscript, so the format is refused before that."""
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    fails(eps, "PostScript", "Convert it to PNG")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_truncated_image_is_refused(kind: str, share: float) -> None:
    """Half a picture is never passed on with grey in the place of the rest."""
    noise = Image.frombytes("RGB", (40, 40), random.Random(1).randbytes(4800))  # noqa: S311
    data = encode(noise, kind)
    assert open_image(data).size == (40, 40)
    error = fails(data[: int(len(data) * share)], "damaged or cut short", "Get it again")
    assert error.__cause__ is not None


@pytest.mark.parametrize("shape", [(0, 4, 3), (4, 0), (0, 0)])
def test_an_array_without_pixels_is_refused(shape: tuple[int, ...]) -> None:
    """A side of zero is said to be so."""
    fails(np.zeros(shape, "uint8"), "has no pixels")


@pytest.mark.parametrize("shape", [(), (4,), (4, 4, 2), (3, 5, 6), (1, 4, 4, 3)])
def test_an_array_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    """Channels first and batches are not guessed at."""
    fails(np.zeros(shape, "uint8"), "shape that is no image", "channels last")


@pytest.mark.parametrize("dtype", ["int64", "int8", "uint32", "complex64", "U1", "object"])
def test_an_array_of_other_numbers_is_refused(dtype: str) -> None:
    """Only numbers whose range is known become pixels."""
    fails(np.zeros((2, 2), dtype), "no pixel", "uint8, uint16, bool")


@pytest.mark.parametrize("value", [255.0, -0.5, 1.5, float("nan"), float("inf")])
def test_floats_outside_the_range_are_refused(value: float) -> None:
    """Whether floats mean 0 to 1 or 0 to 255 is not guessed from the pixels."""
    fails(np.full((2, 2, 3), value), "outside 0 to 1")


@pytest.mark.parametrize("source", [None, 3, 2.5, [1, 2], {"a": 1}, object(), Image])
def test_an_unsupported_type_is_named(source: Any) -> None:
    """The message names the type and lists what is accepted."""
    fails(source, type(source).__name__, "not supported", "a path, a URL, a data URI, bytes")


@pytest.mark.parametrize(
    ("uri", "pieces"),
    [
        ("data:image/png;base64", ("malformed", "data:image/png;base64,<data>")),
        ("data:text/plain;base64,AAAA", ("malformed", "data:image/")),
        ("data:,hello", ("malformed", "data:image/")),
        ("data:image/png;base64,@@@@", ("malformed", "not base64")),
        ("data:image/png;base64,AAAAA", ("malformed", "not base64")),
        ("data:image/png;base64,", ("empty", "zero bytes")),
        ("data:image/png;base64,SGVsbG8gd29ybGQ=", ("look like text", "Hello world")),
    ],
)
def test_a_bad_data_uri_is_explained(uri: str, pieces: tuple[str, ...]) -> None:
    """What is wrong with the URI is said without repeating it."""
    fails(uri, *pieces)


def test_heic_without_its_plugin_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commonest format that Pillow lacks has its own advice."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    loader.decode._register_heif.cache_clear()
    fails(HEIC, "HEIC", "pip install 'mlx-cards[heic]'")


def test_avif_in_an_old_pillow_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Pillow that was built without the library says so with text in place of a verdict."""
    Image.init()
    monkeypatch.setitem(Image.OPEN, "AVIF", (open, lambda _: "AVIF support not installed"))
    fails(b"\0\0\0\x1cftypavif" + bytes(40), "AVIF", "pip install --upgrade pillow")


def test_heic_registers_its_plugin_when_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed pillow-heif is used without being asked for, and not before."""
    calls: list[int] = []
    plugin = types.SimpleNamespace(register_heif_opener=lambda: calls.append(1))
    monkeypatch.setitem(sys.modules, "pillow_heif", plugin)
    loader.decode._register_heif.cache_clear()
    open_image(encode(picture()))
    assert calls == []
    fails(HEIC, "HEIC")
    assert calls == [1]
    loader.decode._register_heif.cache_clear()


def test_an_unknown_background_is_refused() -> None:
    """A misspelt colour is told from a bad image."""
    fails(picture(), "background 'whit'", "#rrggbb", background="whit")


def test_a_closed_image_is_refused(tmp_path: Path) -> None:
    """A PIL image whose file is gone is an ImageError too."""
    image = Image.open(written(tmp_path))
    image.close()
    fails(image, "could not be turned into an RGB image")


def test_a_failing_source_is_refused() -> None:
    """What a source of the caller's own raises is wrapped, with its cause."""

    class Broken:
        def read(self, _count: int) -> NoReturn:
            raise RuntimeError("the cable is out")

    error = fails(Broken(), "RuntimeError: the cable is out")
    assert isinstance(error.__cause__, RuntimeError)
