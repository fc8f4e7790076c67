"""A chat template -> the grammar that says the same, by asking it: it is not read, and no family is known.

Words that no template has show where a caller's text goes, and what stands between them is the family's.
Where that can be read in several ways, each is a draft; the one that says most conversations as upstream does
is kept.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from loader.new.conversations import edges, scattered
from loader.new.dates import dated
from loader.new.draft import Difference, Draft, InexpressibleError, Score, differences
from loader.new.options import switched
from loader.new.pictures import Pictures, joins_of, pictures, roles
from loader.new.reasoning import Thought, thoughts
from loader.new.search import improved
from loader.new.systems import System, systems
from loader.new.tools import told
from loader.new.turns import Frame, frames
from loader.new.upstream import Request, Upstream
from registry.grammar import Prompt, Role, Turn

_RANDOM = 60
"""Random conversations that drafts are compared on."""
_CHECKED = 300
"""Others, that the result is compared on."""
_SEED, _CHECK_SEED = 7, 1_000_003
_KEPT = 4
"""Drafts that are improved."""


@dataclass(frozen=True, slots=True)
class Inferred:
    """The grammar of a template, and what it cannot say."""

    draft: Draft
    compared: int
    different: list[Difference]
    remarks: list[str] = field(default_factory=list)
    """Switches that no option of a card can say, and dates that no format does."""


def infer(upstream: Upstream) -> Inferred:
    """The grammar of a template.

    Raises InexpressibleError where none was found, CheckpointError where the template cannot be asked.
    """
    draft = base(upstream)
    draft, remarks = switched(upstream, draft, base)
    draft, more = dated(upstream, draft)
    draft = told(upstream, draft)
    checked = requests(scattered(_CHECKED, _CHECK_SEED, _tags(upstream, draft)))
    checked += requests(edges(_tags(upstream, draft)))
    return Inferred(draft, len(checked), differences(upstream, draft, checked), remarks + more)


def requests(conversations: Sequence[tuple[object, ...]]) -> list[Request]:
    """Each with and without what asks for an answer."""
    return [Request(turns, generate) for turns in conversations for generate in (True, False)]  # type: ignore[arg-type]


def _tags(upstream: Upstream, draft: Draft) -> list[tuple[str, str]]:
    thought = draft.prompt.reasoning
    own = [(thought.open.strip(), thought.close.strip())] if thought is not None else []
    return list(dict.fromkeys([*own, *upstream.tags[:2]]))


def base(upstream: Upstream) -> Draft:
    """The grammar with all options at their defaults."""
    reasons: list[str] = []
    drafts = list(_drafts(upstream, reasons))
    if not drafts:
        raise InexpressibleError(reasons[0] if reasons else "no grammar was found")
    simple = Score(upstream, requests(edges(())))
    # Stable: of equally good ones the likelier frame stays first.
    ranked = sorted(((simple.of(draft), draft) for draft in drafts), key=lambda pair: -pair[0])
    best: tuple[float, Draft] | None = None
    for _, draft in ranked[:_KEPT]:
        tags = _tags(upstream, draft)
        score = Score(upstream, requests([*edges(tags), *scattered(_RANDOM, _SEED, tags)]))
        points, better = improved(draft, score)
        share = points / score.most
        if best is None or share > best[0]:
            best = share, better
        if points >= score.most:
            break
    assert best is not None  # noqa: S101  # there is a draft
    return best[1]


def _drafts(upstream: Upstream, reasons: list[str]) -> Iterator[Draft]:
    for frame in frames(upstream):
        try:
            yield from _of_frame(upstream, frame)
        except InexpressibleError as error:
            reasons.append(str(error))


def _of_frame(upstream: Upstream, frame: Frame) -> Iterator[Draft]:
    for thought in thoughts(upstream, frame):
        clean = replace(frame, assistant=thought.assistant)
        for seen in pictures(upstream, clean):
            for system in systems(upstream, seen):
                yield _draft(upstream, seen, system, thought)


def _draft(upstream: Upstream, seen: Pictures, system: System, thought: Thought) -> Draft:
    turns: dict[Role, Turn] = {"user": seen.frame.user, "assistant": seen.frame.assistant}
    if system.turn is not None:
        turns = {"system": system.turn, **turns}
    held = roles(upstream, ("system", *turns)) if seen.placeholder is not None else ("user", "assistant")
    later = system.later if system.system == "turn" else None
    written = turns.get("system")
    return Draft(
        Prompt(
            bos=system.bos,
            roles=_joined(upstream, turns, seen),
            generation=seen.frame.generation,
            generation_after_assistant=seen.frame.after_assistant,
            system=system.system,  # type: ignore[arg-type]
            system_separator=system.separator,
            default_system=system.default,
            later_system="refuse" if later is None else "turn",
            later_system_turn=None if later is None or later == written else later,
            images="first" if seen.first else "inline",
            image_roles=tuple(dict.fromkeys(held)),
            join=seen.join,
            reasoning=thought.reasoning,
        ),
        seen.placeholder,
    )


def _joined(upstream: Upstream, turns: dict[Role, Turn], seen: Pictures) -> dict[Role, Turn]:
    """The turns, with joins of their own where parts are joined otherwise than in a user's turn."""
    made: dict[Role, Turn] = {}
    for role, turn in turns.items():
        own = dict(seen.join if turn.join is None else turn.join)
        if role != "user" and not seen.first:
            own |= joins_of(upstream, role, seen.placeholder)
        elif role != "user":
            own |= joins_of(upstream, role, None)
        own = {pair: text for pair, text in own.items() if text}
        made[role] = turn if own == seen.join else replace(turn, join=own)
    return made


def unlike(found: Sequence[Difference]) -> list[Difference]:
    """The shortest conversations first, one for each order of roles."""
    by_shape: dict[tuple[str, ...], Difference] = {}
    for difference in sorted(found, key=lambda it: sum(len(turn["content"]) for turn in it.turns)):
        by_shape.setdefault(tuple(turn["role"] for turn in difference.turns), difference)
    return list(itertools.islice(by_shape.values(), 5))
