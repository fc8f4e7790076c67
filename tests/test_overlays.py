"""Cards of the user's and of other packages: found by the same names, reported where they hide another."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

import registry
from loader.errors import CardError, UnknownModelError
from registry import overlays
from registry.catalog import CARDS, Catalog, all_cards
from registry.naming import Target
from tests.conftest import ROOT
from tests.private_cards import changed, contributing, points, put
from tests.test_reader import good_card

QWEN = "qwen2.5-vl"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of private cards that MLX_CARDS_PATH names, empty for now."""
    path = put(tmp_path / "private")
    monkeypatch.setenv("MLX_CARDS_PATH", str(path))
    all_cards_anew()
    return path


def all_cards_anew() -> None:
    """Forget what was read: each test has folders of its own, but may share a path with another."""
    from registry import catalog

    catalog._all_cards.cache_clear()
    overlays.contributed.cache_clear()


def python(code: str, *path: Path, **environment: str) -> str:
    """What `code` prints in a new interpreter, with folders on its path."""
    places = os.pathsep.join(map(str, (ROOT, *path)))
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": places} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


# Where cards are.


def test_a_card_in_a_folder_of_mlx_cards_path_is_found_by_all_its_names(folder: Path) -> None:
    put(folder, acme=good_card("acme"))
    for name in ("acme-3b", "ACME_3B_instruct", "makers/acme-3B", "mlx-community/acme-3B-4bit"):
        assert registry.card(name).name == "acme-3b"
    assert registry.resolve("acme-3b@4bit").repository == "mlx-community/acme-3B-4bit"
    assert "acme" in registry.families()
    assert {"acme-3b", "qwen2.5-vl-7b"} <= set(registry.names())


def test_folders_are_separated_as_in_path_and_the_first_one_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = put(tmp_path / "one", acme=changed("title: Acme", "title: One", "acme"))
    two = put(tmp_path / "two", acme=good_card("acme"), beta=good_card("beta"))
    monkeypatch.setenv("MLX_CARDS_PATH", f"{one}{os.pathsep}{os.pathsep}{two}")
    assert (registry.card("acme").title, registry.card("beta").title) == ("One", "Beta")


