"""The prompt and the image: placeholders, budgets, and what may stand in a text of the card's own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from registry.cards import Card
from registry.grammar import Prompt
from registry.validate.document import Step
from registry.validate.findings import Finding
from registry.validate.schema import Subject

TEMPLATES = Path(__file__).parents[1] / "templates"
_BRACES = re.compile(r"\{([A-Za-z_]\w*)(:[^{}]*)?\}")
Where = tuple[Step, ...]


def check(subject: Subject) -> Iterator[Finding]:
    for below, card in subject.cards:
        yield from _expansion(subject, below, card)
        yield from _budget(subject, below, card)
        yield from _template(subject, below, card)
        if card.prompt is not None:
            yield from _roles(subject, below, card.prompt)
            yield from _texts(subject, below)


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


def _roles(subject: Subject, below: Where, prompt: Prompt) -> Iterator[Finding]:
    where = subject.place(below, ("prompt", "image_roles"))
    silent = [role for role in prompt.image_roles if role not in prompt.roles]
    # The default names the assistant, and a family without one has nothing to take back.
    if where is not None and silent and subject.document.has(where):
        said = f"prompt.image_roles: {silent[0]} may hold an image, and may not speak"
        yield subject.document.finding("MC321", where, said, "Leave it out, or add it to `roles`.")


def _texts(subject: Subject, below: Where) -> Iterator[Finding]:
    """Braces that nothing fills in, and labels that do not count."""
    where = subject.place(below, ("prompt",))
    if where is None:
        return
    for path, text in _strings(_data(subject, where), where):
        label = path[-1] == "image_label"
        if label and "{n}" not in text:
            said = f"image_label: {text!r} names all images alike, it holds no {{n}}"
            yield subject.document.finding("MC304", path, said, 'Write it with the number: "Picture {n}: ".')
        for match in _BRACES.finditer(text):
            if (match[1] == "date" and match[2]) or (label and match[0] == "{n}"):
                continue
            said = f"{path[-1]}: nothing is put in the place of {match[0]}"
            mend = (
                "Write {date:%d %b %Y} for a date, {n} in a label of images; all else is said as it stands."
            )
            yield subject.document.finding("MC305", path, said, mend)


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
