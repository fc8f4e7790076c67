"""Fields with few values: each is tried, and kept where the grammar says more as upstream does."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from loader.new.draft import Draft, InexpressibleError, Score, with_prompt
from registry.grammar import Prompt, Role

_TRIMS = (None, "parts", "ends", "turn")
_ROUNDS = 3


def improved(draft: Draft, score: Score) -> tuple[float, Draft]:
    """The best of the drafts that one change after the other leads to."""
    best = score.of(draft)
    for _ in range(_ROUNDS):
        before = best
        for change in _changes(draft.prompt):
            try:
                other = change(draft)
            except (InexpressibleError, ValueError):
                continue
            if other != draft and (points := score.of(other)) > best:
                best, draft = points, other
        if best == before or best >= score.most:
            break
    return best, draft


Change = Callable[[Draft], Draft]


def _changes(prompt: Prompt) -> Iterator[Change]:
    yield from _of_trims(prompt)
    for value in (True, False):
        yield _setting(alternate=value)
        yield _setting(generation_after_assistant=value)
    yield from _of_system(prompt)
    for place in ("inline", "first", "first_of_two"):
        yield _setting(images=place)
    yield from _of_reasoning(prompt)


def _setting(**values: object) -> Change:
    return lambda draft: with_prompt(draft, **values)


def _of_trims(prompt: Prompt) -> Iterator[Change]:
    for roles in (tuple(prompt.roles), *((role,) for role in prompt.roles)):
        for trim in _TRIMS:
            yield functools.partial(_trimmed, roles=roles, trim=trim)


def _trimmed(draft: Draft, roles: tuple[Role, ...], trim: Any) -> Draft:
    turns = draft.prompt.roles
    some = {role: replace(turn, trim=trim) for role, turn in turns.items() if role in roles}
    return with_prompt(draft, roles={**turns, **some})


def _of_system(prompt: Prompt) -> Iterator[Change]:
    if prompt.system != "turn":
        yield _setting(system="first_user")
        yield _setting(system="last_user")
    for empty in ("keep", "skip", "default"):
        yield _setting(empty_system=empty)
    if prompt.default_system is not None:
        for condition in ("not_first", "absent", "no_images"):
            yield _setting(default_system_if=condition)
        yield _setting(default_system=None)
    yield _setting(later_system="refuse", later_system_turn=None)
    if prompt.later_system == "turn":
        yield _setting(later_system_turn=None)
        for trim in _TRIMS:
            yield functools.partial(_later_trimmed, trim=trim)


def _later_trimmed(draft: Draft, trim: Any) -> Draft:
    """A later system turn that is stripped otherwise than the first one."""
    turn = draft.prompt.later_system_turn or draft.prompt.roles["system"]
    return with_prompt(draft, later_system_turn=replace(turn, trim=trim))


def _of_reasoning(prompt: Prompt) -> Iterator[Change]:
    if prompt.reasoning is None:
        return
    kinds = itertools.product(("keep", "drop"), ("never", "last", "after_question", "always"), (True, False))
    for history, empty, tagged in kinds:
        yield functools.partial(_reasoned, values={"history": history, "empty": empty, "tagged": tagged})


def _reasoned(draft: Draft, values: Mapping[str, Any]) -> Draft:
    assert draft.prompt.reasoning is not None  # noqa: S101  # no change takes it away
    return with_prompt(draft, reasoning=replace(draft.prompt.reasoning, **values))
