"""Names among very many cards: the same answers as without an index, from a file that is kept up to date."""

from __future__ import annotations

import difflib
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.errors import CardError, UnknownModelError
from registry import hints as hints_module
from registry import name_index, shelf
from registry.catalog import CARDS, Catalog, _all_cards, all_cards
from registry.hints import hints
from registry.naming import Target, fold
from registry.suggest import closest
from tests.conftest import ROOT
from tests.private_cards import child, put
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
        put(folder, **{family: aliased(family)})
    return folder


def aliased(family: str, alias: str = "") -> str:
    """A card with an alias that does not have its id between separators, which would be enough to find it."""
    return good_card(family).replace(f"{family}-3B-Instruct", alias or f"Tiny{family}")


def cached(folder: Path) -> list[Path]:
    return sorted(folder.parent.glob("cache/mlx-cards/*"))


def find(folder: Path, name: str) -> Target:
    """As a new process would find it."""
    return Catalog(folder, trusted=True).find(name)


def make(folder: Path) -> Path:
    """The file of the index, after a process that needed it."""
    with pytest.raises(UnknownModelError):
        find(folder, "nothing like it")
    (file,) = cached(folder)
    return file


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
        ("tinyacme", Target("acme", "3b")),
        ("makers/acme-32B", Target("acme", "32b")),
        ("mlx-community/acme-3B-8bit", Target("acme", "3b", "8bit")),
        ("acme-3b@4bit", Target("acme", "3b", "4bit")),
        ("delta-32b", Target("delta", "32b")),
    ],
)
def test_every_kind_of_name_is_found_by_reading_one_card(
    name: str, target: Target, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(folder)
    seen = count_reads(monkeypatch)
    assert find(folder, name) == target
    assert seen == [target.family]


def meant(cards: Catalog, name: str) -> Target | str:
    try:
        return cards.find(name)
    except (UnknownModelError, CardError):
        return "unknown"


@pytest.mark.parametrize("trusted", [True, False])
def test_the_cards_of_the_package_have_the_same_names_with_an_index(
    trusted: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {
        name for card in CARDS.glob("*.yaml") for name in re.findall(r"[\w./-]+", card.read_text("utf-8"))
    }
    monkeypatch.setattr(Catalog, "_unknown", lambda *_: UnknownModelError("unknown", name=""))
    with_index = Catalog(CARDS, trusted=trusted)
    assert with_index._main._fresh_index is not None
    found = {name: meant(with_index, name) for name in names}
    monkeypatch.setattr(shelf, "LARGE", 1000)
    without = Catalog(CARDS, trusted=trusted)
    assert [name for name in names if meant(without, name) != found[name]] == []
    assert len({target for target in found.values() if target != "unknown"}) > 300


def test_the_index_knows_each_name_of_each_card_of_the_package() -> None:
    cards = Catalog(CARDS, trusted=True)._main
    for family in cards.families:
        names = {*(name for name, _ in cards.names(family)), *cards.types(family)}
        assert names <= (hints(family, cards.path(family).read_text("utf-8")) or set())


@pytest.mark.parametrize(
    "text",
    [
        "aliases: [one,\ntwo]\n",  # a list that goes on without indentation
        "aliases:\n- one\n- two\n",
        "{aliases: [one, two]}",
        '"aliases": ["one", "\\x74wo"]\n',
        "? aliases\n: [one, two]\n",
        "title: x\r\naliases: [one, two]\r\n",
        "title: x\u2028aliases: [one, two]\n",
        "\ufeffaliases: [one, two]\n",
        "--- \naliases : # why\n\n  # and\n\n  - one\n  - two\ntitle: x",
        "title: |\n  aliases: [three]\naliases: [one, two]",
    ],
)
def test_names_are_found_however_the_yaml_is_written(text: str) -> None:
    assert hints("acme", text) == {"acme", "one", "two"}


@pytest.mark.parametrize(
    "text",
    ["extends: acme\n", "aliases: [x", "aliases: &a [x]\nformer_names: *a\n", "[" * 60, "models: {[a]: b}"],
)
def test_what_may_have_other_names_than_its_text_has_to_be_looked_through(text: str) -> None:
    assert hints("beta", text) is None


def test_a_card_that_is_added_and_one_that_is_removed_are_seen(folder: Path) -> None:
    find(folder, "acme")
    put(folder, new=aliased("new"))
    assert find(folder, "Tinynew") == Target("new", "3b")
    (folder / "new.yaml").unlink()
    with pytest.raises(UnknownModelError):
        find(folder, "Tinynew")


def test_an_alias_that_is_added_or_moved_in_place_is_seen(folder: Path) -> None:
    find(folder, "acme")
    write_in_place(folder / "acme.yaml", aliased("acme", "moved"))
    assert find(folder, "moved") == Target("acme", "3b")
    write_in_place(folder / "acme.yaml", aliased("acme"))
    write_in_place(folder / "beta.yaml", aliased("beta", "moved"))
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


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"x", b"1 2\n", b"mlx-cards-names-3 0 9 9\n\xff\n"])
def test_a_damaged_index_is_made_anew(content: bytes, folder: Path) -> None:
    file = make(folder)
    file.write_bytes(content)
    assert find(folder, "Tinyacme") == Target("acme", "3b")
    assert file.read_bytes().count(b"\n") > 4 * len(FAMILIES)


