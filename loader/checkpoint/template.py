"""The chat template that a checkpoint ships, and the special tokens that it may name."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loader.checkpoint.files import json_object
from loader.errors import CheckpointError

_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A Jinja template of a stranger; loader.prompt.sandbox renders it."""

    source: str
    tokens: dict[str, str] = field(default_factory=dict)
    """bos_token and its kin, by name."""
    folder: Path | None = field(default=None, compare=False)
    """Where the checkpoint is."""

    def special_tokens(self) -> frozenset[str]:
        """Control tokens of the checkpoint's tokenizer, as far as its files name them.

        The tokenizer's file may have thirty megabytes: it is read when this is asked.
        """
        if self.folder is None:
            return frozenset(self.tokens.values())
        config = _optional(self.folder / "tokenizer_config.json")
        added = [*_listed(_optional(self.folder / "tokenizer.json"), "added_tokens")]
        added += _listed(config, "added_tokens_decoder")
        found = [token for token in added if isinstance(token, dict) and token.get("special")]
        found += _listed(config, "additional_special_tokens") + _listed(config, "extra_special_tokens")
        texts = [*self.tokens.values(), *map(_text, found)]
        return frozenset(text for text in texts if text)


def chat_template(folder: Path) -> ChatTemplate | None:
    """The template that upstream would take, None where the checkpoint ships none.

    Where there are several files, upstream's order counts: a file of its own, the processor's
    JSON, then the tokenizer's configuration.
    """
    source = None
    own = folder / "chat_template.jinja"
    if own.is_file():
        if own.stat().st_size > _MAX_BYTES:
            raise CheckpointError(f"{own} is no chat template: it is too large. Get the file again.")
        source = own.read_text(encoding="utf-8", errors="replace")
    for name in ("chat_template.json", "processor_config.json", "tokenizer_config.json"):
        source = source or _default(_optional(folder / name).get("chat_template"))
    if source is None:
        return None
    tokenizer = _optional(folder / "tokenizer_config.json")
    tokens = {name: _text(value) for name, value in tokenizer.items() if name.endswith("_token")}
    return ChatTemplate(source, {name: text for name, text in tokens.items() if text is not None}, folder)


def _optional(path: Path) -> dict[str, Any]:
    return json_object(path) if path.is_file() else {}


def _listed(data: dict[str, Any], key: str) -> list[Any]:
    """The entries of a list, or of an object without its keys; none where it is anything else."""
    value = data.get(key)
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def _default(templates: Any) -> str | None:
    """A template, or the default one of several."""
    if isinstance(templates, list):
        named = {entry.get("name"): entry.get("template") for entry in templates if isinstance(entry, dict)}
        templates = named.get("default")
    return templates if isinstance(templates, str) and templates else None


def _text(token: Any) -> str | None:
    """A special token is written as a string or as an object with its content."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else None
