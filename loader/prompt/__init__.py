"""A conversation and a card -> the prompt, byte for byte what the model was trained on.

grammar.py interprets a card's grammar; template.py runs the Jinja file of the few families whose
prompt is a program. Every piece of the prompt is tagged, so that text a caller typed is never mistaken
for the family's own control tokens.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from loader.messages import read
from loader.prompt.grammar import Writer
from loader.prompt.segments import Prompt, Segment

if TYPE_CHECKING:
    from registry.cards import Card

__all__ = ["Prompt", "Segment", "render"]


def render(
    card: Card,
    messages: Sequence[Mapping[str, Any]],
    add_generation_prompt: bool = True,
    continue_final_message: bool = False,
    now: datetime.datetime | None = None,
    **options: bool,
) -> Prompt:
    """The prompt for `messages` (their shapes: loader.messages).

    `continue_final_message` leaves the last turn open and asks for no new one. `now` is what a
    family with a date in its prompt prints (default: the present). `options` are the switches of
    upstream's template that the card lists.

    Raises MessageError (with the index of message and part) for a conversation that the family
    cannot say, UnsupportedFeatureError for an option that it does not have.
    """
    read_messages = read(messages)
    if card.template is not None:
        from loader.prompt.template import render_template

        return render_template(card, read_messages, add_generation_prompt, continue_final_message, options)
    return Writer(card, now, options).write(read_messages, add_generation_prompt, continue_final_message)
