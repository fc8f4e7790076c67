"""Cards that are odd on purpose, or by an accident of an editor: found, at their place, and in good time."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from registry.validate.findings import Finding
from registry.validate.fix import fix
from registry.validate.formats import FORMATS
from registry.validate.runner import Choice, Report, validate
from tests.bad_cards import BAD, good

PLAIN = (BAD / "MC403.yaml").read_text(encoding="utf-8")


def found(folder: Path, *changes: tuple[str, str]) -> list[Finding]:
    """The findings about the good card with these changes."""
    card = good(folder)
    text = PLAIN
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    card.write_text(text, encoding="utf-8", newline="")
    return validate([card], Choice(), shown=lambda path: path.name).findings


def places(findings: list[Finding]) -> list[tuple[str, int, int]]:
    return [(it.code, it.line, it.column) for it in findings]


@pytest.mark.parametrize(
    "more",
    [
        pytest.param("".join(f"k{i}: 1\n" for i in range(60_000)), id="unknown keys"),
        pytest.param("".join(f"  - {{url: u{i}}}\n" for i in range(40_000)), id="sources that lack keys"),
        pytest.param("".join(f"  - {{url: u{i}, facts: [1]}}\n" for i in range(30_000)), id="bad entries"),
    ],
)
def test_of_very_many_faults_the_first_thousand_are_said_and_the_others_counted(
    more: str, tmp_path: Path
) -> None:
    start = time.process_time()
    card = good(tmp_path)
    card.write_text(PLAIN + more, encoding="utf-8")
    findings = validate([card], Choice()).findings
    assert time.process_time() - start < 60  # with a look at all of them for each, it was many minutes
    assert len(findings) == 1_001
    assert "faults more than are said here" in findings[0].message


@pytest.mark.parametrize(
    ("character", "code"), [("\0", "MC102"), ("\x07", "MC102"), ("\u200b", "MC120"), ("\u202e", "MC120")]
)
def test_a_character_that_cannot_be_seen_is_shown_where_it_is(
    character: str, code: str, tmp_path: Path
) -> None:
    findings = found(tmp_path, ("title: Acme-VL", f"title: Ac{character}me-VL"))
    assert places(findings) == [(code, 3, 10)]
    report = Report(findings, 1)
    assert "title: Ac\ufffdme-VL" in FORMATS["full"](report)
    assert all(character not in FORMATS[form](report) for form in ("full", "concise", "github", "sarif"))


def test_what_ends_a_line_for_yaml_alone_hides_no_key_behind_a_comment(tmp_path: Path) -> None:
    findings = found(tmp_path, ("title: Acme-VL", "title: Acme-VL # stable \x85status: experimental"))
    assert places(findings) == [("MC120", 3, 25)]


def test_what_is_written_as_an_escape_is_seen(tmp_path: Path) -> None:
    assert found(tmp_path, ("title: Acme-VL", 'title: "Acme\\u200b-VL"')) == []


def test_a_file_in_another_encoding_is_shown_at_its_first_foreign_byte(tmp_path: Path) -> None:
    card = good(tmp_path)
    card.write_bytes(PLAIN.replace("license: apache-2.0\nb", "license: ap\xe4che\nb").encode("latin-1"))
    assert places(validate([card], Choice()).findings) == [("MC101", 4, 12)]


def test_a_key_that_is_no_choice_is_marked_itself(tmp_path: Path) -> None:
    (finding,) = found(tmp_path, ("4bit: {", "2bit: {"))
    assert (finding.code, finding.column, finding.end_column) == ("MC204", 7, 11)


def test_a_fault_of_the_family_is_not_said_again_of_a_model_that_changes_another_part(tmp_path: Path) -> None:
    override = "    override: {memory: {vision: {intermediate: 3456}}}\nsources:"
    assert places(found(tmp_path, ("[7, 15]", "[7, 32]"), ("sources:", override))) == [("MC319", 23, 102)]


def test_a_fault_that_only_an_override_makes_is_said_there(tmp_path: Path) -> None:
    override = "    override: {memory: {vision: {layers: 9}}}\nsources:"
    (finding,) = found(tmp_path, ("sources:", override))
    assert (finding.code, finding.line) == ("MC319", 34)


def test_a_layer_that_is_named_twice_is_found(tmp_path: Path) -> None:
    (finding,) = found(tmp_path, ("[7, 15]", "[7, 15, 7]"))
    assert finding.message == "memory.vision.full_layers: layer 7 is there twice"


TOOLS = """  tools:
    native: true
    definitions: {place: after_text, open: OPEN, between: "", close: "", separator: ""}
    calls: {open: "<call>", close: "</call>"}
    results: {turn_open: "", open: "", close: "", turn_close: ""}
  options:
"""


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("'<tools>\\n'", "MC112"),
        ('"{name}"', "MC305"),
        ('"On {date:%d}."', "MC305"),
        ('"<|image_pad|>"', "MC325"),
        ("[TOOLS]", "MC113"),
        ('"\u200b"', "MC120"),
    ],
)
def test_the_texts_about_tools_are_read_like_all_others_of_a_prompt(
    text: str, code: str, tmp_path: Path
) -> None:
    findings = found(tmp_path, ("  options:\n", TOOLS.replace("OPEN", text)))
    assert [(it.code, it.line) for it in findings] == [(code, 14)]


@pytest.mark.parametrize("name", ['""', "a b", "acme@4bit", "./acme", "a/b/c", ".acme", "~acme"])
def test_a_name_that_is_taken_for_something_else_is_found(name: str, tmp_path: Path) -> None:
    findings = found(tmp_path, ("[Acme-3B-Instruct]", f"[{name}]"))
    assert places(findings) == [("MC324", 26, 15)]


def test_a_models_key_that_makes_no_name_is_found_at_the_key(tmp_path: Path) -> None:
    assert places(found(tmp_path, ("  3b:\n", "  3b:\n    source: acme/other\n  3 b:\n"))) == [
        ("MC324", 27, 3)
    ]


def test_what_is_deprecated_is_not_its_own_replacement(tmp_path: Path) -> None:
    life = "status: deprecated\ndeprecated: {since: 2026-11-01, message: Old., replacement: ACME}\ntitle:"
    (finding,) = found(tmp_path, ("title:", life))
    assert (finding.code, finding.message) == (
        "MC323",
        "deprecated.replacement: 'ACME' is what is deprecated here",
    )


def test_a_model_may_be_replaced_by_another_of_its_family(tmp_path: Path) -> None:
    models = (
        "models:\n  1b:\n    source: acme/Acme-VL-1B\n    status: deprecated\n"
        "    deprecated: {since: 2026-11-01, message: Old., replacement: acme-3b}\n"
    )
    assert found(tmp_path, ("models:\n", models)) == []


def test_two_new_cards_in_a_folder_have_no_clash_for_what_they_do_not_know_yet(tmp_path: Path) -> None:
    for name in ("one", "two"):
        own = PLAIN.replace("acme/Acme-VL-3B", "TODO").partition("    quantizations:")
        text = own[0].replace("Acme-3B-Instruct", name) + "sources:" + own[2].partition("sources:")[2]
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    report = validate(sorted(tmp_path.glob("*.yaml")), Choice(ignore=frozenset({"MC401"})))
    assert {it.code for it in report.findings} >= {"MC313"}
    assert [it.message for it in report.findings if it.code == "MC301" and "TODO" in it.message] == []


def test_what_is_found_is_json_for_programs_whatever_a_card_says(tmp_path: Path) -> None:
    report = Report(found(tmp_path, ("license: apache-2.0\nb", 'license: "\\u0000%0A::error::,:"\nb')), 1)
    for form in ("json", "sarif"):
        json.loads(FORMATS[form](report))
    assert FORMATS["github"](report).count("\n") == 0


def test_a_mark_of_the_byte_order_stays_and_moves_no_mending(tmp_path: Path) -> None:
    card = good(tmp_path)
    card.write_text("\ufeff" + PLAIN.replace("3136", "3_136"), encoding="utf-8")
    assert fix([card], Choice()) == 1
    assert card.read_text(encoding="utf-8") == "\ufeff" + PLAIN


def aliases(levels: int) -> str:
    """A row that nine times nine times nine ... would be."""
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, levels)]
    return "\n".join(
        [*lines, "stamp: {date: x}", f"prompts: [{{conversation: *a{levels - 1}}}]", "images: []"]
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (aliases(12), "aliases (*a0) are not allowed"),
        (f"stamp: {{}}\nprompts: {'[' * 100_000}{']' * 100_000}\nimages: []", "more than 50 levels"),
        ("stamp: !!python/object/apply:os.abort []\nprompts: []\nimages: []", "os.abort) are not allowed"),
    ],
    ids=["aliases", "levels", "tags"],
)
def test_goldens_are_read_with_the_same_care_as_cards(text: str, said: str, tmp_path: Path) -> None:
    card = good(tmp_path)
    (tmp_path / "golden" / "acme.yaml").write_text(text, encoding="utf-8")
    (finding,) = validate([card], Choice()).findings
    assert finding.code == "MC402"
    assert said in finding.message


@pytest.mark.parametrize("messages", ["[]", '""', "null", "[{}]", "[5]"])
def test_a_golden_without_a_conversation_is_none(messages: str, tmp_path: Path) -> None:
    card = good(tmp_path)
    golden = tmp_path / "golden" / "acme.yaml"
    text = golden.read_text(encoding="utf-8")
    first = '    messages: [{role: user, content: "Hi"}]\n'
    golden.write_text(text.replace(first, f"    messages: {messages}\n", 1), encoding="utf-8")
    (finding,) = validate([card], Choice()).findings
    assert finding.code == "MC402"
