"""`mlx-cards show`: what the card says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click

import registry
from loader.cli.common import as_json, print_json, printable, table
from registry.cards import Card, Deprecation, Model
from registry.catalog import CARDS, all_cards
from registry.choice import gigabytes
from registry.grids import Fixed, SmartResize
from registry.tiles import SplitTiles
from registry.vision import Image


@click.command()
@click.argument("name")
@click.option("--resolved", is_flag=True, help="Every value that is written for it, with its file and line.")
@as_json
def show(name: str, resolved: bool, as_json: bool) -> None:
    """Show the card of a model or a family.

    \b
    mlx-cards show qwen2.5-vl-32b
    mlx-cards show smolvlm --json
    mlx-cards show qwen2.5-vl-7b --resolved
    """
    card = registry.card(name)
    if resolved:
        show_resolved(name, as_json)
    elif as_json:
        print_json(asdict(card))
    else:
        click.echo(f"{click.style(printable(card.name), bold=True)} ({printable(card.title)})")
        for label, value in summary(card):
            click.echo(printable(f"  {label.ljust(12)} {value}"))


def show_resolved(name: str, as_json: bool) -> None:
    """Every value with where it comes from: the card, the one that it extends, or a model's override."""
    catalog = all_cards()
    values = list(catalog.values(catalog.find(name).without_quantization()))
    if as_json:
        rows = [
            {"path": value.path, "value": value.value, "file": value.file, "line": value.line}
            for value in values
        ]
        print_json(rows)
        return
    said = [
        (
            f"{shown(value.file)}:{value.line}",
            value.path,
            json.dumps(value.value, default=str, ensure_ascii=False),
        )
        for value in values
    ]
    table([("where", "field", "value"), *said])


def shown(file: Path) -> str:
    """A card's path as it is shortest: by its name where it is this package's."""
    if file.parent == CARDS:
        return file.name
    cwd = Path.cwd()
    return str(file.relative_to(cwd) if file.is_relative_to(cwd) else file)


def summary(card: Card) -> Iterator[tuple[str, str]]:
    """The card in lines of label and value."""
    model = card.model
    yield from _life(card, model)
    if model is None:
        yield "models", ", ".join(other.name for other in all_cards().cards() if other.id == card.id)
    else:
        yield from _model(card, model)
    yield "license", (model.license if model and model.license else card.license)
    yield "backend", f"{card.backend.package} {card.backend.requires}, {card.backend.processor}"
    if card.image is not None:
        yield "image", card.image.placeholder
        yield "resize", resize_words(card.image)
        yield "budget", budget_words(card.image)
    yield "tools", tool_words(card)
    for source in card.sources:
        if facts := [fact for fact in source.facts if _concerns(fact, card)]:
            yield "source", f"{source.url or source.package} ({', '.join(facts)})"


def _life(card: Card, model: Model | None) -> Iterator[tuple[str, str]]:
    """What is not as one expects: a card of another folder, one that extends another, a status."""
    if (file := all_cards().path(card.id)).parent != CARDS:
        yield "card", shown(file)
    if card.extends is not None:
        yield "extends", card.extends
    of = model if model is not None and model.status is not None else card
    if of.status != "stable":
        yield "status", f"{of.status}{_since(of.deprecated)}"


def _since(deprecated: Deprecation | None) -> str:
    if deprecated is None:
        return ""
    instead = f" (use {deprecated.replacement})" if deprecated.replacement else ""
    return f" since {deprecated.since}: {deprecated.message}{instead}"


def _concerns(fact: str, card: Card) -> bool:
    """Whether a fact is the family's, or of the model that is shown."""
    group, _, key = fact.partition(".")
    return group != "models" or not key or card.model in (None, _model_of(fact, card))


def _model_of(fact: str, card: Card) -> Model | None:
    """The model that a fact such as `models.2.2b.license` is about."""
    keys = [key for key in card.models if fact.startswith(f"models.{key}.") or fact == f"models.{key}"]
    return card.models[keys[0]] if keys else None


def _model(card: Card, model: Model) -> Iterator[tuple[str, str]]:
    yield "family", card.id
    if model.source is not None:
        yield "original", model.source
    if model.parameters is not None:
        yield "parameters", f"{model.parameters:,}"
    if model.context is not None:
        yield "context", f"{model.context:,} positions"
    for quantization, weights in model.quantizations.items():
        size = "size unknown" if weights.bytes is None else f"{gigabytes(weights.bytes)} of weights"
        yield quantization, f"{weights.repository or 'comes with this package'} ({size})"


def resize_words(image: Image) -> str:
    """The resize strategy in one line."""
    resize = image.resize
    match resize:
        case SmartResize():
            side = resize.patch * resize.merge
            return (
                f"multiples of {side} pixels, {resize.min_pixels:,} to {resize.max_pixels:,} pixels, "
                f"one token per {side} x {side}"
            )
        case Fixed():
            how = "stretched" if resize.fit == "stretch" else "scaled and cropped"
            return f"{how} to {resize.width} x {resize.height}, {resize.tokens} tokens"
        case SplitTiles():
            return (
                f"longest edge {resize.longest_edge}, tiles of {resize.tile} and an overview, "
                f"{resize.tokens_per_tile} tokens each"
            )
        case _:
            given = {name: value for name, value in asdict(resize).items() if name != "kind" and value}
            return f"{resize.kind}: " + ", ".join(f"{name} {value}" for name, value in given.items())


def budget_words(image: Image) -> str:
    """The recommended budget in one line."""
    if image.budget is None:
        return "none recommended: what the model's own processor does"
    return f"{image.budget.tokens:,} tokens an image unless you say otherwise"


def tool_words(card: Card) -> str:
    """Whether the family has tool calls of its own, in one line."""
    tools = card.prompt.tools if card.prompt is not None else None
    if tools is None:
        return "whether the family has calls of its own is not established"
    if not tools.native:
        return "no calls of its own: describe tools in words"
    return "its own calls" if tools.can_be_written else "its own calls, in a form that cards cannot say yet"
