"""`mlx-cards validate`: all findings of all files in one run, in every format, and the exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loader.cli.validate import _FORMATS
from registry.catalog import CARDS
from registry.validate.findings import rules
from registry.validate.formats import FORMATS
from registry.validate.runner import Choice, Report, files_of
from registry.validate.runner import validate as run
from tests.bad_cards import good, place
from tests.command import Result, mlx_cards
from tests.conftest import ROOT


class Command:
    """The command in a folder of its own."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys, self._monkeypatch = capsys, monkeypatch

    def __call__(self, *arguments: str) -> Result:
        return mlx_cards("validate", *arguments, capsys=self._capsys, monkeypatch=self._monkeypatch)


@pytest.fixture
def validate(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    return Command(capsys, monkeypatch)


def codes(result: Result) -> list[str]:
    """The codes of a run with --format concise, in order."""
    return [line.split(" ")[1] for line in result.out.splitlines()]


def change(card: Path, *changes: tuple[str, str]) -> None:
    text = card.read_text(encoding="utf-8")
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    card.write_text(text, encoding="utf-8")


# The cards of the package.


def test_the_cards_of_the_package_and_their_goldens_leave_nothing_to_be_found(validate: Command) -> None:
    result = validate("--format", "concise")
    assert (result.out, result.code) == ("", 0)


def test_cards_with_their_goldens_are_checked_at_the_rate_of_a_thousand_in_20_seconds() -> None:
    files = list(files_of([CARDS]))
    run(files, Choice())  # imports, and the process that renders templates
    times = []
    for _ in range(3):  # time on the processor, the best of several: other work counts as little as possible
        start = time.process_time()
        run(files, Choice())
        times.append(time.process_time() - start)
    # Alone it takes 9 ms a card. Where all cores are busy, the same work counts half as much again.
    assert min(times) < 1.5 * 20 * len(files) / 1000


# What is found.


def test_all_findings_of_all_files_come_in_one_run_in_the_order_of_places(
    validate: Command, tmp_path: Path
) -> None:
    card = good(tmp_path)
    change(card, ("patch: 14", "patch: 0"), ("resample: bicubic", "resample: cubic"))
    change(card, ("  generation:", "  alternate: no\n  generation:"), ("context: 128000", "context: TODO"))
    (tmp_path / "other.yaml").write_text("title: *x\n", encoding="utf-8")
    result = validate(".", "--format", "concise")
    assert codes(result) == ["MC114", "MC204", "MC205", "MC313", "MC119", "MC107"]
    assert "2 cards, 5 errors, 1 warning" in result.err


def test_a_todo_of_the_wrong_type_and_in_a_comment_is_a_todo_alone(validate: Command, tmp_path: Path) -> None:
    change(good(tmp_path), ("context: 128000", "context: TODO"), ("title: Acme-VL", "title: A # TODO: ask"))
    assert codes(validate(".", "--format", "concise")) == ["MC313", "MC313"]


def test_every_model_that_is_overridden_wrongly_is_found_at_its_override(
    validate: Command, tmp_path: Path
) -> None:
    lines = "  7b: {{source: acme/A-7B, override: {{image: {{resize: {}}}}}}}\n"
    fixed = "{kind: fixed, width: 336, height: 336, fit: tall, patch: 14, tokens: 576}"
    more = lines.format("{patch: none}") + lines.replace("7b", "9b").replace("7B", "9B").format(fixed)
    change(good(tmp_path), ("models:\n", f"models:\n{more}"))
    result = validate(".", "--format", "concise")
    assert codes(result) == ["MC203", "MC204"]
    assert "image.resize.patch:" in result.out
    assert "image.resize.fit:" in result.out


def test_a_name_of_a_card_in_the_same_folder_that_is_not_checked_clashes(
    validate: Command, tmp_path: Path
) -> None:
    card = good(tmp_path)
    other = tmp_path / "other.yaml"
    other.write_text(card.read_text(encoding="utf-8"), encoding="utf-8")
    result = validate("other.yaml", "--format", "concise", "--ignore", "MC401")
    assert set(codes(result)) == {"MC301"}
    assert "'Acme-3B-Instruct' already means 3b in acme.yaml" in result.out
    assert validate("acme.yaml", "--only", "MC3").out.count("MC301") == result.out.count("MC301")


def test_what_has_aliases_without_end_is_refused_at_once(validate: Command, tmp_path: Path) -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{c}: &{c} [{', '.join([f'*{p}'] * 9)}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)
    )
    (tmp_path / "bomb.yaml").write_text(bomb, encoding="utf-8")
    result = validate("bomb.yaml", "--format", "concise", "--ignore", "MC119")
    assert set(codes(result)) == {"MC107"}
    assert result.code == 1


