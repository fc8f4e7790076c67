"""From a checkpoint's small files to a card: what they prove is written, with its source; the rest is a TODO.

The prompt's grammar is inferred by asking the chat template (infer), the resize strategy by asking the
processor (resize), dimensions are read (dimensions), and weights are counted where their headers can be had
(weights). No weights are needed, and no code of the checkpoint runs.
"""

from __future__ import annotations

import datetime
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from loader.errors import CardError, CheckpointError
from registry.catalog import CARDS

if TYPE_CHECKING:
    from loader.new.card import Parts

__all__ = ["Written", "new"]

_ID = re.compile(r"[a-z0-9]+(?:[.-][a-z0-9]+)*")
_SKELETON = """\
{{#- The words are tokens that this file places; it can neither read nor forge them. See docs/cards.md. -#}}
{{#- {todo}: write what stands around them. -#}}
{{%- for message in messages -%}}
{{%- for part in message.parts -%}}
{{{{ part.image if part.type == "image" else part.text }}}}
{{%- endfor -%}}
{{%- endfor -%}}
"""


@dataclass(frozen=True, slots=True)
class Written:
    """What was written, and what is left to do."""

    card: Path
    goldens: Path | None
    template: Path | None
    """The hatch: a file to write a prompt in that is a program."""
    todos: list[str]
    notes: list[str]
    unsaid: list[str] = field(default_factory=list)
    """Conversations that the grammar says otherwise than upstream, one of each kind."""


def new(
    source: str | os.PathLike[str],
    *,
    family: str | None = None,
    revision: str | None = None,
    copy_of: str | None = None,
    output: Path,
    goldens: Path | None = None,
    force: bool = False,
    today: datetime.date | None = None,
) -> Written:
    """Write the card of a family, and its goldens, from one checkpoint of it.

    `source` is a folder or a hub repository, at `revision`; `copy_of` is the repository that a folder was
    copied from. `family` is the card's id; without it, it is made of the config's model type. Files that
    exist are left alone unless `force`.

    Raises CheckpointError for a source that is no checkpoint, CardError for an id or a file that cannot be.
    """
    from loader.new.card import Found, parts
    from loader.new.draft import InexpressibleError
    from loader.new.goldens import goldens as recorded
    from loader.new.infer import infer, unlike
    from loader.new.measure import measured
    from loader.new.resize import proposed
    from loader.new.source import files_of
    from loader.new.turns import shown
    from loader.new.upstream import of_template
    from loader.new.weights import weights_of

    files = files_of(source, revision=revision, copy_of=copy_of)
    family = family or files.model_type.lower().replace("_", "-")
    paths = _paths(family, output, goldens, force=force)
    inferred, reason, upstream = None, "the checkpoint ships no chat template", None
    if files.template is not None:
        upstream = of_template(files.template)
        try:
            inferred = infer(upstream)
        except (InexpressibleError, CheckpointError) as error:
            reason = str(error).rstrip(".")
    seen = "no prompt with an image is known" if inferred is None else measured(files, inferred.draft)
    real = None if isinstance(seen, str) else seen
    unseen = seen.rstrip(".") if isinstance(seen, str) else ""
    named = files.processor_settings.get("processor_class") or files.image_settings.get("processor_class")
    proposal = proposed(files, real.processor if real is not None else named, real, paths.replaced)
    day = today or datetime.date.today()
    weights = weights_of(files)
    found = Found(files, inferred, reason, real, unseen, proposal, weights, day, paths.replaced)
    made = parts(found, family)
    notes, unsaid = [], []
    if inferred is not None and upstream is not None:
        text, left_out = recorded(upstream, inferred.draft, real, case=family, origin=files.origin, today=day)
        _write_card(paths.card, made)
        _write(paths.goldens, text)
        if left_out:
            notes.append(
                f"{left_out} conversations have no golden: upstream leaves out words or images of theirs"
            )
        equal = inferred.compared - len(inferred.different)
        notes.append(f"{equal:,} of {inferred.compared:,} odd prompts equal upstream's")
        notes += inferred.remarks
        unsaid = ["; ".join(map(shown, it.turns)) for it in unlike(inferred.different)]
        if inferred.different:
            notes.append(
                "If these matter, the hatch is a template file in place of `prompt`: docs/cards.md, Template"
            )
    else:
        _write_card(paths.card, made)
        _write(paths.template, _SKELETON.format(todo="TODO"))
    return Written(
        paths.card,
        paths.goldens if inferred is not None else None,
        paths.template if inferred is None else None,
        made.todos,
        notes,
        unsaid,
    )


@dataclass(frozen=True, slots=True)
class _Paths:
    card: Path
    goldens: Path
    template: Path

    @property
    def replaced(self) -> str | None:
        """The id of the package's own card that is written anew: it must not vouch for itself."""
        return self.card.stem if self.card.parent.resolve() == CARDS.resolve() else None


def _paths(family: str, output: Path, goldens: Path | None, *, force: bool) -> _Paths:
    card = output / f"{family}.yaml"
    if not _ID.fullmatch(family):
        raise CardError(
            "a family's id is made of small letters, digits, '-' and '.'. Choose one with --id.",
            path=str(card),
        )
    paths = _Paths(card, (goldens or output / "golden") / f"{family}.yaml", output / f"{family}.jinja")
    for path in (paths.card, paths.goldens, paths.template):
        if path.exists() and not force:
            raise CardError(
                "is there already. Name another id or folder, or replace it with --force.", path=str(path)
            )
    return paths


def _write_card(path: Path, made: Parts) -> None:
    """The card, and the schema for editors where there is no clone that has one."""
    from registry.schema import card_schema_text, schema_named_by

    schema = schema_named_by(path)
    _write(path, made.text(schema))
    if not (path.parent / schema).exists():
        _write(path.parent / schema, card_schema_text())


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CardError(
            f"cannot be written: {error.strerror}. Choose another folder.", path=str(path)
        ) from error
