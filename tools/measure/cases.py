"""What is measured: released models with fewer layers, and images that they are asked about (cases.yaml)."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

import registry
from registry.cards import Card
from registry.data import build
from registry.memory import Cache

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "tests" / "data" / "weights.json"
"""Configs of released models, for those of one architecture and size each."""

_SIZE = re.compile(r"([1-9]\d*)x([1-9]\d*)")


class Changes(BaseModel):
    """What a card says otherwise about the model that was measured: its layers."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    vision: dict[str, Any] = {}
    """Fields of the card's `memory.vision` that differ."""
    text: dict[str, Any] = {}
    """Fields of the model's `text` that differ."""

    def applied(self, card: Card) -> Card:
        """The card of the measured model."""
        model = card.model
        if card.key is None or card.memory is None or model is None or model.text is None:
            raise ValueError(f"{card.name}: the card has no dimensions to change")
        vision: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in self.vision.items()
        }
        text: dict[str, Any] = {
            name: tuple(build(Cache, it) for it in v) if name == "cache" else v
            for name, v in self.text.items()
        }
        return replace(
            card,
            memory=replace(card.memory, vision=replace(card.memory.vision, **vision)),
            models={**card.models, card.key: replace(model, text=replace(model.text, **text))},
        )


class Case(BaseModel):
    """A released model's widths in fewer layers, and what it is asked."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    kind: str
    """Attention and tiling, in a few words."""
    checkpoint: str
    """The recipe of tools.random_checkpoint that gives tokenizer, template and processor."""
    config: dict[str, Any]
    """What config.json says otherwise than the released one."""
    card: Changes
    """The same in the card's words."""
    images: tuple[str, ...]
    """Each a run: sizes of its images, separated by spaces."""


@functools.cache
def cases() -> dict[str, Case]:
    """The cases by the name of the model."""
    data = yaml.safe_load(Path(__file__).with_name("cases.yaml").read_text(encoding="utf-8"))
    return {name: Case.model_validate(case) for name, case in data.items()}


def sizes(text: str) -> tuple[tuple[int, int], ...]:
    """Widths and heights of "640x480 1600x1200"."""
    found = [_SIZE.fullmatch(part) for part in text.split()]
    if not found or any(match is None for match in found):
        raise ValueError(
            f"{text!r} is not a list of sizes. Write 640x480, or several with spaces between them."
        )
    return tuple((int(match[1]), int(match[2])) for match in found if match is not None)


def card_of(model: str, changes: Changes | None) -> Card:
    """The card of a model that was measured, with its layers."""
    card = registry.card(model)
    return card if changes is None else changes.applied(card)


def released_config(model: str) -> dict[str, Any]:
    """The config.json of a released model, as far as it bears weights."""
    for row in json.loads(CONFIGS.read_text(encoding="utf-8")):
        if model in row["models"]:
            config: dict[str, Any] = row["config"]
            return config
    raise LookupError(f"{CONFIGS.name} has no config for {model}. Take one of its models for the case.")
