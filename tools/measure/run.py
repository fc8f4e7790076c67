"""Runs, each in a process of its own with a time limit, and what they are written down as."""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from tools.measure import checkpoint
from tools.measure.cases import ROOT, Case, sizes
from tools.measure.record import Machine, Measurement

QUANTIZATION = "bf16"
"""Of a case's weights."""
SECONDS = 600
"""A run may take so long."""
Products = Literal["computed", "skipped"]


class RunError(Exception):
    """A run that gave no figures."""


def measure(model: str, case: Case, images: str, products: Products, seconds: int = SECONDS) -> Measurement:
    """One run of a case.

    Raises RunError where it fails or takes too long.
    """
    with tempfile.TemporaryDirectory(prefix="mlx-cards-measure-") as scratch:
        folder = checkpoint.build(model, case, Path(scratch) / "checkpoint")
        how = {
            "engine": "metal" if platform.system() == "Darwin" else "cpu",
            "products": products,
            "detail": "auto",
        }
        asked = {
            "folder": str(folder),
            "model": model,
            "changes": case.card.model_dump(mode="json"),
            "images": sizes(images),
            "how": how,
        }
        figures = _answer(json.dumps(asked), seconds)
    return Measurement.model_validate(
        {
            "date": datetime.datetime.now(tz=datetime.UTC).date(),
            "machine": machine(),
            "model": model,
            "quantization": QUANTIZATION,
            "changes": case.card,
            "images": sizes(images),
            **how,
            **json.loads(figures),
        }
    )


def _answer(asked: str, seconds: int) -> str:
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tools.measure.child"],
            input=asked,
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RunError(
            f"The run took more than {seconds} s. Give it more (--seconds) or smaller images."
        ) from error
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit {done.returncode}"]
        raise RunError(f"The run failed: {last[0]}")
    return done.stdout


def machine() -> Machine:
    """This machine."""
    return Machine(
        chip=_slug(_processor()),
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        packages={name: version(name) for name in ("mlx", "mlx-vlm")},
    )


def _processor() -> str:
    if platform.system() == "Darwin":
        said = subprocess.run(
            ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=True
        )
        return said.stdout.strip()
    found = re.search(
        r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE
    )
    return found[1] if found else platform.machine()


def _slug(name: str) -> str:
    """ "Apple M3 Max" is m3-max, as in the table of devices."""
    words = re.findall(r"[a-z0-9]+", name.lower().removeprefix("apple "))
    return "-".join(words) or "unknown"
