"""Every kind of source becomes the same upright RGB picture, or an ImageError that helps."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import random
import struct
import subprocess
import sys
import types
import urllib.parse
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image, ImageCms

import loader.image
from loader.errors import ImageError
from loader.image import Limits, describe, open_image

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 40


def encode(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def picture():
    """3x2 with four different corners, so that every turn and flip shows."""
    image = Image.new("RGB", (3, 2), (9, 9, 9))
    for place, colour in (((0, 0), RED), ((2, 0), GREEN), ((0, 1), BLUE), ((2, 1), WHITE)):
        image.putpixel(place, colour)
    return image


def png(colour_type, depth, size, rows, key=b""):
    """A PNG by hand, for the kinds that Pillow does not write."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour_type, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + head + (chunk(b"tRNS", key) if key else b"") + data + chunk(b"IEND", b"")


def pixels(image):
    assert image.mode == "RGB"
    return [image.getpixel((x, y)) for y in range(image.height) for x in range(image.width)]


def fails(source, *pieces, **options):
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

    def readable(self):
        return True

    def readinto(self, buffer):
        count = min(len(buffer), 7)
        buffer[:count] = b"\xff" * count
        self.given += count
        return count


# ---- kinds of source


def written(folder):
    path = folder / "photo.png"
    path.write_bytes(encode(picture()))
    return path


def text():
    return base64.b64encode(encode(picture())).decode()


def array():
    return np.asarray(picture())


SOURCES = {
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


@pytest.mark.parametrize("kind", SOURCES)
def test_every_kind_of_source_gives_the_same_picture(kind, tmp_path):
    """The pixels do not depend on how the picture is handed over."""
    source = SOURCES[kind](tmp_path)
    with contextlib.closing(source) if hasattr(source, "close") else contextlib.nullcontext():
        assert pixels(open_image(source)) == pixels(picture())


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "PPM", "TGA", "WEBP"])
def test_every_lossless_format_gives_the_same_picture(kind):
    """What was saved is what is seen."""
    options = {"lossless": True} if kind == "WEBP" else {}
    assert pixels(open_image(encode(picture(), kind, **options))) == pixels(picture())


def test_a_file_object_is_read_from_where_it_stands():
    """Bytes before the position are not looked at."""
    file = io.BytesIO(b"a header of another layer" + encode(picture()))
    file.seek(25)
    assert pixels(open_image(file)) == pixels(picture())


def test_the_result_needs_no_file(tmp_path):
    """The file may go away as soon as the call returns."""
    path = written(tmp_path)
    image = open_image(path)
    path.unlink()
    assert type(image) is Image.Image
    assert pixels(image) == pixels(picture())


def test_the_callers_image_is_left_alone():
    """The result is a copy, also where nothing had to change."""
    source = picture()
    source.info["note"] = "kept"
    open_image(source).putpixel((0, 0), BLACK)
    assert pixels(source) == pixels(picture())
    assert source.info == {"note": "kept"}


@pytest.mark.parametrize("shape", [(2, 2), (2, 2, 1)])
def test_grey_arrays_of_either_shape_are_grey_pictures(shape):
    """A last axis of one channel changes nothing."""
    assert pixels(open_image(np.array([0, 10, 20, 255], "uint8").reshape(shape)))[1] == (10, 10, 10)


def test_a_bool_array_is_black_and_white():
    """True is white."""
    assert pixels(open_image(np.array([[True, False]]))) == [WHITE, BLACK]


def test_a_uint16_array_is_scaled_and_rounded():
    """Each 257 steps of sixteen bits are one of eight."""
    values = np.array([[0, 128, 129, 257, 32768, 65535]], "uint16")
    assert [p[0] for p in pixels(open_image(values))] == [0, 0, 1, 1, 128, 255]


