"""What a picture says about itself is applied: upright, opaque, eight bits, sRGB."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, features

from loader.image import ImageSource, open_image
from tests.pictures import (
    BLUE,
    GREEN,
    RED,
    WHITE,
    Colour,
    encode,
    p3_profile,
    picture,
    pixel_at,
    pixels,
    png,
    swapped_profile,
)

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


def oriented(number: int, kind: str) -> bytes | Image.Image:
    exif = Image.Exif()
    exif[0x0112] = number
    if kind != "PIL":
        return encode(picture(), kind, exif=exif, lossless=True)  # only WebP knows the last
    image = picture()
    image.info["exif"] = exif.tobytes()
    return image


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "PIL"])
@pytest.mark.parametrize("number", UPRIGHT)
def test_orientation_is_applied_once(number: int, kind: str) -> None:
    """Each of the eight EXIF orientations comes out upright, and stays so when opened again."""
    image = open_image(open_image(oriented(number, kind)))
    right, bottom = image.width - 1, image.height - 1
    corners = [pixel_at(image, place) for place in ((0, 0), (right, 0), (0, bottom), (right, bottom))]
    assert image.size == ((3, 2) if number < 5 else (2, 3))
    assert tuple(corners) == UPRIGHT[number]


def test_orientation_of_a_jpeg_is_applied() -> None:
    """The commonest case, a phone held upright, is turned."""
    exif = Image.Exif()
    exif[0x0112] = 6
    assert open_image(encode(Image.new("RGB", (40, 20)), "JPEG", exif=exif)).size == (20, 40)


def modern(kind: str, image: Image.Image, **options: Any) -> bytes:
    """A file as phones write it today, where a library gives the format."""
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    return encode(image, kind, quality=100, **options)


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
@pytest.mark.parametrize("number", UPRIGHT)
def test_modern_files_open_upright(kind: str, number: int) -> None:
    """Their own way to say how they are turned is applied once, like EXIF."""
    exif = Image.Exif()
    exif[0x0112] = number
    image = open_image(
        modern(kind, picture().resize((96, 64), Image.Resampling.NEAREST), exif=exif.tobytes())
    )
    assert image.size == ((96, 64) if number < 5 else (64, 96))
    right, bottom = image.width - 5, image.height - 5
    for place, colour in zip(
        ((5, 5), (right, 5), (5, bottom), (right, bottom)), UPRIGHT[number], strict=True
    ):
        assert max(abs(a - b) for a, b in zip(pixel_at(image, place), colour, strict=True)) < 20


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_modern_files_have_profiles_and_transparency(kind: str) -> None:
    """Red is green by the profile, and what cannot be seen is background."""
    image = Image.new("RGBA", (64, 32), (255, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 32, 32))
    opened = open_image(modern(kind, image, icc_profile=swapped_profile()), background="blue")
    for place, colour in (((8, 16), BLUE), ((56, 16), GREEN)):
        assert max(abs(a - b) for a, b in zip(pixel_at(opened, place), colour, strict=True)) < 20


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # from Pillow, and true
def test_broken_exif_is_ignored() -> None:
    """Pixels are good even where the metadata is not."""
    assert open_image(encode(picture(), "PNG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")).size == (3, 2)


def key_png(colour_type: int, depth: int, values: Sequence[int], key: bytes) -> bytes:
    row = struct.pack(f">{len(values)}{'H' if depth == 16 else 'B'}", *values)
    count = len(values) // (3 if colour_type == 2 else 1)
    return png(colour_type, depth, (count, 1), [row], key)


def palette(transparency: int | bytes) -> bytes:
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, *BLUE])
    image.putpixel((1, 0), 1)
    return encode(image, "PNG", transparency=transparency)


HIDDEN: dict[
    str, tuple[Callable[[], ImageSource], Colour]
] = {  # each: a first pixel that cannot be seen, then one that can
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
def test_transparency_shows_the_background(kind: str) -> None:
    """What cannot be seen is background, in every way that a picture can say so."""
    make, seen = HIDDEN[kind]
    assert pixels(open_image(make())) == [WHITE, seen]
    assert pixels(open_image(make(), background="#0000ff80")) == [BLUE, seen]


def test_half_transparency_is_blended() -> None:
    """Alpha is a share, not a switch."""
    assert pixels(open_image(Image.new("RGBA", (1, 1), (255, 0, 0, 128))))[0] == (255, 127, 127)


@pytest.mark.parametrize("mode", ["I;16", "I;16B"])
def test_sixteen_bit_greys_are_scaled(mode: str) -> None:
    """Pillow's own conversion would clip nearly all of them to white."""
    order = ">" if mode == "I;16B" else "<"
    image = Image.frombytes(mode, (3, 1), struct.pack(f"{order}3H", 0, 32768, 65535))
    assert [p[0] for p in pixels(open_image(image))] == [0, 128, 255]


def test_every_sixteen_bit_grey_of_a_png_is_rounded_rightly() -> None:
    """All 65,536 levels come to the nearest of 256."""
    values = np.arange(65536, dtype="uint16").reshape(256, 256)
    opened = np.asarray(open_image(encode(Image.fromarray(values))))[:, :, 0]
    assert np.array_equal(opened, np.round(values / 257).astype("uint8"))


