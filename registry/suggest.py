"""Names that look like one that there is not."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable


def closest(word: str, names: Iterable[str], count: int, cutoff: float) -> list[str]:
    """What difflib.get_close_matches returns for different names, sooner where there are very many.

    Each name is first bounded from above, by the characters that it shares with the word, in any order. The
    ratio itself is worked out from the highest bound on, until none that is left can come before the best.
    """
    from difflib import SequenceMatcher

    best: list[tuple[float, str]] = []
    matcher = SequenceMatcher(b=word)
    for bound, name in sorted(_bounds(word, names, cutoff), reverse=True):
        if len(best) == count and bound < best[0][0]:
            break
        matcher.set_seq1(name)
        found = matcher.ratio(), name
        if found[0] < cutoff:
            continue
        if len(best) < count:
            heapq.heappush(best, found)
        else:
            heapq.heappushpop(best, found)
    return [name for _, name in sorted(best, reverse=True)]


def _bounds(word: str, names: Iterable[str], cutoff: float) -> Iterable[tuple[float, str]]:
    """The names that may reach the cutoff, each with the most that its ratio can be."""
    characters = list(Counter(word).items())
    length = len(word)
    for name in names:
        total = length + len(name)
        if 2.0 * min(length, len(name)) < cutoff * total:
            continue
        shared = 0
        for character, most in characters:
            there = name.count(character)
            shared += there if there < most else most  # noqa: FURB136  # a third of min's time
        if total and 2.0 * shared / total >= cutoff:
            yield 2.0 * shared / total, name
