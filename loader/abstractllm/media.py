"""A call's files: images, which the model sees, and texts and tables, which become part of the prompt.

What kind a file is, and how a text or table is written, AbstractLLM's own media classes say.
"""

from __future__ import annotations

import base64
import binascii
import glob
import mimetypes
import os
import re
from collections.abc import Iterable, Iterator, Mapping, MappingView, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from abstractllm.exceptions import FileProcessingError, ImageProcessingError
from abstractllm.media.factory import MediaFactory
from abstractllm.media.interface import MediaInput

from loader.abstractllm.failures import PROVIDER
from loader.errors import ImageError
from loader.fetch import fetch
from loader.source import Limits, describe, is_data_uri, scheme_of

_REFERENCE = re.compile(r"(?<!\w)@(\S+)")
_PUNCTUATION = ".,;:!?)]}>\"'"
_AS_TEXT = "ollama"
"""The provider for which AbstractLLM writes a file as a string that follows the prompt."""
_DETAILS = ("high", "medium", "low")
_LONGEST_NAME = 1000
"""Longer text in place of a file is base64."""


@dataclass(frozen=True, slots=True)
class Media:
    """What a call's files are."""

    images: tuple[Any, ...] = ()
    """Sources, in order."""
    text: str = ""
    """What follows the prompt's own words."""
    detail: str | None = None
    """The finest level of detail that an image asks for."""


def references(prompt: str) -> tuple[str, list[str]]:
    """A prompt without its @file references, and the files: paths, folders with a slash, patterns.

    Punctuation after a name is not part of it: "What is in @photo.jpg?" would otherwise be a pattern.
    What names no file stays as it was typed (an address, a decorator), unless it can only be a file.
    """
    found: list[str] = []

    def taken(match: re.Match[str]) -> str:
        whole = match[1]
        for name in dict.fromkeys((whole, whole.rstrip(_PUNCTUATION))):
            if files := _named(name):
                found.extend(files)
                return whole[len(name) :]
        if _kind(name) is not None:
            raise _missing(name)
        return match[0]

    text = _REFERENCE.sub(taken, prompt)
    return (text.strip() if found else prompt), found


def _named(name: str) -> list[str]:
    """The files that a reference names, in the order of their names; hidden ones must be named whole."""
    path = Path(name)
    if not name or path.is_file():
        return [name] if name else []
    if name.endswith("/") and path.is_dir():
        return sorted(str(f) for f in path.iterdir() if f.is_file() and not f.name.startswith("."))
    if "*" in name or "?" in name:
        return sorted(found for found in glob.glob(name) if Path(found).is_file())  # noqa: PTH207  # as typed
    return []


def _kind(name: str) -> str | None:
    """What the end of a file's name says it is: an image, a text, or nothing that is known here."""
    mime, _ = mimetypes.guess_type(name)
    kind = (mime or "").partition("/")[0]
    return kind if kind in ("image", "text") else "text" if mime == "application/json" else None


def _missing(name: str) -> FileProcessingError | ImageProcessingError:
    text = f"Nothing was found at {name!r}. Check the spelling and the working directory."
    if _kind(name) == "image":
        return ImageProcessingError(text, PROVIDER)
    return FileProcessingError(text, PROVIDER, file_path=name)


def listed(files: Any) -> list[Any]:
    """One file or several, as a list. Much that is one file could be iterated over: a name, bytes, pixels."""
    if files is None:
        return []
    several = isinstance(files, list | tuple | Set | Iterator | MappingView) and not hasattr(files, "read")
    return list(files) if several else [files]


def read(files: Iterable[Any], *, allow_private_urls: bool = False) -> Media:
    """What each file is. A file whose kind nobody knows is taken for an image, whose opening says more.

    Raises FileProcessingError for a text that cannot be read, ImageProcessingError for a dictionary that
    describes no image.
    """
    images, texts, levels = [], [], []
    for file in files:
        medium = _medium(file)
        if not isinstance(medium, MediaInput):
            images.append(medium)
        elif medium.media_type == "image":
            images.append(_source(medium.source))
            levels.append(medium.detail_level)
        else:
            texts.append(_written(medium, allow_private_urls))
    level = next((level for level in _DETAILS if level in levels), None)
    return Media(tuple(images), "".join(texts), level)