def sixteen_bit(kind: str, values: Sequence[int]) -> bytes:
    """One row of colours with 16 bits a channel, which Pillow does not write."""
    if kind == "PNG":
        return png(2, 16, (len(values) // 3, 1), [struct.pack(f">{len(values)}H", *values)])
    bits, pixels = 8 + 2 + 10 * 12 + 4, 8 + 2 + 10 * 12 + 4 + 6
    fields = [(256, 1, len(values) // 3), (257, 1, 1), (258, 3, bits), (259, 1, 1), (262, 1, 2)]
    fields += [(273, 1, pixels), (277, 1, 3), (278, 1, 1), (279, 1, 2 * len(values)), (284, 1, 1)]
    table = b"".join(struct.pack("<HHI", tag, 4 if tag != 258 else 3, n) + struct.pack("<I", v)
                     for tag, n, v in fields)  # fmt: skip
    head = b"II*\0" + struct.pack("<IH", 8, len(fields)) + table + bytes(4)
    return head + struct.pack("<3H", 16, 16, 16) + struct.pack(f"<{len(values)}H", *values)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_colours_are_scaled(kind: str) -> None:
    """A deep scan has all its shades, dark ones and light ones."""
    opened = pixels(open_image(sixteen_bit(kind, [0, 257, 32768, 65535, 40000, 128 * 257])))
    assert [tuple(round(value / 4) for value in pixel) for pixel in opened] == [(0, 0, 32), (64, 39, 32)]


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
def test_deep_greys_are_scaled_by_their_range(mode: str, values: list[float], seen: list[int]) -> None:
    """Integers beyond 255 are sixteen bits, floats up to 1 are shares, and the rest is clipped."""
    image = Image.frombytes(mode, (3, 1), struct.pack(f"3{'i' if mode == 'I' else 'f'}", *values))
    assert [p[0] for p in pixels(open_image(image))] == seen


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "LAB", "HSV", "RGBX"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    """Colours survive the way through any mode of Pillow."""
    source = Image.new("RGB", (2, 2), WHITE)
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        turned = ImageCms.profileToProfile(source, *profiles, outputMode="LAB")
        assert turned is not None
        image = turned
    else:
        image = source.convert(mode)
    assert all(min(pixel) >= 253 for pixel in pixels(open_image(image)))


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_files_have_their_colours(kind: str) -> None:
    """Ink turns into light, and not into its negative."""
    red, green, blue = pixel_at(open_image(encode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), kind)), (4, 4))
    assert red > 250
    assert green < 5
    assert blue < 5


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "RGBA"])
def test_an_embedded_profile_is_applied(kind: str) -> None:
    """Colours are brought from the profile's space to sRGB, beside transparency too."""
    mode, kind = ("RGBA", "PNG") if kind == "RGBA" else ("RGB", kind)
    data = encode(Image.new("RGB", (8, 8), RED).convert(mode), kind, icc_profile=swapped_profile())
    red, green, blue = pixel_at(open_image(data), (4, 4))
    assert red < 10
    assert green > 245
    assert blue < 10


def test_a_wide_gamut_becomes_srgb() -> None:
    """Colours of Display P3, as phones photograph, have the numbers that sRGB has for them."""
    image = Image.new("RGB", (3, 1))
    for x, colour in enumerate([(200, 120, 100), (128, 128, 128), (234, 51, 35)]):
        image.putpixel((x, 0), colour)
    opened = pixels(open_image(encode(image, icc_profile=p3_profile())))
    for pixel, colour in zip(opened, [(213, 116, 95), (128, 128, 128), (255, 0, 0)], strict=True):
        assert max(abs(a - b) for a, b in zip(pixel, colour, strict=True)) <= 4


def test_an_srgb_profile_changes_no_pixel() -> None:
    """A picture that is sRGB already is not rounded a second time."""
    values = np.random.default_rng(0).integers(0, 256, (32, 32, 3), "uint8")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.array_equal(
        np.asarray(open_image(encode(Image.fromarray(values), icc_profile=profile))), values
    )


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("profile", [b"no profile", swapped_profile()[:200], b"\0" * 500])
def test_an_invalid_profile_is_ignored(mode: str, profile: bytes) -> None:
    """The picture opens as if the profile were absent."""
    image = Image.new("RGB", (2, 2), WHITE).convert(mode)
    assert pixels(open_image(encode(image, "TIFF", icc_profile=profile)))[0] == WHITE


def test_a_profile_for_other_channels_is_ignored() -> None:
    """An RGB profile in a grey picture says nothing."""
    image = Image.new("L", (1, 1), 77)
    assert pixels(open_image(encode(image, icc_profile=swapped_profile()))) == [(77, 77, 77)]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_an_animation_is_taken(kind: str) -> None:
    """An animation is its first picture."""
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, GREEN, BLUE)]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert open_image(data).getpixel((0, 0)) == RED
