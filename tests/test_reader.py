"""Bad cards: each fault is found, said in words, and shown at its line and column."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loader.errors import CardError
from registry.catalog import Catalog
from registry.reader import MAX_BYTES, read

HERE = "▶"
"""Stands in a table before the character that an error must point at."""


def good_card(name: str = "good") -> str:
    """A minimal card with two models; every name in it is made of `name`."""
    return f"""\
schema_version: 1
title: {name.title()}
license: apache-2.0
backend: {{package: mlx-vlm, requires: ">=0.7", model_types: [{name}], processor: GoodProcessor}}
prompt:
  roles:
    system: {{open: "<s>", close: "</s>"}}
    user: {{open: "<u>", close: "</u>"}}
    assistant: {{open: "<a>", close: "</a>"}}
  generation: "<a>"
image:
  placeholder: "<image>"
  token: "<image>"
  resample: bicubic
  resize: {{kind: smart_resize, patch: 14, merge: 2, min_pixels: 3136, max_pixels: 1003520, max_aspect: 200}}
memory:
  vision: {{layers: 4, hidden: 64, heads: 4, intermediate: 128, attention: windows, full_layers: [1, 3]}}
models:
  32b:
    parameters: 32000000000
    text: {{layers: 4, hidden: 64, heads: 4, kv_heads: 2, head_dim: 16, intermediate: 128, vocab: 1000}}
    context: 4096
    source: makers/{name}-32B
  3b:
    aliases: [{name}-3B-Instruct]
    parameters: 3000000000
    text: {{layers: 4, hidden: 64, heads: 4, kv_heads: 2, head_dim: 16, intermediate: 128, vocab: 1000}}
    context: 4096
    source: makers/{name}-3B
    quantizations:
      4bit: {{repository: mlx-community/{name}-3B-4bit, bytes: 2000000000}}
      8bit: {{repository: mlx-community/{name}-3B-8bit, bytes: 4000000000}}
sources:
  - {{url: "https://example.org/{name}", facts: [prompt], checked: 2026-11-21}}
