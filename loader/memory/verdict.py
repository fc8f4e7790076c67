"""Fits, pages or refuses: which number decides, and what would fit instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from loader.memory.result import Verdict
from registry.choice import gigabytes

if TYPE_CHECKING:
    from loader.device import Device
    from loader.memory.request import Request
    from loader.memory.result import Estimate
    from loader.resize import Size

Fits = Callable[["Request"], bool]
MIB = 1024**2
KEPT_FOR_SYSTEM = 0.9
"""Part of the memory up to which raising the GPU's limit is advised: the rest is macOS's."""
MOST_IMAGES = 1000


def verdict_of(
    at_least: int, largest: int | None, device: Device, unknown: tuple[str, ...]
) -> tuple[Verdict, str]:
    """The verdict and the number that decides; `unknown` parts are not in `at_least`."""
    whose = f"{device.name}{'' if device.measured else ' (estimate)'}"
    come = "comes" if len(unknown) == 1 else "come"
    more = f", and {' and '.join(unknown)} {come} on top" if unknown else ""
    needs = f"{gigabytes(at_least)} are needed{more}"
    if largest is not None and largest > device.buffer_limit:
        return "refuses", (
            f"One tensor takes {gigabytes(largest)}, and a single allocation may have "
            f"{gigabytes(device.buffer_limit)} on {whose}."
        )
    if at_least > device.limit:
        return "refuses", f"{needs}; MLX allocates {gigabytes(device.limit)} at most on {whose}."
    if at_least > device.room:
        held = f", {gigabytes(device.in_use)} of the memory are in use" if device.in_use else ""
        return "pages", f"{needs}; {gigabytes(device.room)} can be used on {whose}{held}."
    if unknown:
        return "unknown", f"{needs}, of unknown size; {gigabytes(device.room)} can be used on {whose}."
    return "fits", f"{needs} of the {gigabytes(device.room)} that can be used on {whose}."


def advice_of(estimate: Estimate, request: Request, fits: Fits, others: dict[str, int]) -> Iterator[str]:
    """Sentences that say what to do next. `others`: bytes of the model's other quantizations."""
    if estimate.verdict == "fits":
        return
    device = estimate.device
    for name, size in sorted(others.items(), key=lambda item: item[1], reverse=True):
        if fits(replace(request, quantization=name, weights=size)):
            yield f"The {name} quantization fits, with weights of {gigabytes(size)}."
            break
    yield from _smaller_images(request, fits)
    # Without images it may fit anyway; then they are what is too much, not the prompt.
    prompt = None if fits(replace(request, images=(), planned=None)) else longest_prompt(request, fits)
    if prompt is not None:
        yield f"A prompt of {prompt:,} positions without images fits."
    if device.room < device.working_set:
        yield f"Close other programs: they hold {gigabytes(device.in_use)}."
    yield from _raise_the_limit(estimate, device)


def _smaller_images(request: Request, fits: Fits) -> Iterator[str]:
    if not request.images:
        return
    budgeted = replace(request, detail="auto", planned=None)
    if request.detail == "full" and fits(budgeted):
        yield 'The images fit with detail="auto", the card\'s budget.'
    elif (size := largest_image(request, fits)) is not None:
        yield f"Images of {size[0]}x{size[1]} pixels fit."
    if len(request.images) > 1 and (count := most_images(request, fits)):
        yield f"{count} of the {len(request.images)} images fit in one question."


def _raise_the_limit(estimate: Estimate, device: Device) -> Iterator[str]:
    """The command that gives the GPU more, where the memory is there and Metal's limit is the obstacle."""
    if device.engine != "metal" or estimate.total is None:
        return
    buffer = -(-(estimate.largest_buffer or 0) * 4 // 3)  # a single one may have three quarters
    needed = -(-max(estimate.total, buffer) // MIB)
    there = min(int(device.memory * KEPT_FOR_SYSTEM), device.memory - device.in_use) // MIB
    if device.working_set // MIB < needed <= there:
        yield (
            "Give the GPU more of the memory, until the next restart: "
            f"sudo sysctl iogpu.wired_limit_mb={needed}"
        )


def largest_image(request: Request, fits: Fits) -> Size | None:
    """Width and height, in the shape of the first image, up to which images of this number fit.

    None where not even one pixel does, or where the images fit as they are.
    """
    if not request.images or fits(request):
        return None
    width, height = request.images[0]
    longest = max(width, height)

    def of(side: int) -> Size:
        return max(1, width * side // longest), max(1, height * side // longest)

    def fit(side: int) -> bool:
        return fits(replace(request, images=(of(side),) * len(request.images), planned=None))

    side = _most(fit, longest)
    return of(side) if side else None


def most_images(request: Request, fits: Fits, at_most: int = MOST_IMAGES) -> int:
    """How many images like the first one fit in one question, up to `at_most`."""
    if not request.images:
        return 0
    first = request.images[:1]
    return _most(lambda n: fits(replace(request, images=first * n, planned=None)), at_most)


def longest_prompt(request: Request, fits: Fits) -> int | None:
    """Positions of a prompt without images that fit; None where not even a short one does."""
    model = request.card.model
    most = (model.context if model else None) or 131072
    short = replace(request, images=(), planned=None, context=None, text_tokens=1)
    if not fits(short):
        return None
    return _most(lambda n: fits(replace(short, text_tokens=n)), most)


def _most(fit: Callable[[int], bool], at_most: int) -> int:
    """The largest number from 0 to `at_most` that fits, where smaller ones do, too."""
    low, high = 0, at_most
    while low < high:
        middle = (low + high + 1) // 2
        if fit(middle):
            low = middle
        else:
            high = middle - 1
    return low
