"""How turns open and close, from where a conversation's words stand in its prompt.

Between two turns stands the close of the first and the open of the second, and nothing marks the border.
Every border that is consistent is a candidate; the likely ones come first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from loader.new.conversations import WORDS, Turn, answer, user
from loader.new.draft import InexpressibleError
from loader.new.upstream import Request, Upstream
from registry.grammar import Turn as Written

MOST = 6
"""Borders that are tried."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around the words of users and answers."""

    head: str
    """Before the first user turn."""
    user: Written
    assistant: Written
    generation: str
    after_assistant: bool


def common_start(*texts: str) -> str:
    return os.path.commonprefix(list(texts))  # noqa: RUF071  # character by character is meant


def common_end(*texts: str) -> str:
    return common_start(*(text[::-1] for text in texts))[::-1]


def gaps(text: str | None, *words: str) -> list[str]:
    """What stands before, between and after some words; InexpressibleError where they are not in order."""
    found = []
    for word in words:
        before, here, after = (text or "").partition(word)
        if not here:
            raise InexpressibleError("the words of a plain conversation are lost or reordered")
        found.append(before)
        text = after
    return [*found, text or ""]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was measured."""

    head: str
    to_answer: str
    to_user: str
    user_end: str
    answer_end: str
    user_asks: str
    answer_asks: str
    two_users: str | None
    answer_first: str | None


def frames(upstream: Upstream) -> list[Frame]:
    """Candidates, likely ones first. Raises InexpressibleError where there are none."""
    seen = _measured(upstream)
    ranked = sorted(_candidates(seen), key=lambda pair: -pair[0])
    if not ranked:
        raise InexpressibleError("no border between turns is consistent")
    found: list[Frame] = []
    for _, frame in ranked:
        if frame not in found:
            found.append(frame)
    return found[:MOST]


def _measured(upstream: Upstream) -> _Seen:
    a, b, c, d, e, _ = WORDS
    if upstream.says(user(a)) is None:
        why = upstream.refusal(Request((user(a),)))
        raise InexpressibleError(f"not even one question is rendered{f' ({why})' if why else ''}")
    long = upstream.says(user(a), answer(b), user(c), answer(d), user(e))
    if long is None:
        raise InexpressibleError("a conversation of several turns is refused, or words of it are lost")
    head, first, second, third, fourth, _ = gaps(long, a, b, c, d, e)
    if first != third or second != fourth:
        raise InexpressibleError("what stands between two turns changes along the conversation")
    two, early = upstream.says(user(a), user(b)), upstream.says(answer(a), user(b))
    return _Seen(
        head,
        first,
        second,
        user_end=gaps(upstream.says(user(a)), a)[1],
        answer_end=gaps(upstream.says(user(a), answer(b)), a, b)[2],
        user_asks=gaps(upstream.says(user(a), generate=True), a)[1],
        answer_asks=gaps(upstream.says(user(a), answer(b), generate=True), a, b)[2],
        two_users=gaps(two, a, b)[1] if two else None,
        answer_first=gaps(early, a, b)[0] if early else None,
    )


def _candidates(seen: _Seen) -> Iterator[tuple[float, Frame]]:
    for i in range(len(seen.to_answer) + 1):
        close, opens = seen.to_answer[:i], seen.to_answer[i:]
        if not seen.user_asks.startswith(close):
            break
        for j in range(len(seen.to_user) + 1):
            answer_close, user_open = seen.to_user[:j], seen.to_user[j:]
            if not seen.head.endswith(user_open):
                continue
            generation = seen.user_asks[i:]
            if seen.answer_asks == answer_close + generation:
                after = True
            elif seen.answer_asks == seen.answer_end:
                after = False
            else:
                continue
            frame = Frame(
                seen.head[: len(seen.head) - len(user_open)],
                Written(open=user_open, close=close, close_last=_other(seen.user_end, close)),
                Written(open=opens, close=answer_close, close_last=_other(seen.answer_end, answer_close)),
                generation,
                after,
            )
            yield _likelihood(seen, frame), frame


def _other(text: str, usual: str) -> str | None:
    return None if text == usual else text


def _likelihood(seen: _Seen, frame: Frame) -> float:
    """A number that only orders: what holds for most templates counts most."""
    total = 4.0 * (frame.user.close_last is None) + 4 * (frame.assistant.close_last is None)
    total += 3 * (seen.two_users == frame.user.close + frame.user.open)
    total += 3 * (seen.answer_first == frame.head + frame.assistant.open)
    total += 2 * frame.after_assistant + (frame.user.close == frame.assistant.close)
    total += 0.5 * (frame.generation == frame.assistant.open)
    total += 0.5 * frame.user.open.endswith(("\n", ">", "]", " "))
    return total + 0.001 * len(frame.user.open)


def shown(turn: Turn) -> str:
    """A message in a few words, for reports."""
    parts = [part.get("text", "<image>") for part in turn["content"]]
    thought = f" (reasoning {turn['reasoning_content']!r})" if "reasoning_content" in turn else ""
    return f"{turn['role']}: {parts!r}{thought}"
