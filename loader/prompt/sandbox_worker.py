"""The other end of loader.prompt.sandbox: renders Jinja templates that strangers wrote.

Runs as a script in a process of its own, which may die at any time; imports nothing of this project.
The environment is the one that transformers renders chat templates in, so that they mean the same.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import json
import sys
from collections.abc import Iterable
from typing import Any

import jinja2
import jinja2.ext
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

MEMORY = 1 << 30
"""Bytes of address space, where the system keeps to it."""
LONGEST = 4_000_000
"""Characters of one output, and of one string or list made by multiplication."""


class RefusedError(jinja2.TemplateError):
    """The template itself refuses the conversation."""


class _Environment(ImmutableSandboxedEnvironment):
    """Without what makes much of little: the memory limit does not hold on every system."""

    intercepted_binops = frozenset({"*", "**", "+", "%"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**":
            raise SecurityError("powers are not allowed")
        if operator == "%" and isinstance(left, str):
            raise SecurityError("text is not formatted with %")
        sizes = [len(side) for side in (left, right) if hasattr(side, "__len__")]
        if operator == "*" and sizes:
            sizes = [sizes[0] * side for side in (left, right) if isinstance(side, int)]
        if sum(sizes) > LONGEST:
            raise SecurityError("a text or list is too long")
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, called: Any, /, *arguments: Any, **named: Any) -> Any:
        _check_widths((*arguments, *named.values()))
        return super().call(context, called, *arguments, **named)


def _check_widths(arguments: Iterable[Any]) -> None:
    """Those of center, ljust, indent and their like."""
    if any(isinstance(it, int) and abs(it) > LONGEST for it in arguments):
        raise SecurityError("a number is too large")


def _bounded(function: Any) -> Any:
    """A filter with limits: templates call filters without asking the environment."""

    @functools.wraps(function)  # with jinja's marks for what else the filter is given
    def bounded(*arguments: Any, **named: Any) -> Any:
        _check_widths((*arguments, *named.values()))
        return function(*arguments, **named)

    return bounded


def _format(*_: Any, **__: Any) -> str:
    raise SecurityError("text is not formatted with %")


class _Generation(jinja2.ext.Extension):
    """`{% generation %}` marks what the model says, for training; here it changes nothing."""

    tags = {"generation"}  # noqa: RUF012  # jinja2 wants a set

    def parse(self, parser: Any) -> Any:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _refuse(message: object) -> None:
    raise RefusedError(str(message))


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: Any = None,
    sort_keys: bool = False,
) -> str:
    """As transformers has it: without the escapes for HTML."""
    if indent is not None and int(indent) > 16:
        raise SecurityError("an indent is too wide")
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


class _Clock:
    """What templates take for the present: the request says."""

    now = datetime.datetime.min

    @classmethod
    def strftime(cls, form: str) -> str:
        return cls.now.strftime(form)


@functools.lru_cache(maxsize=16)
def _compiled(source: str) -> jinja2.Template:
    environment = _Environment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters |= {"tojson": _tojson, "format": _format}
    environment.filters = {name: _bounded(function) for name, function in environment.filters.items()}
    environment.globals |= {"raise_exception": _refuse, "strftime_now": _Clock.strftime}
    return environment.from_string(source)


def _render(source: str, context: dict[str, Any]) -> str:
    out, length = [], 0
    for piece in _compiled(source).generate(context):
        out.append(piece)
        length += len(piece)
        if length > LONGEST:
            raise SecurityError(f"the output has more than {LONGEST:,} characters")
    return "".join(out)


def _reason(error: Exception) -> str:
    """One line, short, because a template can raise a gigabyte, and without its full stop."""
    return " ".join(str(error)[:200].split()).rstrip(" .!") or type(error).__name__


def _answer(request: dict[str, Any]) -> list[dict[str, str]]:
    results = []
    _Clock.now = datetime.datetime.fromisoformat(request["now"])
    for context in request["contexts"]:
        try:
            results.append({"text": _render(request["source"], context)})
        except RefusedError as error:
            results.append({"kind": "refused", "text": _reason(error)})
        except (SecurityError, MemoryError, RecursionError, OverflowError) as error:
            results.append({"kind": "stopped", "text": _reason(error)})
        except Exception as error:  # noqa: BLE001  # a template can raise anything
            results.append({"kind": "broken", "text": f"{type(error).__name__}: {_reason(error)}"})
    return results


def main() -> None:
    """One request a line, one answer a line, until standard input ends."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_answer(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
