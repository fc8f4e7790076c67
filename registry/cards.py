"""What a card may say. The JSON Schema in schemas/ is generated from these classes.

(Not `card.py`: a submodule of that name would replace the function `registry.card`.)

A card describes a family. Each of its models may override any part of it: maps merge, lists and
scalars are replaced. `Card` is always the card as one model (or the family itself) sees it.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import field, fields
from typing import Annotated, Any, Literal, get_args

from registry.data import Count, Positive, Rule, build, record
from registry.grammar import Prompt, Template
from registry.memory import Memory, TextTower
from registry.naming import FAMILY, model_name
from registry.vision import Image

Quantization = Literal["3bit", "4bit", "5bit", "6bit", "8bit", "16bit", "fp16", "bf16"]
PRECISION: tuple[Quantization, ...] = get_args(Quantization)
"""From coarse to fine. 16bit: two bytes a weight, which of the two formats is not established."""
REPOSITORY = r"^[\w.-]+/[\w.-]+$"
"""A hub repository, owner/name."""
COMMIT = r"^[0-9a-f]{40}$"
"""A commit of a hub repository; a branch moves, and with it what was checked."""
FOLDER = r"^[a-z0-9][a-z0-9-]*$"
"""A folder in registry/checkpoints."""
NON_EMPTY = Rule(min_length=1)
Status = Literal["experimental", "stable", "deprecated", "retired"]


@record
class Deprecation:
    """Why something should not be used any more, and what to use in its place."""

    since: datetime.date
    """The day from which it should not be used."""
    message: str
    """Why, in a sentence for those who use it."""
    replacement: str | None = None
    """The name to use in its place, of this card or another one. Absent: nothing replaces it."""


def _check_life(status: Status | None, deprecated: Deprecation | None) -> None:
    if (status in {"deprecated", "retired"}) != (deprecated is not None):
        raise ValueError(
            "status: deprecated and retired go with `deprecated`, which says why, and only they do"
        )


@record
class Backend:
    """What runs the family."""

    package: Literal["mlx-vlm"]
    """The package that has the model's classes."""
    requires: str
    """Versions of that package which this card was checked with (PEP 440)."""
    model_types: Annotated[tuple[str, ...], NON_EMPTY]
    """`model_type` values in config.json that mean this family."""
    named_only: bool = False
    """A checkpoint is of this family only where a caller says so: the model types mean another one."""
    processor: str
    """Class of the loaded processor. Another class means that it silently failed to load."""
    max_images: Positive | None = None
    """Images that the backend handles; more would be left out, mixed up, or fail. Absent: any number."""


@record
class Weights:
    """One published quantization of a model: a repository, or a folder that comes with the package."""

    repository: Annotated[str, Rule(pattern=REPOSITORY)] | None = None
    """Hub repository, owner/name."""
    folder: Annotated[str, Rule(pattern=FOLDER)] | None = None
    """Folder in registry/checkpoints: the checkpoint is part of this package, and found without a network."""
    revision: Annotated[str, Rule(pattern=COMMIT)] | None = None
    """Commit that was checked. Absent: the newest one is resolved to a commit when loading."""
    bytes: Positive | None = None
    """Bytes of weights when converted with the card's backend version. The hub's own files may differ."""

    def __post_init__(self) -> None:
        if self.repository is None and self.folder is None:
            raise ValueError("repository: this key is missing")
        if self.folder is not None and (self.repository or self.revision):
            raise ValueError("folder: what comes with the package is in no repository")


@record
class Model:
    """One released model of a family."""

    name: str | None = None
    """Full name, where it is not the family's id, a hyphen and this entry's key."""
    aliases: tuple[str, ...] = ()
    """Other names that mean exactly this model."""
    former_names: tuple[str, ...] = ()
    """Names that it had before. They still mean it, with a warning, and nothing else may take them."""
    status: Status | None = None
    """How far to rely on it: as the family's. Absent: the family's."""
    deprecated: Deprecation | None = None
    """Since when, why, and what to use instead, with the status deprecated or retired."""
    parameters: Positive | None = None
    """Parameters as the backend counts them (tied matrices that it stores twice count twice). Absent: not
    established."""
    unquantized_bytes: Count | None = None
    """Bytes that every conversion by the card's backend version leaves in 16 bits, so that they are part of
    every quantization's bytes: vision encoder and projector, as a rule. Absent: not established."""
    text: TextTower | None = None
    """The language model. Absent: not established, and the memory it needs is unknown."""
    context: Positive | None = None
    """Positions that the model was released for. Absent: not established."""
    license: str | None = None
    """SPDX id or hub licence name, where it differs from the family's."""
    source: Annotated[str, Rule(pattern=REPOSITORY)] | None = None
    """Hub repository of the original weights. Absent only where all checkpoints come with the package."""
    quantizations: dict[Quantization, Weights] = field(default_factory=dict)
    """Published MLX conversions. Only repositories that are known to exist."""
    override: dict[str, Any] = field(default_factory=dict)
    """What this model changes in the family's `prompt`, `template`, `image`, `backend` or `memory`."""

    def __post_init__(self) -> None:
        _check_life(self.status, self.deprecated)
        if unknown := sorted(self.override.keys() - {"prompt", "template", "image", "backend", "memory"}):
            raise ValueError(f"override: cannot change {', '.join(unknown)}")
        ships = [weights.folder is not None for weights in self.quantizations.values()]
        if self.source is None and not (ships and all(ships)):
            raise ValueError("source: this key is missing")


