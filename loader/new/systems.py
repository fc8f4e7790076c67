"""Where system text goes, what stands for it when there is none, and what begins a prompt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from loader.new.conversations import WORDS, answer, system, user
from loader.new.pictures import Pictures, stripped
from loader.new.turns import common_start, gaps
from loader.new.upstream import Upstream
from registry.grammar import Turn as Written


@dataclass(frozen=True, slots=True)
class System:
    """The fields of a prompt that this is about, by their names."""

    bos: str
    system: str = "refuse"
    turn: Written | None = None
    separator: str = ""
    default: str | None = None
    later: Written | None = None
    """How a later system turn is written; None: it is refused, or lost."""


def systems(upstream: Upstream, seen: Pictures) -> Iterator[System]:
    """Candidates. A family without system text has one."""
    a, b, *_ = WORDS
    text = upstream.says(system(a), user(b))
    head = seen.frame.head
    if text is None or text.index(a) > text.index(b):
        yield System(head)
        return
    before, middle, _ = gaps(text, a, b)
    opens = seen.frame.user.open + seen.join.get("start text", "")
    if middle.endswith(opens):
        turn = Written(open=before, close=middle[: len(middle) - len(opens)])
        yield from _turns(upstream, seen, turn)
    if before.endswith(opens):
        start = before[: len(before) - len(opens)]
        for place in ("first_user", "last_user"):
            # A default that a user turn carries stands in the head, with what separates it.
            yield System(start, place, separator=middle, default=_carried(seen, start, opens, middle))


def _carried(seen: Pictures, start: str, opens: str, separator: str) -> str | None:
    rest = seen.frame.head[len(start) :] if seen.frame.head.startswith(start) else ""
    if rest.startswith(opens) and rest.endswith(separator) and separator:
        return rest[len(opens) : len(rest) - len(separator)]
    return None


def _turns(upstream: Upstream, seen: Pictures, turn: Written) -> Iterator[System]:
    """System text as a turn of its own: what of its open is the prompt's start, and is there a default?"""
    head = seen.frame.head
    later = _later(upstream, seen)
    known = {upstream.start, "", head, common_start(turn.open, head)}
    if later is not None and turn.open.endswith(later.open):
        known.add(turn.open[: len(turn.open) - len(later.open)])
    # The tokenizer's start token is the likeliest, if the template writes it; then the longest possible one.
    likely = upstream.start if turn.open.startswith(upstream.start) else ""
    possible = [start for start in known if turn.open.startswith(start)]
    starts = sorted(possible, key=lambda start: (start != likely, -len(start)))
    for start in starts:
        opens = turn.open[len(start) :]
        if head == start:
            yield System(
                start,
                "turn",
                stripped(Written(open=opens, close=turn.close), seen.join),
                later=_bare(later, seen),
            )
        elif head.startswith(start):
            yield from _defaulted(seen, start, replace(turn, open=opens), later)


def _defaulted(seen: Pictures, start: str, turn: Written, later: Written | None) -> Iterator[System]:
    """With a default: a text of the card's own is no part that is joined to the turn's open and close."""
    bare = turn.open.removesuffix(seen.join.get("start text", ""))
    for joined in range(len(turn.close)):
        close = turn.close[joined:]
        if not close.strip() or not seen.frame.head.endswith(close):
            continue
        rest = seen.frame.head[len(start) : len(seen.frame.head) - len(close)]
        join = {**seen.join, "text end": turn.close[:joined]} if joined else seen.join
        if rest.startswith(bare):
            made, default = stripped(replace(turn, join=None), seen.join), rest[len(bare) :]
            if joined:
                made = replace(made, close=close, join=join)
        elif turn.open.startswith(rest):
            # The caller's text follows a text of the template's own, after a separator.
            made, default = (
                Written(open=rest, close=close, join={**join, "start text": turn.open[len(rest) :]}),
                "",
            )
        else:
            continue
        yield System(start, "turn", made, default=default, later=_bare(later, seen))
        return


def _bare(turn: Written | None, seen: Pictures) -> Written | None:
    return None if turn is None else stripped(turn, seen.join)


def _later(upstream: Upstream, seen: Pictures) -> Written | None:
    """How system text between two user turns, or after an answer, is written."""
    a, b, c, d, *_ = WORDS
    start, end = seen.join.get("start text", ""), seen.join.get("text end", "")
    opens = seen.frame.user.open + start
    for lead, close, word in (
        ((user(a),), end + seen.frame.user.close, a),
        ((user(d), answer(a)), end + seen.frame.assistant.close, a),
    ):
        text = upstream.says(*lead, system(b), user(c))
        if text is None or not text.index(a) < text.index(b) < text.index(c):
            continue
        _, before, after, _ = gaps(text, word, b, c)
        if before.startswith(close) and after.endswith(opens):
            return Written(open=before[len(close) :], close=after[: len(after) - len(opens)])
    return None
