"""Bytes from a local source, read within limits, and what they are when they are not an image."""

from __future__ import annotations

import base64
import binascii
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import unquote_to_bytes, urlsplit

from PIL import Image

from loader.errors import ImageError

if TYPE_CHECKING:
    import numpy

__all__ = [
    "Limits",
    "describe",
    "describe_url",
    "explain",
    "is_heif",
    "read_local",
    "scheme_of",
    "shorten",
    "too_large",
]

_CHUNK = 1 << 20
_DATA_URI = re.compile(r"data:image/[^,;]+(?:;[^,;]+)*?(;base64)?,", re.IGNORECASE)
_URL = re.compile(r"[a-z][a-z0-9+.-]+://|file:", re.IGNORECASE)
_HEIF = re.compile(rb"....ftyp(?:hei[cmsx]|hev[cmsx]|mif1|msf1)", re.DOTALL)

# What people pass in place of an image: how it starts, what that means, what to do.
_MISTAKES: tuple[tuple[re.Pattern[bytes], str, str], ...] = (
    (
        re.compile(rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF....WEBP|BM|II\*\0|MM\0\*|\0\0\0\x0cjP", re.DOTALL),
        "it starts like one, but its header is damaged or cut short",
        "Get the file again, or save it anew where it was made",
    ),
    (
        _HEIF,
        "it is HEIC, which Pillow does not open by itself",
        "Run `pip install pillow-heif`, or save it as JPEG or PNG",
    ),
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

    Pillow has a limit of its own for files, twice PIL.Image.MAX_IMAGE_PIXELS, which stays in force.
    """

    max_bytes: int = 256 * 1024 * 1024
    max_pixels: int = 300_000_000
    download_seconds: float = 30.0
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
    if _is_data_uri(text):
        return f"a data URI of {len(text):,} characters"
    if scheme_of(text):
        return describe_url(text)
    return PurePath(text).name or text


def _is_data_uri(text: str) -> bool:
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


def read_local(source: object, *, what: str, limits: Limits) -> bytes:
    """The bytes of a path, a data URI, a bytes-like object or a binary file object."""
    if isinstance(source, str) and _is_data_uri(source):
        return _read_data_uri(source, limits)
    if isinstance(source, str) and (scheme := scheme_of(source)):
        advice = "Pass the path itself" if scheme == "file" else "Download it and pass its path"
        raise ImageError(f"{what} cannot be opened: {scheme} URLs are not followed. {advice}.")
    if isinstance(source, str | os.PathLike):
        return _read_path(os.fsdecode(source), limits)
    if isinstance(source, bytes | bytearray | memoryview):
        if memoryview(source).nbytes > limits.max_bytes:
            raise too_large(what, limits)
        return bytes(source)
    if hasattr(source, "read"):
        return _read_file(cast("BinaryIO", source), what, limits)
    raise ImageError(
        f"{what} is not an image source: the type {type(source).__name__} is not supported. "
        "Pass a path, a URL, a data URI, bytes, a binary file, a PIL image or a numpy array."
    )


def _read_path(path: str, limits: Limits) -> bytes:
    shown = repr(shorten(path, 120))
    if not path or "\0" in path:
        raise ImageError(f"The path {shown} can name no file. Pass the path of an image.")
    try:
        with Path(path).open("rb") as file:
            return _read_file(file, shown, limits)
    except FileNotFoundError as error:
        raise ImageError(
            f"Nothing was found at {shown}. Check the spelling and the working directory."
        ) from error
    except IsADirectoryError as error:
        raise ImageError(f"{shown} is a directory. Pass one image file inside it.") from error
    except PermissionError as error:
        raise ImageError(f"{shown} may not be read by this user. Change the file's permissions.") from error
    except OSError as error:
        raise ImageError(
            f"{shown} could not be read ({error.strerror}). "
            "Check the path; put data:image/png;base64, in front of base64 text."
        ) from error


def _read_file(file: BinaryIO, what: str, limits: Limits) -> bytes:
    """All that is left in a file object; one byte past the limit shows that there is too much."""
    body = bytearray()
    # In a loop, since an unbuffered file or a socket may give less than it is asked for.
    while chunk := file.read(min(_CHUNK, limits.max_bytes + 1 - len(body))):
        if isinstance(chunk, str):
            raise ImageError(f'{what} is open as text. Open it in binary mode, with "rb".')
        body += chunk
        if len(body) > limits.max_bytes:
            raise too_large(what, limits)
    if not body and file.seekable() and file.tell() > 0:
        raise ImageError(f"{what} was already read to its end. Rewind it with seek(0).")
    return bytes(body)


def _read_data_uri(uri: str, limits: Limits) -> bytes:
    """The bytes inside `data:image/...;base64,...`, or inside the percent-encoded kind."""
    what = f"The data URI of {len(uri):,} characters"
    head = _DATA_URI.match(uri)
    if head is None:
        raise ImageError(
            f"{what} is malformed: it does not start with data:image/<type>;base64 and a comma. "
            "Write it as data:image/png;base64,<data>."
        )
    if len(uri) > 4 * limits.max_bytes + 200:  # percent-encoding needs three characters a byte
        raise too_large(what, limits)
    data = unquote_to_bytes(uri[head.end() :])
    if head.group(1) is not None:
        text = b"".join(data.split()).rstrip(b"=")
        try:
            data = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
        except binascii.Error as error:
            raise ImageError(
                f"{what} is malformed: what follows the comma is not base64 ({error}). "
                "Encode the image's bytes with base64.b64encode."
            ) from error
    if len(data) > limits.max_bytes:
        raise too_large(what, limits)
    return data


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
