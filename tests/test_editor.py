"""In an editor, a card's first line is enough for diagnostics, completion and help."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.catalog import CARDS
from registry.schema import card_schema
from tests.conftest import ROOT
from tests.language_server import Editor, installed
from tests.private_cards import child

FIRST = "# yaml-language-server: $schema=../../schemas/card.schema.json\n"
TEXT = (CARDS / "qwen2.5-vl.yaml").read_text(encoding="utf-8")
LINES = TEXT.splitlines()
KINDS = card_schema()["$defs"]["Image"]["properties"]["resize"]["properties"]["kind"]["enum"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone: the schema, and a folder for cards."""
    root = tmp_path_factory.mktemp("clone")
    (root / "registry" / "models").mkdir(parents=True)
    shutil.copytree(ROOT / "schemas", root / "schemas")
    return root


@pytest.fixture(scope="module")
def editor(root: Path, request: pytest.FixtureRequest) -> Iterator[Editor]:
    cache = getattr(request.config, "cache", None)
    folder = root.parent if cache is None else cache.mkdir("language-server")
    editor = Editor(installed(folder), root)
    yield editor
    editor.close()


@pytest.fixture
def card(root: Path, request: pytest.FixtureRequest) -> Path:
    """The file of a card, one for each test: the server keeps what it was told of a file."""
    return root / "registry" / "models" / f"{abs(hash(request.node.name)):x}.yaml"


def line_of(text: str) -> int:
    """The line, from 1, of the card in which a text stands."""
    return next(number for number, line in enumerate(LINES, 1) if text in line)


def with_resize(*new: str) -> str:
    """The card with other lines for its resize strategy, which end the file."""
    return "\n".join([*LINES[: line_of("  resize: {") - 1], *new])


@pytest.mark.parametrize("file", [pytest.param(file, id=file.stem) for file in sorted(CARDS.glob("*.yaml"))])
def test_a_card_of_the_package_begins_with_the_schema_and_has_no_diagnostic(
    editor: Editor, card: Path, file: Path
) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.startswith(FIRST)
    card.write_text(text, encoding="utf-8")
    assert editor.diagnostics(card) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("title:", "titel:", "Property titel is not allowed."),
        ("max_pixels:", "max_pixel:", "Property max_pixel is not allowed."),
        ("resample: bicubic", "resample: nearest", "Value is not accepted. Valid values:"),
        ("kind: smart_resize", "kind: clever_resize", "Value is not accepted. Valid values:"),
        ("patch: 14", "patch: wide", "Incorrect type. Expected"),
    ],
)
def test_a_fault_has_a_diagnostic_at_its_line(
    editor: Editor, card: Path, old: str, new: str, said: str
) -> None:
    card.write_text(TEXT.replace(old, new, 1), encoding="utf-8")
    found = editor.diagnostics(card)
    assert {line for line, _ in found if line > 2} == ({line_of(old)} if line_of(old) > 2 else set())
    assert any(line == line_of(old) and message.startswith(said) for line, message in found)


def test_the_kinds_of_resizing_are_completed(editor: Editor, card: Path) -> None:
    card.write_text(with_resize("  resize:", "    kind: "), encoding="utf-8")
    assert editor.completions(card, (line_of("  resize: {"), 10)) == set(KINDS)


def test_the_fields_of_the_chosen_kind_are_completed(editor: Editor, card: Path) -> None:
    card.write_text(with_resize("  resize:", "    kind: smart_resize", "    "), encoding="utf-8")
    found = editor.completions(card, (line_of("  resize: {") + 1, 4))
    assert {"patch", "merge", "min_pixels", "max_pixels", "max_aspect"} <= found
    assert not {"width", "tile", "grids"} & found


def test_a_field_shows_its_help(editor: Editor, card: Path) -> None:
    card.write_text(TEXT, encoding="utf-8")
    line = line_of("min_pixels:") - 1
    assert "Smaller images are enlarged to this area." in editor.hover(
        card, (line, LINES[line].index("min_pixels") + 2)
    )


def with_tools(definitions: str) -> str:
    """The card with a form for tools that has these definitions, which begin in line 16."""
    tools = f"""\
  tools:
    native: true
    definitions: {definitions}
    calls: {{open: "<call>", close: "</call>"}}
    results: {{turn_open: "", open: "", close: "", turn_close: ""}}
"""
    return TEXT.replace("  tools: {native: false}\n", tools, 1)


TOLD = '{place: after_text, open: "<tools>", between: "", close: "", separator: ""}'


@pytest.mark.parametrize(
    ("definitions", "said"),
    [
        (TOLD, None),
        (TOLD.replace("after_text", "inside"), "Value is not accepted. Valid values:"),
        (TOLD.replace("between", "betwen"), "Property betwen is not allowed."),
        (TOLD.replace('open: "<tools>"', "open: [TOOLS]"), "Incorrect type. Expected"),
    ],
)
def test_a_fault_in_the_form_for_tools_has_a_diagnostic_at_its_line(
    editor: Editor, card: Path, definitions: str, said: str | None
) -> None:
    card.write_text(with_tools(definitions), encoding="utf-8")
    found = [(line, message) for line, message in editor.diagnostics(card) if line > 1]
    assert {line for line, _ in found} == (set() if said is None else {line_of("  tools:") + 2})
    assert said is None or any(message.startswith(said) for _, message in found)


def test_the_fields_about_tools_are_completed_and_show_their_help(editor: Editor, card: Path) -> None:
    card.write_text(with_tools("\n      "), encoding="utf-8")
    line = line_of("  tools:") + 2
    assert editor.completions(card, (line, 6)) >= {"place", "open", "between", "close", "separator"}
    other = card.with_suffix(".hover.yaml")
    other.write_text(with_tools(TOLD), encoding="utf-8")
    text = other.read_text(encoding="utf-8").splitlines()[line - 1]
    assert "Before or after the system text." in editor.hover(other, (line - 1, text.index("place") + 2))


@pytest.mark.parametrize(
    ("key", "found"), [("budget", []), ("budge", [(5, "Property budge is not allowed.")])]
)
def test_a_card_that_extends_another_needs_only_what_differs(
    editor: Editor, card: Path, key: str, found: list[tuple[int, str]]
) -> None:
    card.write_text(FIRST + child("qwen2.5-vl", f"image: {{{key}: {{tokens: 640}}}}"), encoding="utf-8")
    assert editor.diagnostics(card) == found
