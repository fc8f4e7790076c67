"""How much of a model fits a device: each of its quantizations, the largest image, the most images."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from loader.errors import ImageError
from loader.memory.totals import compute
from loader.memory.verdict import MOST_IMAGES, largest_image, most_images
from loader.memory.weights import of_folder
from loader.resize import plan_images, room_for
from registry.cards import PRECISION
from registry.choice import CHECKPOINTS, ROOM_SHARE, WEIGHTS_SHARE

if TYPE_CHECKING:
    from loader.device import Device
    from loader.memory.request import Request
    from loader.memory.result import Estimate, Source
    from loader.resize import ImagePlan, Size
    from registry.cards import Weights

ORDER = ("fits", "unknown", "pages", "refuses")
"""Verdicts, the best first."""
MOST_PIXELS = 1 << 28
"""As loader.source.Limits.max_pixels, which would import the code that decodes images."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """One quantization of a model on a device."""

    request: Request
    estimate: Estimate

    @property
    def quantization(self) -> str | None:
        """For example "6bit"; None: no conversion is known."""
        return self.request.quantization

    @property
    def share(self) -> float:
        """Part of the working set that the request takes, as far as is known."""
        return self.estimate.at_least / self.estimate.device.working_set

    @property
    def leaves_room(self) -> bool:
        """Whether `load` would take this quantization on the device, for such a request."""
        return self.share <= (WEIGHTS_SHARE if self.estimate.total is None else ROOM_SHARE)

    def largest_image(self) -> Size | None:
        """Width and height up to which images fit, in the shape of the first one and of their number.

        At most the largest that this project decodes, and then every image fits. None: not even a pixel
        fits, or it is not known.
        """
        request, device = self.request, self.estimate.device
        if not request.images or self.estimate.verdict == "unknown":
            return None
        if not fits(replace(request, images=(), planned=None), device):
            return None  # most models on a small machine: nothing to search for
        top = scaled_to(request.images[0], MOST_PIXELS)
        asked = replace(request, images=(top,) * len(request.images), planned=None)
        if fits(asked, device):
            return top
        found = largest_image(asked, lambda other: fits(other, device))
        # Cut into tiles, a larger image may take less, and the search may stop below what was asked for.
        first = request.images[0]
        if (found is None or found[0] < first[0]) and fits(
            replace(asked, images=(first,) * len(request.images)), device
        ):
            return first
        return found

    def most_images(self) -> int | None:
        """How many images like the first fit in one question, as large as it is planned; None: not known.

        The context and what the family and its backend take bound it, too.
        """
        request, device = self.request, self.estimate.device
        plans = request.plans()
        if not plans or self.estimate.verdict == "unknown":
            return None
        one = plans[0]
        return most_images(
            request,
            lambda other: _verdict(replace(other, planned=(one,) * len(other.images)), device) == "fits",
            _bound(request, one),
        )

    def to_dict(self) -> dict[str, Any]:
        """The capacity as plain data, for JSON."""
        largest = self.largest_image()
        return {
            "quantization": self.quantization,
            "verdict": self.estimate.verdict,
            "reason": self.estimate.reason,
            "total": self.estimate.total,
            "at_least": self.estimate.at_least,
            "share": round(self.share, 4),
            "largest_image": None if largest is None else list(largest),
        }


def capacities(request: Request, device: Device) -> Iterator[Capacity]:
    """The request in each of the model's quantizations, from fine to coarse; as it is, if there are none."""
    model = request.card.model
    quantizations = model.quantizations if model is not None else {}
    if not quantizations:
        yield Capacity(request, compute(request, device))
    for name in sorted(quantizations, key=PRECISION.index, reverse=True):
        size, source = _weighed(quantizations[name])
        asked = replace(request, quantization=name, weights=size, weights_source=source)
        yield Capacity(asked, compute(asked, device))


def _weighed(weights: Weights) -> tuple[int | None, Source | None]:
    """Bytes, and where they are from: what comes with the package is weighed itself."""
    if weights.folder is not None:
        return of_folder(CHECKPOINTS / weights.folder), "files"
    return weights.bytes, None if weights.bytes is None else "computed"


def best(request: Request, device: Device) -> Capacity:
    """The finest quantization that leaves room, else the coarsest, as `load` chooses for a usual question."""
    there = list(capacities(request, device))
    for verdict in ORDER:
        having = [it for it in there if it.estimate.verdict == verdict]
        if having:
            return next((it for it in having if it.leaves_room), having[-1])
    raise AssertionError("a model has at least one capacity")


def fits(request: Request, device: Device) -> bool:
    """Whether a request fits, its images as they are planned for one call together."""
    if request.planned is None:
        try:
            request = replace(request, planned=together(request))
        except ImageError:  # the model's own processor takes no such image
            return False
    return _verdict(request, device) == "fits"


def together(request: Request) -> tuple[ImagePlan, ...]:
    """What becomes of the images of a request where they share what text and answer leave of the context."""
    if not request.images:
        return ()
    model = request.card.model
    room = room_for(model.context if model else None, request.text_tokens, request.max_tokens)
    limits = request.detail, request.max_image_tokens, request.max_image_pixels
    return tuple(plan_images(request.card, request.images, *limits, room))


def scaled_to(shape: Size, pixels: int) -> Size:
    """The largest size of about this shape that has no more pixels."""
    width, height = shape
    factor = math.sqrt(pixels / (width * height))
    wide = max(1, int(width * factor))
    return wide, max(1, min(int(height * factor), pixels // wide))


def _verdict(request: Request, device: Device) -> str:
    return compute(request, device).verdict


def _bound(request: Request, plan: ImagePlan) -> int:
    """Images that the context holds, and that the family and its backend take."""
    card, model = request.card, request.card.model
    bounds = [MOST_IMAGES, card.backend.max_images, card.image.max_images if card.image else None]
    room = room_for(model.context if model else None, request.text_tokens, request.max_tokens)
    if room is not None:
        bounds.append(room // max(1, plan.tokens or plan.image_tokens))
    return min(bound for bound in bounds if bound is not None)