@settings(deadline=None, database=None)
@given(arrays("uint8", array_shapes(min_dims=2, max_dims=2, max_side=9).map(lambda shape: (*shape, 3))))
def test_uint8_arrays_keep_every_pixel(values):
    """An RGB array comes back exactly."""
    assert np.array_equal(np.asarray(open_image(values)), values)


def test_importing_does_not_import_numpy():
    """Arrays are recognised without numpy, which is optional."""
    code = "import sys, loader.image; sys.exit('numpy' in sys.modules)"
    root = Path(loader.image.__file__).parent.parent
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0  # noqa: S603


# ---- what a picture says about itself

UPRIGHT = {  # orientation -> which corner of picture() comes to each corner, row by row
    1: (RED, GREEN, BLUE, WHITE),
    2: (GREEN, RED, WHITE, BLUE),
    3: (WHITE, BLUE, GREEN, RED),
    4: (BLUE, WHITE, RED, GREEN),
    5: (RED, BLUE, GREEN, WHITE),
    6: (BLUE, RED, WHITE, GREEN),
    7: (WHITE, GREEN, BLUE, RED),
    8: (GREEN, WHITE, RED, BLUE),
}


def oriented(number, kind):
    exif = Image.Exif()
    exif[0x0112] = number
    if kind != "PIL":
        return encode(picture(), kind, exif=exif)
    image = picture()
    image.info["exif"] = exif.tobytes()
    return image


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PIL"])
@pytest.mark.parametrize("number", UPRIGHT)
def test_orientation_is_applied_once(number, kind):
    """Each of the eight EXIF orientations comes out upright, and stays so when opened again."""
    image = open_image(open_image(oriented(number, kind)))
    right, bottom = image.width - 1, image.height - 1
    corners = [image.getpixel(place) for place in ((0, 0), (right, 0), (0, bottom), (right, bottom))]
    assert image.size == ((3, 2) if number < 5 else (2, 3))
    assert tuple(corners) == UPRIGHT[number]


def test_orientation_of_a_jpeg_is_applied():
    """The commonest case, a phone held upright, is turned."""
    exif = Image.Exif()
    exif[0x0112] = 6
    assert open_image(encode(Image.new("RGB", (40, 20)), "JPEG", exif=exif)).size == (20, 40)


def test_broken_exif_is_ignored():
    """Pixels are good even where the metadata is not."""
    assert open_image(encode(picture(), "PNG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")).size == (3, 2)


def key_png(colour_type, depth, values, key):
    row = struct.pack(f">{len(values)}{'H' if depth == 16 else 'B'}", *values)
    count = len(values) // (3 if colour_type == 2 else 1)
    return png(colour_type, depth, (count, 1), [row], key)


def palette(transparency):
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, *BLUE])
    image.putpixel((1, 0), 1)
    return encode(image, "PNG", transparency=transparency)


HIDDEN = {  # each: a first pixel that cannot be seen, then one that can
    "RGBA": (lambda: np.array([[[*RED, 0], [*BLUE, 255]]], "uint8"), BLUE),
    "LA": (
        lambda: Image.merge("LA", [Image.new("L", (2, 1), 7), Image.frombytes("L", (2, 1), b"\0\xff")]),
        (7, 7, 7),
    ),
    "La": (lambda: Image.frombytes("La", (2, 1), b"\0\0\x07\xff"), (7, 7, 7)),
    "RGBa": (lambda: Image.frombytes("RGBa", (2, 1), b"\0\0\0\0\0\0\xff\xff"), BLUE),
    "PA": (lambda: Image.open(io.BytesIO(palette(b"\0\xff"))).convert("PA"), BLUE),
    "palette, one index": (lambda: palette(0), BLUE),
    "palette, alpha table": (lambda: palette(b"\0\xff"), BLUE),
    "RGB key": (lambda: key_png(2, 8, [1, 2, 3, *BLUE], struct.pack(">3H", 1, 2, 3)), BLUE),
    "grey key": (lambda: key_png(0, 8, [9, 7], struct.pack(">H", 9)), (7, 7, 7)),
    "16-bit grey key": (lambda: key_png(0, 16, [9000, 257], struct.pack(">H", 9000)), (1, 1, 1)),
}