def test_places_are_the_same_in_a_file_with_windows_line_ends(validate: Command, tmp_path: Path) -> None:
    card = place("MC204", tmp_path)
    unix = validate("acme.yaml").out
    card.write_bytes(card.read_bytes().replace(b"\n", b"\r\n"))
    assert validate("acme.yaml").out == unix


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), length=st.integers(0, 40))
def test_a_damaged_card_gets_findings_with_places_in_the_file_and_never_an_error_of_python(
    tmp_path: Path, data: st.DataObject, length: int
) -> None:
    card = good(tmp_path)
    text = card.read_text(encoding="utf-8")
    start = data.draw(st.integers(0, len(text)))
    pieces = st.sampled_from(
        ["", "x", "7", "null", "[]", "{}", ": ", "- ", "\n", "? ", "yes", "0_1", "[a: b]", "&a", "!b", "\t"]
    )
    new = data.draw(pieces | st.text(max_size=8).filter(str.isprintable))
    card.write_text(text[:start] + new + text[start + length :], encoding="utf-8")
    report = run([card], Choice())
    lines = card.read_text(encoding="utf-8").splitlines()
    for finding in report.findings:
        assert 1 <= finding.line <= len(lines) + 1
        assert 1 <= finding.column < finding.end_column
        assert finding.excerpt in {"", *lines}
    for write in FORMATS.values():
        write(report)


# Formats.


def test_the_command_offers_every_format_that_there_is() -> None:
    assert set(_FORMATS) == set(FORMATS)


def test_concise_has_one_line_for_each_finding_that_editors_can_jump_to(
    validate: Command, tmp_path: Path
) -> None:
    place("MC202", tmp_path)
    assert validate("acme.yaml", "--format", "concise").out == (
        "acme.yaml:14:1: MC202 image.token: this key is missing. Add it; docs/cards.md says what it holds.\n"
    )


