"""An index of names for folders of very many cards, in the user's cache: a lookup reads a few lines of it.

Without it, an alias is looked for in the text of every card, which takes half a second among 10,000. It only
says where to look: what a name means is read in the card itself, so that a damaged or forged index names no
wrong model. It is trusted while the folder has the time of its making, which changes with every card that is
added, removed or replaced. It does not with a card that is written in place: so before a name is called
unknown, the sizes and times of all cards are compared, too.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from registry.naming import fold

Names = Callable[[str], Iterable[str]]
"""A family's id -> all its names, its model types too."""


class NameIndex:
    """Lines of `folded name TAB family TAB name`, sorted by bytes, below a line with the folder's state."""

    def __init__(self, lines: mmap.mmap) -> None:
        self._lines = lines
        self._start = lines.find(b"\n") + 1
        self.time, _, self.state = lines[: self._start - 1].decode("ascii").partition(" ")

    def families(self, key: str) -> list[str]:
        """The families that may answer to a folded name."""
        return list(dict.fromkeys(self._lines_of(key.encode())))

    def spellings(self) -> dict[str, str]:
        """Every folded name as its card writes it; without those of several families, which mean none."""
        names: dict[str, str] = {}
        owners: dict[str, str] = {}
        for line in self._lines[self._start :].decode("utf-8").splitlines():
            folded, family, name = line.split("\t")
            if owners.setdefault(folded, family) == family:
                names.setdefault(folded, name)
            else:
                names.pop(folded, None)
        return names

    def _lines_of(self, key: bytes) -> Iterator[str]:
        """The families in the lines of a key: the first is found by halves."""
        wanted = key + b"\t"
        low, high = self._start, len(self._lines)
        while low < high:
            middle = max(self._lines.rfind(b"\n", 0, (low + high) // 2) + 1, low)
            end = self._end(middle)
            if self._lines[middle:end] < wanted:
                low = end
            else:
                high = middle
        while self._lines[low : low + len(wanted)] == wanted:
            end = self._end(low)
            _, family, *_ = self._lines[low : end - 1].decode("utf-8", "replace").split("\t")
            yield family
            low = end

    def _end(self, start: int) -> int:
        return self._lines.find(b"\n", start) + 1 or len(self._lines)


def opened(
    folder: Path, families: Iterable[str], names: Names, *, thoroughly: bool = False
) -> NameIndex | None:
    """The index of the folder as it is now, made anew where it changed; None: no cache can be written.

    `thoroughly`: by the cards themselves, not by the time of the folder alone.
    """
    with contextlib.suppress(OSError, ValueError):
        time = str(folder.stat().st_mtime_ns)
        # hashlib would cost milliseconds; two folders that fall together would only make theirs in turn.
        file = _home() / f"names-{zlib.crc32(os.fsencode(folder.resolve())):08x}.tsv"
        found = _read(file)
        if found is not None and found.time == time and not thoroughly:
            return found
        state = _state(folder)
        if found is None or (found.time, found.state) != (time, state):
            _write(file, f"{time} {state}\n".encode("ascii"), families, names)
            found = _read(file)
        return found
    return None


def _state(folder: Path) -> str:
    """A digest of what would change with any card."""
    import hashlib

    with os.scandir(folder) as entries:
        stats = sorted((entry.name, *_stat(entry)) for entry in entries if entry.name.endswith(".yaml"))
    return hashlib.sha256(repr(stats).encode()).hexdigest()


def _stat(entry: os.DirEntry[str]) -> tuple[int, int]:
    stat = entry.stat()
    return stat.st_size, stat.st_mtime_ns


def _home() -> Path:
    """The folder for what can be made again, as the system has it."""
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "mlx-cards"
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "mlx-cards"


def _read(file: Path) -> NameIndex | None:
    with contextlib.suppress(FileNotFoundError, ValueError), file.open("rb") as index:
        return NameIndex(mmap.mmap(index.fileno(), 0, access=mmap.ACCESS_READ))
    return None


def _write(file: Path, head: bytes, families: Iterable[str], names: Names) -> None:
    """In one step: another process reads the whole of the old one or of the new one."""
    import tempfile

    lines = sorted(
        f"{fold(name)}\t{family}\t{name}\n".encode()
        for family in families
        for name in names(family)
        if not {"\t", "\n", "\r"} & set(name)
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=file.parent)
    try:
        with os.fdopen(descriptor, "wb") as index:
            index.write(b"".join([head, *lines]))
        Path(draft).replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(draft).unlink()
        raise
