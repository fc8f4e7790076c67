"""What a card may say. The JSON Schema in schemas/ is generated from these classes.

(Not `card.py`: a submodule of that name would replace the function `registry.card`.)

A card describes a family. Each of its models may override any part of it: maps merge, lists and
scalars are replaced. `Card` is always the card as one model (or the family itself) sees it.
"""

from __future__ import annotations

import datetime
import json
from typing import Any, Literal, get_args

from pydantic import Field, PositiveInt, PrivateAttr, model_validator

from registry.grammar import Data, Prompt
from registry.naming import model_name
from registry.vision import Image

Quantization = Literal["3bit", "4bit", "5bit", "6bit", "8bit", "16bit", "fp16", "bf16"]
PRECISION: tuple[Quantization, ...] = get_args(Quantization)
"""From coarse to fine. 16bit: two bytes a weight, which of the two formats is not established."""
REPOSITORY = r"^[\w.-]+/[\w.-]+$"
"""A hub repository, owner/name."""
COMMIT = r"^[0-9a-f]{40}$"
"""A commit of a hub repository; a branch moves, and with it what was checked."""


class Backend(Data):
    """What runs the family."""

    package: Literal["mlx-vlm"]
    """The package that has the model's classes."""
    requires: str
    """Versions of that package which this card was checked with (PEP 440)."""
    model_types: tuple[str, ...] = Field(min_length=1)
    """`model_type` values in config.json that mean this family."""
    processor: str
    """Class of the loaded processor. Another class means that it silently failed to load."""


class VisionTower(Data):
    """Dimensions of the vision encoder, for the memory estimate."""

    layers: PositiveInt
    """Transformer blocks."""
    hidden: PositiveInt
    """Width."""
    heads: PositiveInt
    """Attention heads."""
    intermediate: PositiveInt
    """Width of the feed-forward part."""
    attention: Literal["segments", "windows", "batch"]
    """segments: within an image; windows: in windows, a few layers fully; batch: pictures in a batch."""
    full_layers: tuple[int, ...] = ()
    """With windows: the layers that attend to the whole image, from 0."""


class Memory(Data):
    """Dimensions from which memory is computed. Language dimensions stand with each model."""

    vision: VisionTower
    """The vision encoder."""


class TextTower(Data):
    """Dimensions of the language model."""

    layers: PositiveInt
    """Transformer blocks."""
    hidden: PositiveInt
    """Width."""
    heads: PositiveInt
    """Query heads."""
    kv_heads: PositiveInt
    """Key and value heads."""
    head_dim: PositiveInt
    """Width of one head."""
    intermediate: PositiveInt
    """Width of the feed-forward part."""
    vocab: PositiveInt
    """Rows of the embedding table."""
    tied: bool = False
    """The output projection is the embedding table."""
    window: PositiveInt | None = None
    """Positions that a sliding-window layer sees."""
    full_every: PositiveInt | None = None
    """With a window: every n-th layer sees all positions."""
    experts: PositiveInt | None = None
    """Experts in one layer of a mixture of experts."""
    active_experts: PositiveInt | None = None
    """Experts that one token uses."""
    expert_intermediate: PositiveInt | None = None
    """Width of one expert."""


class Weights(Data):
    """One published quantization of a model."""

    repository: str = Field(pattern=REPOSITORY)
    """Hub repository, owner/name."""
    revision: str | None = Field(None, pattern=COMMIT)
    """Commit that was checked. Absent: the newest one is resolved to a commit when loading."""
    bytes: PositiveInt | None = None
    """Bytes of weights when converted with the card's backend version. The hub's own files may differ."""


class Model(Data):
    """One released model of a family."""

    name: str | None = None
    """Full name, where it is not the family's id, a hyphen and this entry's key."""
    aliases: tuple[str, ...] = ()
    """Other names that mean exactly this model."""
    parameters: PositiveInt
    """Parameters as the backend counts them (tied matrices that it stores twice count twice)."""
    text: TextTower
    """The language model."""
    context: PositiveInt
    """Positions that the model was released for."""
    license: str | None = None
    """SPDX id or hub licence name, where it differs from the family's."""
    source: str = Field(pattern=REPOSITORY)
    """Hub repository of the original weights."""
    quantizations: dict[Quantization, Weights] = Field(default_factory=dict)
    """Published MLX conversions. Only repositories that are known to exist."""
    override: dict[str, Any] = Field(default_factory=dict)
    """What this model changes in the family's `prompt`, `image`, `backend` or `memory`."""

    @model_validator(mode="after")
    def _override_known_parts(self) -> Model:
        if unknown := sorted(self.override.keys() - {"prompt", "image", "backend", "memory"}):
            raise ValueError(f"override: cannot change {', '.join(unknown)}")
        return self


class Source(Data):
    """Where facts come from."""

    url: str | None = None
    """A public page or file."""
    package: str | None = None
    """An installable package and version whose source states or computes the facts."""
    facts: tuple[str, ...] = Field(min_length=1)
    """Groups of facts, as paths in the card: `prompt`, `image.resize`, `models`."""
    checked: datetime.date
    """When somebody looked."""
    note: str | None = None
    """What exactly was read or measured, and how sure it is."""

    @model_validator(mode="after")
    def _one_place(self) -> Source:
        if (self.url is None) == (self.package is None):
            raise ValueError("a source has either a url or a package")
        return self


class Card(Data):
    """A family of vision-language models, as one of its models (or the family) sees it."""

    schema_version: Literal[1]
    """Version of this format."""
    title: str
    """Name as its makers write it."""
    license: str
    """SPDX id or hub licence name."""
    aliases: tuple[str, ...] = ()
    """Other names that mean the family."""
    backend: Backend
    """What runs the family."""
    prompt: Prompt
    """The chat template as data."""
    image: Image | None = None
    """How images are taken. Absent: the family takes none."""
    memory: Memory | None = None
    """Dimensions for the memory estimate."""
    models: dict[str, Model]
    """The released models, by size or variant."""
    sources: tuple[Source, ...] = Field(min_length=1)
    """Where every group of facts comes from."""

    _id: str = PrivateAttr("")
    _key: str | None = PrivateAttr(None)
    _name: str = PrivateAttr("")

    @property
    def id(self) -> str:
        """The family's id: the stem of the card's file."""
        return self._id

    @property
    def model(self) -> Model | None:
        """The model that this card is seen as, None for the family itself."""
        return None if self._key is None else self.models[self._key]

    @property
    def name(self) -> str:
        """The model's full name, or the family's id."""
        return self._name

    @classmethod
    def from_data(cls, data: dict[str, Any], *, id: str, key: str | None = None) -> Card:  # noqa: A002
        """Validate a card's data as the model `key` sees it.

        Raises pydantic.ValidationError; `registry.catalog` turns it into a CardError with a place.
        """
        model: dict[str, Any] = data["models"][key] if key is not None else {}
        merged = merge(data, model.get("override", {}))
        # By way of JSON, where strict means: no text for a number and no 1 for true, but a list is a list.
        card = cls.model_validate_json(json.dumps(merged, default=str), strict=True)
        card._id, card._key = id, key
        card._name = id if key is None else model_name(id, key, model)
        return card


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
