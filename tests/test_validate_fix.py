"""--fix: mends what changes no fact, keeps all else of a card, and is done after one run."""

from __future__ import annotations

import errno
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.reader import read
from registry.validate.findings import Edit, rules
from registry.validate.fix import apply, fix
from registry.validate.runner import Choice, validate
from tests.bad_cards import CODES, good, place
from tests.command import mlx_cards

FIXED = [code for code in CODES if rules()[code].fixed]
ALL = Choice()

MENDED = {
    "MC106": ('  "3.10":\n', "  3.10:\n"),
    "MC113": ('generation: "[INST]"', "generation: [INST]"),
    "MC114": ("alternate: false", "alternate: no"),
    "MC115": ('requires: "0.10"', "requires: 0.10"),
    "MC116": ("min_pixels: 3136", "min_pixels: 3_136"),
    "MC119": ("# yaml-language-server: $schema=card.schema.json\nschema", "schema"),
    "MC209": ("revision: 0123abcd", "revision: 0123ABCD"),
}
"""What --fix writes, and what stood there."""


def test_what_is_said_to_be_mended_is_what_is_mended() -> None:
    assert sorted(MENDED) == FIXED


def bad(code: str, folder: Path) -> Path:
    card = place(code, folder)
    if code == "MC209":  # its own card names a branch, and no program knows the commit
        text = card.read_text(encoding="utf-8")
        card.write_text(text.replace("revision: main", f"revision: 0123ABCD{'E' * 32}"), encoding="utf-8")
    return card


@pytest.mark.parametrize("code", FIXED)
def test_only_the_characters_at_fault_are_replaced(code: str, tmp_path: Path) -> None:
    card = bad(code, tmp_path)
    before = card.read_text(encoding="utf-8")
    new, old = MENDED[code]
    wanted = before.replace(old, new, 1)
    if code == "MC209":
        wanted = wanted.replace("E" * 32, "e" * 32)
    assert fix([card], ALL) == 1
    assert card.read_text(encoding="utf-8") == wanted
    assert [finding.code for finding in validate([card], ALL).findings if finding.code == code] == []


@pytest.mark.parametrize("code", CODES)
def test_a_second_run_changes_nothing_more(code: str, tmp_path: Path) -> None:
    card = place(code, tmp_path)
    fix([card], ALL)
    once = card.read_bytes()
    assert fix([card], ALL) == 0
    assert card.read_bytes() == once


@pytest.mark.parametrize("code", [code for code in CODES if code not in FIXED])
def test_what_a_person_has_to_decide_is_left_alone(code: str, tmp_path: Path) -> None:
    card = place(code, tmp_path)
    before = card.read_bytes()
    assert fix([card], ALL) == 0
    assert card.read_bytes() == before


def test_a_number_that_may_mean_two_things_is_left_alone(tmp_path: Path) -> None:
    card = good(tmp_path)
    text = card.read_text(encoding="utf-8").replace("context: 128000", "context: 0200")
    card.write_text(text, encoding="utf-8")
    assert fix([card], ALL) == 0
    assert [finding.code for finding in validate([card], ALL).findings] == ["MC116"]


def test_yes_is_quoted_where_only_text_can_stand(tmp_path: Path) -> None:
    card = good(tmp_path)
    text = card.read_text(encoding="utf-8").replace("title: Acme-VL", "title: Yes # its name")
    card.write_text(text, encoding="utf-8")
    assert fix([card], ALL) == 1
    assert card.read_text(encoding="utf-8") == text.replace("title: Yes #", 'title: "Yes" #')


def test_comments_line_ends_and_rights_stay(tmp_path: Path) -> None:
    card = good(tmp_path)
    text = card.read_text(encoding="utf-8")
    text = text.replace("min_pixels: 3136", "min_pixels: 3_136").replace("budget:", "# a budget\n  budget:")
    card.write_bytes(text.replace("\n", "\r\n").encode())
    card.chmod(0o640)
    assert fix([card], ALL) == 1
    assert card.read_bytes() == text.replace("3_136", "3136").replace("\n", "\r\n").encode()
    assert stat.S_IMODE(card.stat().st_mode) == 0o640
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_link_to_a_card_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "cards").mkdir()
    card, link = place("MC116", tmp_path / "cards"), tmp_path / "acme.yaml"
    link.symlink_to(card)
    assert fix([link], ALL) == 1
    assert link.is_symlink()
    assert "min_pixels: 3136" in card.read_text(encoding="utf-8")


def test_a_card_that_cannot_be_written_is_an_error_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(**_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    card = place("MC116", tmp_path)
    before = card.read_bytes()
    monkeypatch.setattr("tempfile.mkstemp", refused)  # the superuser may write everywhere
    result = mlx_cards("validate", str(card), "--fix", capsys=capsys, monkeypatch=monkeypatch)
    assert (result.code, card.read_bytes()) == (1, before)
    assert "cannot be written: Permission denied." in result.err


def test_codes_that_are_not_chosen_are_not_mended(tmp_path: Path) -> None:
    card = place("MC115", tmp_path)
    before = card.read_bytes()
    assert fix([card], Choice(ignore=frozenset({"MC115"}))) == 0
    assert card.read_bytes() == before


def test_the_command_says_how_much_it_mended_and_what_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    card = place("MC115", tmp_path)
    text = card.read_text(encoding="utf-8").replace("resample: bicubic", "resample: cubic")
    card.write_text(text, encoding="utf-8")
    result = mlx_cards(
        "validate", str(card), "--fix", "--format", "concise", capsys=capsys, monkeypatch=monkeypatch
    )
    assert result.code == 1
    assert " MC204 " in result.out
    assert "1 card, 1 error, 0 warnings, 1 finding mended" in result.err


SPELLINGS: dict[str, list[tuple[str, str | None]]] = {
    "alternate: {}": [("false", "false"), ("no", "false"), ("Off", "false"), ("True", "true"), ("y", None)],
    "default_system: {}": [
        ("yes", "yes"),
        ("1.10", "1.10"),
        ("[INST]", "[INST]"),
        ("007", "007"),
        ('"no"', "no"),
    ],
}
"""A line of a prompt -> what may stand in it, and what is meant; None: that is no value of the field."""


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_mended_says_what_was_written(tmp_path: Path, data: st.DataObject) -> None:
    card = good(tmp_path)
    lines, meant = [], {}
    for line, spellings in SPELLINGS.items():
        written, means = data.draw(st.sampled_from(spellings))
        lines.append(f"  {line.format(written)}\n")
        meant[line.partition(":")[0]] = {"true": True, "false": False}.get(str(means), means)
    text = card.read_text(encoding="utf-8")
    card.write_text(text.replace("  generation:", "".join(lines) + "  generation:"), encoding="utf-8")
    fix([card], ALL)
    prompt = read(card)["prompt"]
    assert {key: prompt[key] for key, value in meant.items() if value is not None} == {
        key: value for key, value in meant.items() if value is not None
    }


def test_of_two_edits_that_overlap_the_first_is_made() -> None:
    edits = [Edit(2, 4, "X"), Edit(3, 5, "Y"), Edit(0, 0, "Z"), Edit(2, 4, "X")]
    assert apply("abcdef", edits) == "ZabXef"