@record
class Source:
    """Where facts come from."""

    url: str | None = None
    """A public page or file."""
    package: str | None = None
    """An installable package and version whose source states or computes the facts."""
    facts: Annotated[tuple[str, ...], NON_EMPTY]
    """Groups of facts, as paths in the card: `prompt`, `image.resize`, `models`."""
    checked: datetime.date
    """When somebody looked."""
    note: str | None = None
    """What exactly was read or measured, and how sure it is."""

    def __post_init__(self) -> None:
        if (self.url is None) == (self.package is None):
            raise ValueError("a source has either a url or a package")


@record
class CardFile:
    """A family of vision-language models: what the file says."""

    schema_version: Literal[1]
    """Version of this format."""
    extends: Annotated[str, Rule(pattern=FAMILY)] | None = None
    """The id of another card, of which this one says only what differs: maps merge, lists and scalars are
    replaced, null takes away. Sources, goldens and names are not inherited, and that card extends none."""
    status: Status = "stable"
    """How far to rely on it. experimental: it may change or go away; deprecated: its names still resolve,
    with a warning; retired: they are refused, naming what replaces them."""
    deprecated: Deprecation | None = None
    """Since when, why, and what to use instead, with the status deprecated or retired."""
    title: str
    """Name as its makers write it."""
    license: str
    """SPDX id or hub licence name."""
    aliases: tuple[str, ...] = ()
    """Other names that mean the family."""
    former_names: tuple[str, ...] = ()
    """Names that it had before. They still mean it, with a warning, and nothing else may take them."""
    backend: Backend
    """What runs the family."""
    prompt: Prompt | None = None
    """The chat template as data."""
    template: Template | None = None
    """The chat template as a program, for the few families whose prompt no grammar can say."""
    image: Image | None = None
    """How images are taken. Absent: the family takes none."""
    memory: Memory | None = None
    """Dimensions for the memory estimate."""
    models: dict[str, Model]
    """The released models, by size or variant."""
    sources: Annotated[tuple[Source, ...], NON_EMPTY]
    """Where every group of facts comes from."""

    def __post_init__(self) -> None:
        _check_life(self.status, self.deprecated)
        if (self.prompt is None) == (self.template is None):
            raise ValueError("prompt: a card has either a `prompt` or a `template`")


@record
class Card(CardFile):
    """A card as one model sees it, its overrides applied, or as the family itself does."""

    id: str
    """The family's id: the stem of the card's file."""
    name: str
    """The model's full name, or the family's id."""
    key: str | None = None
    """The model's key among `models`, None for the family itself."""

    @property
    def model(self) -> Model | None:
        """The model that this card is seen as, None for the family itself."""
        return None if self.key is None else self.models[self.key]


def card_of(
    data: dict[str, Any],
    *,
    family: str,
    key: str | None = None,
    make: Callable[[dict[str, Any]], CardFile],
) -> Card:
    """The card in `data` as the model `key` sees it; `make` validates, or trusts (`trusted`)."""
    model: dict[str, Any] = data["models"][key] if key is not None else {}
    said = make(merge(data, model.get("override", {})))
    name = family if key is None else model_name(family, key, model)
    return Card(**{f.name: getattr(said, f.name) for f in fields(said)}, id=family, name=name, key=key)


def trusted(data: dict[str, Any]) -> CardFile:
    """A card file's data without validation: for the cards of this package, which its tests validate."""
    made: CardFile = build(CardFile, data)
    return made


def merge(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """`base` with `change` laid over it: maps merge, everything else is replaced."""
    out = dict(base)
    for key, value in change.items():
        old = out.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and _same_kind(old, value):
            out[key] = merge(old, value)
        else:
            out[key] = value
    return out


def _same_kind(old: dict[str, Any], change: dict[str, Any]) -> bool:
    """Another `kind` is another set of fields: merging would mix two strategies."""
    return "kind" not in change or change["kind"] == old.get("kind")
