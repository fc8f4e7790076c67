"""What a machine gives: memory, and the part of it that the GPU may use.

A machine is known by name or by its memory alone, so every figure but the memory is an estimate.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from loader.errors import UnsupportedFeatureError

WORKING_SET_SHARE = 0.75
"""Metal's recommended working set on Macs of up to 128 GB is 0.75 to 0.78 of the memory (published
crash reports of MLX users); the lower end is the cautious one."""

_NAME = re.compile(r"(m[1-9])(?:-(pro|max|ultra))?-([1-9]\d{0,3})gb")


@dataclass(frozen=True, slots=True)
class Device:
    """A machine as the planner sees it."""

    name: str
    """For example "m4-max-64gb", or "this machine"."""
    memory: int
    """Bytes of memory."""
    working_set: int
    """Bytes that the GPU may use (estimate)."""


def find(device: Device | str | None) -> Device:
    """The device of that name; None means this machine.

    Raises UnsupportedFeatureError for a name that is not `<chip>-<memory>gb`.
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
    return _device(match[0], int(match[3]) * 1024**3)


def here() -> Device:
    """This machine, from what the operating system says."""
    return _device("this machine", os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _device(name: str, memory: int) -> Device:
    return Device(name, memory, int(memory * WORKING_SET_SHARE))
