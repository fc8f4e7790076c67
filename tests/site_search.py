"""The site's search, asked as a browser asks it: its own worker script runs in V8."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from py_mini_racer import MiniRacer

_BROWSER = """
var self = this, answers = [], handler;
function addEventListener(name, listener) { handler = listener; }
function postMessage(message) { answers.push(message); }
var console = { warn(...words) { throw new Error(words.join(" ")); } };
"""
_SETUP, _QUERY, _RESULT = 0, 2, 3


class Search:
    """The search of a site that was built into a folder."""

    def __init__(self, site: Path) -> None:
        (worker,) = site.glob("assets/javascripts/workers/search.*.min.js")
        index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
        self._engine = MiniRacer()
        self._engine.eval(_BROWSER)
        self._engine.eval(worker.read_text(encoding="utf-8"))
        self._ask(_SETUP, {**index, "options": {"suggest": False}})

    def pages(self, query: str) -> list[str]:
        """The best place of each page that is found, the best page first."""
        answer = self._ask(_QUERY, query)
        assert answer["type"] == _RESULT
        return [page[0]["location"] for page in answer["data"]["items"]]

    def _ask(self, kind: int, data: Any) -> dict[str, Any]:
        message = json.dumps({"data": {"type": kind, "data": data}})
        self._engine.eval(f"answers = []; handler({message}); 0")
        (answer,) = json.loads(str(self._engine.eval("JSON.stringify(answers)")))
        assert isinstance(answer, dict)
        return answer
