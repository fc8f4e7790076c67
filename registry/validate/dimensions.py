"""Numbers that bound each other: parameters, bytes, heads, experts, layers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from registry.cards import PRECISION, Card, Model, Quantization
from registry.memory import TextTower
from registry.validate.document import Step
from registry.validate.findings import Finding
from registry.validate.schema import Subject

BITS: dict[Quantization, int] = {
    "3bit": 3,
    "4bit": 4,
    "5bit": 5,
    "6bit": 6,
    "8bit": 8,
    "16bit": 16,
    "fp16": 16,
    "bf16": 16,
}
SLACK = 1.00001
"""A few vectors of Qwen3.5's linear attention are kept in four bytes even in a 16-bit conversion."""
EXPLAINED = 3
"""A language model has at least this part of all parameters: where it is least, it has 46%."""
_COPY = "Copy the numbers from the released config.json."


def check(subject: Subject) -> Iterator[Finding]:
    yield from subject.each(_tower)
    if subject.family is not None:
        for key, model in subject.family.models.items():
            if model.text is not None:
                yield from _text(subject, key, model, model.text)
            yield from _weights(subject, key, model)


def _tower(subject: Subject, below: tuple[Step, ...], card: Card) -> Iterator[Finding]:
    where = subject.place(below, ("memory", "vision", "full_layers"))
    if card.memory is None or where is None:
        return
    tower = card.memory.vision
    outside = [layer for layer in tower.full_layers if not 0 <= layer < tower.layers]
    twice = [layer for i, layer in enumerate(tower.full_layers) if layer in tower.full_layers[:i]]
    if outside:
        last = tower.layers - 1
        said = f"memory.vision.full_layers: there is no layer {outside[0]}, they count from 0 to {last}"
        yield subject.document.finding("MC319", where, said, _COPY)
    elif twice:
        said = f"memory.vision.full_layers: layer {twice[0]} is there twice"
        yield subject.document.finding("MC319", where, said, _COPY)
    elif tower.attention == "windows" and not tower.full_layers:
        said = "memory.vision: with `attention: windows`, the layers that see everything are missing"
        yield subject.document.finding("MC319", where, said, "Add `full_layers`.")


def _text(subject: Subject, key: str, model: Model, text: TextTower) -> Iterator[Finding]:
    where = ("models", key, "text")
    name = ".".join(where)
    if text.heads % text.kv_heads:
        said = f"{name}: {text.heads} heads cannot share {text.kv_heads} key-value heads equally"
        yield subject.document.finding("MC315", (*where, "kv_heads"), said, _COPY)
    experts = {
        "experts": text.experts,
        "active_experts": text.active_experts,
        "expert_intermediate": text.expert_intermediate,
    }
    missing = [field for field, value in experts.items() if value is None]
    if 0 < len(missing) < len(experts):
        said = f"{name}: experts are described in part, without {' and '.join(missing)}"
        yield subject.document.finding("MC316", where, said, _COPY, on="key")
    elif text.experts and text.active_experts and text.active_experts > text.experts:
        said = f"{name}: {text.active_experts} of {text.experts} experts cannot be active"
        yield subject.document.finding("MC316", (*where, "active_experts"), said, _COPY)
    needed = parameters_of(text)
    if model.parameters is not None and needed > model.parameters:
        said = (
            f"models.{key}.parameters: {model.parameters:,}, and the matrices of `text` alone have {needed:,}"
        )
        yield subject.document.finding("MC317", ("models", key, "parameters"), said, _COPY)
    elif model.parameters is not None and needed * EXPLAINED < model.parameters:
        said = f"models.{key}.parameters: {model.parameters:,}, and the matrices of `text` have {needed:,}"
        yield subject.document.finding("MC326", ("models", key, "parameters"), said, _COPY)


def parameters_of(text: TextTower) -> int:
    """Parameters of a language model's large matrices; a tied output matrix counts once.

    Where layers keep different things, their attention differs too, and is left out.
    """
    attention = 2 * text.hidden * text.head_dim * (text.heads + text.kv_heads) if text.cache is None else 0
    widths = text.layers * (text.intermediate or 0)
    if text.experts and text.expert_intermediate:
        experts = text.experts * text.expert_intermediate + (text.shared_intermediate or 0)
        widths = (text.layers - text.dense_layers) * experts + text.dense_layers * (text.intermediate or 0)
    embedding = text.vocab * text.hidden * (1 if text.tied else 2)
    return embedding + text.layers * attention + 3 * text.hidden * widths


def _weights(subject: Subject, key: str, model: Model) -> Iterator[Finding]:
    """Bytes below those of the bits themselves, or above those of 16; finer ones that are not larger."""
    known = {q: w.bytes for q, w in model.quantizations.items() if w.bytes is not None}
    coarse_to_fine = sorted(known, key=PRECISION.index)
    faults: dict[Quantization, str] = {}
    for coarse, fine in pairwise(coarse_to_fine):
        same = BITS[coarse] == BITS[fine]
        if known[coarse] != known[fine] if same else known[coarse] >= known[fine]:
            faults[fine] = f"{known[fine]:,} bytes, and {coarse} has {known[coarse]:,}"
    for quantization in coarse_to_fine if model.parameters else ():
        size, full = known[quantization], 2 * (model.parameters or 0)
        least = (model.parameters or 0) * BITS[quantization] // 8
        most = full * SLACK if BITS[quantization] == 16 else full
        if not least <= size <= most:
            faults[quantization] = (
                f"{size:,} bytes, and {model.parameters:,} parameters take {least:,} to {full:,}"
            )
    for quantization, fault in faults.items():
        where = ("models", key, "quantizations", quantization, "bytes")
        mend = "Count them anew with `python -m tools.weights`, or leave them out as unknown."
        yield subject.document.finding("MC318", where, f"{'.'.join(where)}: {fault}", mend)
