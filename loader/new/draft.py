"""A grammar while it is looked for, and how well it says what upstream says."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, replace

from loader.errors import MLXCardsError
from loader.new.conversations import Turn, images
from loader.new.upstream import NOW, Request, Upstream, lost
from loader.prompt import render
from registry.cards import Backend, Card, Model, Source
from registry.grammar import Prompt
from registry.grids import Fixed
from registry.vision import Image


class InexpressibleError(Exception):
    """A template that is no grammar, or not one that was found; the text says why."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A prompt, and the placeholder of an image in it (None: no place for images was found)."""

    prompt: Prompt
    placeholder: str | None = None

    def card(self) -> Card:
        """A card that has this prompt; nothing else in it counts."""
        image = None
        if self.placeholder is not None:
            one = Fixed(kind="fixed", width=1, height=1, fit="stretch", patch=1, tokens=1)
            image = Image(
                placeholder=self.placeholder, token=self.placeholder, resample="bicubic", resize=one
            )
        return Card(
            schema_version=1,
            title="draft",
            license="other",
            backend=Backend(package="mlx-vlm", requires="", model_types=("draft",), processor="draft"),
            prompt=self.prompt,
            image=image,
            models={"draft": Model(source="a/b")},
            sources=(Source(package="draft", facts=("prompt",), checked=NOW.date()),),
            id="draft",
            name="draft",
        )


@dataclass(frozen=True, slots=True)
class Difference:
    """A conversation that upstream and the grammar say differently."""

    turns: tuple[Turn, ...]
    upstream: str | None
    """None: upstream refuses it."""
    grammar: str | None
    """None: the grammar refuses it."""


def said(card: Card, request: Request, now: datetime.datetime = NOW) -> str | None:
    """What a card makes of a request, None where it refuses."""
    try:
        options = dict(request.options)
        return render(card, request.turns, request.generate, now=now, tools=request.tools, **options).text
    except MLXCardsError:
        return None


def differences(upstream: Upstream, draft: Draft, requests: Sequence[Request]) -> list[Difference]:
    """The requests that are said differently.

    Where upstream loses words or images, or writes them twice, the grammar need not follow.
    """
    card = draft.card()
    found = []
    for request, theirs in zip(requests, upstream.ask(requests), strict=True):
        ours = said(card, request)
        if ours != theirs and not _incomplete(request, theirs, draft):
            found.append(Difference(request.turns, theirs, ours))
    return found


def _incomplete(request: Request, text: str | None, draft: Draft) -> bool:
    """Whether upstream writes the conversation without words or images of it."""
    if text is None:
        return False
    imageless = draft.placeholder is None and images(request.turns) > 0
    return imageless or lost(request.turns, text, draft.placeholder)


class Score:
    """How many requests a draft says as upstream does; at equal numbers, the one that refuses losses."""

    def __init__(self, upstream: Upstream, requests: Sequence[Request]) -> None:
        self._requests = requests
        self._upstream = upstream
        self._said = upstream.ask(requests)

    def of(self, draft: Draft) -> float:
        card = draft.card()
        total = 0.0
        for request, theirs in zip(self._requests, self._said, strict=True):
            ours = said(card, request)
            if _incomplete(request, theirs, draft):
                # A conversation without its images or words is one that the model never saw: refuse it.
                total += 0.01 if ours is None else 0.0
            else:
                total += ours == theirs
        return total

    @property
    def most(self) -> int:
        return len(self._requests)


def with_prompt(draft: Draft, **changes: object) -> Draft:
    """The draft with other values in its prompt; InexpressibleError where they do not go together."""
    try:
        return replace(draft, prompt=replace(draft.prompt, **changes))  # type: ignore[arg-type]
    except ValueError as error:
        raise InexpressibleError(str(error)) from error
