"""What a request takes in memory, before anything is loaded: from the card alone, in less than a millisecond.

Weights are exact. The rest follows formulas that were measured on MLX's backend for processors; on
Metal nobody has measured yet, so an estimate for it has a margin, and says that it is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loader.device import Device, find
from loader.memory import weights as sizes
from loader.memory.request import PREFILL_CHUNK, TEXT_TOKENS, Attention, Request
from loader.memory.result import Estimate, Part
from loader.memory.totals import compute
from loader.resize import Detail, ImagePlan, Size

if TYPE_CHECKING:
    from registry.cards import Card
    from registry.choice import Choice

__all__ = ["Estimate", "Part", "Request", "compute", "estimate", "request_of"]


def estimate(
    choice: Choice | Card | str,
    images: Sequence[Size] = (),
    max_tokens: int = 512,
    *,
    device: Device | str | None = None,
    **options: Any,
) -> Estimate:
    """What a question with `images` (width and height of each) and an answer of `max_tokens` takes.

    `choice` is what `registry.resolve` returns, a card, or a name. `device` is a name, a Device, or None:
    this machine. Further options are those of `request_of`. Everything is in bytes.

    Raises UnknownModelError for a name, UnsupportedFeatureError for a device or images to a family without
    vision, ImageError for sizes that the model's own processor refuses.
    """
    machine = find(device)
    return compute(request_of(choice, images, max_tokens, device=machine, **options), machine)


def request_of(
    choice: Choice | Card | str,
    images: Sequence[Size] = (),
    max_tokens: int = 512,
    *,
    device: Device,
    detail: Detail = "auto",
    attention: Attention | None = None,
    max_image_tokens: int | None = None,
    max_image_pixels: int | None = None,
    text_tokens: int = TEXT_TOKENS,
    context: int | None = None,
    kv_bits: int | None = None,
    prefill_chunk: int | None = PREFILL_CHUNK,
    plans: Sequence[ImagePlan] | None = None,
    folder: Path | None = None,
    hub: bool = False,
) -> Request:
    """A request, with the weights that `choice` means on `device`.

    `attention`: whether scores are "fused" or "materialized"; None: what the backend does there.
    `text_tokens`: positions besides images. `context`: positions that the prompt has at least.
    `kv_bits`: the cache quantized. `prefill_chunk`: None reads the prompt at once. `plans`: what was
    planned already, in place of `images`. The weights are as large as the card counted, or as the files
    in `folder`, or with `hub` as the hub says.
    """
    card, chosen = _chosen(choice, device)
    return Request(
        card=card,
        images=tuple(images) if plans is None else tuple(plan.source for plan in plans),
        max_tokens=max_tokens,
        text_tokens=text_tokens,
        context=context,
        detail=detail,
        attention=attention,
        kv_bits=kv_bits,
        prefill_chunk=prefill_chunk,
        max_image_tokens=max_image_tokens,
        max_image_pixels=max_image_pixels,
        planned=None if plans is None else tuple(plans),
        **_weights(chosen, folder, hub=hub),
    )


def _chosen(choice: Choice | Card | str, device: Device) -> tuple[Card, Choice | None]:
    """The card, and the checkpoint if there is one: a family and a model without a conversion have none."""
    import registry
    from registry.choice import Choice as Chosen
    from registry.choice import choose_for

    if isinstance(choice, Chosen):
        return choice.card, choice
    card = registry.card(choice) if isinstance(choice, str) else choice
    if card.model is None or not card.model.quantizations:
        return card, None
    chosen = registry.resolve(choice, device=device) if isinstance(choice, str) else None
    return card, chosen or choose_for(card, None, device)


def _weights(chosen: Choice | None, folder: Path | None, *, hub: bool) -> dict[str, Any]:
    """The quantization, its bytes and where those are from: real files win."""
    quantization = chosen.quantization if chosen is not None else None
    counted, source = None, None
    if chosen is not None and chosen.card.model is not None:
        stated = {str(name): weights.bytes for name, weights in chosen.card.model.quantizations.items()}
        counted = stated.get(chosen.quantization)
        source = "computed" if counted is not None else None
        folder = folder or chosen.folder
    if folder is not None:
        counted, source = sizes.of_folder(folder), "files"
    elif hub and chosen is not None and chosen.repository is not None:
        counted, source = sizes.of_hub(chosen.repository, chosen.revision), "hub"
    return {"quantization": quantization, "weights": counted, "weights_source": source}