"""


def with_override(override: str) -> tuple[str, str]:
    """A change of the good card that gives its 32B an override."""
    return "    source: makers/good-32B\n", f"    source: makers/good-32B\n    {override}\n"


def use(folder: Path) -> None:
    """Ask for everything that a folder of cards has."""
    catalog = Catalog(folder)
    for name in (*catalog.names(), *catalog.families()):
        catalog.card(catalog.find(name))


def refusal(path: Path, text: str) -> CardError:
    """The error that using a card of this text raises."""
    path.write_bytes(text.encode())
    with pytest.raises(CardError) as caught:
        use(path.parent)
    return caught.value


def changed(old: str, new: str) -> tuple[str, tuple[int, int]]:
    """The good card with one change, and where its marker stood."""
    assert good_card().count(old) == 1
    text = good_card().replace(old, new)
    before = text[: text.index(HERE)]
    return text.replace(HERE, ""), (before.count("\n") + 1, len(before) - before.rfind("\n"))


FAULTS = {
    # What is not known.
    "a misspelt key": (
        ("title: Good\n", "title: Good\n▶titel: Good\n"),
        ["titel: this key is not known.", "Did you mean 'title'?"],
    ),
    "a misspelt key below": (
        ("merge: 2", "▶mergee: 2, merge: 2"),
        ["image.resize.mergee: this key is not known.", "Did you mean 'merge'?"],
    ),
    "a key of another part": (
        ("title: Good\n", "title: Good\n▶placeholder: x\n"),
        ["placeholder: this key is not known.", "It belongs elsewhere", "docs/cards.md"],
    ),
    "a key like no other": (
        ("title: Good\n", "title: Good\n▶zzzzzz: 1\n"),
        ["zzzzzz: this key is not known.", "docs/cards.md lists the keys there are."],
    ),
    "a role that there is not": (
        ('    assistant: {open: "<a>"', '    ▶narrator: {open: "<n>"}\n    assistant: {open: "<a>"'),
        ["prompt.roles.narrator: ", "'system', 'user' or 'assistant'"],
    ),
    "a quantization that there is not": (
        ("8bit: {", "▶7bit: {"),
        ["models.3b.quantizations.7bit: ", "'8bit'"],
    ),
    "a resize kind that there is not": (
        ("kind: smart_resize", "▶kind: smart_resiz"),
        ["image.resize.kind: 'smart_resiz' is not known.", "Choose one of: ", "'smart_resize', "],
    ),
    "a word that is no choice": (
        ("resample: bicubic", "▶resample: nearest"),
        ["image.resample: ", "'bilinear', 'bicubic' or 'lanczos'"],
    ),
    "a later format": (("schema_version: 1", "▶schema_version: 2"), ["schema_version: ", "should be 1"]),
    "a number for a key": (("title: Good\n", "title: Good\n▶7: x\n"), ["the key 7 is not text"]),
    "a number for a model's key": (("  3b:\n", "  ▶3:\n"), ["the key 3 is not text; write it in quotes"]),
    # What is missing.
    "a missing key": (
        ('image:\n  placeholder: "<image>"\n', "▶image:\n"),
        ["image.placeholder: this key is missing.", "Add it; docs/cards.md"],
    ),
    "a missing key of a model": (
        (good_card()[good_card().index("  32b:") : good_card().index("  3b:")], "  ▶32b: {context: 1}\n"),
        ["models.32b.source: this key is missing."],
    ),
    "a missing repository": (
        ("8bit: {repository: mlx-community/good-3B-8bit, ", "▶8bit: {"),
        ["models.3b.quantizations.8bit.repository: this key is missing."],
    ),
    "a missing resize kind": (
        ("  resize: {kind: smart_resize, ", "  ▶resize: {"),
        ["image.resize.kind: this key is missing."],
    ),
    "no user turn": (
        ('  roles:\n    system: {open: "<s>", close: "</s>"}\n    user: {', "  ▶roles:\n    system: {"),
        ["prompt.roles: a prompt needs a user turn."],
    ),
    "no system turn": (
        ('  roles:\n    system: {open: "<s>", close: "</s>"}\n', "  ▶roles:\n"),
        ["prompt.roles: `system: turn` needs a system turn."],
    ),
    "no facts": (("facts: [prompt]", "▶facts: []"), ["sources.0.facts: this list needs an entry."]),
    # Values of another type.
    "text for a number": (
        ("merge: 2", "▶merge: two"),
        ["image.resize.merge: this should be a whole number."],
    ),
    "a number that is not positive": (
        ("merge: 2", "▶merge: 0"),
        ["image.resize.merge: ", "this should be 1 or more"],
    ),
    "text for a list": (("facts: [prompt]", "▶facts: prompt"), ["sources.0.facts: this should be a list."]),
    "text for a list of names": (
        ("aliases: [good-3B-Instruct]", "▶aliases: good-3B-Instruct"),
        ["models.3b.aliases: this should be a list."],
    ),
    "a number among names": (
        ("model_types: [good]", "model_types: [good, ▶7]"),
        ["backend.model_types.1: this should be text;"],
    ),
    "text for a map": (("vision: {", "▶vision: none # {"), ["memory.vision: this should be a map."]),
    "nothing for a map": (("models:\n", "▶models:\nmodel:\n"), ["models: this should be a map."]),
    "nothing for a number": (
        ("resize: {kind: smart_resize, patch: 14", "resize: {kind: smart_resize, ▶patch: "),
        ["image.resize.patch: this should be a whole number."],
    ),
    "a version that YAML reads as a number": (
        ('requires: ">=0.7"', "▶requires: 0.7"),
        ["backend.requires: this should be text; quote"],
    ),
    # Values that do not go together, or cannot be.
    "smallest above largest": (
        ("min_pixels: 3136", "▶min_pixels: 9003136"),
        ["image.resize.min_pixels: larger than max_pixels."],
    ),
    "a later system turn without any": (
        ("  generation: ", "  system: refuse\n  ▶later_system: turn\n  generation: "),
        ["prompt.later_system: a later system turn needs `system: turn`."],
    ),
    "a source without a place": (
        ('{url: "https://example.org/good", ', "▶{"),
        ["sources.0: a source has either a url or a package."],
    ),
    "a source with two places": (
        ("{url: ", "▶{package: mlx-vlm, url: "),
        ["sources.0: a source has either a url or a package."],
    ),
    "a repository without an owner": (
        ("repository: mlx-community/good-3B-8bit", "▶repository: good-3B-8bit"),
        ["models.3b.quantizations.8bit.repository: "],
    ),
    "a repository of what comes with the package": (
        ("8bit: {", "8bit: {▶folder: good, "),
        ["models.3b.quantizations.8bit.folder: what comes with the package is in no repository."],
    ),
    "a folder elsewhere": (
        ("8bit: {repository: mlx-community/good-3B-8bit, ", "8bit: {▶folder: ../good, "),
        ["models.3b.quantizations.8bit.folder: "],
    ),
    "a branch for a revision": (
        ("good-3B-8bit,", "good-3B-8bit, ▶revision: main,"),
        ["models.3b.quantizations.8bit.revision: "],
    ),
    "an expansion of what the placeholder does not hold": (
        ('  token: "<image>"\n', '  token: "<image>"\n  expansion: {▶replaces: "<img>"}\n'),
        ["image.expansion.replaces: the placeholder '<image>' does not hold '<img>'."],
    ),
    "an expansion of a token that the placeholder does not hold": (
        ('  token: "<image>"\n', '  token: "<img>"\n  ▶expansion: {}\n'),
        ["image.expansion.replaces: the placeholder '<image>' does not hold '<img>'."],
    ),
    # Overrides.
    "a misspelt key in an override": (
        with_override("override: {image: {resize: {▶mergee: 3}}}"),
        ["image.resize.mergee: this key is not known.", "Did you mean 'merge'?"],
    ),
    "a value of another type in an override": (
        with_override("override: {prompt: {▶generation: 3}}"),
        ["prompt.generation: this should be text;"],
    ),
    "an override that turns a bound around": (
        with_override("override: {image: {resize: {▶min_pixels: 9003136}}}"),
        ["image.resize.min_pixels: larger than max_pixels."],
    ),
    "an override of another kind without its fields": (
        with_override(
            "override: {image: {▶resize: {kind: fixed, width: 3, height: 3, patch: 1, tokens: 9}}}"
        ),
        ["image.resize.fit: this key is missing."],
    ),
    "an override of a part that stays": (
        with_override("▶override: {title: Better}"),
        ["models.32b.override: cannot change title."],
    ),
    "an override that is not a map": (
        with_override("▶override: better"),
        ["models.32b.override: this should be a map."],
    ),
    # YAML.
    "a key that is there twice": (
        ("license: apache-2.0\n", "license: apache-2.0\n▶title: Better\n"),
        ["the key 'title' is already there.", "Mend the YAML here."],
    ),
    "an anchor": (("title: Good", "title: ▶&it Good"), ["anchors (&name) and aliases (*name) are not"]),
    "an alias": (("title: Good", "title: ▶*it"), ["anchors (&name) and aliases (*name) are not"]),
    "a merge": (("title: Good", "▶<<: {title: Good}"), ["a key is text", "<<"]),
    "a tag that would run a program": (
        ("title: Good", "title: ▶!!python/object/apply:os.system [exit 1]"),
        ["tags", "python/object/apply:os.system", "are not allowed."],
    ),
    "a tag of YAML": (("schema_version: 1", "schema_version: ▶!!bool 1"), ["tags", "are not allowed."]),
    "a tab": (("  generation: ", "▶\tgeneration: "), ["a tab cannot stand here", "spaces"]),
    "a colon in plain text": (("title: Good", "title: Good▶: better"), ["mapping values are not allowed"]),
    "a placeholder without quotes": (("title: Good", "title: {▶{n}: 1}"), ["a key is text"]),
    "a day that there is not": (("2026-11-21", "▶2026-02-30"), ["'2026-02-30' is not a value: day "]),
    "a second document": (("models:\n", "▶---\nmodels:\n"), ["single document", "found another document"]),
    "too many levels": (
        ("title: Good", f"title: {'[' * 49}▶[{'[' * 100_000}"),
        ["a card has at most 50 levels."],
    ),
}


def test_the_good_card_is_good(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(good_card(), encoding="utf-8")

    use(tmp_path)


@pytest.mark.parametrize(("change", "pieces"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_said_in_words_and_shown_at_its_place(
    change: tuple[str, str], pieces: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "good.yaml"
    text, (line, column) = changed(*change)

    error = refusal(path, text)

    assert [piece for piece in pieces if piece not in str(error)] == []
    assert (error.path, error.line, error.column) == (str(path), line, column)
    assert str(error).startswith(f"{path}:{line}:{column}: ")


@pytest.mark.parametrize("change", [change for change, _ in FAULTS.values()], ids=FAULTS)
def test_a_message_says_in_one_line_what_is_wrong_and_then_what_to_do(
    change: tuple[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "good.yaml"

    words = str(refusal(path, changed(*change)[0])).removeprefix(f"{path}:")

    assert re.search(
        r"\. (Did you mean|Choose one of|Mend the YAML|Name the part|Add it|It belongs|Write|docs/cards\.md)",
        words,
    )
    assert words[-1] in ".?)"
    assert "\n" not in words


def test_a_fault_is_at_the_same_place_in_a_file_with_windows_line_ends(tmp_path: Path) -> None:
    text, place = changed("merge: 2", "▶merge: two")

    error = refusal(tmp_path / "good.yaml", text.replace("\n", "\r\n"))

    assert (error.line, error.column) == place


def test_a_fault_of_the_family_is_shown_at_its_own_place_when_a_model_is_asked_for(tmp_path: Path) -> None:
    text, place = changed("resample: bicubic", "▶resample: nearest")
    (tmp_path / "good.yaml").write_text(text, encoding="utf-8")
    catalog = Catalog(tmp_path)

    with pytest.raises(CardError) as caught:
        catalog.card(catalog.find("good-3b"))

    assert (caught.value.line, caught.value.column) == place


@pytest.mark.parametrize("key", ["schema_version", "title", "license", "backend", "models", "sources"])
def test_a_key_that_a_card_lacks_as_a_whole_has_no_place(key: str, tmp_path: Path) -> None:
    text = re.sub(rf"^{key}:.*\n(^ .*\n)*", "", good_card(), flags=re.MULTILINE)

    error = refusal(tmp_path / "good.yaml", text)

    assert f"{key}: this key is missing. Add it;" in str(error)
    assert (error.line, error.column) == (None, None)


def test_a_card_without_a_prompt_and_without_a_template_is_refused(tmp_path: Path) -> None:
    text = re.sub(r"^prompt:.*\n(^ .*\n)*", "", good_card(), flags=re.MULTILINE)

    assert "either a `prompt` or a `template`" in str(refusal(tmp_path / "good.yaml", text))


def test_a_second_fault_is_counted(tmp_path: Path) -> None:
    text = good_card().replace("merge: 2", "merge: two").replace("patch: 14", "patch: x")

    assert str(refusal(tmp_path / "good.yaml", text)).endswith("(1 more after this one.)")


@pytest.mark.parametrize(
    ("content", "words", "line"),
    [
        pytest.param(b"", "is not a map of keys. A card begins with `schema_version: 1`.", 1, id="empty"),
        pytest.param(b"- title: Good\n", "is not a map of keys.", 1, id="list"),
        pytest.param(b"good", "is not a map of keys.", 1, id="text"),
        pytest.param(b"title: caf\xe9\n", "is not UTF-8 text. Save it as UTF-8.", None, id="latin-1"),
        pytest.param("title: x".encode("utf-16"), "is not UTF-8 text.", None, id="utf-16"),
        pytest.param(b"title: \x00\n", "is not YAML: ", None, id="null"),
        pytest.param(
            b"#" * (MAX_BYTES + 1), "a card has at most 1,048,576 bytes, this file has", None, id="large"
        ),
    ],
)
def test_a_file_that_is_no_card_is_refused(
    content: bytes, words: str, line: int | None, tmp_path: Path
) -> None:
    path = tmp_path / "good.yaml"
    path.write_bytes(content)

    with pytest.raises(CardError) as caught:
        read(path)

    assert words in str(caught.value)
    assert (caught.value.path, caught.value.line, caught.value.column) == (str(path), line, None)


def test_a_file_of_the_largest_size_is_read(tmp_path: Path) -> None:
    path = tmp_path / "good.yaml"
    path.write_text(good_card().ljust(MAX_BYTES, "#"), encoding="utf-8")

    assert read(path)["title"] == "Good"


@pytest.mark.parametrize("name", ["absent.yaml", "."])
def test_a_file_that_cannot_be_opened_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(CardError, match=r"cannot be read: .*\. Check its name\."):
        read(tmp_path / name)


def test_a_tag_runs_nothing(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    text = good_card().replace("title: Good", f"title: !!python/object/apply:os.mkdir [{trace}]")

    refusal(tmp_path / "good.yaml", text)

    assert not trace.exists()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.integers(0, len(good_card())),
    length=st.integers(0, 40),
    new=st.sampled_from(["", "x", "7", "null", "[]", "{}", ": ", "- ", "\n", "? ", "true", "[a: b]"])
    | st.text(max_size=8).filter(lambda text: text.isprintable()),
)
def test_a_damaged_card_is_used_or_refused_and_raises_nothing_else(
    tmp_path: Path, start: int, length: int, new: str
) -> None:
    path = tmp_path / "good.yaml"
    path.write_text(good_card()[:start] + new + good_card()[start + length :], encoding="utf-8")

    with contextlib.suppress(CardError):
        use(tmp_path)
