"""The files of a checkpoint: all that is needed is there, whole, and no code."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

from loader import checkpoint as checkpoints
from loader.check.line import Line
from loader.checkpoint import Checkpoint
from loader.checkpoint.code import refuse_code
from loader.checkpoint.files import json_object
from loader.errors import CheckpointError

_TOKENIZERS = (
    "tokenizer.json",
    "tokenizer.model",
    "*.tiktoken",
    "tiktoken.model",
    "tekken.json",
    "vocab.json",
)
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")


@dataclass(frozen=True, slots=True)
class Found:
    """A folder that has at least a config.json."""

    checkpoint: Checkpoint
    code_may_run: bool
    """There is no code, or it is trusted."""
    weights: bool
    """They are all there."""


def check(folder: Path, *, trust_remote_code: bool) -> Generator[Line, None, Found | None]:
    """What is missing, broken or not to be run; None where there is not even a config.json."""
    try:
        config = json_object(folder / "config.json") if (folder / "config.json").is_file() else {}
        if not isinstance(config.get("model_type"), str):
            checkpoints.local(folder)  # says what is wrong
    except CheckpointError as error:
        yield Line("files", "fail", str(error))
        return None
    missing = list(_missing(folder))
    yield from missing or [Line("files", "pass", "config, tokenizer and processor have their files")]
    code = _code(folder, trust_remote_code)
    yield code
    weights = _weights(folder)
    yield weights
    return Found(Checkpoint(folder, None, None, config), code.status != "fail", weights.status == "pass")


def _missing(folder: Path) -> Iterator[Line]:
    if not any(any(folder.glob(pattern)) for pattern in _TOKENIZERS):
        yield Line("files", "fail", "no tokenizer file is there (tokenizer.json, tokenizer.model, ...)")
    if not (folder / "tokenizer_config.json").is_file():
        yield Line("files", "warn", "tokenizer_config.json is missing, which names the special tokens")
    if not any((folder / name).is_file() for name in _PROCESSORS):
        yield Line(
            "files",
            "fail",
            "preprocessor_config.json is missing, and processor_config.json too: limits and normalisation "
            "would be the defaults of a class, not those of the model",
        )


def _code(folder: Path, trust_remote_code: bool) -> Line:
    try:
        refuse_code(folder)
    except CheckpointError as error:
        if trust_remote_code:
            return Line(
                "code", "warn", "the checkpoint brings code of its own, which runs because it is trusted"
            )
        return Line("code", "fail", str(error))
    return Line("code", "pass", "the checkpoint brings none")


def _weights(folder: Path) -> Line:
    try:
        checkpoints.local(folder, trust_remote_code=True)  # code is another line
    except CheckpointError as error:
        return Line("weights", "fail", str(error))
    return Line("weights", "pass", "every file is there and as long as its header says")
