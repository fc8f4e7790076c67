"""A fast matrix product for MLX on Linux.

The wheel of mlx[cpu] links the reference BLAS. The one in OpenCV's wheel, which mlx-vlm installs, has
the same functions and is an order of magnitude faster; loaded first, its functions are the ones called.
"""

from __future__ import annotations

import ctypes
import os
import sys
import sysconfig
from pathlib import Path

__all__ = ["fast_blas", "with_fast_blas"]

_MARK = "TRAIN_DEMO_BLAS"


def with_fast_blas(module: str, arguments: list[str]) -> None:
    """Start this program once more with that library; returns where it is loaded, or there is none."""
    if sys.platform != "linux" or _MARK in os.environ:
        return
    if (library := fast_blas()) is None:
        print("No OpenBLAS was found beside MLX: this will take many hours.", file=sys.stderr)
        return
    environment = os.environ | {_MARK: "1", "LD_PRELOAD": str(library)}
    os.execve(sys.executable, [sys.executable, "-m", module, *arguments], environment)  # noqa: S606


def fast_blas() -> Path | None:
    """That library; None where it is not installed. Linux has it loaded first by LD_PRELOAD."""
    packages = Path(sysconfig.get_path("purelib"))
    found = sorted(packages.glob("*.libs/lib*openblas*.so*"))
    return next((path for path in found if _fits(path)), None)


def _fits(path: Path) -> bool:
    """Whether a library has the function that MLX calls, with integers of 32 bits."""
    try:
        library = ctypes.CDLL(str(path))
    except OSError:
        return False
    if not hasattr(library, "cblas_sgemm") or not hasattr(library, "openblas_get_config"):
        return False  # numpy and scipy give the functions names of their own
    library.openblas_get_config.restype = ctypes.c_char_p
    return b"USE64BITINT" not in library.openblas_get_config()