def test_an_index_with_a_byte_that_flipped_hides_no_name(folder: Path) -> None:
    file = make(folder)
    file.write_bytes(file.read_bytes().replace(b"tinyacme\t", b"tinyacmE\t"))
    assert find(folder, "Tinyacme") == Target("acme", "3b")


def test_an_index_that_names_another_card_is_not_believed(folder: Path) -> None:
    file = make(folder)
    file.write_bytes(file.read_bytes().replace(b"acme-3b\tacme\n", b"acme-3b\tbeta\n"))
    assert find(folder, "acme-3b") == Target("acme", "3b")


def test_an_index_with_names_that_there_are_not_suggests_none_of_them(folder: Path) -> None:
    file = make(folder)
    with_more = name_index._made(["acme-33b\tacme", "acme-33x\tbeta"], name_index._states(folder)[0])
    file.write_bytes(with_more)
    with pytest.raises(UnknownModelError) as caught:
        find(folder, "acme-33b")
    assert caught.value.suggestions == ()


def test_a_new_process_reads_only_the_cards_that_changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder, more=aliased("more"))
    make(folder)
    write_in_place(folder / "gamma.yaml", aliased("gamma", "moved"))
    (folder / "beta.yaml").unlink()
    seen: list[str] = []

    def counted(family: str, text: str) -> set[str] | None:
        seen.append(family)
        return hints(family, text)

    monkeypatch.setattr(hints_module, "hints", counted)
    assert find(folder, "moved") == Target("gamma", "3b")
    assert seen == ["gamma"]
    assert meant(Catalog(folder, trusted=True), "tinybeta") == "unknown"


def test_a_lookup_reads_so_many_cards_at_once_and_finds_names_in_the_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(name_index.refreshed, "__kwdefaults__", {"at_once": 1})
    for family in FAMILIES:
        assert find(folder, f"Tiny{family}") == Target(family, "3b")
    cached(folder)[0].unlink()
    left = []
    for _ in FAMILIES:
        index = name_index.refreshed(folder, lambda family: hints(family, aliased(family)))
        assert index is not None
        left.append(len(index.unread))
        assert {*index.cards(), *index.unread} == set(FAMILIES)
    assert left == [3, 2, 1, 0]


def test_an_id_is_found_without_an_index_by_its_file_alone(folder: Path) -> None:
    assert find(folder, "acme-3b") == Target("acme", "3b")
    assert cached(folder) == []


def test_private_cards_are_found_by_an_index_too_with_those_that_extend_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder, epsilon=child("acme", "models: {3b: {aliases: [tiny]}}"))
    monkeypatch.setenv("MLX_CARDS_PATH", str(folder))
    _all_cards.cache_clear()
    for _ in range(2):
        assert all_cards().find("Tinydelta") == Target("delta", "3b")
        assert all_cards().find("tiny") == Target("epsilon", "3b")
        assert all_cards().find("qwen2.5-vl-7b") == Target("qwen2.5-vl", "7b")
        with pytest.raises(UnknownModelError) as caught:
            all_cards().find("Tinydeltaa")
        assert caught.value.suggestions[0] == "Tinydelta"
        _all_cards.cache_clear()
    assert len(cached(folder)) == 2  # this folder's, and the package's


# The place of the index.


def test_without_a_place_for_a_cache_names_are_found_all_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert find(folder, "Tinyacme") == Target("acme", "3b")
    with pytest.raises(UnknownModelError, match="Did you mean Tinyacme"):
        find(folder, "Tinyaacme")


