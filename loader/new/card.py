"""The parts of a new card, each with its source, or a TODO with the reason where nothing is known."""

from __future__ import annotations

import datetime
import re
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any

from loader.new import dimensions
from loader.new.draft import Draft
from loader.new.infer import Inferred, unlike
from loader.new.measure import Measured
from loader.new.resize import Proposal
from loader.new.settings import RESAMPLE
from loader.new.source import Files
from loader.new.turns import shown
from loader.new.weights import Weights
from loader.new.yaml_text import block
from registry.cards import PRECISION, REPOSITORY

TODO = "TODO"
_PIXELS = (
    "the tokens of {sizes} sizes are right, but the pixels were not found to be the processor's: compare "
    "what it crops, pads and filters with docs/cards.md; the strategy is that of {family}"
)
_SIZE = re.compile(r"(?i)(?<![a-z0-9])(\d+(?:\.\d+)?[bm](?:-a\d+b)?)(?![a-z0-9])")


@dataclass
class Parts:
    """A card while it is made."""

    data: dict[str, Any] = field(default_factory=dict)
    comments: dict[str, str] = field(default_factory=dict)
    """By dotted path."""
    sources: list[dict[str, Any]] = field(default_factory=list)
    todos: list[str] = field(default_factory=list)
    learned: list[str] = field(default_factory=list)
    """Sentences about what another card says of the same code, so that it was taken from there."""

    def todo(self, path: str, reason: str, *, named: bool = False) -> None:
        """Leave a fact open. `named`: the value there says TODO already, which is one finding, not two."""
        self.todos.append(f"{path}: {reason}")
        self.comments[path] = reason if named else f"{TODO}: {reason}"

    def text(self, schema: str) -> str:
        """The card; `schema` is how its first line names the schema."""
        head = f"# yaml-language-server: $schema={schema}"
        data = {**self.data, "sources": self.sources}
        return "\n".join([head, *block(data, self.comments)]) + "\n"


@dataclass(frozen=True, slots=True)
class Found:
    """All that was learned."""

    files: Files
    inferred: Inferred | None
    reason: str
    """Why no grammar was inferred."""
    seen: Measured | None
    unseen: str
    """Why the processor was not asked."""
    proposal: Proposal | None
    weights: Weights | None
    today: datetime.date
    replaced: str | None = None
    """A card that is written anew, and so is no source."""


def plain(record: Any) -> dict[str, Any]:
    """A record of a card as data, without what it says by default."""
    out = {}
    for it in fields(record):
        value = getattr(record, it.name)
        default = it.default if it.default is not MISSING else None
        if it.default_factory is not MISSING:
            default = it.default_factory()
        if (it.default is MISSING and it.default_factory is MISSING) or value != default:
            out[it.name] = _plain(value)
    return out


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return plain(value)
    if isinstance(value, dict):
        return {key: _plain(below) for key, below in value.items()}
    return [_plain(below) for below in value] if isinstance(value, tuple) else value


def parts(found: Found, family: str) -> Parts:
    """The card of what was found."""
    made = Parts()
    made.data["schema_version"] = 1
    _title(made, found.files)
    _backend(made, found)
    _prompt(made, found, family)
    _image(made, found)
    _memory(made, found)
    _models(made, found.files, found.weights)
    _sources(made, found)
    return made


def _title(made: Parts, files: Files) -> None:
    name = _base_model(files) or files.repository
    if name is None:
        made.data["title"] = TODO
        made.todo("title", "the family's name as its makers write it", named=True)
    else:
        made.data["title"] = _SIZE.split(name.partition("/")[2])[0].strip("-_. ") or name
        made.todo("title", f"is this the family's name as its makers write it? It is taken from {name}")
    licence = files.about.get("license_name") or files.about.get("license")
    made.data["license"] = licence if isinstance(licence, str) else TODO
    if not isinstance(licence, str):
        made.todo("license", "the SPDX id, or the hub's name; README.md names none", named=True)


