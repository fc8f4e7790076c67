"""Dates in a prompt, told from its words by asking at another time."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from loader.new.conversations import IMAGE, WORDS, Conversation, answer, system, user
from loader.new.draft import Draft, said
from loader.new.upstream import NOW, Request, Upstream
from registry.grammar import Prompt, PromptChange, Turn

_LATER = datetime.datetime(2031, 11, 28, 21, 47, 9)
_A, _B, _C, *_ = WORDS
_PROBES: tuple[Conversation, ...] = (
    (user(_A),),
    (system(_A), user(_B)),
    (user(IMAGE, _A),),
    (user(_A), answer(_B), user(_C)),
)


def dated(upstream: Upstream, draft: Draft) -> tuple[Draft, list[str]]:
    """The draft with {date:...} in place of the day on which it was made, and what could not be replaced."""
    formats = sorted(upstream.formats, key=lambda form: -len(NOW.strftime(form)))
    days = [(NOW.strftime(form), f"{{date:{form}}}") for form in formats]

    def named(text: str) -> str:
        for day, name in days:
            if day and day != name:
                text = text.replace(day, name)
        return text

    if days:
        draft = replace(draft, prompt=_mapped(draft.prompt, named))
    requests = [Request(turns) for turns in _PROBES]
    card = draft.card()
    for now, then in zip(upstream.ask(requests), upstream.ask(requests, _LATER), strict=True):
        if now == then or None in (now, then):
            continue
        request = requests[upstream.ask(requests).index(now)]
        if said(card, request, _LATER) != then and said(card, request) == now:
            return draft, ["the prompt changes with time in a way that {date:...} does not say"]
    return draft, []


def _mapped(prompt: Prompt, change: Callable[[str], str]) -> Prompt:
    """The prompt with every text of its turns, start, defaults and generation changed."""
    values: dict[str, Any] = {
        "bos": change(prompt.bos),
        "generation": change(prompt.generation),
        "roles": {role: _turn(turn, change) for role, turn in prompt.roles.items()},
    }
    if prompt.default_system is not None:
        values["default_system"] = change(prompt.default_system)
    if prompt.later_system_turn is not None:
        values["later_system_turn"] = _turn(prompt.later_system_turn, change)
    values["options"] = {
        name: replace(
            option, when_true=_change(option.when_true, change), when_false=_change(option.when_false, change)
        )
        for name, option in prompt.options.items()
    }
    return replace(prompt, **values)


def _turn(turn: Turn, change: Callable[[str], str]) -> Turn:
    last = None if turn.close_last is None else change(turn.close_last)
    return replace(turn, open=change(turn.open), close=change(turn.close), close_last=last)


def _change(made: PromptChange, change: Callable[[str], str]) -> PromptChange:
    generation = None if made.generation is None else change(made.generation)
    return replace(
        made, generation=generation, roles={role: _turn(turn, change) for role, turn in made.roles.items()}
    )
