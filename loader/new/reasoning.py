"""Where reasoning goes in an answer: what encloses it, and what stands there without it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from loader.new.conversations import WORDS, answer, user
from loader.new.turns import Frame, common_start, gaps
from loader.new.upstream import Upstream
from registry.grammar import Reasoning
from registry.grammar import Turn as Written


@dataclass(frozen=True, slots=True)
class Thought:
    """Reasoning, and the answer's turn without it."""

    reasoning: Reasoning | None
    assistant: Written


def thoughts(upstream: Upstream, frame: Frame) -> Iterator[Thought]:
    """Candidates; without reasoning last."""
    a, b, c, *_ = WORDS
    close = frame.user.close
    bare = gaps(upstream.says(user(a), answer(b)), a, b)[1]
    for text, tagged in _reasoned(upstream):
        before, opened, closes, _ = gaps(text, a, c, b)
        del before
        if not opened.startswith(close) or not bare.startswith(close):
            continue
        opened = opened[len(close) :]
        unframed = bare[len(close) :]
        for turn_open in _opens(upstream, opened, unframed, frame.assistant.open):
            yield from _framed(
                frame, turn_open, opened[len(turn_open) :], closes, unframed[len(turn_open) :], tagged
            )
    if bare.startswith(close):
        yield Thought(None, frame.assistant)


def _reasoned(upstream: Upstream) -> Iterator[tuple[str, bool]]:
    """Prompts in which reasoning (the third word) stands before its answer (the second), in that order."""
    a, b, c, *_ = WORDS
    given = upstream.says(user(a), answer(b, thought=c))
    if given is not None and c in given and given.index(a) < given.index(c) < given.index(b):
        yield given, False
        return
    for opens, closes in upstream.tags:
        written = f"{opens}{c}{closes}{b}"
        text = upstream.says(user(a), answer(written))
        early = upstream.says(user(a), answer(written), user("."))
        if text is None or early is None:
            continue
        # Left as it is, it is text like any other, and no part of the grammar.
        if c in text and b in text and (written not in text or c not in early):
            yield text, True


def _opens(upstream: Upstream, opened: str, unframed: str, assistant: str) -> list[str]:
    """What the open of the turn may be, before that of the reasoning."""
    found = [opened.rpartition(opens)[0] for opens, _ in upstream.tags if opens in opened]
    found += [unframed, assistant]
    tag = re.search(r"<[^<>]*>\s*$", opened)
    if tag:
        found.append(opened[: tag.start()])
    if opened.rfind("<") >= 0:
        found.append(opened[: opened.rfind("<")])
    found.append(common_start(opened, unframed))
    found.append(common_start(opened, unframed).rstrip("</"))
    unique = dict.fromkeys(text for text in found if opened.startswith(text) and unframed.startswith(text))
    return [text for text in unique if text != opened]


def _framed(  # noqa: PLR0917  # what was measured
    frame: Frame, turn_open: str, opens: str, closes: str, left: str, tagged: bool
) -> Iterator[Thought]:
    turn = replace(frame.assistant, open=turn_open)
    made = Reasoning(open=opens, close=closes)
    if tagged or not left:
        yield Thought(made, turn)
    if left == opens + closes:
        yield Thought(replace(made, empty="last"), turn)
        yield Thought(replace(made, empty="always"), turn)
    elif left:
        yield Thought(replace(made, empty="always", none=left), turn)
