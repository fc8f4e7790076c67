"""The bad cards: for every code of a finding, a card with that fault and no other."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.conftest import ROOT

BAD = ROOT / "tests" / "data" / "bad_cards"
CODES = sorted(path.stem for path in BAD.glob("MC*.y*ml"))
WITHOUT_GOLDENS = "MC401"


def expected(code: str) -> Path:
    """The file with what `mlx-cards validate` writes about that card."""
    return BAD / f"{code}.txt"


def place(code: str, folder: Path) -> Path:
    """Put a bad card into `folder`, as acme.yaml, with its goldens; its path."""
    source = next(BAD.glob(f"{code}.y*ml"))
    card = folder / f"acme{source.suffix}"
    shutil.copy(source, card)
    if code != WITHOUT_GOLDENS:
        own = BAD / "golden" / f"{code}.yaml"
        (folder / "golden").mkdir(exist_ok=True)
        shutil.copy(own if own.is_file() else BAD / "golden" / "acme.yaml", folder / "golden" / "acme.yaml")
    return card


def good(folder: Path) -> Path:
    """A card without any fault, which the bad ones are made of."""
    card = place("MC403", folder)
    shutil.copy(BAD / "golden" / "acme.yaml", folder / "golden" / "acme.yaml")
    return card
