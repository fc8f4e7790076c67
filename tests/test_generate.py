"""Generated files: each is what it is made from, and one command writes or compares all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ROOT
from tools.generate import __main__ as command
from tools.generate import facts, files
from tools.generate.files import FILES, is_current, write


@pytest.mark.parametrize("name", FILES)
def test_a_generated_file_is_what_it_is_made_from(name: str) -> None:
    assert is_current(name), f"{name} is not what it is made from. Run: make generated"


def test_a_file_is_written_where_it_differs_and_left_where_it_does_not(tmp_path: Path) -> None:
    name = "docs/models.md"

    assert write(name, tmp_path)
    assert (tmp_path / name).read_text(encoding="utf-8") == (ROOT / name).read_text(encoding="utf-8")
    assert not write(name, tmp_path)


def test_check_names_what_differs_and_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (ROOT / "docs/models.md").read_text(encoding="utf-8")
    monkeypatch.setattr(command, "FILES", {"docs/models.md": files.FILES["docs/models.md"]})

    assert command.main(["--check"]) == 0
    monkeypatch.setattr(facts, "models", lambda: ())
    assert command.main(["--check"]) == 1
    assert "docs/models.md is not what it is made from. Run: make generated" in capsys.readouterr().err
    assert (ROOT / "docs/models.md").read_text(encoding="utf-8") == before


def test_the_tables_have_every_model_and_every_quantization_of_the_cards() -> None:
    models = (ROOT / "docs/models.md").read_text(encoding="utf-8")
    fits = (ROOT / "docs/fits.md").read_text(encoding="utf-8")
    cards = facts.models()

    assert len(cards) > 100
    for card in cards:
        assert card.model is not None
        assert models.count(f"\n| `{card.name}`") == 1
        for quantization in card.model.quantizations:
            assert f"\n| `{card.name}` | {quantization} |" in fits


def test_a_verdict_of_the_table_is_the_estimators() -> None:
    import loader

    row = next(
        line
        for line in (ROOT / "docs/fits.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| `qwen2.5-vl-32b` | bf16 |")
    )
    cells = [cell.strip() for cell in row.split("|")[4:-1]]
    made = [
        loader.estimate("qwen2.5-vl-32b@bf16", images=[(4032, 3024)], device=device)
        for device in facts.DEVICES
    ]

    assert made[0].total is not None
    assert cells == [f"{made[0].total / 1e9:.1f} GB", *(one.verdict for one in made)]