def test_the_users_own_folder_comes_after_mlx_cards_path(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    mine = put(overlays.user_folder(), acme=good_card("acme"), beta=good_card("beta"))
    put(folder, acme=changed("title: Acme", "title: Named", "acme"))
    assert mine == tmp_path / "config" / "mlx-cards" / "cards"
    assert (registry.card("acme").title, registry.card("beta").title) == ("Named", "Beta")


def test_a_folder_of_mlx_cards_path_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLX_CARDS_PATH", "/nowhere/cards")
    with pytest.raises(CardError, match=r"/nowhere/cards: is no folder of cards\. Make it, or mend"):
        registry.card("qwen2.5-vl-7b")


def test_without_a_folder_of_ones_own_nothing_more_is_read_or_imported() -> None:
    code = """
import builtins, io, os, sys
seen = []
sys.addaudithook(lambda event, args: seen.append(str(args[0])) if event in ("open", "os.listdir") else None)
import registry
registry.card("qwen2.5-vl-7b"); registry.resolve("qwen2.5-vl-7b@4bit")
listed = [path for path in seen if os.path.isdir(path) and "models" in path]
cards = {os.path.dirname(path) for path in seen if path.endswith(".yaml")}
print(sorted(cards), "importlib.metadata" in sys.modules, "pydantic" in sys.modules, listed)
"""
    assert python(code).strip() == f"{[str(CARDS)]} False False {[str(CARDS)]}"


# What is hidden is reported.


def test_a_card_that_takes_the_place_of_the_packages_is_reported_once(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(folder, **{QWEN: good_card("other")})
    for _ in range(2):
        assert registry.card("qwen2.5-vl-3b").title == "Other"
    (said,) = caplog.messages
    assert said == (
        f"qwen2.5-vl-3b means 3b of {folder / 'qwen2.5-vl.yaml'}, "
        f"and hides {QWEN} of {CARDS / 'qwen2.5-vl.yaml'}."
    )
    with pytest.raises(UnknownModelError):  # a model of the hidden card is not mixed in
        registry.card("qwen2.5-vl-72b")
    assert registry.families().count(QWEN) == 1


def test_an_alias_that_hides_a_name_of_the_package_is_reported(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(folder, acme=changed("[acme-3B-Instruct]", "[Qwen2.5-VL-7B-Instruct]", "acme"))
    assert registry.card("Qwen2.5-VL-7B-Instruct").name == "acme-3b"
    (said,) = caplog.messages
    assert said == (
        f"Qwen2.5-VL-7B-Instruct means 3b of {folder / 'acme.yaml'}, "
        f"and hides 7b of {CARDS / 'qwen2.5-vl.yaml'}."
    )
    assert registry.card("qwen2.5-vl-7b").id == QWEN


def test_a_private_card_that_hides_nothing_is_not_reported(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(folder, acme=good_card("acme"))
    registry.card("acme-3b")
    registry.card("qwen2.5-vl-7b")
    registry.names()
    assert caplog.messages == []


def test_a_name_of_two_cards_in_one_folder_is_an_error(folder: Path) -> None:
    put(folder, acme=good_card("acme"), beta=changed("[beta-3B-Instruct]", "[acme-3b]", "beta"))
    with pytest.raises(CardError, match=r"the name 'acme-3b' already means 3b in acme\.yaml"):
        registry.card("acme-3b")


def test_a_model_type_of_a_private_card_and_of_the_packages_means_neither(folder: Path) -> None:
    put(folder, acme=changed("model_types: [acme]", "model_types: [qwen2_5_vl]", "acme"))
    assert all_cards().find_model_type("qwen2_5_vl") is None
    put(folder, acme=changed("model_types: [acme]", "model_types: [qwen2_5_vl], named_only: true", "acme"))
    all_cards_anew()
    assert all_cards().find_model_type("qwen2_5_vl") == Target(QWEN)


# What strangers write is not trusted.


def test_a_private_card_is_validated_with_line_and_column(folder: Path) -> None:
    put(folder, acme=changed("patch: 14", 'patch: "14"', "acme"))
    with pytest.raises(
        CardError, match=r"acme\.yaml:15:\d+: image.resize.patch: this should be a whole number"
    ):
        registry.card("acme-3b")


@pytest.mark.parametrize(
    "line", ["title: !!python/object/apply:os.system [id]", "title: &a x", "title: x\ntitle: y", "title: [x"]
)
def test_a_malformed_private_card_keeps_no_other_from_being_found(
    folder: Path, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    put(folder, acme=changed("title: Acme", line, "acme"), beta=good_card("beta"))
    assert registry.card("beta-3b").title == "Beta"
    assert "acme-3b" not in registry.names()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert caplog.messages[0].startswith(f"A card is left out. {folder / 'acme.yaml'}:")
    with pytest.raises(CardError, match=r"acme\.yaml:[23]:"):
        registry.card("acme")


@pytest.mark.parametrize("file", ["../models/x.jinja", "/tmp/x.jinja", "molmo2.txt", "..", ".jinja"])  # noqa: S108
def test_a_card_names_no_template_outside_the_packages_folder(folder: Path, file: str) -> None:
    text = good_card("acme")
    prompt = text[text.index("prompt:") : text.index("image:")]
    template = f'template: {{file: "{file}", sha256: "{"0" * 64}", roles: [user]}}\n'
    put(folder, acme=text.replace(prompt, template))
    with pytest.raises(CardError, match=r"template\.file: .* has the wrong form"):
        registry.card("acme")


# What packages contribute.


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of installed packages with one that contributes cards, and whose code must not run."""
    return contributing(tmp_path / "site", acme=good_card("acme"), **{QWEN: good_card("other")})


FIND = "import registry, sys; print(registry.card('acme-3b').title, registry.card('{}').id)\n"
LOADED = "print([name for name in sys.modules if name.startswith('acme_cards')])"


def test_cards_of_an_installed_package_are_found_without_running_its_code(site: Path) -> None:
    assert python(FIND.format("qwen2.5-vl-7b") + LOADED, site).split("\n")[:2] == ["Acme qwen2.5-vl", "[]"]


def test_a_contributed_card_takes_no_name_from_the_package_and_that_is_reported(site: Path) -> None:
    said = python(
        "import registry; print(registry.card('qwen2.5-vl-3b').title, len(registry.names()) > 9)", site
    )
    unused = site / "acme_cards" / "models" / "qwen2.5-vl.yaml"
    assert said == f"Qwen2.5-VL True\n{unused} is not used: another card is called qwen2.5-vl.\n"


@pytest.mark.parametrize(
    "value", ["acme_cards.nowhere", "nowhere", "acme_cards:models", "acme_cards..models", "../acme_cards"]
)
def test_an_entry_point_that_names_no_folder_is_reported_and_runs_nothing(site: Path, value: str) -> None:
    points(site, value, "acme_cards.models")
    said = python(FIND.format(QWEN), site)
    assert said.startswith("Acme qwen2.5-vl\n")
    assert f"acme-cards contributes cards as point0 = {value!r}, which is no folder." in said


def test_a_private_card_goes_before_a_contributed_one(site: Path, tmp_path: Path) -> None:
    mine = put(tmp_path / "mine", acme=changed("title: Acme", "title: Mine", "acme"))
    said = python("import registry; print(registry.card('acme-3b').title)", site, MLX_CARDS_PATH=str(mine))
    assert said == "Mine\n"


def test_a_catalog_of_one_folder_knows_nothing_of_overlays(folder: Path, tmp_path: Path) -> None:
    put(folder, acme=good_card("acme"))
    assert Catalog(put(tmp_path / "one", beta=good_card("beta"))).families() == ("beta",)
