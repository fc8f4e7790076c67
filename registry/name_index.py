"""An index of names for folders of very many cards, in the user's cache: a lookup reads a few lines of it.

Without it, an alias is looked for in the text of every card, which takes half a second among 10,000. It only
says where to look: what a name means is read in the card itself, so that an old, damaged or forged index
names no wrong model. Where that is not found, the index's checksum and the sizes and times of all cards are
compared and the cards that changed are read anew; no name is called unknown before.

It is read and written only in a folder that belongs to the user who runs this, and others cannot write to.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
import sys
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from registry.naming import fold

AT_ONCE = 1000
"""Cards that a lookup reads for the index, at the most: some 0.3 s. The next lookups read the others."""
KIND = "mlx-cards-names-3"
HEAD = 128
"""Bytes that the first line has at the most."""
BLOCK = 256
"""Lines between two entries of the table."""
Hints = Callable[[str], set[str] | None]
"""A family's id -> all names that it may have; None: its text has to be looked through each time."""


class NameIndex:
    """Lines of `folded name TAB family`, sorted; below a head and a table, above a line for each card.

    The table has the first line of each block, so that only one block is read for a name. A family that has
    to be looked through has a line without a name.
    """

    def __init__(self, part: Callable[[int, int | None], bytes]) -> None:
        """`part`: the bytes from one place to another. Raises ValueError for what was never an index."""
        head = part(0, HEAD).partition(b"\n")[0]
        kind, self._sum, table, names = head.decode("ascii").split(" ")
        if kind != KIND:
            raise ValueError(kind)
        self._part = part
        self._table = len(head) + 1
        self._names = self._table + int(table)
        self._cards = self._names + int(names)
        self.unread: list[str] = []
        """Families that it does not know, or not yet."""

    def families(self, key: str) -> list[str]:
        """The families that may answer to a folded name; those to look through for the empty one."""
        entries = [line.split("\t") for line in self._lines(self._table, self._names)]
        firsts, places = [name for _, name in entries], [self._names + int(place) for place, _ in entries]
        before, behind = max(bisect_left(firsts, key) - 1, 0), bisect_right(firsts, key)
        start, stop, *_ = *places[before : before + 1], *places[behind : behind + 1], self._cards, self._cards
        found = (line.partition("\t") for line in self._lines(start, stop))
        return [family for name, _, family in found if name == key]

    def keys(self) -> set[str]:
        """Every folded name."""
        return {line.partition("\t")[0] for line in self.lines()} - {""}

    def lines(self) -> list[str]:
        """The lines of names."""
        return self._lines(self._names, self._cards)

    def cards(self) -> dict[str, str]:
        """The size and time of each card that it knows, by family."""
        return dict(line.split("\t") for line in self._lines(self._cards, None))

    def is_whole(self) -> bool:
        """Whether it is as it was written."""
        return f"{zlib.crc32(self._part(self._table, None)):08x}" == self._sum

    def _lines(self, start: int, stop: int | None) -> list[str]:
        return self._part(start, stop).decode("utf-8").split("\n")[:-1]


def families(folder: Path, key: str) -> list[str]:
    """Where a folded name stood when the index was written; none where there is no index."""
    with contextlib.suppress(OSError, RuntimeError, ValueError), _opened(_file(folder)) as file:

        def part(start: int, stop: int | None) -> bytes:
            file.seek(start)
            return file.read(-1 if stop is None else max(stop - start, 0))

        return NameIndex(part).families(key)
    return []


def refreshed(folder: Path, hints: Hints, *, at_once: int | None = AT_ONCE) -> NameIndex | None:
    """The index of the folder as it is now; None where its cards cannot be listed, or no cache be kept.

    What changed is read anew, `at_once` cards at the most; None: all of them, also without a cache.
    """
    try:
        file: Path | None = _file(folder)
        _make_private(_home())
    except (OSError, RuntimeError):
        if at_once is not None:
            return None
        file = None
    with contextlib.suppress(OSError, ValueError):
        states, odd = _states(folder)
        found = None if file is None else _read(file)
        known = {} if found is None else found.cards()
        if found is not None and known == states:
            found.unread = odd
            return found
        changed = [family for family in states if known.get(family) != states[family]]
        now, left = changed[:at_once], [] if at_once is None else changed[at_once:]
        stays = known.keys() & states.keys() - set(changed)
        kept = [] if found is None else [n for n in found.lines() if n.partition("\t")[2] in stays]
        cards = {family: states[family] for family in (*stays, *now)}
        data = _made([*kept, *_lines(now, hints)], cards)
        if file is not None:
            _write(file, data)
        made = _of_bytes(data)
        made.unread = left + odd
        return made
    return None


