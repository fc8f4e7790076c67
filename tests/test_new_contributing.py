"""CONTRIBUTING.md, followed word by word in a copy of the project that lacks the family."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import registry
from registry.catalog import Catalog
from tests.conftest import ROOT

pytest.importorskip("mlx_vlm")

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
FAMILY = "glm-ocr"
PARTS = ("registry", "loader", "schemas", "tools", "examples", "pyproject.toml")
CONSOLE = [
    (command, output.splitlines())
    for block in re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for command, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
]
"""The page's commands, and the lines that it shows below them."""


@pytest.fixture
def clone(tmp_path: Path, checkpoint: Callable[[str], Path]) -> Path:
    """The project without the family's card, and a checkpoint of it without weights.

    The checkpoint has the released numbers, a small tokenizer, and the chat template in our own words: the
    goldens, which were recorded from the makers' own, say that it is the same.
    """
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path)
    (tmp_path / "registry" / "models" / f"{FAMILY}.yaml").unlink()
    (tmp_path / ".venv").symlink_to(sys.prefix)
    folder = tmp_path / f"{FAMILY}-checkpoint"
    shutil.copytree(checkpoint(FAMILY), folder, ignore=shutil.ignore_patterns("*.safetensors"))
    release(folder)
    return tmp_path


def release(folder: Path) -> None:
    """Give a small checkpoint the numbers of the released one, but for the ids of its tokens."""
    released = yaml.safe_load((ROOT / "tests" / "data" / f"{FAMILY}.yaml").read_text(encoding="utf-8"))
    small = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    ids = {key: value for key, value in small.items() if key.endswith("_token_id")}
    (folder / "config.json").write_text(json.dumps(released["config"] | ids), encoding="utf-8")
    settings = json.dumps(released["preprocessor_config"])
    (folder / "preprocessor_config.json").write_text(settings, encoding="utf-8")
    template = folder / "chat_template.jinja"
    told = '{%- if tools -%}{{ "<|system|>\\n" }}{{ tools | tojson }}{%- endif -%}'  # as upstream's does
    template.write_text(told + template.read_text(encoding="utf-8"), encoding="utf-8")
    about = yaml.safe_dump(released["about"])
    (folder / "README.md").write_text(f"---\n{about}---\n", encoding="utf-8")


def run(command: str, clone: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  # the page's own commands
        shlex.split(command),
        cwd=clone,
        env=os.environ | {"PYTHONPATH": str(clone)},  # where an installed command finds this clone
        capture_output=True,
        text=True,
        check=False,
    )


def assert_shown(shown: list[str], done: subprocess.CompletedProcess[str]) -> None:
    """What the page shows was printed, and nothing else; "..." stands for more lines like the one before."""
    printed = list(map(without_chance, [*done.stdout.splitlines(), *done.stderr.splitlines()]))
    kept: list[str] = []
    for line in printed:
        if "..." not in shown or line not in kept:
            kept.append(line)
    assert kept == [without_chance(line) for line in shown if line != "..."]


def without_chance(line: str) -> str:
    """Which odd conversations are tried depends on the tags that stand in a template: ours has fewer."""
    line = re.sub(r"^(said otherwise): .*", r"\1", line)
    return re.sub(r"^(note:) [\d,]+ of [\d,]+ odd", r"\1 some odd", line)


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


def goldens(folder: Path) -> dict[str, Any]:
    recorded = yaml.safe_load((folder / "tests" / "golden" / f"{FAMILY}.yaml").read_text(encoding="utf-8"))
    return {key: recorded[key] for key in ("prompts", "images")}


def test_the_page_leads_to_the_familys_own_card_and_goldens(clone: Path) -> None:
    (make, made), (count, counted), (check, checked), *looks = CONSOLE
    done = run(make, clone)
    assert done.returncode == 0, done.stderr
    assert_shown(made, done)
    assert goldens(clone) == goldens(ROOT)
    card = clone / "registry" / "models" / f"{FAMILY}.yaml"
    before = run(check, clone)
    assert (before.returncode, "MC313" in before.stdout) == (1, True)
    assert_shown(counted, run(count, clone))
    fill(card)
    after = run(check, clone)
    assert (after.returncode, after.stdout) == (0, ""), after.stdout + after.stderr
    assert_shown(checked, after)
    catalog = Catalog(card.parent)
    ours, theirs = catalog.card(catalog.find(FAMILY)), registry.card(FAMILY)
    for part in ("title", "license", "backend", "prompt", "image", "memory"):
        assert getattr(ours, part) == getattr(theirs, part)
    (model,) = ours.models.values()
    assert (model.parameters, model.text) == (theirs.models["0.9b"].parameters, theirs.models["0.9b"].text)
    codes = {command.split()[1]: run(command, clone) for command, _ in looks}
    assert {name: done.returncode for name, done in codes.items()} == {"prompt": 0, "plan": 0, "check": 1}
    assert codes["check"].stdout.count("\nfail ") == 1


def test_the_page_is_one_page() -> None:
    assert len(PAGE.split()) < 750


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)", PAGE))
def test_what_the_page_links_to_is_there(link: str) -> None:
    assert (ROOT / link).exists()


@pytest.mark.parametrize("tool", ["new", "validate"])
def test_without_an_environment_a_tool_says_how_to_make_one(tool: str, tmp_path: Path) -> None:
    """With a Python that lacks the packages, and with none at all."""
    shutil.copytree(ROOT / "tools", tmp_path / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    for name, shebang in (
        ("bare", f'#!/bin/sh\nexec {sys.executable} -S -E "$@"\n'),
        ("none", "#!/bin/false\n"),
    ):
        (tmp_path / name).mkdir()
        python = tmp_path / name / "python3"
        python.write_text(shebang, encoding="utf-8")
        python.chmod(0o755)
        done = subprocess.run(  # noqa: S603  # our own file
            [str(tmp_path / "tools" / tool), "x"],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": f"{tmp_path / name}{os.pathsep}/usr/bin{os.pathsep}/bin"},
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"{tool}: python3 is not Python 3.11 or newer with the packages")
        assert f"`make env` in {tmp_path}" in done.stderr
        assert done.stderr.count("\n") == 1
