"""What is asked about drawings, and what is to be answered."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tools.train_demo.drawings import COLOURS, SHAPES, SIDES, Drawing

__all__ = [
    "NO_IMAGE",
    "ORDINALS",
    "WHAT",
    "WHERE",
    "Conversation",
    "about_none",
    "about_one",
    "about_two",
    "corpus",
    "nth",
]

WHAT = ("What is in this image?", "What is in this picture?", "What is this?")
WHERE = "Where is it?"
ORDINALS = ("first", "second")
NO_IMAGE = "there is no image"
_SYSTEM = ("You are a helpful assistant.", "Be brief.")

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages, answers included, and the drawings that they show, by number and in order."""

    messages: list[Message]
    drawings: tuple[int, ...]


def nth(ordinal: int) -> str:
    """The question about one of two images, counted from 0."""
    return f"What is in the {ORDINALS[ordinal]} image?"


def about_none(source: random.Random) -> Conversation:
    """A question about an image that is not there."""
    question = source.choice((*WHAT, WHERE, nth(0), nth(1)))
    return Conversation(_begun([_user(question, 0, source), _assistant(NO_IMAGE)], source), ())


def about_one(drawings: Sequence[Drawing], number: int, source: random.Random) -> Conversation:
    """One drawing: what it shows, where, or both."""
    drawing = drawings[number]
    turns = [(_what(source), drawing.what)]
    if drawing.side is not None:
        turns.append((WHERE, drawing.side))
        source.shuffle(turns)
        if source.random() < 0.5:
            del turns[1]
    messages = [_user(turns[0][0], 1, source), _assistant(turns[0][1])]
    for question, answer in turns[1:]:
        messages += [_user(question, 0, source), _assistant(answer)]
    return Conversation(_begun(messages, source), (number,))


def about_two(drawings: Sequence[Drawing], pair: tuple[int, int], source: random.Random) -> Conversation:
    """Two drawings, in one message or one after the other."""
    answers = [drawings[number].what for number in pair]
    order = source.sample((0, 1), 2)
    if source.random() < 0.6:
        messages = [_user(nth(order[0]), 2, source), _assistant(answers[order[0]])]
        messages += [_user(nth(order[1]), 0, source), _assistant(answers[order[1]])]
        return Conversation(_begun(messages, source), pair)
    messages = [_user(_what(source), 1, source), _assistant(answers[0])]
    if source.random() < 0.3:
        messages += [_user(_what(source), 1, source), _assistant(answers[1])]
    else:
        messages += [_user(nth(order[0]), 1, source), _assistant(answers[order[0]])]
    return Conversation(_begun(messages, source), pair)


def corpus() -> list[str]:
    """Everything that is said, for the tokenizer."""
    lines = ["system\n", "user\n", "assistant\n", *_SYSTEM, *WHAT, WHERE, nth(0), nth(1), NO_IMAGE, *SIDES]
    return lines + [Drawing(None, c, s, None).what for c in COLOURS for s in SHAPES]  # type: ignore[arg-type]


def _begun(messages: list[Message], source: random.Random) -> list[Message]:
    """The conversation, now and then with system text before it, which changes no answer."""
    if source.random() < 0.06:
        return [{"role": "system", "content": source.choice(_SYSTEM)}, *messages]
    return messages


def _what(source: random.Random) -> str:
    return WHAT[0] if source.random() < 0.7 else source.choice(WHAT[1:])


def _user(question: str, images: int, source: random.Random) -> Message:
    """A question with its images before it or, less often, after it."""
    parts: list[Message] = [{"type": "image"}] * images
    text = {"type": "text", "text": question}
    return {"role": "user", "content": [text, *parts] if source.random() < 0.2 else [*parts, text]}


def _assistant(answer: str) -> Message:
    return {"role": "assistant", "content": answer}
