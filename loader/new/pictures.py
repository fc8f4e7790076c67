"""Where images stand in a prompt: the placeholder, its place among the text, and what joins the two.

Everything is measured in the second user turn, where no default system text and no head can interfere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from loader.new.conversations import IMAGE, WORDS, answer, say, system, user
from loader.new.draft import InexpressibleError
from loader.new.turns import Frame, common_end, common_start, gaps
from loader.new.upstream import Upstream
from registry.grammar import Neighbours, Role
from registry.grammar import Turn as Written

Joins = dict[Neighbours, str]


@dataclass(frozen=True, slots=True)
class Pictures:
    """How a family's prompt holds images, and the frame without what belongs to joins."""

    frame: Frame
    placeholder: str | None
    first: bool
    """They move before the text of their turn."""
    join: Joins


@dataclass(frozen=True, slots=True)
class _Second:
    """What is written for the content of a second user turn."""

    upstream: Upstream

    def __call__(self, *parts: str | Mapping[str, Any]) -> str | None:
        """From the end of the answer before it to the end of the prompt."""
        _, _, _, _, e, f = WORDS
        text = self.upstream.says(user(e), answer(f), user(*parts))
        return None if text is None else text.partition(f)[2]


def pictures(upstream: Upstream, frame: Frame) -> Iterator[Pictures]:
    """Candidates: how images are written, then that there are none."""
    second = _Second(upstream)
    a, b, *_ = WORDS
    plain = second(a)
    if plain is None:
        raise InexpressibleError("a second question is refused")
    between = second(a, b)
    join: Joins = {"text text": gaps(between, a, b)[1]} if between else {}
    if "text text" in join and not join["text text"]:
        del join["text text"]
    held = [second(IMAGE, a), second(a, IMAGE), second(IMAGE), second(a, IMAGE, b)]
    if all(text is not None and text != plain for text in held[:2]):
        yield from _held(second, frame, plain, join)
    yield Pictures(frame, None, first=False, join=join)


def _held(second: _Second, frame: Frame, plain: str, join: Joins) -> Iterator[Pictures]:
    a, b, *_ = WORDS
    before, after, alone = second(IMAGE, a), second(a, IMAGE), second(IMAGE)
    head, tail = gaps(plain, a)
    assert before is not None  # noqa: S101  # the caller looked
    assert after is not None  # noqa: S101
    first = before == after
    lead = gaps(before, a)[0]
    rest = gaps(after, a)[1]
    seen = (
        [lead[len(common_start(lead, head)) :]] if first else [_inner(second(a, IMAGE, b), a, b), lead, rest]
    )
    if alone is not None:
        core = alone[len(common_start(alone, head)) :]
        seen.append(core[: len(core) - len(common_end(core, tail))])
    placeholder = _common(seen)
    if not placeholder.strip():
        return
    yield from _joined(second, frame, plain, placeholder, first, join)
    if placeholder.strip() != placeholder:  # white space may be a join's, or the placeholder's own
        yield from _joined(second, frame, plain, placeholder.strip(), first, join)


def _inner(text: str | None, a: str, b: str) -> str:
    return gaps(text, a, b)[1] if text else ""


def _common(texts: list[str]) -> str:
    """The longest text that all of them hold."""
    base = min(texts, key=len)
    best = ""
    for start in range(len(base)):
        for end in range(len(base), start + len(best), -1):
            if all(base[start:end] in text for text in texts):
                best = base[start:end]
                break
    return best


def _joined(  # noqa: PLR0917  # what was measured
    second: _Second, frame: Frame, plain: str, placeholder: str, first: bool, join: Joins
) -> Iterator[Pictures]:
    a, b, *_ = WORDS
    head, tail = gaps(plain, a)
    several = second(a, IMAGE, IMAGE, b) if not first else second(IMAGE, IMAGE, a)
    one, two = placeholder, placeholder
    if several is not None and several.count(placeholder) < 2 and (match := re.search("1", placeholder)):
        two = f"{placeholder[: match.start()]}2{placeholder[match.end() :]}"
        if two in several:
            placeholder = f"{placeholder[: match.start()]}{{n}}{placeholder[match.end() :]}"
    found = dict(join)
    if several is not None and one in several and two in several.partition(one)[2]:
        found["image image"] = several.partition(one)[2].partition(two)[0]
    before = second(IMAGE, a) or ""
    found["image text"] = before.partition(one)[2].partition(a)[0]
    if not first:
        middle = _inner(second(a, IMAGE, b), a, b)
        found["text image"] = middle.partition(one)[0]
    lead = before.partition(one)[0]
    end = (second(IMAGE) or second(a, IMAGE) or "").rpartition(one)[2]
    if head.startswith(lead):
        found["start text"] = head[len(lead) :]
    elif lead.startswith(head):
        found["start image"] = lead[len(head) :]
    if tail.endswith(end):
        found["text end"] = tail[: len(tail) - len(end)]
    elif end.endswith(tail):
        found["image end"] = end[: len(end) - len(tail)]
    found = {pair: text for pair, text in found.items() if text}
    yield Pictures(_without(frame, found), placeholder, first, found)


def _without(frame: Frame, join: Joins) -> Frame:
    return replace(frame, user=stripped(frame.user, join), assistant=stripped(frame.assistant, join))


def stripped(turn: Written, join: Joins) -> Written:
    """A turn whose joins are no part of its open and close. What it has none of, it has a `join` without."""
    start, end = join.get("start text", ""), join.get("text end", "")
    fits = turn.open.endswith(start) and turn.close.startswith(end)
    if not fits:
        lacking = {p: text for p, text in join.items() if p not in {"start text", "text end"}}
        return replace(turn, join=lacking)
    last = turn.close_last
    return replace(
        turn,
        open=turn.open[: len(turn.open) - len(start)],
        close=turn.close[len(end) :],
        close_last=last[len(end) :] if last is not None and last.startswith(end) else last,
    )


def roles(upstream: Upstream, known: tuple[Role, ...]) -> tuple[Role, ...]:
    """The roles whose images are written."""
    a, b, c, *_ = WORDS
    probes = {
        "system": ((system(IMAGE, a), user(b)), (system(a), user(b))),
        "user": ((user(IMAGE, a),), (user(a),)),
        "assistant": ((user(b), answer(IMAGE, a), user(c)), (user(b), answer(a), user(c))),
    }
    found: list[Role] = []
    for role in known:
        with_image, without = (upstream.says(*turns) for turns in probes[role])
        if with_image is not None and with_image != without:
            found.append(role)
    return tuple(found)


def joins_of(upstream: Upstream, role: Role, placeholder: str | None) -> Joins:
    """What a role's turn has between two parts, "" where it has nothing; as far as it can be asked."""
    a, b, c, d, *_ = WORDS
    found: Joins = {}
    for parts in ((a, b), (a, IMAGE, b)):
        turn = say(role, *parts)
        turns = {"system": (turn, user(c)), "user": (turn,), "assistant": (user(c), turn, user(d))}[role]
        text = upstream.says(*turns)
        if text is None or a not in text or b not in text.partition(a)[2]:
            continue
        between = gaps(text, a, b)[1]
        if len(parts) == 2:
            found["text text"] = between
        elif placeholder and placeholder in between:
            found["text image"], _, found["image text"] = between.partition(placeholder)
    return found
