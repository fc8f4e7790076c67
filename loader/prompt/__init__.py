"""A conversation and a card -> the prompt, byte for byte what the model was trained on.

grammar.py interprets a card's grammar; template.py runs the Jinja file of the few families whose
prompt is a program. Every piece of the prompt is tagged, so that text a caller typed is never mistaken
for the family's own control tokens.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from loader.messages import read
from loader.prompt.grammar import Writer
from loader.prompt.segments import Prompt, Segment
from loader.prompt.tools import can_write_tools, no_tools
from loader.tools import read_tools

if TYPE_CHECKING:
    from registry.cards import Card

__all__ = ["Prompt", "Segment", "render"]


def render(
    card: Card,
    messages: Sequence[Mapping[str, Any]],
    add_generation_prompt: bool = True,
    continue_final_message: bool = False,
    now: datetime.datetime | None = None,
    *,
    tools: Sequence[Mapping[str, Any]] | None = None,
    **options: bool,
) -> Prompt:
    """The prompt for `messages` (their shapes: loader.messages).

    `continue_final_message` leaves the last turn open and asks for no new one. `now` is what a
    family with a date in its prompt prints (default: the present). `tools` are those that the model may
    call (their shape: loader.tools). `options` are the switches of upstream's template that the card lists.

    Raises MessageError (with the index of message and part) for a conversation that the family
    cannot say, UnsupportedFeatureError for an option that it does not have, and for tools where the card
    does not say how the family writes them.
    """
    says_tools = can_write_tools(card)
    turns = read(messages, says_tools)
    if tools and not says_tools:
        raise no_tools(card)
    if card.template is not None:
        from loader.prompt.template import render_template

        prompt = render_template(card, turns, add_generation_prompt, continue_final_message, options, now=now)
    else:
        writer = Writer(card, now, options, () if tools is None else read_tools(tools))
        prompt = writer.write(turns, add_generation_prompt, continue_final_message)
    unsaid = [i for i, turn in enumerate(turns) if turn.reasoning and not _says_reasoning(card, turn.role)]
    if not unsaid:
        return prompt
    more = [f"The reasoning of message {i} has no place in the prompt of {card.id}." for i in unsaid]
    return replace(prompt, warnings=(*prompt.warnings, *more))


def _says_reasoning(card: Card, role: str) -> bool:
    """Whether the family's prompt has a place for a message's `reasoning_content`."""
    return role == "assistant" and card.prompt is not None and card.prompt.reasoning is not None
