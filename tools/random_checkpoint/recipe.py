"""What is particular to a family, as data: `families/<name>.yaml`.

A recipe may start from another one (`extends: <file>`): maps merge, everything else is replaced.
A file whose name starts with "_" is only such a start. In the JSON sections "$token:<text>" stands
for the id of a special token and "$vocab" for the size of the vocabulary; both are known only
once the tokenizer is trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict

__all__ = ["Recipe", "TokenizerRecipe", "load", "names", "resolve"]

_FOLDER = Path(__file__).parent / "families"
_TOKEN = "$token:"  # noqa: S105 - a marker, no password
_VOCABULARY_SIZE = "$vocab"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TokenizerRecipe(_Strict):
    """A byte-level tokenizer like GPT-2's, or a metaspace one with byte fallback like Llama's.

    `specials` come first in the vocabulary, in this order; `bos`, `eos`, `pad` and `unk` name some
    of them. `prefix_space`: a metaspace tokenizer puts a space before the text.
    `named` become attributes of the loaded tokenizer (`image_token` and its like).
    """

    style: Literal["bytelevel", "metaspace"]
    prefix_space: bool = False
    specials: tuple[str, ...]
    bos: str | None = None
    eos: str
    pad: str
    unk: str | None = None
    add_bos: bool = False
    named: dict[str, str] = {}


class Recipe(_Strict):
    """One family: the content of each file of its checkpoint, apart from the weights.

    `chat_preamble` goes before `chat_template`: recipes that share the rest may differ in it.
    """

    tokenizer: TokenizerRecipe
    chat_preamble: str = ""
    chat_template: str
    config: dict[str, Any]
    preprocessor_config: dict[str, Any] | None = None
    processor_config: dict[str, Any] | None = None
    generation_config: dict[str, Any] | None = None


def names() -> tuple[str, ...]:
    """The names that can be built, sorted."""
    stems = (path.stem for path in _FOLDER.glob("*.yaml"))
    return tuple(sorted(stem for stem in stems if not stem.startswith("_")))


def load(name: str) -> Recipe:
    """The recipe of this name; `LookupError` with the nearest names when there is none."""
    if name not in names():
        near = get_close_matches(name, names()) or names()
        raise LookupError(
            f"No random checkpoint is called {name!r}: there is no families/{name}.yaml. "
            f"Use one of: {', '.join(near)}."
        )
    return Recipe.model_validate(_read(name))


def resolve(value: object, tokens: Mapping[str, int], size: int) -> object:
    """A copy of `value` with ids for "$token:<text>" and `size` for "$vocab"."""
    if isinstance(value, dict):
        return {key: resolve(item, tokens, size) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, tokens, size) for item in value]
    if value == _VOCABULARY_SIZE:
        return size
    if isinstance(value, str) and value.startswith(_TOKEN):
        return _token_id(value.removeprefix(_TOKEN), tokens)
    return value


def _token_id(token: str, tokens: Mapping[str, int]) -> int:
    if token not in tokens:
        raise ValueError(
            f"The recipe refers to {token!r}, which is not a special token. "
            "Add it to tokenizer.specials or correct the reference."
        )
    return tokens[token]


def _read(stem: str) -> dict[str, Any]:
    own: dict[str, Any] = yaml.safe_load((_FOLDER / f"{stem}.yaml").read_text(encoding="utf-8"))
    start = own.pop("extends", None)
    return own if start is None else _merge(_read(start), own)


def _merge(start: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    merged = dict(start)
    for key, value in own.items():
        before = start.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            merged[key] = _merge(before, value)
        else:
            merged[key] = value
    return merged
