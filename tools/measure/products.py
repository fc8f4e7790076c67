"""MLX's matrix products on a processor, replaced by a pause.

Its wheels for Linux multiply with a reference library, at a few GFLOP/s: a photo of 12 megapixels would
take an hour. What a product allocates, and how far MLX runs ahead of it, does not depend on what it
computes, so every other operation stays as it is, and only the inner loop writes zeros and pauses instead.
"""

from __future__ import annotations

import ctypes
import platform
import re
import struct
from pathlib import Path

PAUSE = 0.02
"""Seconds for each product: long beside the microseconds in which MLX plans an operation, as real ones."""
PRODUCTS = re.compile(rb"_ZN3mlx4core6matmulI(f|NS0_12_MLX_Float16E|NS0_13_MLX_BFloat16E)EE?v.*")
"""void mlx::core::matmul<T>(const T* a, const T* b, T* out, ...) of mlx 0.32."""
TYPES = ("float32", "float16", "bfloat16")
_PAGE = 4096
_READ_WRITE_EXECUTE = 7
_FUNCTION = 2
_SYMBOLS = (2, 11)


def skip() -> None:
    """Replace the products of this process for good.

    Raises OSError where MLX is not the one this was made for.
    """
    import mlx.core  # noqa: F401  # it loads the libraries that are changed

    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise OSError("Products can be skipped on Linux x86_64 only. Measure with them: --products computed.")
    code = _zeros_and_pause()
    start, file = _mapped("libmlx.so")
    found = [offset for name, offset in _functions(file.read_bytes()) if PRODUCTS.fullmatch(name)]
    if len(found) != len(TYPES):
        raise OSError(f"{file.name} has other functions that multiply matrices. Install mlx 0.32.")
    for offset in found:
        _overwrite(start + offset, code)


def _zeros_and_pause() -> bytes:
    """Machine code that fills `out` with zeros, calls usleep and returns.

    Without the zeros an answer would be noise, which a small vocabulary cannot spell. MLX keeps the size of
    a buffer in the eight bytes before it (mlx/backend/no_gpu/allocator.cpp).
    """
    system = ctypes.CDLL(None)
    memset, usleep = (ctypes.cast(it, ctypes.c_void_p).value for it in (system.memset, system.usleep))
    return b"".join(
        [
            b"\x48\x83\xec\x08",  # sub rsp, 8
            b"\x48\x89\xd7\x31\xf6\x48\x8b\x57\xf8",  # mov rdi, rdx; xor esi, esi; mov rdx, [rdi - 8]
            b"\x48\xb8" + struct.pack("<Q", memset) + b"\xff\xd0",  # mov rax, memset; call rax
            b"\xbf" + struct.pack("<I", int(PAUSE * 1e6)),  # mov edi, microseconds
            b"\x48\xb8" + struct.pack("<Q", usleep) + b"\xff\xd0",  # mov rax, usleep; call rax
            b"\x48\x83\xc4\x08\xc3",  # add rsp, 8; ret
        ]
    )


def _overwrite(address: int, code: bytes) -> None:
    page = address & ~(_PAGE - 1)
    if ctypes.CDLL(None).mprotect(ctypes.c_void_p(page), ctypes.c_size_t(2 * _PAGE), _READ_WRITE_EXECUTE):
        raise OSError("The system does not allow to change a library in memory. Measure with products.")
    ctypes.memmove(address, code, len(code))


def _mapped(library: str) -> tuple[int, Path]:
    """Address and file of a library of this process."""
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        addresses, _, offset, *_, path = line.split()
        if int(offset, 16) == 0 and library in Path(path).name:
            return int(addresses.partition("-")[0], 16), Path(path)
    raise OSError(f"{library} is not loaded. Install mlx with its backend for processors: mlx[cpu].")


def _functions(elf: bytes) -> list[tuple[bytes, int]]:
    """Names and offsets of the functions in a library's table of symbols (ELF, 64 bits)."""
    (table,) = struct.unpack_from("<Q", elf, 40)
    size, count = struct.unpack_from("<HH", elf, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", elf, table + i * size) for i in range(count)]
    found = []
    for _, kind, _, _, offset, length, link, *_ in sections:
        if kind not in _SYMBOLS:
            continue
        names = sections[link][4]
        for at in range(offset, offset + length, 24):
            name, info, _, _, value, _ = struct.unpack_from("<IBBHQQ", elf, at)
            if info & 15 == _FUNCTION and value:
                found.append((elf[names + name : elf.index(b"\0", names + name)], value))
    return found
