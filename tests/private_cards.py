"""Folders of cards besides the package's, for the tests of overlays and of the life cycle."""

from __future__ import annotations

from pathlib import Path

from tests.test_reader import good_card


def put(folder: Path, **cards: str) -> Path:
    """Write cards into a folder, which is made; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for stem, text in cards.items():
        (folder / f"{stem}.yaml").write_text(text, encoding="utf-8")
    return folder


def child(base: str, *lines: str) -> str:
    """A card that extends another one, with its own lines."""
    said = "\n".join(lines)
    return f"""\
schema_version: 1
extends: {base}
title: Child
{said}
sources:
  - {{url: "https://example.org/child", facts: [title], checked: 2026-11-21}}
"""


def changed(old: str, new: str, name: str = "good") -> str:
    """The good card with one part of its text replaced."""
    text = good_card(name)
    assert old in text
    return text.replace(old, new)


def contributing(site: Path, **cards: str) -> Path:
    """In a folder of installed packages, one that contributes cards, and whose code must not run."""
    put(site / "acme_cards" / "models", **cards)
    for package in (site / "acme_cards", site / "acme_cards" / "models"):
        (package / "__init__.py").write_text("raise SystemExit('code of a package ran')", encoding="utf-8")
    info = site / "acme_cards-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: acme-cards\nVersion: 1.0\n", encoding="utf-8"
    )
    points(site, "acme_cards.models")
    return site


def points(site: Path, *values: str) -> None:
    """The entry points of that package."""
    lines = [f"point{i} = {value}" for i, value in enumerate(values)]
    text = "\n".join(["[mlx_cards.cards]", *lines, ""])
    (site / "acme_cards-1.0.dist-info" / "entry_points.txt").write_text(text, encoding="utf-8")