@pytest.mark.parametrize("kind", HIDDEN)
def test_transparency_shows_the_background(kind):
    """What cannot be seen is background, in every way that a picture can say so."""
    make, seen = HIDDEN[kind]
    assert pixels(open_image(make())) == [WHITE, seen]
    assert pixels(open_image(make(), background="#0000ff80")) == [BLUE, seen]


def test_half_transparency_is_blended():
    """Alpha is a share, not a switch."""
    assert pixels(open_image(Image.new("RGBA", (1, 1), (255, 0, 0, 128))))[0] == (255, 127, 127)


@pytest.mark.parametrize("mode", ["I;16", "I;16B"])
def test_sixteen_bit_greys_are_scaled(mode):
    """Pillow's own conversion would clip nearly all of them to white."""
    order = ">" if mode == "I;16B" else "<"
    image = Image.frombytes(mode, (3, 1), struct.pack(f"{order}3H", 0, 32768, 65535))
    assert [p[0] for p in pixels(open_image(image))] == [0, 128, 255]


def test_every_sixteen_bit_grey_of_a_png_is_rounded_rightly():
    """All 65,536 levels come to the nearest of 256."""
    values = np.arange(65536, dtype="uint16").reshape(256, 256)
    opened = np.asarray(open_image(encode(Image.fromarray(values))))[:, :, 0]
    assert np.array_equal(opened, np.round(values / 257).astype("uint8"))


@pytest.mark.parametrize(
    ("mode", "values", "seen"),
    [
        ("I", [-5, 100, 255], [0, 100, 255]),
        ("I", [0, 257, 65535], [0, 1, 255]),
        ("I", [0, 257, 70000], [0, 1, 255]),
        ("F", [-1.0, 0.5, 1.0], [0, 128, 255]),
        ("F", [0.4, 99.6, 300.0], [0, 100, 255]),
        ("F", [float("nan"), 0.0, 200.0], [0, 0, 200]),
    ],
)
def test_deep_greys_are_scaled_by_their_range(mode, values, seen):
    """Integers beyond 255 are sixteen bits, floats up to 1 are shares, and the rest is clipped."""
    image = Image.frombytes(mode, (3, 1), struct.pack(f"3{'i' if mode == 'I' else 'f'}", *values))
    assert [p[0] for p in pixels(open_image(image))] == seen


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "LAB", "HSV", "RGBX"])
def test_every_mode_becomes_rgb(mode):
    """Colours survive the way through any mode of Pillow."""
    source = Image.new("RGB", (2, 2), WHITE)
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(source, *profiles, outputMode="LAB")
    else:
        image = source.convert(mode)
    assert all(min(pixel) >= 253 for pixel in pixels(open_image(image)))


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_files_have_their_colours(kind):
    """Ink turns into light, and not into its negative."""
    red, green, blue = open_image(encode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), kind)).getpixel((4, 4))
    assert red > 250
    assert green < 5
    assert blue < 5


def swapped_profile():
    """A profile in which red is green: sRGB with two names exchanged, and a name of its own."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = data.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
    return data.replace("sRGB".encode("utf-16-be"), "XRGB".encode("utf-16-be"))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "RGBA"])
def test_an_embedded_profile_is_applied(kind):
    """Colours are brought from the profile's space to sRGB, beside transparency too."""
    mode, kind = ("RGBA", "PNG") if kind == "RGBA" else ("RGB", kind)
    data = encode(Image.new("RGB", (8, 8), RED).convert(mode), kind, icc_profile=swapped_profile())
    red, green, blue = open_image(data).getpixel((4, 4))
    assert red < 10
    assert green > 245
    assert blue < 10