def _base_model(files: Files) -> str | None:
    """The original of a conversion, as its README.md says."""
    base = files.about.get("base_model")
    base = base[0] if isinstance(base, list) and base else base
    return base if isinstance(base, str) and re.fullmatch(REPOSITORY, base) else None


def _backend(made: Parts, found: Found) -> None:
    processor = found.seen.processor if found.seen is not None else None
    named = found.files.processor_settings.get("processor_class") or found.files.image_settings.get(
        "processor_class"
    )
    requires = f">={found.seen.package.partition(' ')[2]}" if found.seen is not None else TODO
    made.data["backend"] = {
        "package": "mlx-vlm",
        "requires": requires,
        "model_types": [found.files.model_type],
        "processor": processor or TODO,
    }
    if found.seen is None:
        named = f" The checkpoint names {named}." if isinstance(named, str) else ""
        made.todo("backend", f"version and processor of the backend: {found.unseen}.{named}", named=True)


def _prompt(made: Parts, found: Found, family: str) -> None:
    if found.inferred is None:
        made.data["template"] = {"file": f"{family}.jinja", "sha256": TODO, "roles": ["user", "assistant"]}
        made.todo(
            "template",
            f"no grammar was found: {found.reason}. Write {family}.jinja, which places the words "
            "(docs/cards.md, Template), put it into registry/templates and its sha256 here; or write a "
            "`prompt` by hand",
            named=True,
        )
        return
    made.data["prompt"] = plain(found.inferred.draft.prompt)
    notes = [*found.inferred.remarks]
    if found.inferred.different:
        notes.append(
            f"{len(found.inferred.different):,} of {found.inferred.compared:,} odd conversations are said "
            "otherwise than upstream does, for example:"
        )
        notes += ["  " + "; ".join(map(shown, it.turns)) for it in unlike(found.inferred.different)[:3]]
    if notes:
        made.comments["prompt"] = "\n".join(notes).replace(TODO, "To do")


def _image(made: Parts, found: Found) -> None:
    draft = found.inferred.draft if found.inferred is not None else Draft(None)  # type: ignore[arg-type]
    image: dict[str, Any] = {"placeholder": draft.placeholder or TODO}
    if draft.placeholder is None:
        made.todo(
            "image.placeholder",
            "the chat template writes nothing for an image that could be found",
            named=True,
        )
    image["token"] = found.seen.token if found.seen is not None else TODO
    if found.seen is None:
        made.todo("image.token", f"the token that the processor repeats: {found.unseen}", named=True)
    else:
        image |= _counted(found.seen)
    resample = found.files.image_settings.get("resample")
    own = found.proposal.card.image if found.proposal is not None and found.proposal.same_class else None
    named = RESAMPLE.get(resample) if isinstance(resample, int) else None
    proven = found.proposal.card.image if found.proposal is not None and found.proposal.pixels else own
    image["resample"] = named or (proven.resample if proven is not None else TODO)
    if image["resample"] == TODO:
        made.todo("image.resample", "the filter of the processor: no setting names it", named=True)
    _resize(made, image, found)
    if own is not None:
        taken = [
            name
            for name in ("positions", "lever", "background")
            if getattr(own, name) not in (None, "token", "white")
        ]
        image |= {name: getattr(own, name) for name in taken}
        same = own.token == image["token"] and own.placeholder == image["placeholder"]
        if same and own.expansion is not None:
            image["expansion"] = plain(own.expansion)
            taken.append("expansion")
        if taken and found.proposal is not None:
            made.learned.append(f"image: {', '.join(taken)} as {found.proposal.card.id} has it.")
    made.data["image"] = image


def _counted(seen: Measured) -> dict[str, Any]:
    """What the measured rows say of the positions around image tokens."""
    extra = {row.extra_tokens for row in seen.rows}
    if len(extra) != 1 or None in extra:
        return {}
    (number,) = extra
    said: dict[str, Any] = {"extra_tokens": number} if number is not None and number >= 0 else {}
    return said | ({"expansion": {}} if number == 0 and all(row.adjacent for row in seen.rows) else {})


