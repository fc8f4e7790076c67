"""Every code of a finding: a card with that fault alone, the exact text about it, its page.

The texts are in data/bad_cards. After a change that is meant, write them anew with
MLX_CARDS_WRITE_GOLDEN=1 and read the difference.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from registry.catalog import CARDS
from registry.validate.findings import rules
from tests.bad_cards import BAD, CODES, expected, good, place
from tests.command import Result, mlx_cards
from tests.fake_hub import FakeHub, point_client_at, serve

REPOSITORIES = ("acme/Acme-VL-3B", "mlx-community/Acme-VL-3B-4bit", "mlx-community/Acme-VL-3B-8bit")
CONFIG = {"config.json": b'{"model_type": "qwen2_5_vl"}'}
TIERS = {"5": ["--online"], "6": ["--runtime"]}


@pytest.fixture
def hub(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub that has what the good card names."""
    with serve() as hub:
        for repository in REPOSITORIES:
            hub.add(repository, CONFIG)
        point_client_at(hub.url, tmp_path_factory.mktemp("home"), monkeypatch)
        yield hub


def disturb(hub: FakeHub, code: str) -> None:
    """What is wrong with the hub itself, where a code is about that."""
    if code == "MC501":
        hub.info_status = 500
    if code == "MC505":
        sha = next(iter(hub.repositories[REPOSITORIES[0]].commits))
        info = {"id": REPOSITORIES[0], "sha": sha, "siblings": [], "cardData": {"license": "apache-2.0"}}
        hub.info_body = json.dumps(info).encode()


def test_every_code_owns_a_bad_card_and_its_text_and_no_other_card_is_there() -> None:
    assert sorted(rules()) == CODES
    assert sorted(path.stem for path in BAD.glob("*.txt")) == CODES


@pytest.mark.parametrize("code", CODES)
def test_a_bad_card_has_its_one_finding_in_its_written_words(
    code: str,
    tmp_path: Path,
    hub: FakeHub,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disturb(hub, code)
    monkeypatch.chdir(tmp_path)
    card = place(code, tmp_path)
    arguments = ["validate", card.name, *TIERS.get(code[2], [])]

    said = mlx_cards(*arguments, "--format", "full", capsys=capsys, monkeypatch=monkeypatch)

    text = said.out.replace(hub.url, "https://hub.example")
    text = text.replace(f"mlx-vlm {metadata.version('mlx-vlm')} ", "mlx-vlm 0.7.10 ")
    if os.environ.get("MLX_CARDS_WRITE_GOLDEN"):
        expected(code).write_text(text, encoding="utf-8")
    assert text == expected(code).read_text(encoding="utf-8")
    assert re.findall(r"^(?:error|warning)\[(\w+)\]", text, re.MULTILINE) == [code]
    assert said.code == (rules()[code].severity == "error")


@pytest.mark.parametrize("code", [code for code in CODES if code[2] == "5"])
def test_the_hub_is_not_asked_unless_that_is_wanted(
    code: str,
    tmp_path: Path,
    hub: FakeHub,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    card = place(code, tmp_path)
    result = mlx_cards("validate", str(card), capsys=capsys, monkeypatch=monkeypatch)
    assert (result.code, result.out, hub.requests) == (0, "", [])


def online(card: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Result:
    return mlx_cards("validate", str(card), "--online", capsys=capsys, monkeypatch=monkeypatch)


def test_a_card_that_the_hub_agrees_with_has_no_findings(
    tmp_path: Path, hub: FakeHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = online(place("MC601", tmp_path), capsys, monkeypatch)
    assert (result.code, result.out) == (0, "")
    assert set(hub.fetched()) == {"config.json"}


def test_a_gated_repository_is_said_to_be_unread(
    tmp_path: Path, hub: FakeHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.gated.add(REPOSITORIES[0])
    result = online(place("MC601", tmp_path), capsys, monkeypatch)
    assert result.code == 0
    assert f"skipped: {REPOSITORIES[0]} is gated" in result.err


@pytest.mark.parametrize("code", sorted(rules()))
def test_a_code_is_explained_in_whole_sentences(code: str) -> None:
    rule = rules()[code]
    assert re.fullmatch(r"MC[1-6]\d\d", code)
    assert not rule.title.endswith(".")
    assert rule.why.endswith(".")
    assert rule.severity in {"error", "warning"}


def run(card: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Result:
    arguments = ["validate", str(card), "--runtime", "--ignore", "MC403"]
    return mlx_cards(*arguments, capsys=capsys, monkeypatch=monkeypatch)


def test_a_card_that_the_backend_agrees_with_has_no_findings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run(good(tmp_path), capsys, monkeypatch)
    assert (result.code, result.out) == (0, "")
    assert "skipped" not in result.err


def test_a_family_whose_checkpoint_comes_with_the_package_is_run_with_that(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run(CARDS / "drawings.yaml", capsys, monkeypatch)
    assert (result.code, result.out) == (0, "")
    assert "skipped" not in result.err


def test_a_family_without_a_recipe_is_said_to_be_skipped(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run(CARDS / "phi3-vision.yaml", capsys, monkeypatch)
    assert (result.code, result.out) == (0, "")
    assert "skipped: phi3-vision was not run: there is no recipe for random weights of it" in result.err