def _medium(file: Any) -> Any:
    """AbstractLLM's object for a file, or an image source as it is."""
    if isinstance(file, MediaInput):
        return file
    if isinstance(file, Mapping):
        return _described(file)
    if not isinstance(file, str | os.PathLike):
        return _content(file) if hasattr(file, "read") else file
    text = os.fspath(file)
    if isinstance(text, bytes) or is_data_uri(text):
        return text
    known = len(text) < _LONGEST_NAME and _kind(text) is not None
    if known and not scheme_of(text) and not Path(text).exists():
        raise _missing(text)
    try:
        return MediaFactory.from_source(file)
    except ValueError:
        return MediaFactory.from_source(file, "text") if known and _kind(text) == "text" else text


def _content(file: Any) -> Any:
    """What an open file holds, which is left where it was: a session hands it over again later."""
    begin = file.tell() if hasattr(file, "seekable") and file.seekable() else None
    content = file.read()
    if begin is not None:
        file.seek(begin)
    if isinstance(content, str):
        raise FileProcessingError(
            f"{describe(file)} was opened as text, so of what kind it is is not known. "
            "Pass its path; an image may also be opened with 'rb'.",
            PROVIDER,
            file_path=str(getattr(file, "name", "")),
        )
    return content


def _described(file: Mapping[str, Any]) -> Any:
    url = file.get("image_url")
    if file.get("type") == "image_url" and url is not None:
        return url.get("url") if isinstance(url, Mapping) else url
    try:
        return MediaFactory.from_source(dict(file))
    except (ValueError, KeyError, TypeError) as error:
        raise ImageProcessingError(
            f"A file described as {sorted(file)} is not one that can be read: {error}. "
            "Give its path, URL or bytes.",
            PROVIDER,
            error,
        ) from error


def _source(source: Any) -> Any:
    """An image's source; base64 without its prefix becomes bytes."""
    text = os.fspath(source)
    if is_data_uri(text) or scheme_of(text) or (len(text) < _LONGEST_NAME and Path(text).exists()):
        return text
    try:
        return base64.b64decode("".join(text.split()), validate=True) or text
    except binascii.Error:
        return text  # opening it says what is wrong


def _written(medium: MediaInput, allow_private_urls: bool) -> str:
    url = str(medium.source)
    if url.startswith(("http://", "https://")) and medium._cached_content is None:
        medium._cached_content = _downloaded(url, medium, allow_private_urls)
    try:
        return str(medium.to_provider_format(_AS_TEXT))
    except Exception as error:  # AbstractLLM raises Exception itself
        name = describe(medium.source)
        raise FileProcessingError(
            f"{name} cannot be read: {error}. Check that it is text in UTF-8.",
            PROVIDER,
            error,
            file_path=str(medium.source),
            file_type=medium.media_type,
        ) from error


def _downloaded(url: str, medium: MediaInput, allow_private_urls: bool) -> str:
    """A text behind a URL, with the care that images get: AbstractLLM would follow it anywhere."""
    try:
        body = fetch(url, limits=Limits(), allow_private=allow_private_urls, page=True)
        return body.decode(medium.encoding)
    except ImageError as error:
        raise FileProcessingError(
            f"A text could not be fetched: {error} A text may also be downloaded and passed as a file.",
            PROVIDER,
            error,
            file_path=url,
        ) from error
    except (UnicodeDecodeError, LookupError) as error:
        raise FileProcessingError(
            f"{describe(url)} cannot be read: {error}. Check that it is text in {medium.encoding}.",
            PROVIDER,
            error,
            file_path=url,
        ) from error
