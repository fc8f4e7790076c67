"""Packages that a test needs and the environment does not have, fetched once per machine with pip."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

SECONDS = 600
"""For one call of pip."""
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
"""The version of this interpreter."""


def packages(config: pytest.Config, *requirements: str, python: str = PYTHON) -> Path:
    """A folder for the module path with exactly these packages; the test is skipped where pip fails."""
    cache = getattr(config, "cache", None)
    if cache is None:
        pytest.skip("Packages are kept in pytest's cache, which is off.")
    root: Path = cache.mkdir(f"packages-{python}")
    folder = root / hashlib.sha256("\n".join(requirements).encode()).hexdigest()[:16]
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(dir=root) as work:
            options = ["--quiet", "--no-deps", "--no-cache-dir", "--retries", "1", "--target", f"{work}/made"]
            options += ["--only-binary", ":all:", "--python-version", python]
            command = [sys.executable, "-m", "pip", "install", *options, *requirements]
            try:
                subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS)  # noqa: S603  # pip
            except subprocess.CalledProcessError as error:
                lines = [line for line in error.stderr.splitlines() if line.startswith("ERROR")]
                pytest.skip(f"{requirements[0]} cannot be fetched: {(lines or ['pip failed'])[0]}")
            except subprocess.TimeoutExpired:
                pytest.skip(f"{requirements[0]} cannot be fetched within {SECONDS} seconds")
            (Path(work) / "made").rename(folder)
    return folder
