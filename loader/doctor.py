"""What stands in the way of running models here: versions, the GPU's limit, disk. Each with what mends it.

Facts about versions: the cards' `backend.requires`, the metadata of the installed packages, and
registry/defects.yaml.
"""

from __future__ import annotations

import platform
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from loader.device import GIB, Device, find, here
from loader.errors import UnsupportedFeatureError
from registry.catalog import all_cards
from registry.choice import gigabytes
from registry.defects import known

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

__all__ = ["Finding", "doctor"]

BACKEND = "mlx-vlm"
PACKAGES = ("mlx", "mlx-lm", BACKEND, "transformers")
_INSTALL = "pip install 'mlx-cards[mlx]'"
_EXPECTED_SHARE = 0.95
"""Part of the working set that Apple's table has, below which somebody must have lowered it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    """A package, "GPU", "memory", "disk", ..."""
    status: Literal["pass", "warn", "fail"]
    """fail: nothing or not everything runs; warn: it runs, and may not do so well."""
    said: str
    """What was found."""
    mend: str | None = None
    """The command that mends it, or helps to."""

    def to_dict(self) -> dict[str, Any]:
        """The finding as plain data, for JSON."""
        return asdict(self)


def doctor() -> Iterator[Finding]:
    """What is found on this machine."""
    there = installed()
    yield from versions(there, requirements())
    yield from conflicts(there)
    yield defects(there.get(BACKEND))
    yield from machine(here(), apple=platform.system() == "Darwin")
    yield disk(*_cache())


def installed() -> dict[str, str]:
    """Version by package, of those that matter here."""
    named = {*PACKAGES, *(name for conflict in known().conflicts for name in conflict.packages)}
    found = {}
    for name in sorted(named):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def requirements() -> dict[str, dict[str, str]]:
    """What is asked of each package, by who asks: the cards, this package, the backend."""
    catalog = all_cards()
    asked: dict[str, dict[str, str]] = {name: {} for name in PACKAGES}
    for target in map(catalog.find, catalog.families()):
        backend = catalog.card(target).backend
        asked[backend.package].setdefault(f"the card {target.family}", backend.requires)
    for owner in ("mlx-cards", BACKEND):
        for name, wanted in _declared(owner):
            if name in asked:
                asked[name][owner] = wanted
    return asked


def _declared(owner: str) -> Iterator[tuple[str, str]]:
    from packaging.requirements import Requirement

    try:
        said = metadata.requires(owner) or []
    except metadata.PackageNotFoundError:
        return
    for requirement in map(Requirement, said):
        extras = ("", "mlx") if owner == "mlx-cards" else ("",)
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": e}) for e in extras):
            yield requirement.name, str(requirement.specifier)


def versions(there: Mapping[str, str], asked: Mapping[str, Mapping[str, str]]) -> Iterator[Finding]:
    """Each package against all that is asked of it, and against what everything was checked with."""
    from packaging.version import Version

    for name, wanted in asked.items():
        version = there.get(name)
        if version is None:
            if wanted:
                yield Finding(name, "fail", "it is not installed, and models run on it", _INSTALL)
            else:
                yield Finding(name, "pass", "it is not installed, and no vision model needs it")
            continue
        refused = {who: spec for who, spec in wanted.items() if version not in _specifier(spec)}
        checked = known().checked.get(name)
        if refused:
            who, spec = next(iter(refused.items()))
            more = f", and so do {len(refused) - 1} others" if len(refused) > 1 else ""
            said = f"{version} is installed, and {who} wants {spec}{more}"
            yield Finding(name, "fail", said, f"pip install '{name}{spec}'")
        elif checked is not None and Version(version) > Version(checked):
            said = f"{version} is newer than {checked}, with which everything was checked"
            yield Finding(name, "warn", said, f"pip install '{name}=={checked}'")
        else:
            yield Finding(name, "pass", version)


def conflicts(there: Mapping[str, str]) -> Iterator[Finding]:
    """Versions that are known not to go together."""
    for conflict in known().conflicts:
        if all(name in there and there[name] in _specifier(spec) for name, spec in conflict.packages.items()):
            both = " with ".join(f"{name} {there[name]}" for name in conflict.packages)
            said = f"{both}: {conflict.fault} ({conflict.source})"
            yield Finding("versions", "fail", said, f"pip install '{conflict.mend}'")


def defects(version: str | None) -> Finding:
    """How many faults of the backend are known, and what becomes of them."""
    checked = known().checked[BACKEND]
    if version != checked:
        said = f"faults are known of {BACKEND} {checked}; whether another version has them is not"
        return Finding("faults", "pass", said)
    counts = Counter(defect.done for defect in known().defects)
    named = ", ".join(f"{number} {done}" for done, number in counts.items())
    return Finding("faults", "pass", f"{len(known().defects)} of {BACKEND} {version} are known: {named}")


def machine(device: Device, *, apple: bool) -> Iterator[Finding]:
    """What the GPU may use, and what other programs leave of it."""
    whole = gigabytes(device.memory)
    if not apple:
        yield Finding("GPU", "pass", f"none that MLX uses here: the processor computes, in {whole}")
    elif not device.measured:
        yield Finding(
            "GPU", "fail", "MLX finds no Metal on this machine", "pip install --force-reinstall mlx"
        )
    elif device.working_set < _EXPECTED_SHARE * _usual(device):
        said = f"it may use {gigabytes(device.working_set)} of {whole}, less than macOS allows by itself"
        yield Finding("GPU", "warn", said, "sudo sysctl iogpu.wired_limit_mb=0")
    else:
        yield Finding("GPU", "pass", f"it may use {gigabytes(device.working_set)} of {whole}")
    if device.room < device.working_set:
        left = gigabytes(device.room)
        said = f"other programs hold {gigabytes(device.in_use)}, which leaves {left} for models"
        share = device.room / device.working_set
        status: Literal["pass", "warn"] = "pass" if share > 0.5 else "warn"
        yield Finding(
            "memory", status, said, None if status == "pass" else "top -o mem" if apple else "top -o %MEM"
        )


def _usual(device: Device) -> int:
    """The working set that a machine with so much memory has by itself; 0 where it is not in the table."""
    try:
        return find(f"{round(device.memory / GIB)}gb").working_set
    except UnsupportedFeatureError:
        return 0


def disk(cache: Path, free: int) -> Finding:
    """Whether checkpoints can be downloaded."""
    sizes = sorted(_sizes())
    fitting = sum(size <= free for size in sizes)
    said = f"{gigabytes(free)} are free in {cache}: room for any one of {fitting} of {len(sizes)} checkpoints"
    if not fitting:
        return Finding("disk", "fail", said, "hf cache ls; hf cache rm REPOSITORY")
    if free < sizes[len(sizes) // 2]:
        return Finding("disk", "warn", said, "hf cache ls; hf cache rm REPOSITORY")
    return Finding("disk", "pass", said)


def _sizes() -> Iterator[int]:
    """Bytes of every checkpoint on the hub that the cards know the size of."""
    catalog = all_cards()
    for name in catalog.names():
        model = catalog.card(catalog.find(name)).model
        for weights in model.quantizations.values() if model else ():
            if weights.bytes is not None and weights.repository is not None:
                yield weights.bytes


def _cache() -> tuple[Path, int]:
    """The folder that downloads go to, and the bytes that are free there."""
    from huggingface_hub.constants import HF_HUB_CACHE

    cache = Path(HF_HUB_CACHE)
    there = next(folder for folder in (cache, *cache.absolute().parents) if folder.is_dir())
    return cache, shutil.disk_usage(there).free


def _specifier(text: str) -> SpecifierSet:
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(text, prereleases=True)