def test_without_a_home_names_are_found_all_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: type[Path]) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", classmethod(none))
    assert find(folder, "Tinyacme") == Target("acme", "3b")


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_an_index_in_a_folder_that_others_can_write_to_is_neither_read_nor_written(
    mode: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = make(folder)
    before = file.read_bytes()
    file.parent.chmod(mode)
    assert name_index.families(folder, "acme-3b") == []
    write_in_place(folder / "acme.yaml", aliased("acme", "moved"))
    assert find(folder, "moved") == Target("acme", "3b")
    assert file.read_bytes() == before


def test_an_index_that_others_can_write_to_is_replaced(folder: Path) -> None:
    file = make(folder)
    file.chmod(0o666)
    assert name_index.families(folder, "acme-3b") == []
    assert find(folder, "Tinyacme") == Target("acme", "3b")
    assert name_index.families(folder, "acme-3b") == ["acme"]
    assert file.stat().st_mode & 0o777 == 0o600


def test_an_index_of_another_user_is_not_read_and_nothing_is_written_in_another_users_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = make(folder)
    monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)  # as with sudo, which keeps HOME
    assert name_index.families(folder, "acme-3b") == []
    file.unlink()
    assert find(folder, "Tinyacme") == Target("acme", "3b")
    file.parent.rmdir()
    assert find(folder, "Tinyacme") == Target("acme", "3b")
    assert cached(folder) == []


def test_a_cache_folder_is_not_relative_to_where_one_happens_to_be(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    assert name_index._home().is_relative_to(tmp_path / "home")


def test_processes_that_write_it_at_the_same_time_leave_a_whole_one(folder: Path) -> None:
    for number in range(60):
        put(folder, **{f"more{number}": aliased(f"more{number}")})
    code = (
        "import sys; from pathlib import Path; from registry import shelf; shelf.LARGE = 2\n"
        "from registry.catalog import Catalog\n"
        "for n in range(60):\n"
        "    Catalog(Path(sys.argv[1]), trusted=True).find(f'Tinymore{n}')\n"
        "    Path(sys.argv[1], f'own{sys.argv[2]}-{n}.yaml').write_text('title: x')"
    )
    command = [sys.executable, "-c", code, str(folder)]
    running = [
        subprocess.Popen([*command, str(i)], env=os.environ | {"PYTHONPATH": str(ROOT)})  # noqa: S603
        for i in range(4)
    ]
    assert [process.wait() for process in running] == [0] * 4
    (file,) = cached(folder)
    assert name_index._read(file) is not None


def test_a_small_folder_writes_no_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "LARGE", len(FAMILIES) + 1)
    assert find(folder, "Tinyacme") == Target("acme", "3b")
    assert cached(folder) == []


@pytest.mark.parametrize("block", [1, 2, 5, 1000])
def test_a_name_is_found_in_its_block_as_it_is_found_line_by_line(
    block: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(name_index, "BLOCK", block)
    put(folder, **{f"same{i}": good_card("same").replace("same-", "Same_") for i in range(5)})
    index = name_index._read(make(folder))
    assert index is not None
    lines = [line.split("\t") for line in index.lines()]
    keys = {key for key, _ in lines}
    assert keys > {"makers/same-3b", "acme-3b", "same0-3b"}
    for key in {*keys, "", "a", "m", "zz", "acme-3", "same0-3b "}:
        assert index.families(key) == sorted(family for folded, family in lines if folded == key)
        assert name_index.families(folder, key) == index.families(key)


# Suggestions.


@given(
    st.text("ab-5", max_size=8),
    st.sets(st.text("ab-5", min_size=1, max_size=10), max_size=30),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.3, 0.6, 0.9, 1.0]),
)
def test_the_closest_names_are_those_that_difflib_finds(
    word: str, names: set[str], count: int, cutoff: float
) -> None:
    assert closest(word, names, count, cutoff) == difflib.get_close_matches(word, names, count, cutoff)


def test_the_closest_of_the_packages_names_are_those_that_difflib_finds() -> None:
    cards = Catalog(CARDS, trusted=True)._main
    names = sorted({fold(name) for family in cards.families for name, _ in cards.names(family)})
    for name in names[::37]:
        for word in (name[1:], name[:-2], f"{name}x", name.replace("-", ""), name[::-1]):
            for cutoff in (0.6, 0.9):
                assert closest(word, names, 3, cutoff) == difflib.get_close_matches(word, names, 3, cutoff)
