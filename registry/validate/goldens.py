"""Tier 4: prompts and image tokens are those that upstream's own template and processor make.

A card's goldens are recorded from upstream, never by this project's own code: what was rendered here
would prove nothing. They are found as `<card's folder>/golden/<id>.yaml`, or, in this repository, as
tests/golden/<id>.yaml above the folder of cards.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loader.errors import MLXCardsError
from registry.cards import Card
from registry.catalog import CARDS
from registry.naming import fold, names_of
from registry.validate import rows
from registry.validate.document import TOP
from registry.validate.findings import Finding
from registry.validate.schema import Subject

NOW = datetime.datetime(2026, 1, 15, 12)  # as a template's strftime_now: local, no zone
"""The time at which dates in prompts were recorded."""
KINDS = (
    "text",
    "one image",
    "two images",
    "interleaved",
    "system",
    "multi-turn",
    "continuation",
    "image sizes",
)
"""What a family's goldens should show at least once."""


@dataclass(frozen=True, slots=True)
class _Goldens:
    """One file of goldens."""

    file: Path
    data: dict[str, Any]
    subject: Subject

    def place(self, kind: str, index: int) -> str:
        """file:line of a row, for a message."""
        return rows.place(self.file, kind, index)

    def finding(self, code: str, part: str, message: str, mend: str) -> Finding:
        """At the card's own part, which is what is wrong: goldens are not mended to fit a card."""
        return self.subject.document.finding(code, [part], message, mend, on="key")


def check(subject: Subject, folder: Path | None) -> Iterator[Finding]:
    """The findings of comparing a valid card with its goldens; `folder`: where they are, if not as usual."""
    if subject.family is None or len(subject.models) < len(subject.family.models):
        return
    document = subject.document
    file = _file(document.path, folder)
    if file is None:
        said = f"{subject.id} owns no goldens, so that nothing says whether its prompts are upstream's"
        mend = f"Record them from upstream as {subject.id}.yaml in a folder `golden` beside the card."
        yield document.at("MC401", TOP, said, mend)
        return
    try:
        data = rows.read(file)
    except (OSError, UnicodeDecodeError, rows.FaultError) as error:
        said = f"{file.name} is no file of goldens: {error}"
        yield document.at("MC402", TOP, said, "Record it anew; docs/cards.md says what it holds.")
        return
    goldens = _Goldens(file, data, subject)
    yield from _stamp(goldens)
    yield from _prompts(goldens)
    yield from _images(goldens)
    yield from _missing(goldens, subject.family)


def left_behind(card: Path) -> bool:
    """Whether a card is the package's own where the package is installed: goldens stay in the repository."""
    return card.resolve().parent == CARDS and not any(place.is_dir() for place in _places(card))


def _file(card: Path, folder: Path | None) -> Path | None:
    places = _places(card) if folder is None else [folder]
    return next((file for place in places if (file := place / f"{card.stem}.yaml").is_file()), None)


def _places(card: Path) -> list[Path]:
    home = card.resolve().parent
    return [home / "golden", *(above / "tests" / "golden" for above in (home, *home.parents))]


def _stamp(goldens: _Goldens) -> Iterator[Finding]:
    stamp = goldens.data["stamp"]
    needed = ["date", *(kind for kind in ("prompts", "images") if goldens.data[kind])]
    missing = [key for key in needed if key not in stamp]
    if missing:
        said = f"{goldens.file.name}: its stamp does not say {' and '.join(missing)}"
        mend = "Write when, and with which versions and files of upstream, the rows were recorded."
        yield goldens.subject.document.at("MC402", TOP, said, mend)


def _prompts(goldens: _Goldens) -> Iterator[Finding]:
    from loader.prompt import render

    cards = _by_name(goldens.subject)
    for i, row in enumerate(goldens.data["prompts"]):
        card = cards.get(fold(row["case"]))
        if card is None:
            yield _stranger(goldens, "prompts", i, row)
            continue
        wanted = None if row.get("error") else row["prompt"]
        try:
            made: str | None = render(
                card,
                row["messages"],
                row["add_generation_prompt"],
                row["continue_final_message"],
                NOW,
                tools=row.get("tools"),
                **row["options"],
            ).text
            refusal = ""
        except MLXCardsError as error:
            made, refusal = None, str(error)
        if made != wanted:
            yield _differs(goldens, i, row, wanted, made, refusal)


