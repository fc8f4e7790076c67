"""What the forge and pre-commit are told: valid by its schemas, pinned, and a hook that does what it says."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
SCHEMAS = [
    *((path, "github-workflows") for path in WORKFLOWS),
    *((path, "github-issue-forms") for path in FORMS),
]
ACME = """\
schema_version: 1
extends: qwen2.5-vl
title: Acme-VL
image:
  budget: {tokens: 640}
models:
  3b: null
  32b: null
  72b: null
  7b:
    source: acme/Acme-VL-7B
sources:
  - {url: "https://example.org/acme", facts: [image.budget, models], checked: 2026-11-21}
"""


@pytest.mark.parametrize(("path", "schema"), SCHEMAS, ids=lambda it: getattr(it, "stem", it))
def test_what_the_forge_reads_is_valid_by_its_own_schema(path: Path, schema: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("check_jsonschema") is None:
        pytest.skip("check-jsonschema is not installed")
    broken = tmp_path / path.name
    broken.write_text(path.read_text(encoding="utf-8") + "\nnonsense: true\n", encoding="utf-8")
    for file, code in ((path, 0), (broken, 1)):
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", str(file)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_name_others_code_by_its_commit_and_may_not_write(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    used = re.findall(r"uses: *(.*)", text)
    assert used
    assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v[\d.]+", it) for it in used)
    assert yaml.safe_load(text)["permissions"] == {"contents": "read"}


def hook() -> dict[str, Any]:
    (only,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    return dict(only)


@pytest.mark.parametrize(
    ("file", "wanted"),
    [
        ("cards/acme.yaml", True),
        ("my-cards/acme.yaml", True),
        ("src/registry/models/acme.yaml", True),
        ("cards/golden/acme.yaml", False),
        ("cards/acme.yml", False),
        ("flashcards/acme.yaml", False),
    ],
)
def test_the_hook_takes_cards_and_not_their_goldens(file: str, wanted: bool) -> None:
    assert bool(re.search(hook()["files"], file)) == wanted


@pytest.mark.parametrize(("tokens", "code"), [("640", 0), ("many", 1)])
def test_the_hook_passes_a_sound_private_card_and_names_the_fault_of_another(
    tokens: str, code: int, tmp_path: Path
) -> None:
    """As pre-commit runs it: entry, arguments, files. `pre-commit try-repo` itself was run by hand."""
    card = tmp_path / "my-cards" / "acme.yaml"
    card.parent.mkdir()
    card.write_text(ACME.replace("640", tokens), encoding="utf-8")
    command, *rest = shlex.split(hook()["entry"])
    assert command == "mlx-cards"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "loader.cli", *rest, *hook()["args"], "my-cards/acme.yaml"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert ("MC203" in done.stdout) == bool(code)