def test_an_srgb_profile_changes_no_pixel():
    """A picture that is sRGB already is not rounded a second time."""
    values = np.random.default_rng(0).integers(0, 256, (32, 32, 3), "uint8")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.array_equal(open_image(encode(Image.fromarray(values), icc_profile=profile)), values)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("profile", [b"no profile", swapped_profile()[:200], b"\0" * 500])
def test_an_invalid_profile_is_ignored(mode, profile):
    """The picture opens as if the profile were absent."""
    image = Image.new("RGB", (2, 2), WHITE).convert(mode)
    assert pixels(open_image(encode(image, "TIFF", icc_profile=profile)))[0] == WHITE


def test_a_profile_for_other_channels_is_ignored():
    """An RGB profile in a grey picture says nothing."""
    image = Image.new("L", (1, 1), 77)
    assert pixels(open_image(encode(image, icc_profile=swapped_profile()))) == [(77, 77, 77)]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_an_animation_is_taken(kind):
    """An animation is its first picture."""
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, GREEN, BLUE)]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert open_image(data).getpixel((0, 0)) == RED


# ---- what is refused, and how it is said


def test_a_missing_file_is_named(tmp_path):
    """The message holds the path."""
    error = fails(str(tmp_path / "none.png"), "Nothing was found", "none.png", "spelling")
    assert isinstance(error.__cause__, FileNotFoundError)


def test_a_directory_is_not_an_image(tmp_path):
    """A folder is told from a file."""
    fails(tmp_path, "is a directory", "Pass one image file")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_explained(tmp_path):
    """Rights are told from absence."""
    path = written(tmp_path)
    path.chmod(0)
    fails(path, "may not be read", "permissions")


def test_a_refusal_by_the_system_is_explained(tmp_path, monkeypatch):
    """Rights are told from absence, also where the tests run as root."""

    def refuse(*_args, **_kwargs):
        raise PermissionError

    monkeypatch.setattr(Path, "open", refuse)
    fails("photo.png", "photo.png", "may not be read", "permissions")


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_an_impossible_path_is_refused(path):
    """No file can have such a name."""
    fails(path, "can name no file", "Pass the path")


def test_bare_base64_is_recognised():
    """Text too long for a path is probably base64 without its start."""
    fails("A" * 9000, "could not be read", "data:image/png;base64,")


@pytest.mark.parametrize("url", ["file:///tmp/photo.png", "file:photo.png", "FILE:///photo.png"])
def test_a_file_url_is_refused(url):
    """A URL from a stranger must not read local files."""
    fails(url, "file URLs are not followed", "Pass the path itself")


@pytest.mark.parametrize("url", ["ftp://host/a.png", "s3://bucket/a.png", "gopher://host/"])
def test_other_schemes_are_refused(url):
    """They are URLs that are not followed, rather than files that are missing."""
    fails(url, url.partition(":")[0], "are not followed", "Download it")


@pytest.mark.parametrize("make", [lambda _: b"", lambda _: io.BytesIO(), lambda folder: folder / "empty"])
def test_an_empty_source_is_said_to_be_empty(make, tmp_path):
    """Zero bytes have a message of their own."""
    (tmp_path / "empty").touch()
    fails(make(tmp_path), "empty", "zero bytes")


def test_a_file_read_to_its_end_should_be_rewound():
    """The usual mistake with file objects is named."""
    file = io.BytesIO(encode(picture()))
    file.read()
    fails(file, "already read to its end", "seek(0)")


def test_a_file_open_as_text_is_refused():
    """Text mode has already spoilt the bytes."""
    fails(io.StringIO("abc"), "open as text", '"rb"')


