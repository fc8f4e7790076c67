"""Names among very many cards: the same answers as without an index, from a file that is kept up to date."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

from loader.errors import CardError, UnknownModelError
from registry import name_index, shelf
from registry.catalog import CARDS, Catalog
from registry.naming import Target
from tests.test_reader import good_card

FAMILIES = ("acme", "beta", "gamma", "delta")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of cards that counts as large, and a cache of its own."""
    monkeypatch.setattr(shelf, "LARGE", len(FAMILIES))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "cards"
    folder.mkdir()
    for family in FAMILIES:
        (folder / f"{family}.yaml").write_text(good_card(family), encoding="utf-8")
    return folder


def cached(folder: Path) -> list[Path]:
    return sorted(folder.parent.glob("cache/mlx-cards/*"))


def find(folder: Path, name: str) -> Target:
    """As a new process would find it."""
    return Catalog(folder, trusted=True).find(name)


def write_in_place(card: Path, text: str) -> None:
    """As an editor that opens, truncates and writes: the folder's own time stays."""
    before = card.parent.stat().st_mtime_ns
    with card.open("r+", encoding="utf-8") as file:
        file.truncate()
        file.write(text)
    os.utime(card, ns=(time.time_ns(), time.time_ns()))
    assert card.parent.stat().st_mtime_ns == before


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The cards that are read from now on."""
    import registry.reader

    read, seen = registry.reader.read_trusted, list[str]()

    def counted(path: Path) -> dict[str, Any]:
        seen.append(path.stem)
        return read(path)

    monkeypatch.setattr(registry.reader, "read_trusted", counted)
    return seen


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("acme", Target("acme")),
        ("ACME", Target("acme")),
        ("acme-3b", Target("acme", "3b")),
        ("acme-3b-instruct", Target("acme", "3b")),
        ("makers/acme-32B", Target("acme", "32b")),
        ("mlx-community/acme-3B-8bit", Target("acme", "3b", "8bit")),
        ("acme-3b@4bit", Target("acme", "3b", "4bit")),
        ("delta-32b", Target("delta", "32b")),
    ],
)
def test_every_kind_of_name_is_found_by_reading_one_card(
    name: str, target: Target, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find(folder, "beta")  # makes the index
    seen = count_reads(monkeypatch)
    assert find(folder, name) == target
    assert seen == [target.family]


def test_the_cards_of_the_package_have_the_same_names_with_an_index(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without, with_index = (Catalog(CARDS, trusted=True) for _ in range(2))
    names = {
        name for card in CARDS.glob("*.yaml") for name in re.findall(r"[\w./-]+", card.read_text("utf-8"))
    }
    assert with_index._main._index is not None
    monkeypatch.setattr(shelf, "LARGE", 1000)
    assert without._main._index is None

    def meant(cards: Catalog, name: str) -> Target | str:
        try:
            return cards.find(name)
        except (UnknownModelError, CardError):
            return "unknown"

    monkeypatch.setattr(Catalog, "_unknown", lambda *_: UnknownModelError("unknown", name=""))
    assert [name for name in names if meant(without, name) != meant(with_index, name)] == []


def test_a_card_that_is_added_and_one_that_is_removed_are_seen(folder: Path) -> None:
    find(folder, "acme")
    (folder / "new.yaml").write_text(good_card("new"), encoding="utf-8")
    assert find(folder, "new-3B-Instruct") == Target("new", "3b")
    (folder / "new.yaml").unlink()
    with pytest.raises(UnknownModelError):
        find(folder, "new-3B-Instruct")


def test_an_alias_that_is_added_or_moved_in_place_is_seen(folder: Path) -> None:
    find(folder, "acme")
    write_in_place(folder / "acme.yaml", good_card("acme").replace("acme-3B-Instruct", "moved"))
    assert find(folder, "moved") == Target("acme", "3b")
    write_in_place(folder / "acme.yaml", good_card("acme"))
    write_in_place(folder / "beta.yaml", good_card("beta").replace("beta-3B-Instruct", "moved"))
    assert find(folder, "moved") == Target("beta", "3b")


def test_an_unknown_name_gets_the_suggestions_that_it_gets_without_an_index(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = []
    for large in (len(FAMILIES), 1000):
        monkeypatch.setattr(shelf, "LARGE", large)
        with pytest.raises(UnknownModelError) as caught:
            find(folder, "acme-33b")
        said.append((str(caught.value), caught.value.suggestions))
    assert said[0] == said[1]
    assert "acme-32b" in said[0][1]


def test_a_malformed_card_is_reported_when_it_is_asked_for_and_hides_no_other(folder: Path) -> None:
    (folder / "bad.yaml").write_text("title: [", encoding="utf-8")
    assert find(folder, "acme-3b") == Target("acme", "3b")
    with pytest.raises(CardError, match=r"bad\.yaml:"):
        find(folder, "bad")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"x", b"1 2\n", b"1 2\nacme\n\xff\n"])
def test_a_damaged_index_is_made_anew(content: bytes, folder: Path) -> None:
    find(folder, "acme")
    (file,) = cached(folder)
    file.write_bytes(content)
    assert find(folder, "acme-3B-Instruct") == Target("acme", "3b")
    assert file.read_bytes().count(b"\n") > 4 * len(FAMILIES)


def test_an_index_that_names_another_card_is_not_believed(folder: Path) -> None:
    find(folder, "acme")
    (file,) = cached(folder)
    file.write_bytes(file.read_bytes().replace(b"acme-3b\tacme\t", b"acme-3b\tbeta\t"))
    with pytest.raises(UnknownModelError):
        find(folder, "acme-3b")


def test_without_a_place_for_a_cache_names_are_found_all_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert find(folder, "acme-3B-Instruct") == Target("acme", "3b")


def test_a_small_folder_writes_no_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "LARGE", len(FAMILIES) + 1)
    assert find(folder, "acme-3B-Instruct") == Target("acme", "3b")
    assert cached(folder) == []


@pytest.mark.parametrize("key", ["a", "acme", "acme-3b", "m", "zz", "makers/gamma-3b", "delta-32b"])
def test_a_line_is_found_by_halves_where_it_is_found_one_by_one(key: str, folder: Path) -> None:
    find(folder, "acme")
    (file,) = cached(folder)
    index = name_index._read(file)
    assert index is not None
    lines = [line.split("\t") for line in file.read_text(encoding="utf-8").splitlines()[1:]]
    assert index.families(key) == sorted({family for folded, family, _ in lines if folded == key})
