"""CONTRIBUTING.md, followed word by word in a copy of the project that lacks the family."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import loader
import registry
from registry.catalog import Catalog
from tests.conftest import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
FAMILY = "pixtral"
PARTS = ("registry", "loader", "schemas", "tools", "pyproject.toml")


@pytest.fixture
def clone(tmp_path: Path, checkpoint: Callable[[str], Path]) -> Path:
    """The project without the family's card, and a checkpoint of it without weights."""
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path)
    (tmp_path / "registry" / "models" / f"{FAMILY}.yaml").unlink()
    weights = shutil.ignore_patterns("*.safetensors")
    shutil.copytree(checkpoint(FAMILY), tmp_path / f"{FAMILY}-checkpoint", ignore=weights)
    return tmp_path


def run(command: str, clone: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(  # noqa: S603  # the page's own commands
        shlex.split(command),
        cwd=clone,
        env=environment | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def fill(card: Path) -> None:
    """Do what the page's diff says, and take the comments of the TODOs away."""
    (diff,) = re.findall(r"^```diff\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    text = card.read_text(encoding="utf-8")
    for old, new in re.findall(r"^-(.*)\n((?:\+.*\n)+)", diff, re.MULTILINE):
        assert text.count(f"\n{old}\n") == 1, old
        added = "".join(line[1:] + "\n" for line in new.splitlines())
        found = re.search(rf"\n(?: *#(?! yaml).*\n)*{re.escape(old)}\n", text)
        assert found is not None
        text = f"{text[: found.start()]}\n{added}{text[found.end() :]}"
    text = re.sub(r"^# TODO.*\n(?:#.*\n)*", "", text, flags=re.MULTILINE)
    card.write_text(text, encoding="utf-8")


def test_the_page_leads_to_a_card_without_findings_that_says_what_the_own_card_says(clone: Path) -> None:
    make, check = re.findall(r"^\$ (.*)$", PAGE, re.MULTILINE)
    made = run(make, clone)
    assert made.returncode == 0, made.stderr
    for told in ("TODO: ", "said otherwise: ", "note: "):
        assert told in made.stderr
    card = clone / "registry" / "models" / f"{FAMILY}.yaml"
    before = run(check, clone)
    assert (before.returncode, "MC313" in before.stdout) == (1, True)
    fill(card)
    after = run(check, clone)
    assert (after.returncode, after.stdout) == (0, ""), after.stdout + after.stderr
    catalog = Catalog(card.parent)
    ours, theirs = catalog.card(catalog.find(FAMILY)), registry.card(FAMILY)
    for size in ((64, 32), (4032, 3024)):
        assert loader.plan_image(ours, *size).to_dict() == loader.plan_image(theirs, *size).to_dict()


def test_the_page_is_one_page() -> None:
    assert len(PAGE.split()) < 700


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)", PAGE))
def test_what_the_page_links_to_is_there(link: str) -> None:
    assert (ROOT / link).exists()
