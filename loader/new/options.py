"""Switches of a template: set to true and to false, what changes in its grammar?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from loader.new.conversations import IMAGE, WORDS, Conversation, answer, edges, system, user
from loader.new.draft import Draft, InexpressibleError, differences
from loader.new.upstream import Request, Upstream
from registry.grammar import Option, PromptChange

_A, _B, _C, _D, *_ = WORDS
_PROBES: tuple[Conversation, ...] = (
    (user(_A),),
    (user(_A, IMAGE, IMAGE),),
    (system(_A), user(_B)),
    (user(_A), answer(_B, thought=_D), user(_C)),
    (user(_A), answer(_B)),
)


def switched(upstream: Upstream, draft: Draft, infer: Callable[[Upstream], Draft]) -> tuple[Draft, list[str]]:
    """The draft with the template's switches as options, and those that no option can say."""
    usual = _answers(upstream)
    options: dict[str, Option] = {}
    remarks = []
    for name in upstream.switches:
        states = {value: upstream.with_option(name, value, draft.prompt.bos) for value in (True, False)}
        # One of the two says what holds by default. Where neither does, the switch has other values, too.
        same = {value: _answers(state) == usual for value, state in states.items()}
        if all(same.values()):
            continue
        if not any(same.values()):
            remarks.append(f"the switch {name} has a default that is neither true nor false")
            continue
        default = same[True]
        try:
            other = infer(states[not default])
            change = _change(draft, other)
        except InexpressibleError as error:
            remarks.append(f"the switch {name}: {error}")
            continue
        options[name] = option = _option(default, change, PromptChange())
        if other.prompt.default_system is not None and draft.prompt.default_system is None:
            # A change can take the default system text away, not bring it.
            draft = replace(draft, prompt=replace(draft.prompt, default_system=other.prompt.default_system))
            options[name] = option = _option(default, change, PromptChange(without_default_system=True))
        if not _holds(upstream, draft, name, option):
            del options[name]
            remarks.append(f"the switch {name} changes more than an option can say")
    return replace(draft, prompt=replace(draft.prompt, options=options)), remarks


def _option(default: bool, change: PromptChange, usual: PromptChange) -> Option:
    if default:
        return Option(default=True, when_false=change, when_true=usual)
    return Option(when_true=change, when_false=usual)


def _holds(upstream: Upstream, draft: Draft, name: str, option: Option) -> bool:
    """Whether the option is what the switch does: one grammar can be written in several ways."""
    asked = [
        Request(turns, generate, ((name, not option.default),))
        for turns in (*edges(()), *_PROBES)
        for generate in (True, False)
    ]
    with_option = replace(draft, prompt=replace(draft.prompt, options={name: option}))
    usual = [Request(request.turns, request.generate) for request in asked]
    return len(differences(upstream, with_option, asked)) <= len(differences(upstream, draft, usual))


def _answers(upstream: Upstream) -> list[str | None]:
    return upstream.ask([Request(turns, generate) for turns in _PROBES for generate in (True, False)])


def _change(draft: Draft, other: Draft) -> PromptChange:
    """What leads from one draft to the other, as far as an option goes."""
    values: dict[str, Any] = {}
    before, after = draft.prompt, other.prompt
    if after.generation != before.generation:
        values["generation"] = after.generation
    if before.default_system is not None and after.default_system is None:
        values["without_default_system"] = True
    if turns := {role: turn for role, turn in after.roles.items() if before.roles.get(role) != turn}:
        values["roles"] = turns
    if other.placeholder != draft.placeholder:
        label = (other.placeholder or "").removesuffix(draft.placeholder or "")
        if not draft.placeholder or label == other.placeholder or "{n}" not in label:
            raise InexpressibleError("it changes how an image is written")
        values["image_label"] = label
    return PromptChange(**values)
