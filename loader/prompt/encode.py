"""A prompt -> token ids, with what the caller typed kept apart from the family's own control tokens."""

from __future__ import annotations

import json
import secrets
from itertools import groupby, takewhile
from pathlib import Path
from typing import Any

from loader.errors import CheckpointError, MessageError, UnsupportedFeatureError
from loader.prompt.forgery import any_of, typed
from loader.prompt.segments import Prompt

_MAX_VARIANTS = 64
"""Unusual spellings of control tokens in one prompt; each of them makes every search for tokens longer."""


def encode(prompt: Prompt, tokenizer: Any) -> list[int]:
    """Token ids of a prompt, its placeholders not expanded.

    What was typed yields no control token. `tokenizer` is one of transformers with a fast backend, or a
    `tokenizers.Tokenizer`. The start token is added unless the prompt brings its own, as upstream does.

    Raises UnsupportedFeatureError for other tokenizers.
    """
    return Encoder(tokenizer).encode(prompt)


def tokenizer_of(folder: Path) -> Any:
    """The tokenizer in a checkpoint's folder, without its model.

    Raises CheckpointError where there is none, UnsupportedFeatureError without the tokenizers library.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise CheckpointError(f"{folder} has no tokenizer.json. Give the folder of a complete checkpoint.")
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise UnsupportedFeatureError(
            "The tokenizers library is not installed. Install it with: pip install 'mlx-cards[mlx]'."
        ) from error
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises Exception itself
        raise CheckpointError(f"{path} cannot be read: {error}. Get the file again.") from error


class Encoder:
    """Encodes prompts with one tokenizer.

    Text without control tokens is encoded as upstream encodes it. Where a caller typed one, a private
    copy of the tokenizer is made in which control tokens have secret names: the family's own are
    written by these, and typed ones are text like any other, in the same single pass.
    """

    def __init__(self, tokenizer: Any) -> None:
        backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
        if not hasattr(backend, "get_added_tokens_decoder"):
            raise UnsupportedFeatureError(
                f"A tokenizer of type {type(tokenizer).__name__} cannot tell typed control tokens from "
                "real ones. Use a fast tokenizer of transformers or one of the tokenizers library."
            )
        self._backend = backend
        added = backend.get_added_tokens_decoder().values()
        self._added = frozenset(token.content for token in added)
        self.special = frozenset(token.content for token in added if token.special)
        """Tokens that steer the model."""
        self._normalized = frozenset(token.content for token in added if token.normalized)
        first = backend.encode("", add_special_tokens=True).ids[:1]
        self._start = backend.id_to_token(first[0]) if first else ""
        self._copies: dict[frozenset[str], tuple[Any, str]] = {}

    def encode(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt, its placeholders not expanded."""
        text = prompt.text
        own = takewhile(lambda segment: segment.kind != "text", prompt.segments)  # a typed start is not ours
        start = not (self._start and "".join(segment.text for segment in own).startswith(self._start))
        control = self.control(prompt)
        pattern = any_of(control)
        if pattern is None or next(typed(prompt.segments, pattern), None) is None:
            return list(self._backend.encode(text, add_special_tokens=start).ids)
        renamed = control & self._added
        copy, secret = self._copy(renamed)
        real = any_of(renamed)
        pieces = []
        for is_text, run in groupby((s for s in prompt.segments if s.text), lambda s: s.kind == "text"):
            piece = "".join(segment.text for segment in run)  # a token of ours may be spread over several
            if not is_text and real is not None:
                piece = real.sub(lambda match: secret + match[0], piece)
            pieces.append(piece)
        return list(copy.encode("".join(pieces), add_special_tokens=start).ids)

    def control(self, prompt: Prompt) -> frozenset[str]:
        """Special tokens, and others that the family's own text uses, such as <think>.

        Also what was typed and becomes one when the tokenizer normalizes it, such as <s> in full-width signs.
        """
        ours = "\0".join(text for kind, text in prompt.segments if kind != "text")
        tokens = frozenset(
            token
            for token in self._added
            if len(token.strip()) > 1 and (token in self.special or token in ours)
        )
        return tokens | self._variants(prompt, tokens & self._normalized)

    def _variants(self, prompt: Prompt, tokens: frozenset[str]) -> frozenset[str]:
        """Spellings in the typed text of those `tokens` that the tokenizer looks for in normalized text."""
        normalizer = self._backend.normalizer
        if normalizer is None or not tokens:
            return frozenset()
        text = "".join(text if kind == "text" else "\0" for kind, text in prompt.segments)
        added = normalizer.normalize_str("a").partition("a")[0]  # some put a sign before every text
        folds = {word: normalizer.normalize_str(word).removeprefix(added) for word in {*text, *tokens}}
        pattern = any_of(folds[token] for token in tokens)
        if pattern is None:
            return frozenset()
        places = [i for i, sign in enumerate(text) for _ in folds[sign]]
        matches = pattern.finditer("".join(folds[sign] for sign in text))
        found = frozenset(text[places[m.start()] : places[m.end() - 1] + 1] for m in matches) - tokens
        if len(found) > _MAX_VARIANTS:
            raise MessageError(
                f"The text spells control tokens of the model in {len(found)} unusual ways. "
                "Take them out of the text."
            )
        return found

    def _copy(self, control: frozenset[str]) -> tuple[Any, str]:
        """The tokenizer with `control` renamed, and what was put before their names."""
        if control not in self._copies:
            secret = f"\ue000{secrets.token_hex(8)}\ue000"
            data = json.loads(self._backend.to_str())
            _rename(data, control, secret)
            copy = type(self._backend).from_str(json.dumps(data))
            copy.no_padding()
            copy.no_truncation()
            moved = [t for t in control if copy.token_to_id(secret + t) != self._backend.token_to_id(t)]
            if moved:
                raise UnsupportedFeatureError(
                    f"This tokenizer cannot keep typed control tokens such as {moved[0]!r} apart. "
                    'Take them out of the text, or pass on_forgery="escape".'
                )
            self._copies[control] = copy, secret
        return self._copies[control]


def _rename(data: dict[str, Any], control: frozenset[str], secret: str) -> None:
    """Give the tokens `control` of a tokenizer's JSON secret names, their ids unchanged."""
    for token in data["added_tokens"]:
        if token["content"] in control:
            token["content"] = secret + token["content"]
            token["normalized"] = False  # the secret is written as it is
    model = data["model"]
    vocabulary = model.get("vocab")
    if isinstance(vocabulary, dict):
        model["vocab"] = {secret + t if t in control else t: i for t, i in vocabulary.items()}
    elif isinstance(vocabulary, list):  # Unigram: pairs of piece and score
        model["vocab"] = [[secret + t if t in control else t, score] for t, score in vocabulary]
    if model.get("unk_token") in control:
        model["unk_token"] = secret + model["unk_token"]
    _rename_start(data.get("post_processor"), control, secret)


def _rename_start(processor: Any, control: frozenset[str], secret: str) -> None:
    """The names in a template of start and end tokens; their ids stand there, too."""
    if isinstance(processor, dict):
        for value in processor.values():
            _rename_start(value, control, secret)
        special = processor.get("special_tokens")
        if isinstance(special, dict):
            for entry in special.values():
                if isinstance(entry, dict) and "tokens" in entry:
                    entry["tokens"] = [secret + t if t in control else t for t in entry["tokens"]]
    elif isinstance(processor, list):
        for value in processor:
            _rename_start(value, control, secret)
