"""Tier 6, only when asked: the installed backend has the family, and answers with random weights.

Released weights would be gigabytes behind a network. A checkpoint with random weights goes through the same
classes, processors and checks, and its answer is noise, but it is one.
"""

from __future__ import annotations

import ast
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from packaging.specifiers import SpecifierSet

from loader.errors import MLXCardsError
from registry.cards import Card
from registry.choice import CHECKPOINTS
from registry.validate.findings import Finding
from registry.validate.schema import Subject

Build = Callable[[Path], Path]
"""Returns a checkpoint, written into the given folder, which does not exist yet, where there is none."""
SIZE = (640, 480)
_MEND = "Mend the card, or report it to the backend's makers."


def check(subject: Subject) -> tuple[list[Finding], list[str]]:
    """The findings, and why the family could not be run, if so."""
    if subject.family is None:
        return [], []
    if found := [*_installed(subject, subject.family)]:
        return found, []
    build = _recipe(subject.family)
    if build is None:
        return [], [f"{subject.id} was not run: there is no recipe for random weights of it"]
    return [*_run(subject, subject.family, build)], []


def _installed(subject: Subject, card: Card) -> Iterator[Finding]:
    package = card.backend.package
    where = ("backend", "requires")
    try:
        installed = metadata.version(package)
    except metadata.PackageNotFoundError:
        mend = "Install it with: pip install 'mlx-cards[mlx]'."
        yield subject.document.finding("MC601", where, f"{package} is not installed", mend)
        return
    if installed not in SpecifierSet(card.backend.requires, prereleases=True):
        said = f"{package} {installed} is installed, and the card needs {card.backend.requires}"
        mend = "Install that version, or check the card with the installed one."
        yield subject.document.finding("MC601", where, said, mend)
        return
    known = _model_types(package.replace("-", "_"))
    for i, model_type in enumerate(card.backend.model_types):
        if model_type not in known:
            said = f"{package} {installed} has no model type {model_type!r}"
            mend = "Correct it, or require the version that has it."
            yield subject.document.finding("MC602", ("backend", "model_types", i), said, mend)


def _model_types(module: str) -> frozenset[str]:
    """The model types that the backend has, by its files: importing it takes seconds."""
    spec = find_spec(module)
    assert spec is not None and spec.submodule_search_locations  # noqa: S101, PT018  # it is installed
    home = Path(spec.submodule_search_locations[0])
    names = {path.stem for path in (home / "models").iterdir()}
    for node in ast.parse((home / "utils.py").read_text(encoding="utf-8")).body:
        match node:
            case ast.Assign(targets=[ast.Name(id="MODEL_REMAPPING")], value=value):
                names |= set(ast.literal_eval(value))
    return frozenset(names)


def _recipe(card: Card) -> Build | None:
    """What gives a checkpoint: the package's own, else a recipe of the family's name or model type."""
    for model in card.models.values():
        for weights in model.quantizations.values():
            if weights.folder is not None:
                shipped = CHECKPOINTS / weights.folder
                return lambda _: shipped
    try:
        from tools.random_checkpoint import build, recipe
    except ModuleNotFoundError:
        return None  # the recipes are in the repository, not in the package
    types = () if card.backend.named_only else card.backend.model_types
    fitting = [
        name
        for name in recipe.names()
        if name == card.id or recipe.load(name).config.get("model_type") in types
    ]
    if not fitting:
        return None
    chosen = card.id if card.id in fitting else fitting[0]
    return lambda folder: build(chosen, folder)


def _run(subject: Subject, card: Card, build: Build) -> Iterator[Finding]:
    """Load random weights as this card and ask about an image."""
    import PIL.Image

    from loader.backend import Backend
    from loader.checkpoint import local
    from loader.model import VisionModel

    with tempfile.TemporaryDirectory(prefix="mlx-cards-validate-") as scratch:
        checkpoint = local(build(Path(scratch) / "checkpoint"))
        try:
            backend = Backend(checkpoint.folder, card.backend)
            if card.image is not None and card.image.positions == "token":
                backend.check_image_token(card.image.token, checkpoint.config)
        except MLXCardsError as error:
            yield subject.document.finding("MC603", ("backend",), _sentence(error), _MEND, on="key")
            return
        images = [] if card.image is None else [PIL.Image.new("RGB", SIZE, "teal")]
        try:
            VisionModel(card, checkpoint, backend).generate("What is this?", images=images, max_tokens=2)
        except Exception as error:  # noqa: BLE001  # the backend raises anything
            where = ("image",) if card.image is not None else ("backend",)
            said = f"no answer about an image of {SIZE[0]}x{SIZE[1]}: {_sentence(error)}"
            yield subject.document.finding("MC604", where, said, _MEND, on="key")


def _sentence(error: Exception) -> str:
    """An error's first sentence, without the folder that is gone by then."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].partition(". ")[0].rstrip(".")[:300]
