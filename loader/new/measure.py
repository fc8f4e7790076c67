"""What the model's own processor makes of images, measured: a proposed resize has to say the same."""

from __future__ import annotations

import contextlib
import importlib.util
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loader.checkpoint.dimensions import seeing
from loader.checkpoint.files import json_object
from loader.errors import MLXCardsError
from loader.new.conversations import IMAGE, user
from loader.new.draft import Draft
from loader.new.settings import IMAGE_TOKEN
from loader.new.source import Files
from loader.prompt import render
from loader.prompt.segments import Prompt, Segment
from registry.cards import Backend as Requirements

if TYPE_CHECKING:
    import PIL.Image

    from loader.backend import Backend

SIZES = (
    (64, 64), (640, 480), (480, 640), (1024, 768), (1920, 1080), (1080, 1920), (300, 900), (2000, 100),
    (37, 53), (448, 448), (896, 448), (1001, 999), (1366, 768), (805, 784), (790, 413), (1857, 1270),
    (608, 399), (673, 1580), (89, 1192), (1234, 1868), (4032, 3024), (13, 600), (1806, 23),
)  # fmt: skip
"""Small and large, wide and high, round and odd. The last two are narrower than a token: strategies that
agree on all others differ there."""


@dataclass(frozen=True, slots=True)
class Row:
    """One image in a prompt."""

    width: int
    height: int
    image_tokens: int
    extra_tokens: int | None
    """Positions besides image tokens and the prompt; None where the placeholder does not hold the token."""
    adjacent: bool
    """The image tokens stand side by side."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The processor, and what it made."""

    processor: str
    package: str
    token: str
    rows: tuple[Row, ...]
    tensors: Callable[[PIL.Image.Image], Mapping[str, Any]] = field(repr=False, compare=False)
    """What it makes of a picture in the inferred prompt. Raises CheckpointError where it refuses it."""


def measured(files: Files, draft: Draft, sizes: Sequence[tuple[int, int]] = SIZES) -> Measured | str:
    """What the processor does, or why it could not be asked, in a sentence."""
    if importlib.util.find_spec("mlx_vlm") is None:
        return "mlx-vlm is not installed (pip install 'mlx-cards[mlx]')"
    if files.code is not None:
        return f"{files.code}, so nothing of it was loaded"
    if draft.placeholder is None:
        return "the prompt that was inferred has no place for an image"
    name = processor_class(files.folder)
    if name is None:
        return f"mlx-vlm {metadata.version('mlx-vlm')} loads no processor from these files"
    try:
        return _measured(files, draft, name, sizes)
    except MLXCardsError as error:
        return str(error)


def processor_class(folder: Path) -> str | None:
    """The class that the backend loads as the processor, None where it fails."""
    from loader.backend import loaded

    try:
        return type(loaded(folder, False, False)[1]).__name__
    except Exception:  # noqa: BLE001  # the backend raises anything; without a class nothing is measured
        return None


def _measured(files: Files, draft: Draft, name: str, sizes: Sequence[tuple[int, int]]) -> Measured | str:
    import PIL.Image

    from loader.backend import Backend

    requirements = Requirements(
        package="mlx-vlm", requires=">=0", model_types=(files.model_type,), processor=name
    )
    backend = Backend(files.folder, requirements, weights=False)
    prompt = render(draft.card(), [user(IMAGE, "What is this?")])
    picture = PIL.Image.linear_gradient("L").convert("RGB")

    def tensors(one: PIL.Image.Image) -> Mapping[str, Any]:
        return backend.prepare(prompt, [one], None).tensors

    made = {}
    for size in sizes:
        with contextlib.suppress(MLXCardsError):  # sizes that the processor refuses
            ids = tensors(picture.resize(size))["input_ids"]
            made[size] = [int(number) for number in ids.flatten().tolist()]
    if not made:
        return f"{name} took no image in the prompt that was inferred"
    number = _image_token(files, made.values())
    token = _text_of(files.folder, number)
    if token is None:
        return f"what {name} writes where an image goes is no token of its own (it has the id {number})"
    text = backend.count(Prompt((Segment("literal", prompt.text),), ()))
    held = (draft.placeholder or "").count(token)
    others = text - held if held else None
    rows = tuple(_row(size, ids, number, others) for size, ids in made.items())
    if others is not None and not _doubles(backend, draft, picture, rows[0], number):
        rows = tuple(replace(row, extra_tokens=None) for row in rows)
    return Measured(name, f"mlx-vlm {metadata.version('mlx-vlm')}", token, rows, tensors)


def _row(size: tuple[int, int], ids: list[int], number: int, others: int | None) -> Row:
    places = [place for place, it in enumerate(ids) if it == number]
    adjacent = bool(places) and places[-1] - places[0] == len(places) - 1
    return Row(*size, len(places), None if others is None else len(ids) - len(places) - others, adjacent)


def _doubles(backend: Backend, draft: Draft, picture: PIL.Image.Image, one: Row, number: int) -> bool:
    """Whether two images side by side have twice the positions of one: in some families they share tokens."""
    prompt = render(draft.card(), [user(IMAGE, IMAGE, "What is this?")])
    pictures = [picture.resize((one.width, one.height))] * 2
    try:
        ids = [
            int(it) for it in backend.prepare(prompt, pictures, None).tensors["input_ids"].flatten().tolist()
        ]
    except MLXCardsError:
        return False
    text = backend.count(Prompt((Segment("literal", prompt.text),), ()))
    extra = len(ids) - text - ids.count(number) + 2
    return ids.count(number) == 2 * one.image_tokens and extra == 2 * (one.extra_tokens or 0)


def _image_token(files: Files, prompts: Any) -> int:
    """The id that config.json names for images if the prompts hold it, otherwise the most frequent one."""
    counts: Counter[int] = Counter(number for ids in prompts for number in ids)
    named = [seeing(files.config).get(key) for key in IMAGE_TOKEN]
    found = next((it for it in named if isinstance(it, int) and counts.get(it)), None)
    return counts.most_common(1)[0][0] if found is None else found


def _text_of(folder: Path, number: int) -> str | None:
    """The text of an added token, by the tokenizer's files."""
    if (folder / "tokenizer.json").is_file():
        for token in json_object(folder / "tokenizer.json").get("added_tokens") or ():
            if isinstance(token, dict) and token.get("id") == number:
                return str(token.get("content"))
    if (folder / "tokenizer_config.json").is_file():
        added = json_object(folder / "tokenizer_config.json").get("added_tokens_decoder")
        token = added.get(str(number)) if isinstance(added, dict) else None
        return str(token.get("content")) if isinstance(token, dict) else None
    return None
