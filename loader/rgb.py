"""A decoded picture as models see one: upright, opaque, eight bits, sRGB, and nothing else."""

from __future__ import annotations

import contextlib
import io
import re
from typing import cast

from PIL import ExifTags, Image, ImageChops, ImageCms, ImageColor

from loader.errors import ImageError
from loader.source import shorten

__all__ = ["Box", "Colour", "colour", "swaps", "to_rgb", "turn_of", "turned"]

Colour = tuple[int, ...]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom, as Pillow's resize takes it."""

_SRGB = re.compile(r"sRGB( built-in| IEC61966-?2[.-]1)?", re.IGNORECASE)
_TEXT = re.compile(rb"mluc")
_Turn = Image.Transpose
_TURNS = {
    2: _Turn.FLIP_LEFT_RIGHT,
    3: _Turn.ROTATE_180,
    4: _Turn.FLIP_TOP_BOTTOM,
    5: _Turn.TRANSPOSE,
    6: _Turn.ROTATE_270,
    7: _Turn.TRANSVERSE,
    8: _Turn.ROTATE_90,
}
# Each turn is, in this order: width and height exchanged, left and right, top and bottom.
_SWAPPED = frozenset({_Turn.TRANSPOSE, _Turn.ROTATE_270, _Turn.TRANSVERSE, _Turn.ROTATE_90})
_MIRRORED = frozenset({_Turn.FLIP_LEFT_RIGHT, _Turn.ROTATE_180, _Turn.ROTATE_270, _Turn.TRANSVERSE})
_FLIPPED = frozenset({_Turn.FLIP_TOP_BOTTOM, _Turn.ROTATE_180, _Turn.ROTATE_90, _Turn.TRANSVERSE})


def colour(background: str) -> Colour:
    """A colour as Pillow writes it, without its alpha."""
    try:
        return ImageColor.getrgb(background)[:3]
    except (AttributeError, TypeError, ValueError) as error:
        raise ImageError(
            f"The background {shorten(repr(background))} is not a colour that Pillow knows. "
            'Pass a name such as "white", or "#rrggbb".'
        ) from error


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """What brings the picture upright, from the EXIF orientation; only the image as opened knows it."""
    # Broken metadata says nothing about orientation, and the pixels are still good.
    with contextlib.suppress(Exception):
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    return None


def swaps(turn: Image.Transpose | None) -> bool:
    """Whether the turn exchanges width and height."""
    return turn in _SWAPPED


def turned(box: Box, size: tuple[int, int], turn: Image.Transpose | None) -> Box:
    """Where a box in an image of this size is after the turn."""
    left, top, right, bottom = box
    width, height = size
    if turn in _SWAPPED:
        left, top, right, bottom, width, height = top, left, bottom, right, height, width
    if turn in _MIRRORED:
        left, right = width - right, width - left
    if turn in _FLIPPED:
        top, bottom = height - bottom, height - top
    return left, top, right, bottom


def to_rgb(image: Image.Image, background: Colour) -> Image.Image:
    """The upright RGB picture, always a new image; transparent parts show the background."""
    turn = turn_of(image)
    profile = image.info.get("icc_profile")
    result = _eight_bits(image)
    if turn is not None:
        result = result.transpose(turn)
    if result.mode == "La":
        result = result.convert("LA")  # the only way on from there
    if result.has_transparency_data:
        result = _opaque(result, profile, background)
    else:
        result = _to_srgb(result, profile)
    if result is image:  # else it is new already, and one copy less is a third of the memory
        result = image.copy()
    # Metadata is done with: left in place, the orientation would be applied by the next reader too.
    result.info = {}
    return result


def _opaque(image: Image.Image, profile: object, background: Colour) -> Image.Image:
    grey = image.mode in ("1", "L", "LA")  # a grey profile wants grey, not RGB
    if image.mode != "RGBA":
        image = image.convert("RGBA")
    result = _to_srgb(image.convert("L" if grey else "RGB"), profile)
    # Background over the picture, not the picture over background, which would be one image more.
    result.paste(background, mask=ImageChops.invert(image.getchannel("A")))
    return result


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale deep greys, where Pillow's own conversion would clip them to white."""
    if image.mode.startswith("I;16"):
        scale = 1 / 257
    elif image.mode in ("I", "F"):
        _, high = cast("tuple[float, float]", image.getextrema())
        scale = (1 / 257 if high > 255 else 1) if image.mode == "I" else (255 if high <= 1 else 1)
    else:
        return image
    # Half a step is added because the last conversion cuts off; it also clips to 0..255.
    result = image.convert("F").point(lambda value: value * scale + 0.5).convert("L")
    key = result.info.get("transparency")
    if isinstance(key, int):
        result.info["transparency"] = min(255, round(key * scale))
    return result


def _to_srgb(image: Image.Image, profile: object) -> Image.Image:
    """RGB by way of the embedded profile, where that is valid and says more than sRGB."""
    if image.mode not in ("L", "RGB", "CMYK"):
        image = image.convert("RGB")
    if isinstance(profile, bytes) and _is_sound(profile):
        with contextlib.suppress(OSError, TypeError, ValueError, ImageCms.PyCMSError):
            given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if not _SRGB.fullmatch(given.profile.profile_description or ""):
                srgb = ImageCms.createProfile("sRGB")
                converted = ImageCms.profileToProfile(image, given, srgb, outputMode="RGB")
                if converted is not None:
                    return converted
    return image if image.mode == "RGB" else image.convert("RGB")


def _is_sound(profile: bytes) -> bool:
    """Whether each text in a profile has room for as many languages as it declares, 12 bytes for each.

    Little CMS reserves memory for all of them first: 588 bytes can ask for 400 MB.
    """
    counts = (int.from_bytes(profile[found.end() + 4 : found.end() + 8]) for found in _TEXT.finditer(profile))
    return all(12 * count <= len(profile) for count in counts)
