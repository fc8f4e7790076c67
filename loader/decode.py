"""Bytes -> a picture as Pillow decodes it, within limits of pixels and of time.

Pillow's own guards belong to the whole process: a limit that every caller shares, and a warning that
can only be silenced by changing filters under the feet of other threads. So files are opened by
Pillow's format plugins directly, and the limits are kept here, for each call its own. Nothing is
locked: threads decode side by side.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import struct
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from loader.errors import ImageError
from loader.rgb import Box
from loader.source import Limits, explain, is_heif, shorten

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

__all__ = ["Size", "check_pixels", "decode", "load", "read_header", "reduce"]

Size = tuple[int, int]
"""Width and height, in pixels."""

# What is opened at all, as Pillow names it. TGA has no mark of its own to know it by, so it is last. Of
# Pillow's other formats some start programs (EPS), some unpack without limit (FITS), and none is in
# use for pictures that models are asked about. JPEG 2000 allocates for what its header declares, not
# for its pixels. Measured with OpenJPEG 2.5.4: 780 bytes take 750 MB (255 x 255 in tiles of one pixel),
# and blocks of 4 x 4 take 92 bytes a pixel, which is 24 GB for a picture within max_pixels.
_FORMATS = (
    "JPEG",
    "PNG",
    "WEBP",
    "GIF",
    "BMP",
    "DIB",
    "TIFF",
    "AVIF",
    "HEIF",
    "ICO",
    "PPM",
    "TGA",
)
_WRONG_FORMAT = (SyntaxError, IndexError, TypeError, struct.error)  # so plugins say it, for Image.open
_WIDTH, _LENGTH, _ROWS, _TILE_WIDTH, _TILE_LENGTH = 256, 257, 278, 322, 323  # tags of TIFF

# Bytes that a JPEG decoder gets between two looks at the clock. Pillow gives 65,536.
_JPEG_BLOCK = 8192

# A JPEG can be decoded at a half, a quarter or an eighth of its size, which skips most of the work. That
# is not quite what resampling the whole picture gives, and the more of it is left to resample, the
# closer it comes. So many times the wanted size must remain, in tenths. Measured: the least PSNR against
# the whole picture, over bicubic, bilinear and lanczos and over the three scales.
#                                      1.0    1.5    1.7    2.0    3.0
#   examples/dandelion.jpg             44.0   49.6   50.7   51.9   53.5
#   14 photographs, sharp to the pixel 31.0   38.3   40.7   39.9   48.4
#   a scanned page                     30.5   37.2   38.8   41.5   46.4
#   drawn text, black on white         24.0   31.0   32.6   35.6   41.2
# The aim is 40 dB on photographs. With 3, for drawn text too, hardly a photograph would be reduced.
_MARGIN = 17
_SCALES = (8, 4, 2)


class _OutOfTimeError(Exception):
    """Not an OSError or a ValueError: plugins catch those."""


class _Clocked(io.BytesIO):
    """A file in memory that ends the decoding once it has taken too long.

    Small files can ask for hours: a progressive JPEG for one more pass with every 36 bytes. The clock
    counts this thread's time on the processor, so a busy machine does not change what opens. It is looked
    at when bytes are read; what is decoded in one go (WebP, AVIF, TIFF) is bounded by its pixels.
    """

    def __init__(self, data: bytes, seconds: float) -> None:
        super().__init__(data)
        self._end = time.thread_time() + seconds

    def read(self, size: int | None = -1, /) -> bytes:
        if time.thread_time() > self._end:
            raise _OutOfTimeError
        return super().read(size)


def check_pixels(size: Size, what: str, limits: Limits) -> None:
    """Refuse a picture that has no pixels, or too many."""
    width, height = size
    if width < 1 or height < 1:
        raise ImageError(f"{what} has no pixels ({width}x{height}). Pass an image with some.")
    if width * height > limits.max_pixels:
        raise ImageError(
            f"{what} is {width}x{height}, more than the limit of {limits.max_pixels:,} pixels. "
            "Scale it down, or raise Limits.max_pixels."
        )


def load(image: Image.Image, what: str, limits: Limits) -> None:
    """Decode an image's pixels, if its size is within the limits."""
    check_pixels(image.size, what, limits)
    image.load()
    check_pixels(image.size, what, limits)  # what was decoded counts, not only what was declared


