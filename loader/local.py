"""Bytes from a source on this machine, read within limits of bytes and of time."""

from __future__ import annotations

import base64
import binascii
import io
import os
import queue
import re
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import unquote_to_bytes

from loader.errors import ImageError
from loader.source import Limits, is_data_uri, scheme_of, shorten, too_large

__all__ = ["read_local"]

_CHUNK = 1 << 20
_DATA_URI = re.compile(r"data:image/[^,;]+(?:;[^,;]+)*?(;base64)?,", re.IGNORECASE)


def read_local(source: object, *, what: str, limits: Limits) -> bytes:
    """The bytes of a path, a data URI, a bytes-like object or a binary file object."""
    if isinstance(source, str) and is_data_uri(source):
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
    if isinstance(source, io.BytesIO):
        return _read_file(source, what, limits)
    if hasattr(source, "read"):
        file = cast("BinaryIO", source)
        return _within(lambda given_up: _read_file(file, what, limits, given_up), what, limits)
    raise ImageError(
        f"{what} is not an image source: the type {type(source).__name__} is not supported. "
        "Pass a path, a URL, a data URI, bytes, a binary file, a PIL image or a numpy array."
    )


def _read_path(path: str, limits: Limits) -> bytes:
    shown = repr(shorten(path, 120))
    if not path or "\0" in path:
        raise ImageError(f"The path {shown} can name no file. Pass the path of an image.")

    def read(given_up: threading.Event | None = None) -> bytes:
        with Path(path).open("rb") as file:
            return _read_file(file, shown, limits, given_up)

    try:
        # A pipe without a writer would hold the caller as early as in open().
        return _within(read, shown, limits) if _may_wait(path) else read()
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


def _may_wait(path: str) -> bool:
    """Whether reading can wait for somebody else to write: a pipe or a device."""
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        return False  # opening it says why
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _within(read: Callable[[threading.Event], bytes], what: str, limits: Limits) -> bytes:
    """What `read` returns, unless it takes too long.

    Nothing can interrupt a read that waits, so it waits in a thread of its own, which is left behind;
    the event tells it to stop, should bytes come after all.
    """
    given_up = threading.Event()
    answers: queue.SimpleQueue[bytes | BaseException] = queue.SimpleQueue()

    def work() -> None:
        try:
            answers.put(read(given_up))
        except BaseException as error:  # noqa: BLE001  # raised again by the caller
            answers.put(error)

    threading.Thread(target=work, name="mlx-cards read", daemon=True).start()
    try:
        answer = answers.get(timeout=limits.download_seconds)
    except queue.Empty as error:
        given_up.set()
        raise ImageError(
            f"{what} came to no end within the limit of {limits.download_seconds:g} seconds. "
            "Check what writes to it, or raise Limits.download_seconds."
        ) from error
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _read_file(file: BinaryIO, what: str, limits: Limits, given_up: threading.Event | None = None) -> bytes:
    """All that is left in a file object; one byte past the limit shows that there is too much."""
    body = io.BytesIO()  # unlike a bytearray, it gives its bytes away without a copy
    # In a loop, since an unbuffered file or a socket may give less than it is asked for.
    while chunk := file.read(min(_CHUNK, limits.max_bytes + 1 - body.tell())):
        if isinstance(chunk, str):
            raise ImageError(f'{what} is open as text. Open it in binary mode, with "rb".')
        body.write(chunk)
        if body.tell() > limits.max_bytes:
            raise too_large(what, limits)
        if given_up is not None and given_up.is_set():
            break
    if not body.tell() and file.seekable() and file.tell() > 0:
        raise ImageError(f"{what} was already read to its end. Rewind it with seek(0).")
    return body.getvalue()


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
