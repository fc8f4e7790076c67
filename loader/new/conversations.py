"""Conversations to ask upstream's template about: plain ones, edges, random ones, and those of goldens."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

Turn = Mapping[str, Any]
"""A message, its content always a list of parts."""
Conversation = tuple[Turn, ...]

IMAGE: Mapping[str, Any] = {"type": "image"}
WORDS = ("QzAxa", "QzBxb", "QzCxc", "QzDxd", "QzExe", "QzFxf")
"""Words that no template has of its own: where they come out again is where the caller's text goes."""


def say(role: str, *parts: str | Mapping[str, Any], thought: str | None = None) -> Turn:
    """A message of texts and images, with reasoning if there is any."""
    content = [{"type": "text", "text": part} if isinstance(part, str) else dict(part) for part in parts]
    message = {"role": role, "content": content}
    return message if thought is None else {**message, "reasoning_content": thought}


def user(*parts: str | Mapping[str, Any]) -> Turn:
    return say("user", *parts)


def answer(*parts: str | Mapping[str, Any], thought: str | None = None) -> Turn:
    return say("assistant", *parts, thought=thought)


def system(*parts: str | Mapping[str, Any]) -> Turn:
    return say("system", *parts)


def texts(conversation: Sequence[Turn]) -> list[str]:
    """The texts of a conversation that are to be read again in its prompt."""
    found = [part["text"].strip() for turn in conversation for part in turn["content"] if "text" in part]
    return [text for text in found if text]


def images(conversation: Sequence[Turn]) -> int:
    return sum("text" not in part for turn in conversation for part in turn["content"])


def edges(tags: Sequence[tuple[str, str]]) -> list[Conversation]:
    """Conversations that tell grammars apart which are equal on plain ones; `tags` are those of reasoning."""
    a, b, c, d, *_ = WORDS
    wide = f" \n{a}\n  "
    found: list[Conversation] = [
        (user(a),),
        (user(wide),),
        (user(""),),
        (user(f" {a} ", f" {b} "),),
        (user(a), answer(b), user(c)),
        (user(a), answer(b)),
        (user(a), answer(wide), user(b)),
        (user(a), answer(wide)),
        (user(a), answer(""), user(b)),
        (user(a), answer(f" {b} ", f" {c} "), user(d)),
        (user(a), user(b)),
        (user(a), answer(b), answer(c)),
        (answer(a), user(b)),
        (user(a), answer(b), user(c), user(d)),
        (system(a), user(b)),
        (system(wide), user(b)),
        (system(""), user(b)),
        (system(f" {a} ", f" {c} "), user(b)),
        (system(a), user(f"\n{b}")),
        (system(a), user(b), answer(c)),
        (system(a), user(b), answer(c), user(d)),
        (system(a), answer(b), user(c)),
        (system(a), system(b), user(c)),
        (user(a), system(b), user(c)),
        (user(a), system(wide), user(c)),
        (user(a), answer(b), system(c), user(d)),
        (user(a), answer(b), user(c), system(d)),
        (answer(a),),
        (system(a),),
    ]
    found += _pictured(a, b, c, d)
    found += [turns for pair in tags for turns in _reasoned(*pair)]
    return found


def _pictured(a: str, b: str, c: str, d: str) -> list[Conversation]:
    return [
        (user(IMAGE),),
        (user(IMAGE, f" {a} "),),
        (user(f" {a} ", IMAGE),),
        (user(IMAGE, ""),),
        (user("", IMAGE, ""),),
        (user(IMAGE, f" \n {a}"),),
        (user(IMAGE, IMAGE, a),),
        (user(a, IMAGE, IMAGE),),
        (user(a, IMAGE, b),),
        (user(a, IMAGE, f" {b} ", IMAGE, c),),
        (user(IMAGE, a, b),),
        (user(IMAGE, a), answer(b), user(IMAGE, c)),
        (user(IMAGE), answer(b), user(a, IMAGE)),
        (user(a), answer(IMAGE, b), user(c)),
        (user(a), answer(b, IMAGE, c), user(d)),
        (user(a), answer(IMAGE), user(d)),
        (system(a), user(IMAGE, b)),
        (system(""), user(IMAGE, b)),
        (system(IMAGE, a), user(b)),
        (system(a, IMAGE), user(b)),
        (user(IMAGE, a), system(b), user(c)),
    ]


def _reasoned(opens: str, closes: str) -> list[Conversation]:
    a, b, c, d, e, _ = WORDS
    tagged = f"{opens}\n{b}\n{closes}\n\n{c}"
    return [
        (user(a), answer(c, thought=b)),
        (user(a), answer(c, thought=b), user(d)),
        (user(a), answer(c, thought=f"\n{b}\n"), user(d), answer(e, thought=b)),
        (user(a), answer(c, thought="")),
        (user(a), answer(f"\n{c}", thought=b)),
        (user(a), answer(c), answer(d, thought=b)),
        (user(a), answer(c, thought=b), answer(d)),
        (user(a), answer(c), answer(d), user(e)),
        (user(a), answer(tagged)),
        (user(a), answer(tagged), user(d)),
        (user(a), answer(f"{b}{closes}{c}"), user(d), answer(e)),
        (user(a), answer(f"{opens}{b}{closes}{c}"), answer(d)),
        (answer(tagged), user(d)),
        (user(a), answer(tagged), user(d), answer(tagged)),
    ]


def scattered(count: int, seed: int, tags: Sequence[tuple[str, str]] = ()) -> list[Conversation]:
    """Random conversations: any order of turns and parts, white space, empty texts, reasoning."""
    chance = random.Random(seed)  # noqa: S311  # a test of equality, no secret
    return [_scattered(chance, tags) for _ in range(count)]


def _scattered(chance: random.Random, tags: Sequence[tuple[str, str]]) -> Conversation:
    number = iter(range(1000))

    def text() -> str:
        word = f"Qz{next(number):03}x"
        kind = chance.random()
        if kind < 0.08:
            return chance.choice(["", " ", "\n"])
        if kind < 0.35:
            return chance.choice([" ", "\n", "\n\n"]) + word + chance.choice(["", " ", "\n", " \n"])
        return f"{word} and\n\n{word[::-1]}" if kind < 0.45 else word

    def turn(role: str) -> Turn:
        most = 4 if role == "user" else 2
        pictured = {"user": 0.4, "assistant": 0.05, "system": 0.03}[role]
        parts: list[Any] = [
            IMAGE if chance.random() < pictured else text() for _ in range(chance.randint(1, most))
        ]
        thought = None
        if role == "assistant" and tags and chance.random() < 0.4:
            opens, closes = chance.choice(tags)
            if chance.random() < 0.5:
                thought = text()
            else:
                parts = [f"{opens}{text()}{closes}{text()}", *parts]
        return say(role, *parts, thought=thought)

    roles = ["system"] * (chance.random() < 0.3)
    for place in range(chance.randint(1, 5)):
        usual = "user" if place % 2 == 0 else "assistant"
        odd = chance.random() < 0.12
        roles.append(chance.choice(["user", "assistant", "system"]) if odd else usual)
    return tuple(map(turn, roles))
