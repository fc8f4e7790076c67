"""The life cycle: old names and deprecated models are found with a warning, retired ones refused."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest

import registry
from loader.errors import CardError, UnsupportedFeatureError
from registry.catalog import Catalog
from registry.naming import Target
from registry.validate.runner import Choice, validate
from tests.command import mlx_cards
from tests.private_cards import changed, put
from tests.test_reader import good_card

OLD = "since: 2026-11-20, message: The 32B answers better"
ALIASES = "    aliases: [good-3B-Instruct]\n"


def of_model(*lines: str) -> str:
    """The good card with these lines in its 3B."""
    return changed(ALIASES, ALIASES + "".join(f"    {line}\n" for line in lines))


def of_family(*lines: str) -> str:
    return changed("title: Good\n", "title: Good\n" + "".join(f"{line}\n" for line in lines))


def catalog(folder: Path, text: str) -> Catalog:
    return Catalog(put(folder, good=text))


def test_a_deprecated_model_is_found_and_the_log_names_what_to_use(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = of_model("status: deprecated", f"deprecated: {{{OLD}, replacement: good-32b}}")
    cards = catalog(tmp_path, text)
    for name in ("good-3b", "GOOD-3b@4bit", "mlx-community/good-3B-8bit"):
        assert cards.find(name).model == "3b"
    assert caplog.messages == [
        "good-3b is deprecated since 2026-11-20: The 32B answers better. Use good-32b."
    ]
    assert "good-3b" in cards.names()


def test_a_deprecated_family_deprecates_its_models_but_those_that_say_otherwise(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = of_family("status: deprecated", f"deprecated: {{{OLD}}}")
    cards = catalog(tmp_path, text.replace(ALIASES, f"{ALIASES}    status: stable\n"))
    cards.find("good-3b")
    assert caplog.messages == []
    cards.find("good-32b")
    cards.find_model_type("good")
    assert [message.partition(" ")[0] for message in caplog.messages] == ["good-32b", "good"]
    assert caplog.messages[0].endswith("Nothing replaces it; `mlx-cards list` shows what there is.")


def test_a_retired_model_is_refused_by_all_its_names_naming_what_replaces_it(tmp_path: Path) -> None:
    text = of_model("status: retired", f"deprecated: {{{OLD}, replacement: good-32b}}")
    cards = catalog(tmp_path, text)
    for name in ("good-3b", "good-3B-Instruct", "makers/good-3B", "mlx-community/good-3B-4bit"):
        with pytest.raises(UnsupportedFeatureError) as error:
            cards.find(name)
        assert str(error.value) == (
            "good-3b is retired since 2026-11-20: The 32B answers better. Use good-32b."
        )
    assert cards.names() == ("good-32b",)


def test_a_retired_family_is_listed_no_more_and_its_names_stay_taken(tmp_path: Path) -> None:
    text = of_family("status: retired", f"deprecated: {{{OLD}, replacement: beta}}")
    put(tmp_path, beta=good_card("beta"))
    cards = catalog(tmp_path, text)
    assert cards.families() == ("beta",)
    assert cards.names() == ("beta-3b", "beta-32b")
    for name in ("good", "good-3b"):
        with pytest.raises(UnsupportedFeatureError, match=r"is retired since .* Use beta\."):
            cards.find(name)
    with pytest.raises(UnsupportedFeatureError):
        cards.find_model_type("good")
    with pytest.raises(CardError, match="the name 'good' already means"):
        Catalog(put(tmp_path, beta=changed("[beta-3B-Instruct]", "[Good]", "beta")))


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        (of_model("former_names: [good-mini]"), "Good_Mini", "good-3b"),
        (of_model("former_names: [makers/good-mini]", "name: better"), "makers/good-mini", "better"),
        (of_family("former_names: [gooood]"), "gooood", "good"),
    ],
)
def test_an_old_name_is_found_with_a_warning_that_says_the_new_one(
    text: str, old: str, new: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cards = catalog(tmp_path, text)
    assert cards.card(cards.find(old)).name == new
    assert caplog.messages == [f"{old} is an old name and may go away. It is called {new} now: use that."]
    cards.find(new)
    assert len(caplog.messages) == 1


def test_an_old_name_is_reserved(tmp_path: Path) -> None:
    put(tmp_path, beta=changed("[beta-3B-Instruct]", "[good-mini]", "beta"))
    with pytest.raises(CardError, match="the name 'good-mini' already means"):
        catalog(tmp_path, of_model("former_names: [good-mini]"))
    found = validate([tmp_path / "good.yaml"], Choice(only=frozenset({"MC301"}))).findings
    assert [(finding.code, finding.excerpt.strip()) for finding in found] == [
        ("MC301", "former_names: [good-mini]")
    ]


@pytest.mark.parametrize(
    "lines",
    [
        ("status: deprecated",),
        ("status: retired",),
        (f"deprecated: {{{OLD}}}",),
        (f"deprecated: {{{OLD}}}", "status: experimental"),
    ],
)
@pytest.mark.parametrize("card", [of_model, of_family])
def test_a_status_and_what_says_why_go_together(tmp_path: Path, lines: tuple[str, ...], card: object) -> None:
    assert callable(card)
    cards = catalog(tmp_path, card(*lines))
    with pytest.raises(CardError, match="status: deprecated and retired go with `deprecated`"):
        cards.card(Target("good"))


@pytest.mark.parametrize(
    "replacement", ["good-32b", "GOOD_32B", "good-3b@4bit", "qwen2.5-vl-7b", "Qwen/Qwen2.5-VL-7B-Instruct"]
)
def test_a_replacement_is_any_name_that_there_is(tmp_path: Path, replacement: str) -> None:
    text = of_family("status: deprecated", f"deprecated: {{{OLD}, replacement: {replacement}}}")
    catalog(tmp_path, text)
    report = validate([tmp_path / "good.yaml"], Choice(only=frozenset({"MC323", "MC2"})))
    assert report.findings == []


def test_show_says_the_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog(tmp_path, of_model("status: deprecated", f"deprecated: {{{OLD}, replacement: good-32b}}"))
    monkeypatch.setenv("MLX_CARDS_PATH", str(tmp_path))
    said = mlx_cards("show", "good-3b", capsys=capsys, monkeypatch=monkeypatch)
    status = "deprecated since 2026-11-20: The 32B answers better (use good-32b)"
    assert f"status       {status}" in said.out
    assert "  status  " not in mlx_cards("show", "good-32b", capsys=capsys, monkeypatch=monkeypatch).out


def test_a_list_of_models_has_their_status_and_only_who_picks_one_is_warned(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(tmp_path, good=of_model("status: deprecated", f"deprecated: {{{OLD}, replacement: good-32b}}"))
    monkeypatch.setenv("MLX_CARDS_PATH", str(tmp_path))
    run = functools.partial(mlx_cards, capsys=capsys, monkeypatch=monkeypatch)
    heading, *rows = (line.split() for line in run("list", "good").out.splitlines()[:3])
    assert heading == ["model", "parameters", "context", "status", "quantizations"]
    assert [("deprecated" in row, row[0]) for row in rows] == [(True, "good-3b"), (False, "good-32b")]
    listed = json.loads(run("list", "good", "--json").out)
    assert [row["status"] for row in listed] == ["deprecated", "stable"]
    assert "status" not in run("list", "qwen2.5-vl").out
    run("show", "good")
    run("fit", "--device", "m1-8gb")
    assert caplog.messages == []
    run("show", "good-3b")
    assert caplog.messages == [
        "good-3b is deprecated since 2026-11-20: The 32B answers better. Use good-32b."
    ]


@pytest.mark.parametrize("family", registry.families())
def test_no_card_of_the_package_names_a_replacement_that_there_is_not(family: str) -> None:
    card = registry.card(family)
    for deprecated in (card.deprecated, *(model.deprecated for model in card.models.values())):
        if deprecated is not None and deprecated.replacement is not None:
            registry.card(deprecated.replacement)
