"""All parts together: the peak of a request on a device, and the verdict."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from loader.memory.language import LanguageBytes, language_bytes
from loader.memory.request import Request
from loader.memory.result import Estimate, Kind, Part, Source, unknown
from loader.memory.verdict import advice_of, verdict_of
from loader.memory.vision import VisionBytes, vision_bytes

if TYPE_CHECKING:
    from loader.device import Device
    from loader.resize import ImagePlan

MARGIN = 0.25
"""On Metal, the part of all activations that is added: MLX runs ahead there by up to ten command buffers of
40 to 50 operations (its source), and nobody has measured what that takes. A choice of this project."""
MEASURED = "by the formula measured on MLX's backend for processors"
UNMEASURED = "by the tight formula; not measured on Metal"
WEIGHED: dict[Source, str] = {
    "computed": "counted from the backend's own model; the published files may differ",
    "files": "the sizes of the files",
    "hub": "the sizes of the files on the hub",
}


def compute(request: Request, device: Device) -> Estimate:
    """The estimate of a request on a device."""
    plans = request.plans()
    prompt = request.prompt_tokens(plans)
    vision = _vision(request, plans, device)
    language = _language(request, plans, prompt, device)
    parts = _parts(request, plans, vision, language, device)
    largest = max((made.largest for made in (vision, language) if made is not None), default=None)
    complete = language is not None and (vision is not None or not plans)
    missing = tuple(name for name, part in parts.items() if part.bytes is None)
    made = Estimate(
        parts=parts,
        buffer=_buffer(largest if complete else None),
        weights_source=request.weights_source,
        tokens=prompt + request.max_tokens,
        device=device,
        verdict="unknown",
        reason="",
        _advise=tuple,
    )
    verdict, reason = verdict_of(made.at_least, largest, device, missing)
    made = replace(made, verdict=verdict, reason=reason)
    return replace(made, _advise=lambda: tuple(_advice(made, request, device)))


def _advice(made: Estimate, request: Request, device: Device) -> Iterator[str]:
    model = request.card.model
    quantizations = model.quantizations if model is not None else {}
    smaller = {
        str(name): weights.bytes
        for name, weights in quantizations.items()
        if weights.bytes is not None and request.weights is not None and weights.bytes < request.weights
    }
    return advice_of(made, request, lambda other: compute(other, device).verdict == "fits", smaller)


def _vision(request: Request, plans: tuple[ImagePlan, ...], device: Device) -> VisionBytes | None:
    memory, image = request.card.memory, request.card.image
    if not plans or memory is None or image is None or any(plan.patches is None for plan in plans):
        return None
    return vision_bytes(memory.vision, plans, image.resize.patch, request, device.engine)


def _language(
    request: Request, plans: tuple[ImagePlan, ...], prompt: int, device: Device
) -> LanguageBytes | None:
    model = request.card.model
    if model is None or model.text is None:
        return None
    states = sum(plan.cross_tokens or 0 for plan in plans)
    tower = request.card.memory.vision if request.card.memory is not None else None
    float32 = bool(plans) and tower is not None and tower.float32 == "all"
    return language_bytes(model.text, prompt, states, request, device.engine, float32=float32)


def _parts(
    request: Request,
    plans: tuple[ImagePlan, ...],
    vision: VisionBytes | None,
    language: LanguageBytes | None,
    device: Device,
) -> dict[str, Part]:
    how = MEASURED if device.engine == "cpu" else UNMEASURED
    model = request.card.model
    if request.weights is not None:
        weights = Part(request.weights, "exact", WEIGHED[request.weights_source or "computed"])
    elif request.quantization is None and model is not None and model.parameters is not None:
        weights = Part(2 * model.parameters, "estimate", "two bytes a parameter: no conversion is known")
    else:
        weights = unknown("the card states no bytes for it")
    seen = (
        Part(0, "exact", "no images") if not plans else unknown("the card has no dimensions of the encoder")
    )
    if vision is not None:
        seen = Part(vision.total, "estimate", how)
    cache = read = unknown("the card has no dimensions of the language model")
    if language is not None:
        cache = Part(
            language.kv_cache, _cache_kind(request), "keys, values and states, as the backend grows them"
        )
        read = Part(language.prefill, "estimate", how)
    overhead = vision.pixels if vision is not None else 0
    if device.engine == "metal":
        live = max(vision.total if vision else 0, language.prefill if language else 0)
        overhead += int(MARGIN * live)
    spare = "pixels" if device.engine == "cpu" else f"pixels, and {MARGIN:.0%} of the activations as a margin"
    # Freed buffers that MLX keeps as a cache are not counted: it gives them back before it refuses.
    return {
        "weights": weights,
        "vision": seen,
        "kv_cache": cache,
        "prefill": read,
        "overhead": Part(overhead, "estimate", spare),
    }


def _cache_kind(request: Request) -> Kind:
    model = request.card.model
    text = model.text if model is not None else None
    moving = text is not None and any(cache.window is not None for cache in text.caches)
    return "estimate" if moving or request.kv_bits is not None else "exact"


def _buffer(largest: int | None) -> Part:
    if largest is None:
        return unknown("some dimensions are not established")
    return Part(
        largest, "estimate", "the biggest tensor of scores, activations, logits, pixels or embeddings"
    )
