"""Fixtures. No test touches the user's files.

None touches a network beyond this machine, but tests/real_tokenizers.py, which fetches packages.
"""

from __future__ import annotations

import functools
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from loader.backend import Backend
    from tests.image_server import ImageServer, Names

pytest.register_assert_rewrite("tests.checkpoints", "tests.image_server", "tests.pictures")

# Before anything imports the hub's client, which reads these once.
_HOME = tempfile.TemporaryDirectory(prefix="mlx-cards-tests-")
os.environ |= {
    "HF_HOME": _HOME.name,
    "XDG_CONFIG_HOME": _HOME.name,
    "MLX_CARDS_PATH": "",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "NO_COLOR": "1",
}

ROOT = Path(__file__).parent.parent
PHOTO = ROOT / "examples" / "dandelion.jpg"


@pytest.fixture(scope="session")
def photo() -> Path:
    """A photograph of 4032 x 2988 pixels, stored turned, with EXIF orientation 6."""
    return PHOTO


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folders with random weights of real architectures, each built once."""
    from tools.random_checkpoint import build

    folder = tmp_path_factory.mktemp("checkpoints")

    @functools.cache
    def make(name: str) -> Path:
        return build(name, folder / name)

    return make


@pytest.fixture(scope="module")
def backend(checkpoint: Callable[[str], Path]) -> Callable[[str], Backend]:
    """Those checkpoints loaded, by their names."""
    import registry
    from loader.backend import Backend
    from tests.families import CARDS

    @functools.cache
    def load(name: str) -> Backend:
        return Backend(checkpoint(name), registry.card(CARDS[name]).backend)

    return load


@pytest.fixture(scope="module")
def server() -> Iterator[ImageServer]:
    """A server of images, good and bad."""
    from tests.image_server import serve

    with serve() as server:
        yield server


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """Name resolution from a table, {host: [address, ...]}, with a list of what was asked."""
    asked: list[str] = []
    table = {"asked": asked}

    def getaddrinfo(host: str, port: int, *_args: object, **_kwargs: object) -> list[tuple[object, ...]]:
        asked.append(host)
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (address, port),
            )
            for address in table[host]
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return table


@pytest.fixture(scope="session", autouse=True)
def _clean_up() -> Iterator[None]:
    yield
    _HOME.cleanup()
