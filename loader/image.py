"""Any image source as one thing: an upright, opaque, fully decoded 8-bit RGB picture.

Models see pixels and nothing else. Orientation, transparency, deep greys and colour profiles are
therefore settled here once, and settled the same way whether the picture came as a path, a URL,
bytes or an array. Whatever is wrong with a source, the caller sees an ImageError.

The way of a picture: source -> bytes (loader.fetch, loader.local) -> as stored (loader.decode) ->
as seen (loader.rgb).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeAlias, cast

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from loader.decode import Size, check_pixels, decode, load, read_header, reduce
from loader.errors import ImageError
from loader.fetch import fetch
from loader.local import read_local
from loader.rgb import Box, colour, swaps, to_rgb, turn_of, turned
from loader.source import Limits, describe, scheme_of, shorten

if TYPE_CHECKING:
    import numpy

__all__ = ["ImageSource", "Limits", "Opened", "Pixels", "open_image"]

# A string because numpy is optional and must not be imported for the sake of a name.
ImageSource: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO"
    " | Image.Image | numpy.ndarray[Any, Any]"
)

_DEFAULT_LIMITS = Limits()


class Pixels(NamedTuple):
    """A decoded picture."""

    image: Image.Image
    """Upright RGB."""
    box: Box
    """The part of it that is the picture, for Pillow's resize: all of it, except that a reduced JPEG may
    end within its last column and row of pixels."""


class Opened:
    """A source, fetched and read once: its size is known first, its pixels follow as a plan needs them.

    A JPEG is decoded by `pixels`, anything else already here: elsewhere orientation or size may come
    last in the file.
    """

    def __init__(
        self,
        source: ImageSource,
        *,
        background: str = "white",
        allow_private_urls: bool = False,
        limits: Limits = _DEFAULT_LIMITS,
    ) -> None:
        """As `open_image`."""
        self._what = describe(source)
        self._limits = limits
        with _refused(self._what):
            self._background = colour(background)
            self._jpeg = b""
            self._image: Image.Image | None = None
            self.size: Size = self._open(source, allow_private_urls)

    def _open(self, source: ImageSource, allow_private_urls: bool) -> Size:
        what, limits = self._what, self._limits
        image: Image.Image
        if isinstance(source, Image.Image):
            load(source, what, limits)
            image = source
        elif hasattr(source, "__array_interface__"):
            image = _from_array(cast("numpy.ndarray[Any, Any]", source), what, limits)
        else:
            if isinstance(source, str) and scheme_of(source) in ("http", "https"):
                data = fetch(source, limits=limits, allow_private=allow_private_urls)
            else:
                data = read_local(source, what=what, limits=limits)
            image = header = read_header(data, what, limits)
            if isinstance(header, JpegImageFile):
                self._jpeg = data
                return header.size[::-1] if swaps(turn_of(header)) else header.size
            decode(header, data, what, limits)
        self._image = to_rgb(image, self._background)
        return self._image.size

    def pixels(self, at_least: Size | None = None) -> Pixels:
        """The picture; with `at_least` as small as serves to resample it to that width and height.

        `at_least` is what the picture is resampled to, upright. Without it every pixel is decoded.
        """
        if self._image is not None:
            return Pixels(self._image, (0, 0, *self._image.size))
        with _refused(self._what):
            image = read_header(self._jpeg, self._what, self._limits)
            turn = turn_of(image)
            box = reduce(image, at_least[::-1] if at_least and swaps(turn) else at_least)
            decode(image, self._jpeg, self._what, self._limits)
            return Pixels(to_rgb(image, self._background), turned(box, image.size, turn))


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
    caller's own image and array keep their pixels. `allow_private_urls` lets URLs lead into private
    networks; `limits` bounds bytes, pixels and seconds.

    Raises ImageError for whatever is wrong with the source.
    """
    opened = Opened(source, background=background, allow_private_urls=allow_private_urls, limits=limits)
    return opened.pixels().image


@contextlib.contextmanager
def _refused(what: str) -> Iterator[None]:
    try:
        yield
    except ImageError:
        raise
    except Exception as error:  # hostile bytes reach every corner of Pillow
        reason = f"{type(error).__name__}: {shorten(str(error))}".removesuffix(": ")
        raise ImageError(
            f"{what} could not be turned into an RGB image ({reason}). "
            "Check it in an image viewer, and save it as PNG if it is fine there."
        ) from error


def _from_array(array: numpy.ndarray[Any, Any], what: str, limits: Limits) -> Image.Image:
    shape, dtype = array.shape, array.dtype
    if len(shape) == 3 and shape[2] == 1:
        array = array[:, :, 0]
    elif len(shape) != 2 and not (len(shape) == 3 and shape[2] in (3, 4)):
        raise ImageError(
            f"{what} has a shape that is no image. "
            "Pass height x width, alone or with 1, 3 or 4 channels last."
        )
    check_pixels((shape[1], shape[0]), what, limits)
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
