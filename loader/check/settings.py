"""Numbers in a checkpoint's JSON files against the card: image limits, patches, dimensions.

Which key says what: the classes of transformers 5.23 and mlx-vlm 0.7.10 that read these files. A key
that is absent is not compared; what the processor really makes of an image is (loader.check.processor).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loader.check.line import Line, differs
from loader.checkpoint.dimensions import TEXT, VISION, Paths, language, seeing
from loader.checkpoint.files import json_object
from registry.catalog import all_cards
from registry.naming import Target

if TYPE_CHECKING:
    from loader.checkpoint import Checkpoint
    from registry.cards import Card

_LIMITS: Mapping[str, Paths] = {
    "smart_resize": {
        "patch": ("patch_size",),
        "merge": ("merge_size",),
        "min_pixels": ("size.shortest_edge", "min_pixels"),
        "max_pixels": ("size.longest_edge", "max_pixels"),
    },
    "fixed": {"width": ("crop_size.width", "size.width"), "height": ("crop_size.height", "size.height")},
    "split_tiles": {"longest_edge": ("size.longest_edge",), "tile": ("max_image_size.longest_edge",)},
    "quarters": {"shortest_edge": ("size.shortest_edge",), "longest_edge": ("size.longest_edge",)},
    "longest_edge": {
        "patch": ("patch_size.height", "patch_size"),
        "longest_edge": ("size.longest_edge",),
    },
    "token_budget": {"patch": ("patch_size",), "max_tokens": ("max_soft_tokens", "max_num_patches")},
    "stretch_tiles": {"tile": ("size.height",)},
    "canvas_tiles": {"tile": ("size.height",)},
}
"""By `kind`: limits in preprocessor_config.json, or under image_processor in processor_config.json."""
# Windows are named in config.json also where no layer uses them.
_TEXT: Paths = {field: keys for field, keys in TEXT.items() if field not in {"window", "full_every"}}


def check(card: Card, checkpoint: Checkpoint) -> Iterator[Line]:
    """Each difference as a line of its own; one line where there is none."""
    yield from _limits(card, checkpoint.folder) or [
        Line("limits", "pass", "those that are named are the card's")
    ]
    yield _text(card, language(checkpoint.config))
    yield from _vision(card, checkpoint.config)


def _limits(card: Card, folder: Path) -> list[Line]:
    if card.image is None:
        return []
    resize = card.image.resize
    settings = _image_settings(folder)
    frames = settings.get("temporal_patch_size")
    lines = []
    for field, paths in _LIMITS.get(resize.kind, {}).items():
        ours, theirs = getattr(resize, field), _first(settings, paths)
        # Where upstream counts the frames that it makes of an image, the card has the area of one.
        per_frame = field.endswith("_pixels") and isinstance(frames, int) and theirs == ours * frames
        if theirs is not None and theirs != ours and not per_frame:
            lines.append(differs("limits", field, ours, theirs))
    return lines


def _image_settings(folder: Path) -> dict[str, Any]:
    """What the image processor is configured with, from whichever of the two files says it."""
    both = folder / "processor_config.json", folder / "preprocessor_config.json"
    inner, outer = (json_object(path) if path.is_file() else {} for path in both)
    nested = inner.get("image_processor")
    return outer or (nested if isinstance(nested, dict) else {})


def _text(card: Card, config: Mapping[str, Any]) -> Line:
    """The language model's dimensions; for the family's own card, which model has them."""
    if card.model is not None:
        wrong = _different(card.model.text, config, _TEXT)
        if wrong:
            return _dimensions("language model", wrong)
        return Line(
            "dimensions", "pass", f"the language model is that of {card.name}, as far as config.json says"
        )
    catalog = all_cards()
    models = [catalog.card(Target(card.id, key)) for key in card.models]
    same = [
        m.name for m in models if m.model and m.model.text and not _different(m.model.text, config, _TEXT)
    ]
    if same:
        return Line("dimensions", "pass", f"the language model is that of {' or '.join(same)}")
    return Line(
        "dimensions",
        "warn",
        f"the language model is that of no model of the card {card.id}, so that what is said about memory "
        "does not hold",
    )


def _vision(card: Card, config: Mapping[str, Any]) -> Iterator[Line]:
    said = seeing(config).get("vision_config")
    if not isinstance(said, dict) or card.image is None:
        return
    patch = _first(said, ("patch_size",))
    ours = card.image.resize.patch
    if isinstance(patch, int) and patch != ours:
        yield differs("dimensions", "the side of a patch", ours, patch)
    if card.memory is not None and (wrong := _different(card.memory.vision, said, VISION)):
        yield _dimensions("vision encoder", wrong)


def _dimensions(what: str, wrong: Mapping[str, tuple[Any, Any]]) -> Line:
    """A warning: the backend builds the model from config.json, only the memory estimate is the card's."""
    named = ", ".join(
        f"{field} {ours} by the card and {theirs} in config.json" for field, (ours, theirs) in wrong.items()
    )
    ours, theirs = ({field: pair[i] for field, pair in wrong.items()} for i in (0, 1))
    said = f"the {what} is another one, so that what is said about memory does not hold: {named}"
    return Line("dimensions", "warn", said, ours, theirs)


def _different(record: Any, config: Mapping[str, Any], keys: Paths) -> dict[str, tuple[Any, Any]]:
    """The fields of a card's record that config.json has otherwise, with both values."""
    if record is None:
        return {}
    known = {field.name for field in fields(record)}
    pairs = {
        field: (getattr(record, field), _first(config, paths))
        for field, paths in keys.items()
        if field in known
    }
    return {
        f: (ours, theirs)
        for f, (ours, theirs) in pairs.items()
        if None not in (ours, theirs) and ours != theirs
    }


def _first(data: Mapping[str, Any], paths: Sequence[str]) -> int | None:
    """The first of some dotted paths that leads to a number."""
    for path in paths:
        value: Any = data
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, int):
            return value
    return None
