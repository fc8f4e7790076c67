"""The page of one family, from its card: models, prompt, image tokens, memory, sources, the card itself."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path

import loader
from loader.cli.show import budget_words, resize_words
from loader.errors import MessageError
from registry.cards import Card, Source
from registry.defects import known
from registry.naming import Target
from tools.generate import facts
from tools.generate.markdown import fenced, table

DATE = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
"""For families that print one."""
MESSAGES = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is this?"}]}]
SIZES = ((336, 336), (640, 480), (1024, 768), (1080, 1920), (1920, 1080), (4032, 3024))
"""Images that the page has tokens for."""
HEADS = ("image", "auto: seen at", ">tokens", "full: seen at", ">tokens")


def family_page(file: Path) -> str:
    """The Markdown of the page of the card in `file`."""
    models = facts.models_of(file.stem)
    card = models[0] if models else facts.catalog().card(Target(file.stem))
    asked = [*_prompt(card), *_images(card), *_memory(models)]
    lines = [*_head(card), *_models(models), *asked, *_faults(card), *_sources(card)]
    text = file.read_text(encoding="utf-8")
    return "\n".join([*lines, "## The card { data-search-exclude }", *fenced(text, "yaml")])


def _head(card: Card) -> Iterator[str]:
    backend = card.backend
    yield f"# {card.title}\n"
    yield f"`{card.id}`, licence {card.license}. `config.json` calls it {_listed(backend.model_types)}; "
    yield f"{backend.package} {backend.requires} runs it.\n"
    if (most := backend.max_images) is not None:
        yield f"The backend answers about at most {most} image{'s' * (most != 1)} in a conversation.\n"
    yield "[All models](../../docs/models.md) · [how to ask one](../../docs/guide.md#asking)\n"


def _models(models: list[Card]) -> Iterator[str]:
    if not models:
        return
    heads = ("model", ">parameters", ">context", "quantizations", "original")
    yield "## Models\n"
    yield from table(heads, [tuple(_model(card)) for card in models])
    yield ""


def _model(card: Card) -> Iterator[str]:
    assert card.model is not None  # noqa: S101  # models_of() has nothing else
    yield f"`{card.name}`"
    yield facts.parameters(card)
    yield facts.context(card)
    yield " ".join(card.model.quantizations) or "none listed"
    yield card.model.source or ""


def _prompt(card: Card) -> Iterator[str]:
    yield "## Prompt\n"
    if card.image is None:
        yield "It takes no images.\n"
        return
    yield f"A question about one image, as `{card.name}` is asked:"
    try:
        yield from fenced(loader.render(card, MESSAGES, now=DATE).text, "text")
    except MessageError as error:
        yield f"\nThe family cannot say that: {error}\n"


def _images(card: Card) -> Iterator[str]:
    if card.image is None:
        return
    yield "## Images\n"
    yield f"Sizes: {resize_words(card.image)}. Budget: {budget_words(card.image)}.\n"
    yield from table(HEADS, [_image(card, width, height) for width, height in SIZES])
    yield ""


def _image(card: Card, width: int, height: int) -> tuple[str, ...]:
    cells = [f"{width}x{height}"]
    for detail in ("auto", "full"):
        plan = facts.plan(card, width, height, detail)
        seen = ["refused", ""] if plan is None else [f"{plan.width}x{plan.height}", f"{plan.image_tokens:,}"]
        cells += seen
    return tuple(cells)


def _memory(models: list[Card]) -> Iterator[str]:
    rows = [
        (f"`{card.name}`", *row)
        for card in models
        if card.model and card.model.quantizations
        for row in facts.memory_rows(card)
    ]
    if rows:
        yield "## Memory\n"
        yield "Estimates, for a photo of 12 megapixels ([what they say](../../docs/fits.md)).\n"
        yield from table(("model", *facts.HEADS), rows)
        yield ""


def _faults(card: Card) -> Iterator[str]:
    """What the backend does wrong with the family, where a user can meet it."""
    met = [it for it in known().defects if card.id in it.families and it.done in ("refused", "reported")]
    if met:
        yield "## Faults of the backend\n"
        yield from (f"- {it.fault}; {it.done}: {it.how}. ({it.source})" for it in met)
        yield ""


def _sources(card: Card) -> Iterator[str]:
    yield "## Sources\n"
    yield from (_source(source) for source in card.sources)
    yield ""


def _source(source: Source) -> str:
    where = f"<{source.url}>" if source.url else source.package
    note = f": {' '.join(source.note.split())}" if source.note else ""
    return f"- {where} ({_listed(source.facts)}), {source.checked}{note}"


def _listed(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
