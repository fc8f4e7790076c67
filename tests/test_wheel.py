"""The wheel holds what it needs and nothing else, and works where the repository is not."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import registry
from tests.conftest import ROOT

Installed = Callable[..., str]


def run(*arguments: str, cwd: Path, path: Path | None = None) -> str:
    """What this interpreter prints with these arguments; `path` is its only PYTHONPATH."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    command = [sys.executable, *arguments]
    done = subprocess.run(  # noqa: S603  # this interpreter
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


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
    """Runs code against the installed wheel, in a folder that has nothing to do with the repository."""
    target, elsewhere = tmp_path_factory.mktemp("target"), tmp_path_factory.mktemp("elsewhere")
    options = ["--no-deps", "--no-index", "--no-compile", "--quiet", "--target", str(target)]
    run("-m", "pip", "install", *options, str(wheel), cwd=elsewhere)

    def python(code: str, *arguments: str) -> str:
        place = f"import registry, loader; assert registry.__file__.startswith({str(target)!r})\n"
        return run("-c", place + code, *arguments, cwd=elsewhere, path=target)

    return python


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
    assert "<|vision_start|><|image_pad|><|vision_end|>What is this?" in installed(code)


def test_the_installed_command_lists_the_models(wheel: Path, installed: Installed) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (points,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert "mlx-cards = loader.cli:main" in archive.read(points).decode()
    listed = installed("from loader.cli import main; main()", "list")
    assert set(registry.names()) <= set(listed.split())


def test_the_installed_command_knows_its_version(wheel: Path, installed: Installed) -> None:
    version = wheel.name.split("-")[1]
    assert version in installed("from loader.cli import main; main()", "--version")
