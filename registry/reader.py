"""A card's text -> data, and from data back to line and column.

The safe loader only; a duplicate key is an error, because YAML would silently keep the last one.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from loader.errors import CardError

_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MAX_BYTES = 1 << 20
"""A card is a page or two; a larger file is not a card."""


class _StrictLoader(_SafeLoader):  # type: ignore[misc]  # the C loader is untyped
    """The safe loader without anchors (a small file could unfold to gigabytes) or repeated keys."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="aliases (*name) are not allowed", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[object] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r} is already there", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read(path: Path) -> dict[str, Any]:
    """The data in a card file.

    Raises CardError with line and column where the text is not YAML or not a map.
    """
    try:
        raw = path.read_bytes()
        if len(raw) > MAX_BYTES:
            raise CardError(
                f"a card has at most {MAX_BYTES:,} bytes, this file has {len(raw):,}. "
                "Check that it is a card.",
                path=str(path),
            )
        data = yaml.load(raw.decode("utf-8"), Loader=_StrictLoader)  # noqa: S506  # it is the safe loader
    except OSError as error:
        raise CardError(f"cannot be read: {error.strerror}. Check its name.", path=str(path)) from error
    except UnicodeDecodeError as error:
        raise CardError("is not UTF-8 text. Save it as UTF-8.", path=str(path)) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else (None, None)
        raise CardError(
            f"{error.problem}. Mend the YAML here.", path=str(path), line=place[0], column=place[1]
        ) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise CardError(f"is not YAML: {error}. Mend it.", path=str(path)) from error
    if not isinstance(data, dict):
        raise CardError(
            "is not a map of keys. A card begins with `schema_version: 1`.", path=str(path), line=1
        )
    return data


def card_error(path: Path, error: ValidationError, *, below: Sequence[str] = ()) -> CardError:
    """The first finding of a validation as a CardError at its place in the file.

    `below` is where the data sits in the file when it is not the root (a model's override).
    """
    first = error.errors()[0]
    where = [step for step in first["loc"] if step != "[key]"]
    line, column = locate(path, [*below, *where]) or locate(path, where) or (None, None)
    name = ".".join(str(step) for step in where) or "the card"
    more = f" ({error.error_count() - 1} more findings follow.)" if error.error_count() > 1 else ""
    what, mend = _words(first, where)
    return CardError(f"{name}: {what}. {mend}{more}", path=str(path), line=line, column=column)


def _words(finding: Any, where: Sequence[str | int]) -> tuple[str, str]:
    """What is wrong, and what to do, for one finding of pydantic."""
    from registry.schema import field_names

    if finding["type"] == "extra_forbidden":
        close = difflib.get_close_matches(str(where[-1]), field_names(), 1)
        mend = f"Did you mean {close[0]!r}?" if close else "docs/cards.md lists the keys there are."
        return "this key is not known", mend
    if finding["type"] == "missing":
        return "this key is missing", "Add it; docs/cards.md says what it holds."
    return finding["msg"].removeprefix("Value error, "), "docs/cards.md says what it holds."


def locate(path: Path, where: Sequence[str | int]) -> tuple[int, int] | None:
    """Line and column, from 1, of the deepest node on the way to `where`; None without a step of it."""
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=_SafeLoader)
    except (OSError, yaml.YAMLError):
        return None
    mark = None
    for step in where:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == str(step)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            found = (node.value[step], node.value[step])
        else:
            # pydantic names the branch of a union (`resize.fixed.width`): it is not in the file.
            continue
        if found is None:
            continue
        mark, node = found[0].start_mark, found[1]
    return None if mark is None else (mark.line + 1, mark.column + 1)