@pytest.mark.parametrize(
    ("data", "pieces"),
    [
        (b"Dear reader,\nthis is a letter.", ("look like text", "Dear reader,")),
        ("Grüße an alle, auch an Zoë, über die Straße und weiter".encode(), ("look like text",)),
        (b"\x07\x08\x09\x0b\x0c\x0e\x0f\x10" * 9, ("no known format", "07 08 09 0b")),
        (b"%PDF-1.7\n", ("PDF", "Convert it to PNG")),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', ("SVG", "Convert it to PNG")),
        (b"<!DOCTYPE html><html></html>", ("a web page", "Save the image itself")),
        (b"version https://git-lfs.github.com/spec/v1\n", ("Git LFS pointer", "git lfs pull")),
        (b"PK\x03\x04" + b"\0" * 40, ("archive", "Unpack it")),
        (b"\x89PNG\r\n\x1a\n", ("starts like one", "damaged or cut short")),
    ],
)
def test_what_is_no_image_is_named(data, pieces):
    """The message says what the bytes are instead."""
    fails(data, "is not an image", *pieces)


def test_postscript_is_never_run():
    """Pillow would start Ghostscript, so the format is refused before that."""
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    fails(eps, "PostScript", "Convert it to PNG")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_truncated_image_is_refused(kind, share):
    """Half a picture is never passed on with grey in the place of the rest."""
    noise = Image.frombytes("RGB", (40, 40), random.Random(1).randbytes(4800))  # noqa: S311
    data = encode(noise, kind)
    assert open_image(data).size == (40, 40)
    error = fails(data[: int(len(data) * share)], "damaged or cut short", "Get it again")
    assert error.__cause__ is not None


@pytest.mark.parametrize("shape", [(0, 4, 3), (4, 0), (0, 0)])
def test_an_array_without_pixels_is_refused(shape):
    """A side of zero is said to be so."""
    fails(np.zeros(shape, "uint8"), "has no pixels")


@pytest.mark.parametrize("shape", [(), (4,), (4, 4, 2), (3, 5, 6), (1, 4, 4, 3)])
def test_an_array_of_another_shape_is_refused(shape):
    """Channels first and batches are not guessed at."""
    fails(np.zeros(shape, "uint8"), "shape that is no image", "channels last")


@pytest.mark.parametrize("dtype", ["int64", "int8", "uint32", "complex64", "U1", "object"])
def test_an_array_of_other_numbers_is_refused(dtype):
    """Only numbers whose range is known become pixels."""
    fails(np.zeros((2, 2), dtype), "no pixel", "uint8, uint16, bool")


@pytest.mark.parametrize("value", [255.0, -0.5, 1.5, float("nan"), float("inf")])
def test_floats_outside_the_range_are_refused(value):
    """Whether floats mean 0 to 1 or 0 to 255 is not guessed from the pixels."""
    fails(np.full((2, 2, 3), value), "outside 0 to 1")


@pytest.mark.parametrize("source", [None, 3, 2.5, [1, 2], {"a": 1}, object(), Image])
def test_an_unsupported_type_is_named(source):
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
def test_a_bad_data_uri_is_explained(uri, pieces):
    """What is wrong with the URI is said without repeating it."""
    fails(uri, *pieces)


def test_heic_without_its_plugin_says_what_to_install(monkeypatch):
    """The commonest format that Pillow lacks has its own advice."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    loader.image._register_heif.cache_clear()
    fails(HEIC, "HEIC", "pip install pillow-heif")


def test_heic_registers_its_plugin_when_needed(monkeypatch):
    """An installed pillow-heif is used without being asked for, and not before."""
    calls = []
    plugin = types.SimpleNamespace(register_heif_opener=lambda: calls.append(1))
    monkeypatch.setitem(sys.modules, "pillow_heif", plugin)
    loader.image._register_heif.cache_clear()
    open_image(encode(picture()))
    assert calls == []
    fails(HEIC, "HEIC")
    assert calls == [1]
    loader.image._register_heif.cache_clear()


def test_an_unknown_background_is_refused():
    """A misspelt colour is told from a bad image."""
    fails(picture(), "background 'whit'", "#rrggbb", background="whit")


def test_a_closed_image_is_refused(tmp_path):
    """A PIL image whose file is gone is an ImageError too."""
    image = Image.open(written(tmp_path))
    image.close()
    fails(image, "could not be turned into an RGB image")


def test_a_failing_source_is_refused():
    """What a source of the caller's own raises is wrapped, with its cause."""

    class Broken:
        def read(self, _count):
            raise RuntimeError("the cable is out")

    error = fails(Broken(), "RuntimeError: the cable is out")
    assert isinstance(error.__cause__, RuntimeError)