def test_github_annotates_the_line_and_escapes_what_would_end_a_command(
    validate: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place("MC204", tmp_path).rename(tmp_path / "a,b: 50%.yaml")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    result = validate("a,b: 50%.yaml", "--only", "MC204")
    assert result.out == (
        "::error file=a%2Cb%3A 50%25.yaml,line=19,endLine=19,col=13,endColumn=18,title=MC204::"
        "image.resample: this should be 'bilinear', 'bicubic' or 'lanczos'. docs/cards.md says "
        "what it holds.\n"
    )


def test_a_format_that_is_asked_for_goes_before_that_of_github(
    validate: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place("MC204", tmp_path)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert validate("acme.yaml", "--format", "concise").out.startswith("acme.yaml:19:13: MC204 ")


def test_json_has_every_finding_with_its_place_and_the_counts(validate: Command, tmp_path: Path) -> None:
    place("MC115", tmp_path)
    data = json.loads(validate("acme.yaml", "--format", "json").out)
    assert data == {
        "findings": [
            {
                "path": "acme.yaml",
                "line": 5,
                "column": 39,
                "end_column": 43,
                "code": "MC115",
                "severity": "error",
                "message": "backend.requires: 0.10 is a number (0.1) to YAML, where text is wanted",
                "mend": 'Write "0.10" in quotes.',
                "fixable": True,
            }
        ],
        "files": 1,
        "errors": 1,
        "warnings": 0,
        "skipped": [],
    }


def test_sarif_has_rules_levels_and_regions(validate: Command, tmp_path: Path) -> None:
    place("MC308", tmp_path)
    data = json.loads(validate("acme.yaml", "--format", "sarif").out)
    (only,) = data["runs"]
    (result,) = only["results"]
    assert (data["version"], only["tool"]["driver"]["name"]) == ("2.1.0", "mlx-cards")
    assert only["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == "MC308"
    assert result["level"] == "warning"
    (found,) = result["locations"]
    assert found["physicalLocation"]["artifactLocation"] == {"uri": "acme.yaml"}
    assert found["physicalLocation"]["region"]["startLine"] == 39


@pytest.mark.parametrize("form", ["json", "sarif"])
def test_what_programs_read_is_whole_without_findings_too(
    form: str, validate: Command, tmp_path: Path
) -> None:
    good(tmp_path)
    data: dict[str, Any] = json.loads(validate("acme.yaml", "--format", form).out)
    assert data.get("findings", []) == []


@pytest.mark.parametrize("form", ["full", "concise"])
def test_a_card_cannot_steer_the_terminal(form: str, validate: Command, tmp_path: Path) -> None:
    change(good(tmp_path), ("license: apache-2.0\nb", 'license: "a\\e[2Jb"\nb'))
    out = validate("acme.yaml", "--format", form).out
    assert "MC311" in out
    assert "\x1b" not in out


# What is asked for, and the exit code.


def test_a_card_without_findings_prints_nothing_and_exits_with_0(validate: Command, tmp_path: Path) -> None:
    good(tmp_path)
    result = validate("acme.yaml")
    assert (result.code, result.out, result.err) == (0, "", "1 card, 0 errors, 0 warnings\n")


def test_warnings_alone_exit_with_0(validate: Command, tmp_path: Path) -> None:
    place("MC308", tmp_path)
    result = validate("acme.yaml", "--format", "concise")
    assert (result.code, codes(result)) == (0, ["MC308"])


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--only", "MC204"], ["MC204"]),
        (["--only", "mc3"], ["MC313"]),
        (["--only", "MC204,MC205"], ["MC204", "MC205"]),
        (["--only", "MC204", "--only", "MC313"], ["MC204", "MC313"]),
        (["--ignore", "MC2"], ["MC313"]),
        (["--only", "MC2", "--ignore", "MC204"], ["MC205"]),
        (["--ignore", "MC"], []),
    ],
)
def test_codes_choose_what_is_said_and_what_counts(
    arguments: list[str], found: list[str], validate: Command, tmp_path: Path
) -> None:
    card = good(tmp_path)
    change(card, ("patch: 14", "patch: 0"), ("resample: bicubic", "resample: cubic"))
    change(card, ("title: Acme-VL", "title: A # TODO"))
    result = validate("acme.yaml", "--format", "concise", *arguments)
    assert sorted(codes(result)) == sorted(found)
    assert result.code == bool(found)


@pytest.mark.parametrize(
    "arguments",
    [
        ["missing.yaml"],
        ["empty"],
        [".", "--only", "MC999"],
        [".", "--format", "xml"],
        [".", "--goldens", "x"],
    ],
)
def test_wrong_usage_and_nothing_to_check_exit_with_2(
    arguments: list[str], validate: Command, tmp_path: Path
) -> None:
    good(tmp_path)
    (tmp_path / "empty").mkdir()
    result = validate(*arguments)
    assert (result.code, result.out) == (2, "")


def test_a_bug_exits_with_3(validate: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise AssertionError("boo")

    good(tmp_path)
    monkeypatch.setattr("registry.validate.meaning.check", broken)
    result = validate("acme.yaml")
    assert result.code == 3
    assert "bug" in result.err


def test_goldens_are_taken_from_the_folder_that_is_named(validate: Command, tmp_path: Path) -> None:
    good(tmp_path)
    (tmp_path / "golden").rename(tmp_path / "recorded")
    assert codes(validate("acme.yaml", "--format", "concise")) == ["MC401"]
    assert validate("acme.yaml", "--goldens", "recorded").code == 0


def test_the_prompts_of_an_installed_package_are_said_to_be_unchecked(
    validate: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place("MC401", tmp_path)
    monkeypatch.setattr("registry.validate.goldens.CARDS", tmp_path.resolve())
    result = validate("acme.yaml")
    assert (result.code, result.out) == (0, "")
    assert (
        "skipped: the prompts of the package's own cards: their goldens are in its repository" in result.err
    )


def test_a_folder_means_the_cards_right_in_it_and_a_file_is_meant_itself(tmp_path: Path) -> None:
    card = good(tmp_path)
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    assert list(files_of([tmp_path])) == [card]
    assert list(files_of([tmp_path / "notes.txt"])) == [tmp_path / "notes.txt"]


def test_the_script_of_a_clone_is_the_same_command(tmp_path: Path) -> None:
    place("MC204", tmp_path)
    script = [str(ROOT / "tools" / "validate"), "acme.yaml", "--format", "concise"]
    # A clone without an environment of its own takes the python3 that is found first.
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(  # noqa: S603
        script, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.split(" ")[1]) == (1, "MC204")


# The JSON Schema that editors use says the same.


def refused_by_schema(card: Path) -> bool:
    jsonschema = pytest.importorskip("jsonschema")
    from registry.validate import syntax

    schema = json.loads((ROOT / "schemas" / "card.schema.json").read_text(encoding="utf-8"))
    document, _ = syntax.read(card, card.name)
    data = json.loads(json.dumps(document.data, default=str))
    return not jsonschema.Draft202012Validator(schema).is_valid(data)


@pytest.mark.parametrize(
    "code", [code for code in rules() if code[2] == "2" and code != "MC208"] + ["MC113", "MC115"]
)
def test_what_the_classes_refuse_the_schema_refuses(code: str, tmp_path: Path) -> None:
    assert refused_by_schema(place(code, tmp_path))


@pytest.mark.parametrize("card", [pytest.param(card, id=card.stem) for card in files_of([CARDS])])
def test_the_schema_takes_every_card_of_the_package(card: Path) -> None:
    assert not refused_by_schema(card)


def test_a_report_counts_errors_apart_from_warnings(tmp_path: Path) -> None:
    reports: list[Report] = [run([place(code, tmp_path)], Choice()) for code in ("MC308", "MC204")]
    assert [(len(report.findings), report.errors) for report in reports] == [(1, 0), (1, 1)]
