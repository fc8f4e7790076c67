"""A card's text -> data, and from data back to line and column.

The safe loader only, without aliases and tags; a duplicate key is an error, because YAML would
silently keep the last one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from loader.errors import CardError

if TYPE_CHECKING:
    from pydantic import ValidationError

    from registry.vision import Image

SAFE_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""In C where PyYAML was built with it."""
MAX_BYTES = 1 << 20
"""A card is a page or two; a larger file is not a card."""
MAX_DEPTH = 50
"""The C loader recurses without a limit of its own: deep nesting would end the process."""

MAX_DIGITS = 40
"""Of base 60 (1:59:59), a number could have so many that it takes minutes, and no JSON holds it."""
NUMBERS = frozenset({"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"})


class _StrictLoader(SAFE_LOADER):  # type: ignore[misc]  # the C loader is untyped
    """The safe loader without repeated keys; what cannot be a value is an error with a place."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                raise _fault("a key is text, not a list, a map or <<", key.start_mark)
            if key.tag != "tag:yaml.org,2002:str":  # 7, on and 2026-01-01 are no text in YAML
                raise _fault(f"the key {key.value} is not text; write it in quotes", key.start_mark)
            if key.value in seen:
                raise _fault(f"the key {key.value!r} is already there", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        if node.tag in NUMBERS and len(node.value) > MAX_DIGITS:
            raise _fault(f"a number has at most {MAX_DIGITS} digits; quote it if it is text", node.start_mark)
        try:
            return super().construct_object(node, deep)
        except ValueError as error:  # 2026-02-30
            raise _fault(f"{node.value!r} is not a value: {error}", node.start_mark) from error


def _fault(problem: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _refuse_tricks(text: str) -> None:
    """Raises MarkedYAMLError for aliases (a small file could unfold to gigabytes), tags and deep nesting.

    Events, because the C loader composes nodes by itself: a subclass is not asked.
    """
    depth = 0
    for event in yaml.parse(text, Loader=SAFE_LOADER):
        if getattr(event, "anchor", None) is not None:
            raise _fault("anchors (&name) and aliases (*name) are not allowed", event.start_mark)
        if tag := getattr(event, "tag", None):
            raise _fault(f"tags ({tag}) are not allowed", event.start_mark)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise _fault(f"a card has at most {MAX_DEPTH} levels", event.start_mark)


def raw(path: Path) -> bytes:
    """The bytes of a card file, one more than a card may have at the most. Raises OSError.

    Only of a regular file: a pipe would wait for ever, a device never end.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123  # a descriptor
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        return file.read(MAX_BYTES + 1)


def read(path: Path) -> dict[str, Any]:
    """The data in a card file.

    Raises CardError with line and column where the text is not YAML or not a map.
    """
    try:
        content = raw(path)
        if len(content) > MAX_BYTES:
            raise CardError(
                f"a card has at most {MAX_BYTES:,} bytes, this file has more. Check that it is a card.",
                path=str(path),
            )
        text = content.decode("utf-8")
        _refuse_tricks(text)
        data = yaml.load(text, Loader=_StrictLoader)  # noqa: S506  # it is the safe loader
    except OSError as error:
        raise CardError(f"cannot be read: {error.strerror}. Check its name.", path=str(path)) from error
    except UnicodeDecodeError as error:
        raise CardError("is not UTF-8 text. Save it as UTF-8.", path=str(path)) from error
    except yaml.MarkedYAMLError as error:
        raise _yaml_error(path, text, error) from error
    except yaml.YAMLError as error:
        raise CardError(f"is not YAML: {' '.join(str(error).split())}. Mend it.", path=str(path)) from error
    if not isinstance(data, dict):
        raise CardError(
            "is not a map of keys. A card begins with `schema_version: 1`.", path=str(path), line=1
        )
    return data


def read_trusted(path: Path) -> dict[str, Any]:
    """As `read`, in about 60% of the time, for the cards of this package: its tests pass them to `read`.

    Only a file that is no map of keys after all is read with all checks, to say what is wrong and where.
    """
    with contextlib.suppress(Exception):  # a tag or a day that there is not raises what it likes
        data = yaml.load(raw(path), Loader=SAFE_LOADER)  # noqa: S506  # it is the safe loader
        if isinstance(data, dict):
            return data
    return read(path)


def _yaml_error(path: Path, text: str, error: yaml.MarkedYAMLError) -> CardError:
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return CardError(f"is not YAML: {error}. Mend it.", path=str(path))
    problem = str(error.problem)
    if problem.startswith("but "):  # "expected one thing", "but found another"
        problem = f"{error.context}, {problem}"
    if [*text.splitlines(), ""][mark.line].startswith("\t", mark.column):
        problem = "a tab cannot stand here, YAML is indented with spaces"
    return CardError(
        f"{problem}. Mend the YAML here.", path=str(path), line=mark.line + 1, column=mark.column + 1
    )