# ---- limits


@pytest.mark.parametrize("kind", ["str", "bytes", "BytesIO", "base64 URI", "percent-encoded URI"])
def test_too_many_bytes_are_refused(kind, tmp_path):
    """The limit counts for every source."""
    fails(SOURCES[kind](tmp_path), "limit of 50 bytes", "Limits.max_bytes", limits=Limits(max_bytes=50))


def test_a_long_data_uri_is_refused_before_it_is_decoded():
    """Its length alone shows that it cannot fit."""
    uri = "data:image/png;base64," + "A" * 5000
    fails(uri, "limit of 1,000 bytes", limits=Limits(max_bytes=1000))


def test_an_endless_file_is_read_to_the_limit_only():
    """One byte past the limit is enough to know."""
    file = Trickle()
    fails(file, "limit of 1,000 bytes", limits=Limits(max_bytes=1000))
    assert file.given <= 1001


def test_exactly_the_limit_is_allowed():
    """The limit itself is still inside."""
    data = encode(picture())
    assert open_image(io.BytesIO(data), limits=Limits(max_bytes=len(data), max_pixels=6)).size == (3, 2)


@pytest.mark.parametrize("kind", ["bytes", "PIL", "uint8"])
def test_too_many_pixels_are_refused(kind, tmp_path):
    """The limit counts for every source, and the message says the size."""
    fails(SOURCES[kind](tmp_path), "3x2", "limit of 5 pixels", limits=Limits(max_pixels=5))


def test_pixels_are_counted_before_decoding():
    """A header is enough, however little data follows it."""
    data = png(2, 8, (12_000, 12_000), [])
    fails(data, "12000x12000", "limit of 100,000,000 pixels", limits=Limits(max_pixels=100_000_000))


def test_a_decompression_bomb_is_refused():
    """A size beyond Pillow's own limit is an ImageError as well."""
    fails(png(2, 8, (60_000, 60_000), []), "larger than Pillow", "MAX_IMAGE_PIXELS")


def test_pillows_warning_does_not_matter(monkeypatch):
    """Up to our limit a picture opens in silence, and the global limit stays as it was."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = list(warnings.filters)
        assert open_image(encode(picture())).size == (3, 2)
        assert warnings.filters == before
    assert Image.MAX_IMAGE_PIXELS == 4


def test_an_icon_cannot_hide_a_larger_picture():
    """The size that was decoded counts, not only the one that was declared."""
    icon = bytearray(encode(Image.new("RGB", (64, 64)), "ICO", sizes=[(64, 64)]))
    icon[6:8] = bytes([8, 8])
    fails(bytes(icon), "64x64", limits=Limits(max_pixels=100))


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
def test_a_label_is_short_and_plain(source, label):
    """Each source has a name for messages, without secrets or control characters."""
    assert describe(source) == label


@pytest.mark.parametrize("source", ["x" * 500, "https://example.com/" + "y" * 500, Path("z" * 500)])
def test_a_label_is_never_long(source):
    """Eighty characters are the most."""
    assert len(describe(source)) == 80


def test_a_file_object_has_the_name_of_its_file(tmp_path):
    """An open file is known by its name."""
    with written(tmp_path).open("rb") as file:
        assert describe(file) == "photo.png"


def test_a_label_never_fails():
    """A source that cannot even be looked at still has a label."""
    view = memoryview(b"abc")
    view.release()
    assert describe(view) == "an object of type memoryview"
    fails(view, "an object of type memoryview")


# ---- hostile bytes


def mutate(data, rng):
    data = bytearray(data)
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
def test_mutated_files_are_images_or_image_errors(kind):
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
