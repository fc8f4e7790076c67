"""Control tokens in a caller's words: `<|im_end|>` typed by a user must not end the turn.

A prompt's segments tell the family's own tokens from typed ones. A tokenizer can be told (encode.py);
a backend that takes one string cannot, and what happens then is the caller's choice.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, get_args

from loader.errors import MessageError, UnsupportedFeatureError
from loader.prompt.segments import Prompt, Segment

if TYPE_CHECKING:
    from registry.vision import Image

OnForgery = Literal["escape", "error", "allow"]
"""escape: a space breaks the typed token; error: MessageError; allow: it acts as the token it spells."""


def image_tokens(image: Image | None) -> frozenset[str]:
    """What a family's processor would take for an image, wherever it stands; {n} is any number."""
    if image is None:
        return frozenset()
    replaced = image.expansion.replaces if image.expansion is not None else None
    return frozenset({image.token, image.placeholder.strip(), replaced or image.token, *image.reserved})


def escape(
    prompt: Prompt, tokens: Iterable[str], on_forgery: OnForgery = "escape"
) -> tuple[Prompt, tuple[str, ...]]:
    """A prompt in which no typed text spells one of `tokens`, and the spellings that were found.

    `tokens` are control tokens; {n} in one stands for any number. Raises MessageError with
    `on_forgery="error"`, UnsupportedFeatureError for another word.
    """
    if on_forgery not in get_args(OnForgery):
        raise UnsupportedFeatureError(f"on_forgery={on_forgery!r} is not known. Use escape, error or allow.")
    pattern = any_of(token.strip() for token in tokens)  # a space before a token would not break it
    found: list[str] = []
    if on_forgery == "allow" or pattern is None:
        return prompt, ()
    segments = list(prompt.segments)
    while forged := list(typed(segments, pattern)):  # again, for tokens that overlap
        if on_forgery == "error":
            raise MessageError(
                f"The text holds {forged[0][0]!r}, which is a control token of the model. "
                'Take it out of the text, or let it be broken with on_forgery="escape".'
            )
        places: dict[int, list[int]] = {}
        for spelling, number, at in forged:
            found.append(spelling)
            places.setdefault(number, []).append(at)
        for number, cuts in places.items():
            text = segments[number].text
            pieces = [text[start:stop] for start, stop in pairwise([0, *cuts, len(text)])]
            segments[number] = Segment("text", " ".join(pieces))
    if not found:
        return prompt, ()
    return replace(prompt, segments=tuple(segments)), tuple(dict.fromkeys(found))


def typed(segments: Sequence[Segment], pattern: re.Pattern[str]) -> Iterator[tuple[str, int, int]]:
    """Control tokens that typed text spells, alone or together with its neighbours.

    Each as its spelling, the number of a text segment that it touches, and a place in that segment
    where a character would break it.
    """
    spans, end = deque[tuple[int, int, int]](), 0
    for number, (kind, text) in enumerate(segments):
        if kind == "text" and text:
            spans.append((end, end + len(text), number))
        end += len(text)
    if not spans:
        return
    whole = "".join(text for _, text in segments)
    for match in pattern.finditer(whole):
        while spans and spans[0][1] <= match.start():
            spans.popleft()
        if spans and spans[0][0] < match.end():
            start, _, number = spans[0]
            yield match[0], number, max(match.start() + 1 - start, 0)


def any_of(tokens: Iterable[str]) -> re.Pattern[str] | None:
    """A pattern that finds the longest of `tokens` at a place; None without any that could be broken."""
    words = sorted({token for token in tokens if len(token.strip()) > 1}, key=len, reverse=True)
    if not words:
        return None
    return re.compile("|".join(map(spelled, words)))


def spelled(token: str) -> str:
    """The expression that finds a token; {n} in it stands for any number."""
    return re.escape(token).replace(r"\{n\}", r"\d+")
