"""Where cards are besides this package: the user's own folders, and folders that other packages contribute.

    MLX_CARDS_PATH           folders, first to last, separated as in PATH
    the user's folder        ~/.config/mlx-cards/cards, on a Mac ~/Library/Application Support/mlx-cards/cards
    (this package)
    contributed folders      entry points of the group `mlx_cards.cards`

The first that has a name decides what it means. So what somebody installs adds names, and changes none;
only the user's own folders can, which is reported (registry.catalog). Cards from here are data from
strangers: they are read and validated strictly, and no code of a contributing package runs.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from loader.errors import CardError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

VARIABLE = "MLX_CARDS_PATH"
GROUP = "mlx_cards.cards"
_MODULE = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*"


def folders() -> tuple[Path, ...]:
    """The user's folders of cards, first to last.

    Raises CardError for one in MLX_CARDS_PATH that is not there: without it, names would mean other models.
    """
    named = [entry for entry in os.environ.get(VARIABLE, "").split(os.pathsep) if entry]
    found = [_named(entry) for entry in named]
    with contextlib.suppress(OSError, RuntimeError):  # another user's home, or none
        if user_folder().is_dir():
            found.append(user_folder())
    return tuple(dict.fromkeys(found))


def _named(entry: str) -> Path:
    with contextlib.suppress(OSError, RuntimeError):  # ~nobody
        folder = Path(entry).expanduser().absolute()
        if folder.is_dir():
            return folder
    raise CardError(f"is no folder of cards. Make it, or mend {VARIABLE}.", path=entry)


def searched() -> list[Path]:
    """All folders of cards in the order in which names are looked for."""
    from registry.catalog import CARDS

    return list(dict.fromkeys((*folders(), CARDS, *contributed())))


def user_folder() -> Path:
    """The user's own folder of cards, whether it is there or not. Raises RuntimeError without a home."""
    if Path(base := os.environ.get("XDG_CONFIG_HOME", "")).is_absolute():
        return Path(base) / "mlx-cards" / "cards"
    mac = sys.platform == "darwin"
    return Path.home() / ("Library/Application Support" if mac else ".config") / "mlx-cards" / "cards"


@functools.cache
def contributed() -> tuple[Path, ...]:
    """The folders of cards that installed packages contribute, in the order of their entry points' names.

    One that cannot be found is reported in the log. Reading what is installed takes tens of milliseconds.
    """
    import logging
    from importlib.metadata import entry_points

    found = []
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value)):
        folder = _folder_of(entry)
        if folder is None:
            package = entry.dist.name if entry.dist else "A package"
            logging.getLogger(__name__).warning(
                f"{package} contributes cards as {entry.name} = {entry.value!r}, which is no folder. "
                f"An entry point in {GROUP} names a package that holds cards, such as acme_cards.models."
            )
        else:
            found.append(folder)
    return tuple(dict.fromkeys(found))


def _folder_of(entry: EntryPoint) -> Path | None:
    """The folder that an entry point names, found without importing anything.

    Only the top-level package is looked up: to look up one below would import those above it.
    """
    from importlib.util import find_spec

    if not re.fullmatch(_MODULE, entry.value):
        return None
    top, *below = entry.value.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):  # ValueError: what is loaded by that name has no spec
        return None
    places = () if spec is None else spec.submodule_search_locations or ()
    candidates = (Path(place, *below) for place in places)
    return next((folder.absolute() for folder in candidates if folder.is_dir()), None)
