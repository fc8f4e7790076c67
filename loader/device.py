"""What a machine gives: memory, and the part of it that the GPU may use.

On a Mac, Metal is asked. Elsewhere a machine is known by name, from a table of Apple's chips
(registry/devices.yaml): every figure but the memory is then an estimate.

Three zones: up to the working set it runs; up to the limit MLX allocates and the machine pages, a
character every ten seconds; above that MLX refuses, sometimes in a way that no `except` catches.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import platform
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from loader.errors import UnsupportedFeatureError

Engine = Literal["metal", "cpu"]
"""What computes: Apple's GPU, or MLX's backend for processors."""
TABLE = Path(__file__).parents[1] / "registry" / "devices.yaml"
GIB = 1024**3

_NAME = re.compile(r"(?:(m[1-9]\d?(?:-(?:pro|max|ultra))?)-)?([1-9]\d{0,3})gb")


@dataclass(frozen=True, slots=True)
class Device:
    """A machine as the planner sees it."""

    name: str
    """For example "m4-max-64gb", or "this machine"."""
    memory: int
    """Bytes of memory."""
    working_set: int
    """Bytes that the GPU may use."""
    largest_buffer: int | None = None
    """Bytes of the largest single allocation; None: as Metal does, three quarters of the working set."""
    engine: Engine = "metal"
    """What computes."""
    measured: bool = False
    """Whether the machine itself said so; otherwise the figures are from the table."""
    in_use: int = field(default=0, compare=False)
    """Bytes of memory that other programs hold now."""

    @property
    def room(self) -> int:
        """Bytes up to which a request fits: the working set, or less where other programs hold more."""
        return max(0, min(self.working_set, self.memory - self.in_use))

    @property
    def limit(self) -> int:
        """Bytes above which MLX refuses to allocate: its default memory limit (mlx 0.32)."""
        if self.engine == "cpu":
            return self.memory
        return min(self.working_set * 3 // 2, self.memory * 95 // 100)

    @property
    def buffer_limit(self) -> int:
        """Bytes above which a single allocation is refused."""
        if self.largest_buffer is not None:
            return self.largest_buffer
        return self.working_set * 3 // 4 if self.engine == "metal" else self.memory


def find(device: Device | str | None) -> Device:
    """The device of that name; None means this machine.

    Raises UnsupportedFeatureError for a name that is not `<chip>-<memory>gb` or `<memory>gb`, and for a
    chip that is not sold with that memory.
    """
    if isinstance(device, Device):
        return device
    if device is None:
        return here()
    match = _NAME.fullmatch(device.strip().lower())
    if match is None:
        raise UnsupportedFeatureError(
            f"{device!r} is not a device. Write chip and memory, for example m4-max-64gb or m1-8gb."
        )
    chip, size = match[1], int(match[2])
    chips = _table()["chips"]
    if chip is not None and size not in chips.get(chip, ()):
        known = f"{chip} with {_sizes(chips[chip])}" if chip in chips else f"the chips {', '.join(chips)}"
        raise UnsupportedFeatureError(
            f"{device!r} is not in the table of Apple's machines, which has {known}. "
            f"Take one of those, or give the memory alone: {size}gb."
        )
    return _tabled(match[0], size)


def devices() -> tuple[str, ...]:
    """The names in the table, by chip and memory."""
    return tuple(f"{chip}-{size}gb" for chip, sizes in _table()["chips"].items() for size in sizes)


def here() -> Device:
    """This machine: what Metal says, otherwise what the operating system says."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if platform.system() != "Darwin":
        return Device("this machine", memory, memory, engine="cpu", measured=True, in_use=_in_use(memory))
    if importlib.util.find_spec("mlx") is not None:
        from loader.backend import metal

        if (said := metal()) is not None:
            return Device(
                "this machine",
                said["memory_size"],
                said["max_recommended_working_set_size"],
                said["max_buffer_length"],
                measured=True,
                in_use=_in_use(memory),
            )
    share: float = _table()["working_set"]
    return Device("this machine", memory, int(memory * share), in_use=_in_use(memory))


def _tabled(name: str, size: int) -> Device:
    table = _table()
    memory = size * GIB
    working_set = table["reported"].get(str(size), int(memory * table["working_set"]))
    return Device(name, memory, working_set, int(working_set * table["largest_buffer"]))


@functools.cache
def _table() -> dict[str, Any]:
    import yaml

    from registry.reader import SAFE_LOADER

    table: dict[str, Any] = yaml.load(TABLE.read_bytes(), Loader=SAFE_LOADER)  # noqa: S506  # it is the safe loader
    return table


def _sizes(sizes: list[int]) -> str:
    *first, last = (str(size) for size in sizes)
    return f"{', '.join(first)} or {last} GB" if first else f"{last} GB"


def _in_use(memory: int) -> int:
    """Bytes that programs hold and the system cannot simply take back; 0 where it does not say."""
    try:
        if platform.system() == "Darwin":
            said = subprocess.run(["/usr/bin/vm_stat"], capture_output=True, text=True, check=True)
            return in_use_of(said.stdout)
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii"))
    except (OSError, subprocess.SubprocessError):
        return 0
    return max(0, memory - int(found[1]) * 1024) if found else 0


def in_use_of(vm_stat: str) -> int:
    """Bytes in use by what macOS's `vm_stat` prints: wired, anonymous and compressed pages."""
    size = re.search(r"page size of (\d+) bytes", vm_stat)
    pages = dict(re.findall(r"^(.+?):\s+(\d+)\.?$", vm_stat, re.MULTILINE))
    held = ("Pages wired down", "Anonymous pages", "Pages occupied by compressor")
    return int(size[1]) * sum(int(pages.get(name, 0)) for name in held) if size else 0