def card_error(path: Path, error: ValidationError, *, below: Sequence[str] = ()) -> CardError:
    """The first finding of a validation as a CardError at its place in the file.

    `below` is where the data sits in the file when it is not the root (a model's override).
    """
    first, *others = error.errors()
    where = [step for step in first["loc"] if step != "[key]"]
    if where[:2] == ["image", "resize"]:
        del where[2:3]  # pydantic names the branch of the union, which is not in the file
    at, what, mend = words(first, where)
    where += at
    line, column = locate(path, [*below, *where]) or (None, None)
    name = ".".join(str(step) for step in where) or "the card"
    # A list with a bad entry is also called too short: that is the same finding.
    count = sum(first["loc"][: len(other["loc"])] != other["loc"] for other in others)
    more = f" ({count} more after this one.)" if count else ""
    return CardError(f"{name}: {what}. {mend}{more}", path=str(path), line=line, column=column)


def check_placeholder(path: Path, image: Image | None, *, below: Sequence[str] = ()) -> None:
    """Raises CardError where the placeholder has no place for what the card says of it: `mlx-cards prompt
    --expanded` would show an image without its tokens.
    """
    if image is None or image.expansion is None:
        return
    replaced = image.expansion.replaces or image.token
    if replaced not in image.placeholder:
        line, column = locate(path, [*below, "image", "expansion", "replaces"]) or (None, None)
        raise CardError(
            f"image.expansion.replaces: the placeholder {image.placeholder!r} does not hold {replaced!r}. "
            "Name the part of it that the processor replaces.",
            path=str(path),
            line=line,
            column=column,
        )


_PLAIN = {
    "bool_type": "this should be true or false",
    "dataclass_type": "this should be a map",
    "dict_type": "this should be a map",
    "int_parsing": "this should be a whole number",
    "int_type": "this should be a whole number",
    "list_type": "this should be a list",
    "string_type": "this should be text; quote what YAML would read as something else",
    "too_short": "this list needs an entry",
    "tuple_type": "this should be a list",
}
"""The findings of pydantic that speak of Python, in words for somebody who writes YAML."""


def words(finding: Any, where: Sequence[str | int]) -> tuple[list[str], str, str]:
    """For one finding of pydantic: the key below `where` that is at fault, what is wrong, what to do."""
    kind, manual = finding["type"], "docs/cards.md says what it holds."
    if kind == "unexpected_keyword_argument":
        return [], "this key is not known", _instead(str(where[-1]))
    if kind in {"missing", "union_tag_not_found"}:
        return ["kind"] * (kind != "missing"), "this key is missing", f"Add it; {manual}"
    if kind == "union_tag_invalid":
        known = finding["ctx"]["expected_tags"]
        return ["kind"], f"{finding['ctx']['tag']!r} is not known", f"Choose one of: {known}."
    if kind == "string_pattern_mismatch":
        return [], f"{finding['input']!r} has the wrong form", _form(finding["ctx"]["pattern"])
    if kind == "greater_than_equal":
        message = f"this should be {finding['ctx']['ge']} or more"
    else:
        message = _PLAIN.get(kind) or finding["msg"].removeprefix("Value error, ")
    message = message.replace("Input should be", "this should be")
    field, colon, rest = message.partition(": ")
    if kind == "value_error" and colon and field.isidentifier():
        return [field], rest, manual
    return [], message, manual


def _form(pattern: str) -> str:
    from registry.cards import COMMIT, REPOSITORY

    forms = {REPOSITORY: "Write it as owner/name.", COMMIT: "Write the 40 hex digits of a commit."}
    return forms.get(pattern, "docs/cards.md says what it holds.")


def _instead(key: str) -> str:
    import difflib

    from registry.schema import field_names

    if key in field_names():
        return "It belongs elsewhere in a card; docs/cards.md says where."
    close = difflib.get_close_matches(key, field_names(), 1)
    return f"Did you mean {close[0]!r}?" if close else "docs/cards.md lists the keys there are."


def locate(path: Path, where: Sequence[str | int]) -> tuple[int, int] | None:
    """Line and column, from 1, of the deepest node on the way to `where`; None without a step of it."""
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=SAFE_LOADER)
    except (OSError, yaml.YAMLError):
        return None
    mark = None
    for step in where:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == str(step)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            found = (node.value[step], node.value[step])
        else:
            break
        if found is None:
            break
        mark, node = found[0].start_mark, found[1]
    return None if mark is None else (mark.line + 1, mark.column + 1)
