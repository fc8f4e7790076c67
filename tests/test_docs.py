"""The documentation runs: every Python block, every command with the output that is shown."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from registry.schema import validated
from tests.command import mlx_cards
from tests.conftest import ROOT
from tools.demo import pictures

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RUN = {"python", "console", "yaml"}
"""Languages whose blocks are run by this file; those of CONTRIBUTING.md by test_new_contributing.py."""
PLAIN = {"text", "diff"}
"""What is shown, and is nobody's code."""
BY_THE_READER = {"make", "pip", "python", ".venv/bin/python"}
"""Programs that a reader runs to get here or to measure, and that take minutes or the network."""
FENCE = re.compile(r" *```(\w*)")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(language: str) -> Sequence[object]:
    """All fenced blocks of a language in the README and the docs."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            if match[1] == language:
                line = text[: match.start()].count("\n") + 1
                found.append(pytest.param(match[2], id=f"{page.name}:{line}"))
    return found


def fences() -> Iterator[object]:
    """The language of every code block, with the line above it."""
    for page in [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "examples" / "README.md"]:
        above, inside = "", False
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
            if fence := FENCE.match(line):
                inside = not inside
                if inside:
                    yield pytest.param(fence[1], above, id=f"{page.name}:{number}")
            above = line


@pytest.mark.parametrize(("language", "above"), [*fences()])
def test_a_code_block_is_run_or_says_why_not(language: str, above: str) -> None:
    reason = re.fullmatch(r" *<!-- \w.* -->", above)

    assert language in RUN | PLAIN or reason, (
        f"Blocks of {language or 'no language'} are not run. Write one of {', '.join(sorted(RUN))}, or the "
        "reason in a comment in the line above: <!-- not run here: ... -->"
    )


@pytest.fixture
def clone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint: Callable[[str], Path], photo: Path
) -> Path:
    """What a user has after `make demo`: the photo, the drawings and the small checkpoint."""
    (tmp_path / "examples").mkdir()
    shutil.copy(photo, tmp_path / "examples")
    pictures(tmp_path)
    (tmp_path / ".demo" / "qwen2.5-vl").symlink_to(checkpoint("qwen2.5-vl"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))  # sessions of AbstractLLM write logs there
    return tmp_path


@pytest.mark.parametrize("code", blocks("python"))
def test_every_python_block_runs(clone: Path, code: str) -> None:
    exec(compile(code, "a block of the documentation", "exec"), {"__name__": "__main__"})  # noqa: S102  # our own pages


def commands(block: str) -> list[tuple[str, str]]:
    """The commands of a console block with the output that stands below each."""
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    return [(part.partition("\n")[0], part.partition("\n")[2].rstrip()) for part in parts]


@pytest.mark.parametrize("block", blocks("console"))
def test_every_command_prints_what_the_page_shows(
    clone: Path, block: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for command, shown in commands(block):
        program, *arguments = shlex.split(command)
        if program in BY_THE_READER:
            continue
        assert program == "mlx-cards", f"{program} is not run, and nobody would notice if it failed"
        result = mlx_cards(*arguments, capsys=capsys, monkeypatch=monkeypatch)
        assert result.code == 0, result.err
        if arguments[:2] == ["run", ".demo/qwen2.5-vl"]:
            continue  # random weights answer with noise
        printed = result.out.rstrip()
        for piece in shown.split("\n...\n"):  # a page may leave lines out
            assert piece in printed, command


@pytest.mark.parametrize("text", blocks("yaml"))
def test_every_card_that_a_page_shows_is_a_valid_card(text: str) -> None:
    import yaml

    assert validated(yaml.safe_load(text)).models