def _differs(  # noqa: PLR0917  # the two sides of one row
    goldens: _Goldens, i: int, row: Mapping[str, Any], wanted: str | None, made: str | None, refusal: str
) -> Finding:
    part = "template" if "template" in goldens.subject.data else "prompt"
    case = f"{goldens.place('prompts', i)} ({row['conversation']})"
    if wanted is None:
        said = f"{case}: upstream refuses this conversation, and the card says it"
        return goldens.finding("MC406", part, said, "Let the card refuse it, too: docs/cards.md says how.")
    if made is None:
        said = f"{case}: upstream says this conversation, and the card refuses it: {refusal}"
        return goldens.finding("MC406", part, said, "Let the card say it as upstream does.")
    same = next((n for n, (a, b) in enumerate(zip(wanted, made, strict=False)) if a != b), None)
    at = min(len(wanted), len(made)) if same is None else same
    said = f"{case}: after {_cut(wanted[max(at - 16, 0) : at])} upstream writes {_cut(wanted[at : at + 32])}"
    said += f", and the card {_cut(made[at : at + 32])}"
    return goldens.finding("MC404", part, said, "Mend the card; the row is what upstream made.")


def _cut(text: str) -> str:
    return repr(text) if text else "nothing"


def _images(goldens: _Goldens) -> Iterator[Finding]:
    from loader.resize import plan_image

    cards = _by_name(goldens.subject)
    for i, row in enumerate(goldens.data["images"]):
        card = cards.get(fold(row["case"]))
        if card is None:
            yield _stranger(goldens, "images", i, row)
            continue
        wanted = {key: row[key] for key in row if key not in {"case", "width", "height"}}
        try:
            plan = plan_image(card, row["width"], row["height"], detail="full")
            made = {"size": [plan.width, plan.height], **plan.to_dict()}
            differences = [
                f"{key} {made.get(key)} for {wanted[key]}" for key in wanted if made.get(key) != wanted[key]
            ]
        except MLXCardsError as error:
            differences = [str(error)]
        if differences:
            size = f"{row['width']}x{row['height']}"
            said = f"{goldens.place('images', i)}: of {size} the card makes {', '.join(differences)}"
            mend = "Mend the card's `resize`; the row is what upstream's processor made."
            yield goldens.finding("MC405", "image", said, mend)


def _by_name(subject: Subject) -> dict[str, Card]:
    """The card that each name of the family means."""
    assert subject.family is not None  # noqa: S101  # the caller looked
    types = {fold(name): subject.family for name in subject.family.backend.model_types}
    names = names_of(subject.id, subject.data)
    return types | {
        fold(name): subject.family if target.model is None else subject.models[target.model]
        for name, target in names
    }


def _stranger(goldens: _Goldens, kind: str, i: int, row: Mapping[str, Any]) -> Finding:
    said = f"{goldens.place(kind, i)}: the case {row['case']!r} is no name of this card"
    mend = "Name the family or one of its models, or move the row to the goldens of its own card."
    return goldens.subject.document.at("MC407", TOP, said, mend)


def _missing(goldens: _Goldens, family: Card) -> Iterator[Finding]:
    shown = {kind for row in goldens.data["prompts"] for kind in _kinds(row)}
    if goldens.data["images"] or family.image is None:
        shown.add("image sizes")
    if missing := [kind for kind in KINDS if kind not in shown]:
        said = f"{goldens.file.name} shows nothing of: {', '.join(missing)}"
        mend = "Record such rows from upstream, or with `error` where it refuses."
        yield goldens.subject.document.at("MC403", TOP, said, mend)


def _kinds(row: Mapping[str, Any]) -> Iterator[str]:
    """What a golden conversation shows."""
    messages = row["messages"]
    parts = [rows.types(message["content"]) for message in messages]
    images = sum(types.count("image") for types in parts)
    if images == 0:
        yield "text"
    elif images <= 2:
        yield "one image" if images == 1 else "two images"
    if any("image" in types[types.index("text") :] for types in parts if "text" in types):
        yield "interleaved"
    if messages[0]["role"] == "system":
        yield "system"
    if sum(message["role"] == "user" for message in messages) > 1:
        yield "multi-turn"
    if row["continue_final_message"]:
        yield "continuation"
