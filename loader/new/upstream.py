"""What is probed: upstream's chat template, asked about one conversation after the other.

Answers are kept, because the same conversations are asked about again and again while a grammar is
looked for. Time stands still, so that a date in a prompt can be told from its words.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from loader.checkpoint.template import ChatTemplate
from loader.errors import CheckpointError
from loader.new.conversations import WORDS, Conversation, Turn, answer, images, system, texts, user
from loader.prompt.sandbox import SANDBOX, TemplateError

NOW = datetime.datetime(2026, 1, 15, 12)
"""The time at which goldens are recorded: registry.validate.goldens compares dates with it."""
_GIVEN = {"tools": None, "documents": None}
"""What transformers gives to every template: without them, some take a list of tools for granted."""
_BATCH = 64
_LONGEST = 200_000
"""Characters of a prompt: more is no prompt, and would be asked for hundreds of times."""
_FORMAT = re.compile(r"""strftime_now\s*\(\s*(["'])([^"']{1,60})\1""")
_TAG = re.compile(r"</([\w:]{1,30})>")
_BLOCK = re.compile(r"\{[{%](.*?)[%}]\}", re.DOTALL)
_STRING = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
_NAME = re.compile(r"(?<![\w.|])(?<!\|\s)([a-z][a-z_]{2,40})\b(?!\s*[(=.\[]|\w)")
_MEANT = frozenset(
    {"add_generation_prompt", "and", "break", "continue", "defined", "documents", "elif", "else", "endfilter"}
    | {"endfor", "endgeneration", "endif", "endmacro", "endset", "false", "filter", "for", "generation", "if"}
    | {"in", "is", "iterable", "loop", "macro", "mapping", "message", "messages", "namespace", "none", "not"}
    | {
        "number",
        "or",
        "raise_exception",
        "range",
        "sequence",
        "set",
        "strftime_now",
        "string",
        "tools",
        "true",
    }
    | {"undefined"}
)
"""Words of the language, and what a template is always given."""


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt to make."""

    turns: Conversation
    generate: bool = True
    options: tuple[tuple[str, bool], ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()


Render = Callable[[Sequence[Request], datetime.datetime], list[str | None]]
"""What upstream makes of conversations at a time; None where it refuses."""


@dataclass
class Upstream:
    """A chat template that can be asked, and what is known of it beforehand."""

    render: Render
    formats: tuple[str, ...] = ()
    """Formats of dates that it may print."""
    switches: tuple[str, ...] = ()
    """Names that may be options."""
    tags: tuple[tuple[str, str], ...] = ()
    """What may enclose reasoning."""
    start: str = ""
    """The tokenizer's start token, "" if it is not known."""
    options: tuple[tuple[str, bool], ...] = ()
    """Switches that are set in every question."""
    refusal: Callable[[Request], str] = field(default=lambda _: "", repr=False)
    """Why upstream makes no prompt of a conversation, "" where it makes one."""
    _known: dict[str, str | None] = field(default_factory=dict, repr=False)
    _as_text: dict[str, bool] = field(default_factory=dict, repr=False)

    def with_option(self, name: str, value: bool, start: str) -> Upstream:
        """The same template with a switch set, and what is known by now of a prompt's start."""
        options = (*self.options, (name, value))
        return replace(self, switches=(), start=start, options=options, _known={})

    def ask(self, requests: Iterable[Request], now: datetime.datetime = NOW) -> list[str | None]:
        """A prompt for each request, None where upstream refuses or prints a Python object."""
        wanted = [
            Request(tuple(map(self.shaped, it.turns)), it.generate, self.options + it.options)
            for it in requests
        ]
        keys = [json.dumps([it.turns, it.generate, it.options, str(now)]) for it in wanted]
        new = {key: it for key, it in zip(keys, wanted, strict=True) if key not in self._known}
        todo = list(new)
        for start in range(0, len(todo), _BATCH):
            some = todo[start : start + _BATCH]
            made = self.render([new[key] for key in some], now)
            self._known |= {key: _spoken(text) for key, text in zip(some, made, strict=True)}
        return [self._known[key] for key in keys]

    def says(self, *turns: Turn, generate: bool = False) -> str | None:
        """The prompt of one conversation, None where it is refused or words of it are lost."""
        (text,) = self.ask([Request(turns, generate)])
        return None if text is None or lost(turns, text) else text

    def shaped(self, turn: Turn) -> Turn:
        """A message in the form that the template takes for its role: parts, or one string."""
        role, parts = turn["role"], turn["content"]
        if role not in self._as_text:
            self._as_text[role] = False  # while the question below is asked
            self._as_text[role] = self._needs_text(role)
        if not self._as_text[role] or any("text" not in part for part in parts):
            return turn
        return {**turn, "content": "".join(part["text"] for part in parts)}

    def _needs_text(self, role: str) -> bool:
        a, b, *_ = WORDS
        probes: dict[str, Conversation] = {
            "user": (user(a),),
            "assistant": (user(b), answer(a)),
            "system": (system(a), user(b)),
        }
        turns = probes.get(role)
        if turns is None or self.says(*turns) is not None:
            return False
        self._as_text[role] = True
        return self.says(*turns) is not None


def _spoken(text: str | None) -> str | None:
    """Templates for strings print a list of parts as Python writes it: that is no prompt."""
    printed = ("'type'", '"type"', "'role'", '"role"')
    return None if text is None or any(key in text for key in printed) else text


def lost(turns: Conversation, text: str, placeholder: str | None = None) -> bool:
    """Whether words of a conversation, or images if their look is known, are missing or there twice."""
    words = [word for word in texts(turns) if "<" not in word]  # what looks like tags of reasoning may go
    if any(text.count(word) != words.count(word) for word in words):
        return True
    if placeholder is None:
        return False
    number = images(turns)
    if "{n}" not in placeholder:
        return text.count(placeholder) != number
    return any(text.count(placeholder.replace("{n}", str(n + 1))) != 1 for n in range(number))


def of_template(template: ChatTemplate) -> Upstream:
    """A checkpoint's own template, rendered in the sandbox.

    Raises CheckpointError, while it is asked, where it is stopped or says nothing but faults.
    """

    def made_of(requests: Sequence[Request], now: datetime.datetime) -> list[str | TemplateError]:
        contexts = [
            {
                **_GIVEN,
                **({"tools": list(request.tools)} if request.tools else {}),
                **template.tokens,
                **dict(request.options),
                "messages": list(request.turns),
                "add_generation_prompt": request.generate,
            }
            for request in requests
        ]
        try:
            return SANDBOX.render(template.source, contexts, now)
        except TemplateError as error:
            raise unusable(str(error)) from error

    def render(requests: Sequence[Request], now: datetime.datetime) -> list[str | None]:
        made = made_of(requests, now)
        if stopped := next(
            (it for it in made if isinstance(it, TemplateError) and it.kind == "stopped"), None
        ):
            raise unusable(str(stopped))
        answers = [None if isinstance(text, TemplateError) else text for text in made]
        if any(text is not None and len(text) > _LONGEST for text in answers):
            raise unusable(f"a short conversation becomes more than {_LONGEST:,} characters")
        return answers

    def refusal(request: Request) -> str:
        (said,) = made_of([request], NOW)
        return str(said) if isinstance(said, TemplateError) else ""

    source = template.source
    return Upstream(
        render,
        formats=tuple(dict.fromkeys(match[2] for match in _FORMAT.finditer(source))),
        switches=_switches(source, template.tokens),
        tags=tuple(
            dict.fromkeys(
                (f"<{name}>", f"</{name}>") for name in _TAG.findall(source) if f"<{name}>" in source
            )
        ),
        start=template.tokens.get("bos_token", ""),
        refusal=refusal,
    )


def unusable(reason: str) -> CheckpointError:
    return CheckpointError(
        f"The checkpoint's chat template cannot be probed: {reason}. "
        "Write the prompt by hand, as docs/cards.md says."
    )


def _switches(source: str, tokens: Mapping[str, Any]) -> tuple[str, ...]:
    """Names in a template's code that it does not set itself: a caller may."""
    code = " ; ".join(_STRING.sub("''", block) for block in _BLOCK.findall(source))
    own = set(re.findall(r"\bset\s+(\w+)", code)) | set(re.findall(r"\bfor\s+(\w+)", code))
    own |= set(re.findall(r",\s*(\w+)\s+in\b", code)) | set(re.findall(r"\bmacro\s+\w+\(([^)]*)\)", code))
    names = dict.fromkeys(_NAME.findall(code))
    return tuple(
        name for name in names if name not in own | _MEANT | set(tokens) and not name.endswith("_token")
    )[:24]
