"""Knowing before loading is only quick while nothing heavy is imported; each test asks a new interpreter."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import loader
import registry
from tests.conftest import ROOT

HEAVY = ["mlx", "mlx_vlm", "mlx_lm", "transformers", "numpy", "PIL", "jinja2", "torch", "huggingface_hub"]
BACKENDS = {"mlx", "mlx_vlm", "mlx_lm"}
KNOW = """
import loader, registry
card = registry.card("qwen2.5-vl-7b")
loader.render(card, [{"role": "user", "content": [{"type": "image"}, "What is this?"]}])
loader.plan_image(card, 640, 480)
registry.resolve("qwen2.5-vl-7b")
registry.resolve("qwen2.5-vl-7b@4bit", device="m4-max-64gb")
"""
# Some 0.1 s. Importing the backend alone takes three times the limit.
LIMIT = 0.3
MODULES = sorted(
    info.name
    for package in (registry, loader)
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
)


def python(code: str, *arguments: str) -> str:
    """What `code` prints in a new interpreter."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(  # noqa: S603  # this interpreter
        command, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def imported(code: str) -> set[str]:
    """Top-level modules that are there after `code`."""
    return set(
        python(f"{code}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})").split()
    )


def imports(source: Path) -> set[str]:
    """Top-level packages that a file imports anywhere, also inside functions and by name."""
    found = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                found |= {alias.name for alias in names}
            case ast.ImportFrom(module=str(module), level=0):
                found.add(module)
            case ast.Call(
                func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__"),
                args=[ast.Constant(value=str(module)), *_],
            ):
                found.add(module)
    return {name.partition(".")[0] for name in found}


def type_checking_names(module: ModuleType) -> set[str]:
    """What a module shows to type checkers only."""
    tree = ast.parse(inspect.getsource(module))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    return {alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}


def test_card_prompt_plan_and_choice_import_nothing_heavy() -> None:
    assert imported(KNOW).isdisjoint([*HEAVY, "pydantic"])


def test_no_submodule_takes_the_name_of_a_public_function() -> None:
    """Importing `registry.x` would replace the function `registry.x` from then on."""
    public = {registry.__name__: registry.__all__, loader.__name__: loader.__all__}
    assert {f"{package}.{name}" for package, names in public.items() for name in names}.isdisjoint(MODULES)


@pytest.mark.parametrize("package", ["registry", "loader"])
def test_importing_a_package_alone_imports_none_of_its_dependencies(package: str) -> None:
    after = imported(f"import {package}")
    assert package in after
    assert after.isdisjoint([*HEAVY, "pydantic", "yaml", "click"])


def test_the_whole_sequence_takes_a_fraction_of_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on a user's machine: compiled once, here by the first run.
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path))
    # Time on the processor, the best of several: other work on the machine counts as little as possible.
    timed = f"import time\nstart = time.process_time()\n{KNOW}\nprint(time.process_time() - start)"
    assert min(float(python(timed)) for _ in range(4)) < LIMIT


@pytest.mark.parametrize("package", [registry, loader], ids=lambda package: package.__name__)
def test_the_public_names_are_sorted_and_a_star_import_gives_all_of_them(package: ModuleType) -> None:
    public: list[str] = package.__all__
    assert public == sorted(set(public))
    given: dict[str, object] = {}
    exec(f"from {package.__name__} import *", given)  # noqa: S102
    assert set(given) - {"__builtins__"} == set(public)


def test_every_public_function_of_registry_is_listed() -> None:
    defined = inspect.getmembers(registry, inspect.isfunction)
    assert [name for name, _ in defined if not name.startswith("_")] == registry.__all__


def test_what_type_checkers_see_of_loader_is_what_is_listed() -> None:
    assert type_checking_names(loader) == set(loader.__all__)


@pytest.mark.parametrize("name", loader.__all__)
def test_every_public_name_of_loader_is_there_and_shown(name: str) -> None:
    assert callable(getattr(loader, name))
    assert name in python("import loader; print(*dir(loader))").split()


@pytest.mark.parametrize("package", ["registry", "loader"])
def test_an_unknown_attribute_is_refused_by_name(package: str) -> None:
    with pytest.raises(AttributeError, match=rf"module '{package}' has no attribute 'nothing'"):
        importlib.import_module(package).nothing  # noqa: B018


def test_only_the_two_backend_modules_import_mlx() -> None:
    files = [*ROOT.glob("registry/**/*.py"), *ROOT.glob("loader/**/*.py")]
    using = {file.relative_to(ROOT).as_posix() for file in files if imports(file) & BACKENDS}
    assert using == {"loader/backend.py", "loader/text_backend.py"}


@functools.cache
def failures() -> dict[str, str]:
    """Modules that cannot be the first of the project to be imported, each with its error.

    One interpreter for all of them: it forgets the project's modules each time, the rest stays.
    """
    code = """
import importlib, json, sys
failed = {}
for module in sys.argv[1:]:
    for name in [name for name in sys.modules if name.partition(".")[0] in ("registry", "loader")]:
        del sys.modules[name]
    try:
        importlib.import_module(module)
    except Exception as error:
        failed[module] = f"{type(error).__name__}: {error}"
print(json.dumps(failed))
"""
    answer: dict[str, str] = json.loads(python(code, *MODULES))
    return answer


@pytest.mark.parametrize("module", MODULES)
def test_every_module_can_be_imported_first(module: str) -> None:
    assert failures().get(module) is None
