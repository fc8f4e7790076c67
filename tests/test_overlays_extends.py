"""`extends`: a card says only what differs from another one, and every value can be traced to its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import registry
from loader.errors import CardError
from registry.cards import Card
from registry.catalog import Catalog, all_cards
from registry.naming import Target
from registry.validate.runner import Choice, validate
from tests.command import mlx_cards
from tests.private_cards import changed, child, put
from tests.test_reader import good_card

WITHOUT = ("models:", "  32b: null")


def extended(folder: Path, *lines: str, base: str = "good") -> Card:
    """The card that extends the good one with these lines."""
    catalog = Catalog(put(folder, good=good_card(), child=child(base, *lines)))
    return catalog.card(catalog.find("child"))


def refused(folder: Path, **cards: str) -> str:
    """The error for a card, `child`, that cannot be read."""
    with pytest.raises(CardError) as error:
        Catalog(put(folder, **cards))
    return str(error.value)


def test_a_card_inherits_what_it_does_not_say(tmp_path: Path) -> None:
    card = extended(tmp_path)
    good = Catalog(tmp_path).card(Target("good"))
    assert (card.prompt, card.image, card.memory, card.license) == (
        good.prompt,
        good.image,
        good.memory,
        good.license,
    )
    assert (card.id, card.title, card.extends) == ("child", "Child", "good")


def test_maps_merge_and_lists_and_scalars_are_replaced(tmp_path: Path) -> None:
    card = extended(
        tmp_path,
        "image: {budget: {tokens: 640}, resample: bilinear}",
        "memory: {vision: {full_layers: [2]}}",
        "models: {3b: {context: 8192}}",
    )
    assert card.image is not None
    assert card.memory is not None
    assert card.memory.vision is not None
    assert (card.image.token, card.image.resample) == ("<image>", "bilinear")
    assert card.image.budget is not None
    assert card.image.budget.tokens == 640
    assert (card.memory.vision.hidden, card.memory.vision.full_layers) == (64, (2,))
    assert (card.models["3b"].context, card.models["3b"].parameters) == (8192, 3_000_000_000)


def test_another_kind_of_resizing_replaces_all_of_it(tmp_path: Path) -> None:
    card = extended(
        tmp_path,
        "image: {resize: {kind: fixed, width: 336, height: 336, fit: stretch, patch: 14, tokens: 576}}",
    )
    assert card.image is not None
    assert card.image.resize.kind == "fixed"


def test_null_takes_a_field_or_a_model_away(tmp_path: Path) -> None:
    card = extended(tmp_path, "memory: null", *WITHOUT)
    assert card.memory is None
    assert list(card.models) == ["3b"]


def test_null_in_an_override_takes_away_from_that_model_alone(tmp_path: Path) -> None:
    lines = ("image: {budget: {tokens: 640}}", "models: {3b: {override: {image: {budget: null}}}}")
    extended(tmp_path, *lines)
    catalog = Catalog(tmp_path)
    budgets = [catalog.card(catalog.find(f"child-{key}")).image for key in ("3b", "32b")]
    assert [image.budget is None for image in budgets if image] == [True, False]


def test_sources_are_never_inherited(tmp_path: Path) -> None:
    assert [source.url for source in extended(tmp_path).sources] == ["https://example.org/child"]
    text = child("good").partition("sources:")[0]
    catalog = Catalog(put(tmp_path, child=text))
    with pytest.raises(CardError, match="sources: this key is missing"):
        catalog.card(Target("child"))


def test_goldens_are_never_inherited(tmp_path: Path) -> None:
    put(tmp_path, good=good_card(), child=child("good"))
    put(tmp_path / "golden", good="{}")
    report = validate([tmp_path / "child.yaml"], Choice(only=frozenset({"MC4"})))
    assert [finding.code for finding in report.findings] == ["MC401"]


def test_a_name_stays_with_the_card_that_writes_it(tmp_path: Path) -> None:
    extended(tmp_path, "models: {3b: {aliases: [child-small], source: makers/child-3B}}")
    catalog = Catalog(tmp_path)
    for name in ("child", "child-3b", "child-32b", "child-small", "makers/child-3B"):
        assert catalog.find(name).family == "child"
    for name in ("good", "good-3b", "good-3B-Instruct", "makers/good-3B", "makers/good-32B"):
        assert catalog.find(name).family == "good"
    assert catalog.find_model_type("good") == Target("good")


def test_a_model_of_another_source_inherits_no_conversions_of_the_first(tmp_path: Path) -> None:
    same, other = (
        extended(tmp_path, f"models: {{3b: {{{line}}}}}")
        for line in ("context: 1", "source: makers/child-3B")
    )
    assert list(same.models["3b"].quantizations) == ["4bit", "8bit"]
    assert not other.models["3b"].quantizations


def test_a_card_may_extend_the_one_whose_place_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, **{"qwen2.5-vl": child("qwen2.5-vl", "image: {budget: {tokens: 99}}")})
    monkeypatch.setenv("MLX_CARDS_PATH", str(tmp_path))
    card = registry.card("Qwen/Qwen2.5-VL-72B-Instruct")  # a name that is in the other card's text alone
    assert (card.name, card.title) == ("qwen2.5-vl-72b", "Child")
    assert card.image is not None
    assert card.image.budget is not None
    assert card.image.budget.tokens == 99
    assert all_cards().find_model_type("qwen2_5_vl") == Target("qwen2.5-vl")


def test_a_card_that_is_extended_is_looked_for_in_its_folder_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = put(tmp_path / "one", gemma3=changed("title: Good", "title: Near"), child=child("gemma3"))
    monkeypatch.setenv("MLX_CARDS_PATH", str(one))
    assert registry.card("child").image == registry.card("gemma3").image
    (one / "gemma3.yaml").unlink()
    assert Catalog(one).card(Target("child")).image == Catalog(trusted=True).card(Target("gemma3")).image


@pytest.mark.parametrize(
    "base", ["nothing", "child", "../models/gemma3", "/etc/passwd", '""', "[good]", "gemma3.yaml", "7"]
)
def test_a_card_that_is_not_there_cannot_be_extended(tmp_path: Path, base: str) -> None:
    said = refused(tmp_path, good=good_card(), child=child(base))
    assert said.startswith(f"{tmp_path / 'child.yaml'}:2:1: extends: there is no other card ")


def test_only_one_level_is_read(tmp_path: Path) -> None:
    said = refused(tmp_path, good=good_card(), child=child("middle"), middle=child("good"))
    assert "child.yaml:2:1: extends: middle extends another card itself. Extend that one" in said


def test_a_fault_of_the_card_that_is_extended_is_found_in_its_own_file(tmp_path: Path) -> None:
    said = refused(tmp_path, good="schema_version: 1\ntitle: [x", child=child("good"))
    assert said.startswith(f"{tmp_path / 'good.yaml'}:3:")


def test_all_levels_of_validation_see_the_whole_card(tmp_path: Path) -> None:
    put(tmp_path, good=good_card(), child=child("good", "image: {resize: {patch: none}}"))
    found = validate([tmp_path / "child.yaml"], Choice(ignore=frozenset({"MC119"}))).findings
    assert [(finding.code, finding.line) for finding in found] == [("MC203", 4)]
    put(tmp_path, child=child("good"))
    found = validate(
        [tmp_path / "child.yaml"], Choice(only=frozenset({"MC2", "MC301", "MC302", "MC322"}))
    ).findings
    assert found == []


def resolved(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    result = mlx_cards("show", name, "--resolved", "--json", capsys=capsys, monkeypatch=monkeypatch)
    assert result.code == 0, result.err
    return {row["path"]: row for row in json.loads(result.out)}


def line_of(file: Path, text: str) -> int:
    return next(i for i, line in enumerate(file.read_text("utf-8").splitlines(), 1) if text in line)


def test_show_resolved_names_file_and_line_of_every_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ("image: {budget: {tokens: 640}}", "models:", "  3b: {override: {image: {token: <i>}}}")
    put(tmp_path, good=good_card(), child=child("good", *lines))
    monkeypatch.setenv("MLX_CARDS_PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    good, own = tmp_path / "good.yaml", tmp_path / "child.yaml"
    rows = resolved("child-3b", capsys, monkeypatch)
    for path, value, file, text in (
        ("image.budget.tokens", 640, own, "budget"),
        ("image.token", "<i>", own, "override"),
        ("image.resize.patch", 14, good, "resize"),
        ("models.3b.quantizations.4bit.bytes", 2_000_000_000, good, "4bit:"),
        ("title", "Child", own, "title"),
        ("license", "apache-2.0", good, "license"),
    ):
        row = rows[path]
        assert (row["value"], row["file"], row["line"]) == (value, str(file), line_of(file, text)), path
    assert not any(path.startswith("models.32b") for path in rows)
    said = mlx_cards("show", "child", "--resolved", capsys=capsys, monkeypatch=monkeypatch).out
    assert "child.yaml:4  image.budget.tokens" in " ".join(said.split("\n")).replace("   ", "  ")
    assert "models.32b.context" in said


@pytest.mark.parametrize("family", registry.families())
def test_every_value_of_a_card_of_the_package_has_its_line(family: str) -> None:
    for value in all_cards().values(Target(family)):
        assert value.path.rpartition(".")[2] in value.file.read_text("utf-8").splitlines()[value.line - 1]
