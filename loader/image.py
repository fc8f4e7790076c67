"""Any image source as one thing: an upright, opaque, fully decoded 8-bit RGB picture.

Models see pixels and nothing else. Orientation, transparency, deep greys and colour profiles are
therefore settled here once, and settled the same way whether the picture came as a path, a URL,
bytes or an array. Whatever is wrong with a source, the caller sees an ImageError.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import os
import re
import threading
import warnings
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, cast

from PIL import ExifTags, Image, ImageCms, ImageColor, UnidentifiedImageError

from loader.errors import ImageError
from loader.fetch import fetch
from loader.source import Limits, describe, explain, is_heif, read_local, scheme_of, shorten

if TYPE_CHECKING:
    import numpy

__all__ = ["ImageSource", "Limits", "describe", "open_image"]

# A string because numpy is optional and must not be imported for the sake of a name.
ImageSource: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO"
    " | Image.Image | numpy.ndarray[Any, Any]"
)

_DEFAULT_LIMITS = Limits()
_SRGB = re.compile(r"sRGB( built-in| IEC61966-?2[.-]1)?", re.IGNORECASE)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Warning filters belong to the whole process: two threads that put them back in the wrong order
# would leave them changed for good.
_FILTERS = threading.Lock()


def open_image(
    source: ImageSource,
    *,
    background: str = "white",
    allow_private_urls: bool = False,
    limits: Limits = _DEFAULT_LIMITS,
) -> Image.Image:
    """Open a path, URL, data URI, bytes, binary file, PIL image or numpy array as upright RGB.

    Transparent parts show `background`, a colour as Pillow writes it. A file object is read from
    where it stands. Of an animation the first frame counts, of a PIL image its current frame; the
    caller's own image and array keep their pixels.
    """
    what = describe(source)
    try:
        colour = _colour(background)
        data = b""
        opened = isinstance(source, Image.Image) or hasattr(source, "__array_interface__")
        if isinstance(source, str) and scheme_of(source) in ("http", "https"):
            data = fetch(source, limits=limits, allow_private=allow_private_urls)
        elif not opened:
            data = read_local(source, what=what, limits=limits)
        with _FILTERS, warnings.catch_warnings():
            # Our limit replaces Pillow's warning about size; odd metadata is no news either.
            warnings.simplefilter("ignore")
            if isinstance(source, Image.Image):
                image = _load(source, what, limits)
            elif opened:
                image = _from_array(cast("numpy.ndarray[Any, Any]", source), what, limits)
            else:
                image = _decode(data, what, limits)
            return _to_rgb(image, colour)
    except ImageError:
        raise
    except Exception as error:  # hostile bytes reach every corner of Pillow
        reason = f"{type(error).__name__}: {shorten(str(error))}".removesuffix(": ")
        raise ImageError(
            f"{what} could not be turned into an RGB image ({reason}). "
            "Check it in an image viewer, and save it as PNG if it is fine there."
        ) from error


def _colour(background: str) -> tuple[int, ...]:
    try:
        return ImageColor.getrgb(background)[:3]
    except (AttributeError, TypeError, ValueError) as error:
        raise ImageError(
            f"The background {shorten(repr(background))} is not a colour that Pillow knows. "
            'Pass a name such as "white", or "#rrggbb".'
        ) from error


def _check_pixels(size: tuple[int, int], what: str, limits: Limits) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise ImageError(f"{what} has no pixels ({width}x{height}). Pass an image with some.")
    if width * height > limits.max_pixels:
        raise ImageError(
            f"{what} is {width}x{height}, more than the limit of {limits.max_pixels:,} pixels. "
            "Scale it down, or raise Limits.max_pixels."
        )


def _load(image: Image.Image, what: str, limits: Limits) -> Image.Image:
    _check_pixels(image.size, what, limits)
    image.load()
    _check_pixels(image.size, what, limits)  # an icon may hold a larger picture than it declares
    return image


def _decode(data: bytes, what: str, limits: Limits) -> Image.Image:
    if not data:
        raise ImageError(f"{what} is empty, with zero bytes. Pass an image that was fully saved.")
    if is_heif(data):
        _register_heif()
    Image.init()
    # The EPS plugin would start Ghostscript, and run what may be a stranger's program.
    formats = [name for name in Image.ID if name != "EPS"]
    try:
        image = Image.open(io.BytesIO(data), formats=formats)
        return _load(image, what, limits)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise explain(data, what) from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{what} is larger than Pillow opens, as it decodes at most twice PIL.Image.MAX_IMAGE_PIXELS. "
            "Scale it down, or raise that number in your program."
        ) from error
    except MemoryError as error:
        raise ImageError(f"{what} needs more memory to decode than there is. Scale it down.") from error
    except Exception as error:
        raise ImageError(
            f"{what} is damaged or cut short ({shorten(str(error))}). "
            "Get it again, or save it anew where it was made."
        ) from error


@functools.cache
def _register_heif() -> None:
    with contextlib.suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener()


def _from_array(array: numpy.ndarray[Any, Any], what: str, limits: Limits) -> Image.Image:
    shape, dtype = array.shape, array.dtype
    if len(shape) == 3 and shape[2] == 1:
        array = array[:, :, 0]
    elif len(shape) != 2 and not (len(shape) == 3 and shape[2] in (3, 4)):
        raise ImageError(
            f"{what} has a shape that is no image. "
            "Pass height x width, alone or with 1, 3 or 4 channels last."
        )
    _check_pixels((shape[1], shape[0]), what, limits)
    if dtype.kind == "b":
        array = array.astype("uint8") * 255
    elif dtype.kind == "u" and dtype.itemsize == 2:
        array = (array.astype("float32") / 257).round()
    elif dtype.kind == "f":
        if not (array.min() >= 0 and array.max() <= 1):  # so written, it catches NaN too
            raise ImageError(f"{what} has values outside 0 to 1. Scale it to that range, or pass uint8.")
        array = (array * 255).round()
    elif dtype != "uint8":
        raise ImageError(
            f"{what} has a type of number that is no pixel. Pass uint8, uint16, bool, or floats from 0 to 1."
        )
    return Image.fromarray(array.astype("uint8"))


def _to_rgb(image: Image.Image, background: tuple[int, ...]) -> Image.Image:
    turn = _turn(image)  # first, since only the image as opened knows its metadata
    profile = image.info.get("icc_profile")
    image = _eight_bits(image)
    if turn is not None:
        image = image.transpose(turn)
    if image.mode == "La":
        image = image.convert("LA")  # the only way on from there
    if not image.has_transparency_data:
        result = _to_srgb(image, profile)
    else:
        grey = image.mode in ("1", "L", "LA")  # a grey profile wants grey, not RGB
        image = image.convert("RGBA")
        result = Image.new("RGB", image.size, background)
        colours = image.convert("L" if grey else "RGB")
        result.paste(_to_srgb(colours, profile), mask=image.getchannel("A"))
    # Metadata is done with: left in place, the orientation would be applied by the next reader too.
    result.info = {}
    return result


def _turn(image: Image.Image) -> Image.Transpose | None:
    # Broken metadata says nothing about orientation, and the pixels are still good.
    with contextlib.suppress(Exception):
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    return None


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
    if isinstance(profile, bytes):
        with contextlib.suppress(OSError, TypeError, ValueError, ImageCms.PyCMSError):
            given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if not _SRGB.fullmatch(given.profile.profile_description or ""):
                srgb = ImageCms.createProfile("sRGB")
                converted = ImageCms.profileToProfile(image, given, srgb, outputMode="RGB")
                if converted is not None:
                    return converted
    return image.convert("RGB")
