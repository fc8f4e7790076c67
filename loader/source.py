"""What a source is called in messages, how much it may cost, and what it is when it is no image."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from PIL import Image

from loader.errors import ImageError

if TYPE_CHECKING:
    import numpy

__all__ = [
    "Limits",
    "describe",
    "describe_url",
    "explain",
    "is_data_uri",
    "is_heif",
    "scheme_of",
    "shorten",
    "too_large",
]

_URL = re.compile(r"[a-z][a-z0-9+.-]+://|file:", re.IGNORECASE)
_HEIF = re.compile(rb"....ftyp(?:hei[cmsx]|hev[cmsx]|mif1|msf1)", re.DOTALL)

# What people pass in place of an image: how it starts, what that means, what to do.
_MISTAKES: tuple[tuple[re.Pattern[bytes], str, str], ...] = (
    (
        re.compile(rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF....WEBP|BM|II\*\0|MM\0\*", re.DOTALL),
        "it starts like one, but its header is damaged or cut short",
        "Get the file again, or save it anew where it was made",
    ),
    (
        _HEIF,
        "it is HEIC, which Pillow does not open by itself",
        "Run `pip install 'mlx-cards[heic]'`, or save it as JPEG or PNG",
    ),
    (
        re.compile(rb"....ftypavi[fs]", re.DOTALL),
        "it is AVIF, which Pillow opens from version 11.3 on",
        "Run `pip install --upgrade pillow`, or save it as JPEG or PNG",
    ),
    (
        re.compile(rb"\0\0\0\x0cjP|\xff\x4f\xff\x51"),
        "it is JPEG 2000, whose decoder keeps to no limit of memory",
        "Save it as PNG or JPEG",
    ),
    (re.compile(rb"8BPS"), "it is a Photoshop document", "Export it as PNG"),
    (
        re.compile(rb"%PDF|%!PS|\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?<svg", re.DOTALL),
        "it is a document or a drawing (PDF, PostScript or SVG) without pixels of its own",
        "Convert it to PNG",
    ),
    (
        re.compile(rb"\s*<(?:!doctype html|html)", re.IGNORECASE),
        "it is a web page",
        "Save the image itself from that page",
    ),
    (
        re.compile(rb"version https://git-lfs"),
        "it is a Git LFS pointer that stands for the file",
        "Run `git lfs pull`",
    ),
    (re.compile(rb"\x1f\x8b|PK\x03\x04"), "it is a compressed archive", "Unpack it"),
)


@dataclass(frozen=True)
class Limits:
    """How much one image may cost before it is refused.

    Of an animation one frame is decoded, however many there are, so that frames need no number here.
    """

    max_bytes: int = 256 * 1024 * 1024
    """Of the file, as it is read or downloaded."""
    max_pixels: int = 1 << 28
    """Of the decoded picture. 16,384 x 16,384: the largest sensor in a phone (200 megapixels) fits. To
    decode and convert takes 8 bytes a pixel (measured; progressive JPEG, AVIF and 16-bit grey 10,
    transparency 10 to 12, WebP 16 to 17), so that the largest picture needs 2 GiB and more; beyond that
    a laptop has no room left for the model."""
    download_seconds: float = 30.0
    """For all of a download, and for a pipe, a socket or another file object to come to its end."""
    decode_seconds: float = 30.0
    """Of this thread's work on the processor. The largest pictures take about a third of it."""
    max_redirects: int = 5


def shorten(text: str, width: int = 80) -> str:
    """Text that fits a message: printable, and cut in the middle where it is too long."""
    text = "".join(c if c.isprintable() else "?" for c in text)
    if len(text) <= width:
        return text
    tail = width // 2
    return f"{text[: width - tail - 1]}…{text[-tail:]}"


def describe_url(url: str) -> str:
    """The URL for a message, without the credentials and the query, which may be secret."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "a malformed URL"
    return shorten(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")


def describe(source: object) -> str:
    """A label for messages, at most 80 characters, that gives no secret away."""
    try:
        if isinstance(source, str | os.PathLike):
            return shorten(_describe_text(os.fsdecode(source)))
        if isinstance(source, bytes | bytearray | memoryview):
            return f"bytes ({memoryview(source).nbytes:,})"
        if isinstance(source, Image.Image):
            return f"PIL image {source.width}x{source.height}"
        if hasattr(source, "__array_interface__"):
            array = cast("numpy.ndarray[Any, Any]", source)
            return shorten(f"array {'x'.join(map(str, array.shape)) or 'scalar'} of {array.dtype}")
        name = getattr(source, "name", None)
        if hasattr(source, "read"):
            return shorten(PurePath(name).name) if isinstance(name, str) else "a file object"
    except Exception:  # noqa: BLE001, S110 - this runs while another failure is reported
        pass
    return shorten(f"an object of type {type(source).__name__}")


def _describe_text(text: str) -> str:
    if is_data_uri(text):
        return f"a data URI of {len(text):,} characters"
    if scheme_of(text):
        return describe_url(text)
    return PurePath(text).name or text


def is_data_uri(text: str) -> bool:
    return text[:5].lower() == "data:"


def scheme_of(text: str) -> str:
    """The scheme of text that is a URL, the empty string for text that is a path."""
    url = _URL.match(text)
    return url.group().rstrip(":/").lower() if url else ""


def too_large(what: str, limits: Limits) -> ImageError:
    return ImageError(
        f"{what} is larger than the limit of {limits.max_bytes:,} bytes. "
        "Use a smaller image, or raise Limits.max_bytes."
    )


def is_heif(data: bytes) -> bool:
    return _HEIF.match(data) is not None


def explain(data: bytes, what: str) -> ImageError:
    """The error for bytes that no decoder recognises."""
    for pattern, meaning, advice in _MISTAKES:
        if pattern.match(data[:1024]):
            return ImageError(f"{what} is not an image that can be opened: {meaning}. {advice}.")
    start = data[:40].decode("utf-8", "replace")
    if all(c.isprintable() or c.isspace() for c in start.removesuffix("\ufffd")):
        meaning = f"its first bytes look like text, {shorten(start, 40)!r}"
    else:
        meaning = f"no known format starts with the bytes {data[:8].hex(' ')}"
    return ImageError(
        f"{what} is not an image: {meaning}. Check that it is the file you meant, or save it as PNG."
    )