def _of_bytes(data: bytes) -> NameIndex:
    return NameIndex(lambda start, stop: data[start:stop])


def _lines(families: list[str], hints: Hints) -> Iterator[str]:
    for family in families:
        names = hints(family)
        for key in {""} if names is None else {fold(name) for name in names} - {""}:
            if min(key, default=" ") >= " ":  # a name with a tab or a line end is one that nobody can mean
                yield f"{key}\t{family}"


def _made(lines: list[str], cards: dict[str, str]) -> bytes:
    encoded = sorted(f"{line}\n".encode("utf-8", "replace") for line in lines)
    places = list(itertools.accumulate(map(len, encoded), initial=0))
    blocks = range(0, len(encoded), BLOCK)
    table = b"".join(b"%d\t%s\n" % (places[i], encoded[i].partition(b"\t")[0]) for i in blocks)
    states = b"".join(f"{family}\t{state}\n".encode() for family, state in sorted(cards.items()))
    body = b"".join((table, *encoded, states))
    return f"{KIND} {zlib.crc32(body):08x} {len(table)} {places[-1]}\n".encode("ascii") + body


def _states(folder: Path) -> tuple[dict[str, str], list[str]]:
    """Of each card what changes with it, by family; and the families that no line can hold."""
    with os.scandir(folder) as entries:
        states = {e.name.removesuffix(".yaml"): _state(e) for e in entries if e.name.endswith(".yaml")}
    odd = [family for family in states if not family.isprintable()]
    return {family: state for family, state in states.items() if family not in odd}, odd


def _state(entry: os.DirEntry[str]) -> str:
    try:
        found = entry.stat()
    except OSError:  # a link to nothing: reading it as a card says so
        return "-"
    return f"{found.st_size} {found.st_mtime_ns}"


def _file(folder: Path) -> Path:
    # hashlib would cost milliseconds; two folders that fall together would only make theirs in turn.
    return _home() / f"names-{zlib.crc32(os.fsencode(folder.resolve())):08x}.tsv"


def _home() -> Path:
    """The folder for what can be made again, as the system has it. Raises RuntimeError without a home."""
    if Path(base := os.environ.get("XDG_CACHE_HOME", "")).is_absolute():
        return Path(base) / "mlx-cards"
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "mlx-cards"


def _is_private(found: os.stat_result) -> bool:
    """Whether a file or folder is the user's, and no other can write to it. (Windows has no such ids.)"""
    mine = getattr(os, "geteuid", lambda: found.st_uid)()
    return found.st_uid == mine and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _make_private(folder: Path) -> None:
    """Make the folder where it is missing. Raises PermissionError where it is, or would be, another user's.

    As with sudo, which keeps HOME: a folder of root's in there would be in the user's way.
    """
    there = next(place for place in (folder, *folder.parents) if place.exists())
    owner = there.stat()
    mine = getattr(os, "geteuid", lambda: owner.st_uid)()
    if owner.st_uid != mine or (there == folder and not _is_private(owner)):
        raise PermissionError(there)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)


def _read(file: Path) -> NameIndex | None:
    """As a whole, and only as it was written."""
    with contextlib.suppress(OSError, ValueError), _opened(file) as index:
        found = _of_bytes(index.read())
        if found.is_whole():
            return found
    return None


def _opened(file: Path) -> BinaryIO:
    """For reading: mapped, a file that is cut short meanwhile would end the process.

    Raises PermissionError where it, or its folder, is another user's or can be written by others.
    """
    index = file.open("rb")
    if not all(_is_private(found) for found in (file.parent.stat(), os.fstat(index.fileno()))):
        index.close()
        raise PermissionError(file)
    return index


def _write(file: Path, data: bytes) -> None:
    """In one step: another process reads the whole of the old one or of the new one. Or not at all."""
    import tempfile

    with contextlib.suppress(OSError):
        descriptor, draft = tempfile.mkstemp(dir=file.parent)
        try:
            with os.fdopen(descriptor, "wb") as index:
                index.write(data)
            Path(draft).replace(file)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(draft).unlink()
            raise
