"""The prompt and the image: placeholders, budgets, and what may stand in a text of the card's own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from registry.cards import Card
from registry.validate.document import Step
from registry.validate.findings import Finding
from registry.validate.schema import Subject

TEMPLATES = Path(__file__).parents[1] / "templates"
_BRACES = re.compile(r"\{([A-Za-z_]\w*)(:[^{}]*)?\}")
_DATED = frozenset({"bos", "open", "close", "close_last", "generation", "default_system"})
_UNDATED = frozenset({"tools", "reasoning"})
"""Where a date is put in, and parts with keys of the same names where none is."""
Where = tuple[Step, ...]


def check(subject: Subject) -> Iterator[Finding]:
    for part in (_expansion, _budget, _template, _roles, _texts):
        yield from subject.each(part)


def _expansion(subject: Subject, below: Where, card: Card) -> Iterator[Finding]:
    image = card.image
    where = subject.place(below, ("image", "expansion"))
    if image is None or image.expansion is None or where is None:
        return
    replaced = image.expansion.replaces or image.token
    if replaced not in image.placeholder:
        said = f"image.expansion: the placeholder {image.placeholder!r} does not hold {replaced!r}"
        mend = "Name in `replaces` the part of it that the processor replaces."
        yield subject.document.finding("MC303", (*where, "replaces"), said, mend)


def _budget(subject: Subject, below: Where, card: Card) -> Iterator[Finding]:
    where = subject.place(below, ("image", "budget"))
    if card.image is None or card.image.budget is None or where is None:
        return
    budget, resize = card.image.budget, card.image.resize
    said = None
    if budget.low is not None and budget.low >= budget.tokens:
        said = f"low ({budget.low:,}) is not below tokens ({budget.tokens:,})"
    elif resize.kind == "smart_resize":
        area = (resize.patch * resize.merge) ** 2
        least, most = -(-resize.min_pixels // area), resize.max_pixels // area
        if (budget.low or budget.tokens) < least or budget.tokens > most:
            said = f"the resize gives {least:,} to {most:,} tokens, and the budget is beyond that"
    if said is not None:
        mend = "Write what the model's makers recommend, or leave the budget out."
        yield subject.document.finding("MC314", where, f"image.budget: {said}", mend)


def _template(subject: Subject, below: Where, card: Card) -> Iterator[Finding]:
    where = subject.place(below, ("template", "file"))
    if card.template is None or where is None:
        return
    file = TEMPLATES / card.template.file
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    except (OSError, ValueError):
        said = f"template.file: there is no registry/templates/{card.template.file}"
        yield subject.document.finding("MC320", where, said, "Add it, or correct its name.")
        return
    if digest != card.template.sha256:
        said = f"template.sha256: {card.template.file} has the hash {digest}"
        mend = "Review the file, then write its hash."
        yield subject.document.finding("MC320", (*where[:-1], "sha256"), said, mend)


def _roles(subject: Subject, below: Where, card: Card) -> Iterator[Finding]:
    if card.prompt is None:
        return
    where = subject.place(below, ("prompt", "image_roles"))
    silent = [role for role in card.prompt.image_roles if role not in card.prompt.roles]
    # The default names the assistant, and a family without one has nothing to take back.
    if where is not None and silent and subject.document.has(where):
        said = f"prompt.image_roles: {silent[0]} may hold an image, and may not speak"
        yield subject.document.finding("MC321", where, said, "Leave it out, or add it to `roles`.")


def _texts(subject: Subject, below: Where, card: Card) -> Iterator[Finding]:
    """Braces that nothing fills in, labels that do not count, images that are none."""
    where = subject.place(below, ("prompt",))
    if where is None or card.prompt is None:
        return
    for path, text in _strings(_data(subject, where), where):
        yield from _images(subject, card, path, text)
        label = path[-1] == "image_label"
        if label and "{n}" not in text:
            said = f"image_label: {text!r} names all images alike, it holds no {{n}}"
            yield subject.document.finding("MC304", path, said, 'Write it with the number: "Picture {n}: ".')
        for match in _BRACES.finditer(text):
            dated = match[1] == "date" and match[2] and path[-1] in _DATED and not _UNDATED & {*path}
            if dated or (label and match[0] == "{n}"):
                continue
            said = f"{path[-1]}: nothing is put in the place of {match[0]}"
            mend = (
                "Write {date:%d %b %Y} for a date in a turn's own text, {n} in a label of images; "
                "all else is said as it stands."
            )
            yield subject.document.finding("MC305", path, said, mend)


def _images(subject: Subject, card: Card, path: Where, text: str) -> Iterator[Finding]:
    if card.image is None:
        return
    expansion = card.image.expansion
    replaced = card.image.token if expansion is None else expansion.replaces or card.image.token
    for token in dict.fromkeys((card.image.token, replaced)):
        if token in text:
            said = f"{path[-1]}: it holds {token!r}, which stands for an image"
            mend = "Take it out: `image.placeholder` is written where an image of the caller is."
            yield subject.document.finding("MC325", path, said, mend)


def _data(subject: Subject, where: Where) -> Any:
    data: Any = subject.data
    for step in where:
        data = data[step]
    return data


def _strings(data: Any, where: Where) -> Iterator[tuple[Where, str]]:
    if isinstance(data, str):
        yield where, data
    elif isinstance(data, dict):
        for key, below in data.items():
            yield from _strings(below, (*where, key))
