"""Code in a checkpoint: found and refused, never run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from loader.checkpoint.files import json_object
from loader.errors import CheckpointError

_AUTO_MAP_FILES = (
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer_config.json",
    "video_preprocessor_config.json",
)


def refuse_code(folder: Path) -> None:
    code = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    found = first_code(code) or next(_code_in_configs(folder), None)
    if found:
        raise refusal(str(folder), found)


def refusal(where: str, found: str) -> CheckpointError:
    return CheckpointError(
        f"{where} brings code of its own ({found}), and it would run with your rights: it could "
        "read, change or send anything that you can. Read it first; if you trust it, pass "
        "trust_remote_code=True (--trust-remote-code on the command line)."
    )


def first_code(names: Iterable[str]) -> str | None:
    """The first Python file that is not in a hidden folder."""
    paths = map(PurePosixPath, names)
    code = (
        str(path)
        for path in paths
        if path.suffix.lower() == ".py" and not any(p.startswith(".") for p in path.parts[:-1])
    )
    return min(code, default=None)


def _code_in_configs(folder: Path) -> Iterator[str]:
    for name in _AUTO_MAP_FILES:
        if not (folder / name).is_file():
            continue
        value = json_object(folder / name)
        if name == "config.json" and value.get("model_file") is not None:
            yield f"model_file in {name}: {value['model_file']}"
        for reference in _strings(value.get("auto_map")):
            # Many repositories kept an auto_map and lost its file: such an entry can run nothing.
            module = reference.rpartition(".")[0]
            if "--" in reference or (folder / f"{module}.py").is_file():
                yield f"auto_map in {name}: {reference}"


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part)