def _resize(made: Parts, image: dict[str, Any], found: Found) -> None:
    proposal = found.proposal
    if proposal is None:
        image["resize"] = TODO
        why = (
            "no strategy of a card makes what the processor makes" if found.seen is not None else found.unseen
        )
        made.todo("image.resize", f"{why}. docs/cards.md lists the strategies", named=True)
        return
    image["resize"] = plain(proposal.resize)
    if not proposal.of:
        made.todo(
            "image.resize",
            f"compare it with the real processor; it is what {proposal.card.id} has. {found.unseen}",
        )
    elif proposal.confirmed and (proposal.pixels is False or not (proposal.pixels or proposal.same_class)):
        made.todo("image.resize", _PIXELS.format(sizes=proposal.of, family=proposal.card.id))
    elif not proposal.confirmed:
        made.todo(
            "image.resize",
            f"the processor agrees for {proposal.agrees} of {proposal.of} sizes only (see the goldens)",
        )


def _memory(made: Parts, found: Found) -> None:
    processor = found.seen.processor if found.seen is not None else None
    vision, why, witness = dimensions.vision_tower(found.files, processor, found.replaced)
    if why is None:
        made.data["memory"] = {"vision": vision}
        made.learned.append(f"memory.vision: how it attends as {witness} has it.")
    else:
        known = ", ".join(f"{name}: {value}" for name, value in vision.items())
        made.todo("memory", f"{why}{f' (known: vision: {{{known}}})' if known else ''}")


def _models(made: Parts, files: Files, weights: Weights | None) -> None:
    name = files.repository or files.folder.name
    base = _base_model(files)
    size = _SIZE.search(base or name)
    key = size[1].lower() if size else "model"
    model: dict[str, Any] = {}
    if weights is not None and weights.parameters:
        model["parameters"] = weights.parameters
    text, missing = dimensions.text_tower(files)
    if text:
        model["text"] = text
    else:
        made.todo(f"models.{key}.text", f"config.json does not say {', '.join(missing)}")
    if context := dimensions.context(files):
        model["context"] = context
    quantization = next((q for q in PRECISION if name.lower().endswith(f"-{q}")), None)
    model["source"] = base or (files.repository if quantization is None else None) or TODO
    if model["source"] == TODO:
        made.todo(
            f"models.{key}.source", "the hub repository of the original weights, owner/name", named=True
        )
    if files.repository is not None and quantization is not None:
        sized = {"revision": files.commit, "bytes": weights and weights.bytes}
        kept = {field: value for field, value in sized.items() if value}
        model["quantizations"] = {quantization: {"repository": files.repository, **kept}}
    if size is None:
        made.todo(f"models.{key}", "name the model by its size or variant")
    made.data["models"] = {key: model}


def _sources(made: Parts, found: Found) -> None:
    files = found.files
    facts = [
        "prompt" if "prompt" in made.data else "template",
        "models",
        *(["memory"] if "memory" in made.data else []),
        *(["license"] if made.data["license"] != TODO else []),
        "image",
    ]
    read = ["config.json", "preprocessor_config.json", "processor_config.json"]
    names = [name for name in (*read, *(["README.md"] if files.about else [])) if files.has(name)]
    names += [found.weights.read] if found.weights is not None else []
    note = f"Read by `mlx-cards new`: {', '.join(names)}, and the chat template, which was asked, not copied."
    if made.learned:
        note += f" From cards of the same classes: {' '.join(made.learned)}"
    where = files.url("config.json")
    made.sources.append({"url": where or TODO, "facts": facts, "checked": found.today, "note": note})
    if where is None:
        made.todo("sources", "the public address of these files; they were read from a folder", named=True)
    if found.seen is not None:
        learned = found.proposal
        sizes = len(found.seen.rows)
        note = f"{found.seen.processor} was loaded from the files and given {sizes} sizes of images."
        if learned is not None:
            note += f" {learned.agrees} became as many tokens as the resize says, that of {learned.card.id}."
        measured = {
            "package": found.seen.package,
            "facts": ["backend", "image"],
            "checked": found.today,
            "note": note,
        }
        made.sources.append(measured)
    else:
        made.todo("sources.backend", "a source for `backend`")
