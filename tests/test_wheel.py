"""The wheel holds what it needs and nothing else, and works where the repository is not."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import registry
from registry.schema import card_schema_text
from tests.conftest import ROOT
from tests.private_cards import changed, child, contributing, put
from tests.test_reader import good_card


class Said(NamedTuple):
    """What a process wrote."""

    out: str
    err: str


class Installed(NamedTuple):
    """The installed wheel, and a folder that has nothing to do with the repository."""

    target: Path
    elsewhere: Path

    def python(self, code: str, *arguments: str, path: Sequence[Path] = (), **how: Any) -> Said:
        """What code prints that imports the wheel."""
        place = f"import registry, loader; assert registry.__file__.startswith({str(self.target)!r})\n"
        places = (self.target, *path)
        return run("-c", place + code, *arguments, cwd=self.elsewhere, path=places, **how)

    def mlx_cards(self, *arguments: str, **how: Any) -> Said:
        """What the command prints."""
        return self.python("from loader.cli import main; main()", *arguments, **how)


def run(*arguments: str, cwd: Path, path: Sequence[Path] = (), ends: int = 0, **environment: str) -> Said:
    """What this interpreter prints with these arguments; `path` is all its PYTHONPATH, `ends` its code."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if path:
        environment["PYTHONPATH"] = os.pathsep.join(map(str, path))
    command = [sys.executable, *arguments]
    done = subprocess.run(  # noqa: S603  # this interpreter
        command, cwd=cwd, env=inherited | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == ends, done.stdout + done.stderr
    return Said(done.stdout, done.stderr)


def leftovers() -> set[Path]:
    """What builds are known to leave in a repository."""
    return {path for pattern in ("build", "dist", "**/*.egg-info") for path in ROOT.glob(pattern)}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the repository as it is, without network."""
    folder = tmp_path_factory.mktemp("wheel")
    before = leftovers()
    # From elsewhere: a folder called build beside it would be imported in place of the tool.
    run("-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT), cwd=folder)
    assert leftovers() == before
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel, installed where the repository is not."""
    target, elsewhere = tmp_path_factory.mktemp("target"), tmp_path_factory.mktemp("elsewhere")
    options = ["--no-deps", "--no-index", "--no-compile", "--quiet", "--target", str(target)]
    run("-m", "pip", "install", *options, str(wheel), cwd=elsewhere)
    return Installed(target, elsewhere)


@pytest.fixture(scope="module")
def content(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_every_card(content: set[str]) -> None:
    cards = {f"registry/models/{family}.yaml" for family in registry.families()}
    assert {name for name in content if name.startswith("registry/models/")} == cards
    assert "registry/devices.yaml" in content


def test_the_wheel_holds_the_checkpoint_of_the_demo_model(content: set[str]) -> None:
    folder = registry.resolve("demo").folder
    assert folder is not None
    files = {path.relative_to(ROOT).as_posix() for path in folder.iterdir()}
    assert "registry/checkpoints/demo/model.safetensors" in files
    assert files <= content


def test_the_wheel_says_that_both_packages_are_typed(content: set[str]) -> None:
    assert {"registry/py.typed", "loader/py.typed"} <= content


def test_the_wheel_holds_the_licence(content: set[str]) -> None:
    assert [name for name in content if name.endswith(".dist-info/licenses/LICENSE")]


def test_the_wheel_holds_the_two_packages_and_nothing_else(content: set[str]) -> None:
    folders = {name.partition("/")[0] for name in content}
    assert {name for name in folders if not name.endswith(".dist-info")} == {"registry", "loader"}


def test_the_installed_wheel_finds_its_cards_and_renders_a_prompt(installed: Installed) -> None:
    code = (
        'card = registry.card("qwen2.5-vl-7b")\n'
        'messages = [{"role": "user", "content": [{"type": "image"}, "What is this?"]}]\n'
        "print(loader.render(card, messages).text)"
    )
    assert "<|vision_start|><|image_pad|><|vision_end|>What is this?" in installed.python(code).out


def test_the_installed_command_lists_the_models(wheel: Path, installed: Installed) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (points,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert "mlx-cards = loader.cli:main" in archive.read(points).decode()
    assert set(registry.names()) <= set(installed.mlx_cards("list").out.split())


def test_the_installed_command_knows_its_version(wheel: Path, installed: Installed) -> None:
    version = wheel.name.split("-")[1]
    assert version in installed.mlx_cards("--version").out


# Cards of one's own, beside those of the wheel.


def test_the_wheel_finds_cards_in_folders_of_the_users(installed: Installed, tmp_path: Path) -> None:
    named = put(tmp_path / "named", acme=good_card("acme"))
    put(tmp_path / "config" / "mlx-cards" / "cards", beta=good_card("beta"))
    own = {"MLX_CARDS_PATH": str(named), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    listed = installed.mlx_cards("list", **own).out.split()
    assert {"acme-3b", "beta-3b", "qwen2.5-vl-7b"} <= set(listed)
    assert "mlx-community/acme-3B-4bit" in installed.mlx_cards("show", "acme-3B-Instruct", **own).out
    assert str(tmp_path / "config") in installed.mlx_cards("show", "beta", **own).out


def test_the_wheel_finds_cards_of_another_package_without_running_its_code(
    installed: Installed, tmp_path: Path
) -> None:
    site = contributing(tmp_path / "site", acme=good_card("acme"))
    shown = installed.mlx_cards("show", "acme-3b", path=[site])
    assert str(site / "acme_cards" / "models" / "acme.yaml") in shown.out
    assert shown.err == ""


def test_a_private_card_extends_one_of_the_wheel(installed: Installed, tmp_path: Path) -> None:
    own = put(tmp_path / "own", acme=child("qwen2.5-vl", "image: {budget: {tokens: 77}}"))
    shown = installed.mlx_cards("show", "acme-7b", "--resolved", MLX_CARDS_PATH=str(own)).out
    lines = [line.split() for line in shown.splitlines()]
    assert [f"{own / 'acme.yaml'}:4", "image.budget.tokens", "77"] in lines
    assert any(line[0].startswith("qwen2.5-vl.yaml:") for line in lines)


def test_a_private_card_that_hides_one_of_the_wheel_is_reported(installed: Installed, tmp_path: Path) -> None:
    own = put(tmp_path / "own", acme=changed("[acme-3B-Instruct]", "[Qwen2.5-VL-7B-Instruct]", "acme"))
    said = installed.mlx_cards("show", "Qwen2.5-VL-7B-Instruct", MLX_CARDS_PATH=str(own))
    assert said.out.startswith("acme-3b (Acme)")
    hidden = installed.target / "registry" / "models" / "qwen2.5-vl.yaml"
    assert f"of {own / 'acme.yaml'}, and hides 7b of {hidden}." in said.err


def test_the_installed_command_validates_a_private_card(installed: Installed, tmp_path: Path) -> None:
    own = put(tmp_path / "own", acme=changed("patch: 14", "patch: fourteen", "acme"))
    said = installed.mlx_cards("validate", str(own), ends=1)
    assert f"{own / 'acme.yaml'}:15:" in said.out
    assert "MC" in said.out


def test_the_installed_command_prints_the_schema_of_its_cards(installed: Installed) -> None:
    assert installed.mlx_cards("schema").out == card_schema_text()


def test_the_installed_command_writes_a_card_that_is_then_found(
    installed: Installed, checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    own = tmp_path / "own"
    installed.mlx_cards("new", str(checkpoint("qwen2-vl")), "--id", "acme", "--output", str(own))
    line, _ = (own / "acme.yaml").read_text(encoding="utf-8").split("\n", 1)
    schema = own / line.removeprefix("# yaml-language-server: $schema=")
    assert schema.read_text(encoding="utf-8") == card_schema_text()
    assert "MC" in installed.mlx_cards("validate", str(own), ends=1).out  # what is left to do
    said = installed.mlx_cards("show", "acme", MLX_CARDS_PATH=str(own), ends=1)
    assert f"{own / 'acme.yaml'}:" in said.err
