"""Tier 5, only when asked: the hub has what the card names, and says the same of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loader.checkpoint.hub_errors import failures, first_line
from registry.cards import Card
from registry.validate.document import Step
from registry.validate.findings import Finding
from registry.validate.schema import Subject


@dataclass(frozen=True, slots=True)
class _Named:
    """A repository that a card names."""

    repository: str
    revision: str | None
    where: tuple[Step, ...]
    card: Card
    licence: str


def check(subject: Subject) -> tuple[list[Finding], list[str]]:
    """The findings, and what could not be looked at. Only descriptions are fetched, never weights."""
    findings: list[Finding] = []
    skipped: list[str] = []
    for named in _named(subject):
        found, left = _ask(subject, named)
        findings += found
        skipped += left
    return findings, skipped


def _named(subject: Subject) -> Iterator[_Named]:
    for key, card in subject.models.items():
        model = card.models[key]
        licence = model.license or card.license
        where = ("models", key)
        if model.source is not None:
            yield _Named(model.source, None, (*where, "source"), card, licence)
        for quantization, weights in model.quantizations.items():
            if weights.repository is not None:
                place = (*where, "quantizations", quantization, "repository")
                yield _Named(weights.repository, weights.revision, place, card, licence)


def _ask(subject: Subject, named: _Named) -> tuple[list[Finding], list[str]]:
    from huggingface_hub import HfApi, errors
    from huggingface_hub.constants import HF_HUB_ETAG_TIMEOUT

    document, repository = subject.document, named.repository
    try:
        info = HfApi().model_info(repository, revision=named.revision, timeout=HF_HUB_ETAG_TIMEOUT)
        config = _config(repository, str(info.sha))
    except errors.RevisionNotFoundError:
        said = f"{repository} has no commit {named.revision}"
        where = (*named.where[:-1], "revision")
        return [document.finding("MC503", where, said, "Name a commit that the hub shows.")], []
    except errors.GatedRepoError:
        return [], [f"{repository} is gated, so its config.json was not read"]
    except errors.RepositoryNotFoundError:
        said = f"the hub shows no repository {repository}: it is missing or private"
        return [document.finding("MC502", named.where, said, "Correct the name, or leave it out.")], []
    except failures() as error:
        said = f"the hub could not be asked about {repository}: {first_line(error)}"
        return [document.finding("MC501", named.where, said, "Run it again, or without --online.")], []
    return [*_compare(subject, named, info, config)], []


def _config(repository: str, commit: str) -> dict[str, Any]:
    """The repository's config.json, empty where it has none."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        text = Path(hf_hub_download(repository, "config.json", revision=commit)).read_text(encoding="utf-8")
    except LocalEntryNotFoundError:
        raise  # the client calls a broken connection so
    except EntryNotFoundError:
        return {}
    config = json.loads(text)
    return config if isinstance(config, dict) else {}


def _compare(subject: Subject, named: _Named, info: Any, config: dict[str, Any]) -> Iterator[Finding]:
    document, types = subject.document, named.card.backend.model_types
    if (model_type := config.get("model_type")) is not None and model_type not in types:
        said = f"{named.repository} is of model type {model_type!r}, and the card takes {' or '.join(types)}"
        mend = "Add the type to `backend.model_types`, or name the repository that is meant."
        yield document.finding("MC504", named.where, said, mend)
    said_there = {str(name).lower() for name in _licences(info)}
    if said_there - {"other"} and named.licence.lower() not in said_there:
        said = f"{named.repository} has the licence {' or '.join(sorted(said_there))} on the hub"
        mend = f"Compare it with the original's own text; the card says {named.licence}."
        yield document.finding("MC505", named.where, said, mend)


def _licences(info: Any) -> Iterator[str]:
    """The licence of a model card: `license`, and `license_name` where that is `other`."""
    data = info.card_data or {}
    for field in ("license", "license_name"):
        value = data.get(field)
        yield from value if isinstance(value, list) else [value] if value else []
