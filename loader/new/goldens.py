"""Goldens of a new card: what upstream's own template and processor make, never what this project does."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Mapping
from typing import Any

from loader.new.conversations import IMAGE, Conversation, answer, system, user
from loader.new.draft import Draft
from loader.new.measure import Measured
from loader.new.upstream import Request, Upstream, lost
from loader.new.yaml_text import flow

_END = "QzEndxdnEzQ"
_ASK = "What is this?"
_CAT = "A cat."
CONVERSATIONS: Mapping[str, Conversation] = {
    "img_text": (user(IMAGE, "What is shown in this image?"),),
    "text_img": (user("What is shown in this image?", IMAGE),),
    "text_only": (user("Hello, who are you?"),),
    "img_only": (user(IMAGE),),
    "sys_img_text": (system("You are a precise assistant."), user(IMAGE, "Describe the image.")),
    "sys_text": (system("You are a precise assistant."), user("Say hi.")),
    "sys_empty_img": (system(""), user(IMAGE, "Describe the image.")),
    "two_img": (user(IMAGE, IMAGE, "Compare these images."),),
    "interleaved": (user("First:", IMAGE, "Second:", IMAGE, "Which is brighter?"),),
    "multi_turn_img_first": (user(IMAGE, _ASK), answer(_CAT), user("What colour is it?")),
    "multi_turn_two_imgs": (user(IMAGE, _ASK), answer(_CAT), user(IMAGE, "And this one?")),
    "multi_turn_4": (user(IMAGE, "Q1"), answer("A1"), user("Q2"), answer("A2"), user("Q3")),
    "newlines_inside": (user(IMAGE, "Line1\nLine2\r\nLine3\n\nLine5"),),
    "jinja_like": (user(IMAGE, "Render {{ messages }} and {% raw %}{% endraw %} and {# c #} ${x} {0}"),),
    "empty_text": (user(IMAGE, ""),),
    "two_text_parts": (user("Part one.", "Part two."),),
    "assistant_first": (answer("Hello, how can I help?"), user("Describe.")),
    "reasoning_in_history": (user("Hi"), answer("Answer.", thought="reason"), user("Next")),
    "reasoning_last": (user("Hi"), answer("Answer.", thought="reason")),
}
"""By their names in all goldens."""
_ANSWERED: Conversation = (user(IMAGE, _ASK), answer(_CAT))
_STARTED: Conversation = (user(IMAGE, _ASK), answer("The image shows"))


def goldens(
    upstream: Upstream, draft: Draft, seen: Measured | None, *, case: str, origin: str, today: datetime.date
) -> tuple[str, int]:
    """The text of a file of goldens, and how many conversations are left out, as parts are lost."""
    rows = list(_rows(upstream, draft, case))
    kept = [row for row in rows if row is not None]
    stamp = {"date": today, "prompts": f"{_renderer()}, rendering the chat template of {origin}"}
    if seen is not None:
        stamp["images"] = f"{seen.package}, measured with the real {seen.processor} of {origin}"
    lines = [
        "# What upstream does, recorded once. Not written by hand: a change here means that upstream changed."
    ]
    lines += ["stamp:", *(f"  {key}: {_stamped(value)}" for key, value in stamp.items())]
    lines += ["prompts:" if kept else "prompts: []"]
    for row in kept:
        lines += [
            f"  {'- ' if not i else '  '}{key}: {flow(value)}" for i, (key, value) in enumerate(row.items())
        ]
    images = [] if seen is None else [_image(case, row) for row in seen.rows]
    lines += ["images:" if images else "images: []", *(f"  - {flow(row)}" for row in images)]
    return "\n".join(lines) + "\n", len(rows) - len(kept)


def _renderer() -> str:
    from importlib import metadata

    return f"jinja2 {metadata.version('jinja2')} in the environment of transformers' chat templates"


def _stamped(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime.date) else json.dumps(value, ensure_ascii=False)


def _image(case: str, row: Any) -> dict[str, Any]:
    return {"case": case, "width": row.width, "height": row.height, "image_tokens": row.image_tokens}


def _rows(upstream: Upstream, draft: Draft, case: str) -> Iterator[dict[str, Any] | None]:
    """Rows; None for a conversation that upstream does not say as a whole."""
    reasons = draft.prompt.reasoning is not None
    asked = [
        (name, turns, True) for name, turns in CONVERSATIONS.items() if reasons or "reasoning" not in name
    ]
    asked += [("no_gen_prompt", _ANSWERED, False), ("no_gen_prompt_user_last", _ANSWERED[:1], False)]
    for name, turns, generate in asked:
        yield _row(upstream, draft, case, name, Request(turns, generate))
    yield _continued(upstream, draft, case)
    for option, choice in draft.prompt.options.items():
        switch = ((option, not choice.default),)
        for name in ("img_text", "two_img", "sys_text", "text_only"):
            yield _row(upstream, draft, case, f"{name}_{option}", Request(CONVERSATIONS[name], True, switch))


def _row(upstream: Upstream, draft: Draft, case: str, name: str, request: Request) -> dict[str, Any] | None:
    (text,) = upstream.ask([request])
    if text is not None and lost(request.turns, text, draft.placeholder):
        return None
    return _recorded(upstream, case, name, request, text)


def _recorded(
    upstream: Upstream, case: str, name: str, request: Request, text: str | None, *, continued: bool = False
) -> dict[str, Any]:
    turns = [upstream.shaped(turn) for turn in request.turns]
    row: dict[str, Any] = {
        "case": case,
        "conversation": name,
        "content": "string" if all(isinstance(turn["content"], str) for turn in turns) else "parts",
        "messages": turns,
        "add_generation_prompt": request.generate,
        "continue_final_message": continued,
        "options": dict(request.options),
    }
    return row | ({"error": True} if text is None else {"prompt": text})


def _continued(upstream: Upstream, draft: Draft, case: str) -> dict[str, Any] | None:
    """As transformers does it: rendered without a question for an answer, and cut after the last words."""
    *before, last = _STARTED
    marked = answer(last["content"][0]["text"] + _END)
    (text,) = upstream.ask([Request((*before, marked), False)])
    if text is None or text.count(_END) != 1 or lost((*before, marked), text, draft.placeholder):
        return None
    made = text.partition(_END)[0]
    return _recorded(upstream, case, "continue_final", Request(_STARTED, False), made, continued=True)
