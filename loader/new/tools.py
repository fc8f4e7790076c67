"""Whether a template tells the model of tools: it is given one that no template has."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from loader.new.conversations import WORDS, user
from loader.new.draft import Draft
from loader.new.upstream import NOW, Request, Upstream
from registry.tools import Tools

_NAME = "qztoolnamezq"
_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": _NAME, "description": _NAME, "parameters": {"type": "object"}},
}


def told(upstream: Upstream, draft: Draft) -> Draft:
    """The draft, which says that the family has calls of its own where the template writes a tool.

    How it does is not inferred. A template that does nothing proves nothing: some are handed tools otherwise.
    """
    # Rendered, not asked: JSON in a prompt would count as a list that was printed by mistake.
    (text,) = upstream.render([Request((user(WORDS[0]),), True, upstream.options, (_TOOL,))], NOW)
    if text is None or _NAME not in text:
        return draft
    return replace(draft, prompt=replace(draft.prompt, tools=Tools(native=True)))