def read_header(data: bytes, what: str, limits: Limits) -> ImageFile:
    """The image in a file, opened and not yet decoded."""
    if not data:
        raise ImageError(f"{what} is empty, with zero bytes. Pass an image that was fully saved.")
    if is_heif(data):
        _register_heif()
    Image.init()
    with _explained(data, what, limits):
        image = _identify(data, what, limits)
        check_pixels(image.size, what, limits)
        if isinstance(image, TiffImageFile):
            _prepare_tiff(image, what, limits)
        elif isinstance(image, JpegImageFile):
            image.decodermaxblock = _JPEG_BLOCK
        return image


def reduce(image: ImageFile, at_least: Size | None) -> Box:
    """Have a JPEG decoded as small as serves to resample it to `at_least`, as it lies in the file.

    The answer is the part of the decoded image that is the picture: it may end within a pixel.
    """
    width, height = image.size
    wide, high = at_least or image.size  # the whole of it leaves no margin
    for scale in _SCALES:
        if 10 * width >= _MARGIN * scale * wide and 10 * height >= _MARGIN * scale * high:
            drafted = image.draft(None, (width // scale, height // scale))
            if drafted is not None:
                return drafted[1]
    return 0, 0, width, height


def decode(image: ImageFile, data: bytes, what: str, limits: Limits) -> None:
    """Decode the pixels of what `read_header` made of the data."""
    with _explained(data, what, limits):
        load(image, what, limits)


def _identify(data: bytes, what: str, limits: Limits) -> ImageFile:
    """What Image.open does, without its look at the process-wide limit."""
    file = _Clocked(data, limits.decode_seconds)
    for name in _FORMATS:
        if name not in Image.OPEN:
            continue
        factory, accepts = Image.OPEN[name]
        with contextlib.suppress(*_WRONG_FORMAT):
            verdict = accepts is None or accepts(data[:16])
            if not verdict or isinstance(verdict, str):  # text: Pillow was built without the library
                continue
            if name == "ICO":
                _check_icon(data, what, limits)
            file.seek(0)
            return factory(file, "")
    raise UnidentifiedImageError


def _check_icon(data: bytes, what: str, limits: Limits) -> None:
    """Refuse an icon by the pictures inside it: Pillow decodes the largest as soon as it opens one."""
    for entry in range(struct.unpack_from("<H", data, 4)[0]):
        (start,) = struct.unpack_from("<I", data, 6 + 16 * entry + 12)
        if data.startswith(b"\x89PNG", start):
            check_pixels(struct.unpack_from(">II", data, start + 16), what, limits)
        else:  # a bitmap and its mask, one above the other
            width, height = struct.unpack_from("<ii", data, start + 4)
            check_pixels((width, abs(height) // 2), what, limits)


def _prepare_tiff(image: TiffImageFile, what: str, limits: Limits) -> None:
    tags = image.tag_v2
    # As stored, where image.size is already upright.
    stored = tags[_WIDTH], tags[_LENGTH]
    # A small picture may lie in one huge tile, which is unpacked as a whole. Where one of its sides is
    # missing, libtiff takes that of a strip (TIFFTAG_ROWSPERSTRIP in tif_dir.c).
    if _TILE_WIDTH in tags or _TILE_LENGTH in tags:
        tile = tags.get(_TILE_WIDTH, stored[0]), tags.get(_TILE_LENGTH, tags.get(_ROWS, stored[1]))
        check_pixels(tile, f"A tile of {what}", limits)
    # Memory that is there already is not asked for again, past Pillow's own limit (a scan of 200
    # megapixels is beyond it).
    image.im = Image.new(image.mode, stored, None).im


@contextlib.contextmanager
def _explained(data: bytes, what: str, limits: Limits) -> Iterator[None]:
    """Whatever a decoder raises, as an ImageError that says what to do."""
    try:
        yield
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise explain(data, what) from error
    except _OutOfTimeError as error:
        raise ImageError(
            f"{what} takes longer to decode than the limit of {limits.decode_seconds:g} seconds. "
            "Save it anew where it was made, or raise Limits.decode_seconds."
        ) from error
    except Image.DecompressionBombError as error:
        # Left for the few formats whose plugins look themselves: WebP, ICO, and odd GIFs.
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
