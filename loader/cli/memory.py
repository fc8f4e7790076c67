"""Memory on the command line: the options that it depends on, a bar of its parts, a row a quantization."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from loader.cli.common import table
from registry.choice import gigabytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loader.capacity import Capacity
    from loader.memory import Estimate
    from loader.resize import Detail, ImagePlan
    from registry.cards import Card
    from registry.choice import Choice

WIDTH = 60
"""Characters of the bar."""
LETTERS = {"weights": "w", "vision": "v", "kv_cache": "k", "prefill": "p", "overhead": "o"}
COLOURS = {"fits": "green", "unknown": "yellow", "pages": "yellow", "refuses": "red"}
KV_BITS = ("2", "3", "4", "5", "6", "8")
"""What MLX quantizes to (mlx 0.32)."""
MOST_SHOWN = 1000
_POSITIONS = re.compile(r"([1-9]\d{0,8})(k?)")


def _positions(_context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    match = _POSITIONS.fullmatch(value.lower())
    if match is None:
        raise click.BadParameter(f"{value!r} is no number of positions; write 8192 or 8k.", param=parameter)
    return int(match[1]) * (1024 if match[2] else 1)


device = click.option(
    "--device", metavar="NAME", help="A Mac by chip and memory, m4-pro-24gb; without it, this machine."
)
context = click.option(
    "--context", metavar="N", callback=_positions, help="Positions of the prompt, at the least: 8192 or 8k."
)
kv_bits = click.option("--kv-bits", type=click.Choice(KV_BITS), help="With the cache quantized to this.")
answer = click.option("--max-tokens", type=click.IntRange(1), default=512, show_default=True)


class Memory:
    """What a question about images takes on a device, in each quantization of a model."""

    def __init__(self, name: str, device: str | None, **asked: Any) -> None:
        """`name` is that of a model; `asked` as for `loader.memory.request_of`.

        Raises UnknownModelError for a family.
        """
        import registry
        from loader.capacity import Capacity, capacities
        from loader.device import find
        from loader.memory import compute, request_of

        machine = find(device)
        card = registry.card(name)
        converted = card.model is None or card.model.quantizations
        self.choice: Choice | None = registry.resolve(name, device=machine) if converted else None
        request = request_of(self.choice or card, device=machine, **asked)
        self.capacity: Capacity = Capacity(request, compute(request, machine))
        self.estimate: Estimate = self.capacity.estimate
        self.each: list[Capacity] = list(capacities(request, machine))

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data, for JSON."""
        return {
            "quantization": self.capacity.quantization,
            "why": self.choice.why if self.choice is not None else None,
            **self.estimate.to_dict(),
            "quantizations": [{**each.to_dict(), "most_images": each.most_images()} for each in self.each],
        }

    def show(self) -> None:
        """For people: the bar, its legend, the verdict, what to do, and a row a quantization."""
        estimate = self.estimate
        what = f"{self.choice.model}@{self.choice.quantization}" if self.choice else "without a conversion"
        click.echo(f"\n{what}: {taken(estimate)} of the {gigabytes(estimate.device.room)} {_whose(estimate)}")
        for line in drawn(estimate):
            click.echo(line)
        verdict = click.style(estimate.verdict, fg=COLOURS[estimate.verdict], bold=True)
        click.echo(f"{verdict}: {estimate.reason}")
        for advice in estimate.advice:
            click.echo(f"  {advice}")
        click.echo()
        table([HEADING, *(_row(each, self.capacity) for each in self.each)])
        if self.choice is not None:
            click.echo(f"\n* {self.choice.why}")


HEADING = ("quantization", "verdict", "needs", "share", "largest image", "most images")


def of_model(
    name: str,
    card: Card,
    device: str | None,
    plans: Sequence[ImagePlan],
    *,
    detail: Detail,
    max_image_tokens: int | None,
    max_tokens: int,
    context: int | None,
    kv_bits: str | None,
) -> Memory | None:
    """The memory of one question about planned images; None for a family, unless it was asked for."""
    if card.model is None and (device, context, kv_bits) == (None, None, None):
        return None
    return Memory(
        name,
        device,
        plans=plans,
        detail=detail,
        max_image_tokens=max_image_tokens,
        max_tokens=max_tokens,
        context=context,
        kv_bits=None if kv_bits is None else int(kv_bits),
    )


def drawn(estimate: Estimate) -> list[str]:
    """The bar, and a line for each part with its size, whether it is exact, and what it is from."""
    there = at_the_peak(estimate)
    lines = [bar(estimate)]
    for name, part in estimate.parts.items():
        letter = LETTERS[name] if name in there else " "
        size = "unknown" if part.bytes is None else gigabytes(part.bytes)
        kind = "" if part.kind == "unknown" else part.kind
        when = "" if name in there or part.bytes is None else "; not at the peak"
        lines.append(f"  {letter} {name.replace('_', ' '):<9}{size:>9}  {kind:<9} {part.why}{when}")
    largest = estimate.buffer
    size = "unknown" if largest.bytes is None else gigabytes(largest.bytes)
    lines.append(
        f"    {'largest':<9}{size:>9}  {'' if largest.bytes is None else largest.kind:<9} {largest.why}"
    )
    return lines


def at_the_peak(estimate: Estimate) -> tuple[str, ...]:
    """Parts that are there at the same time when most is: either images are encoded, or text is read."""
    reading = (estimate.kv_cache or 0) + (estimate.prefill or 0)
    phase = ("vision",) if (estimate.vision or 0) > reading else ("kv_cache", "prefill")
    return ("weights", *phase, "overhead")


def bar(estimate: Estimate, width: int = WIDTH) -> str:
    """The parts at the peak as letters, as wide as they are large; `|` stands where the room ends."""
    room = estimate.device.room
    scale = max(estimate.at_least, room, 1)
    sizes = {name: estimate.parts[name].bytes or 0 for name in at_the_peak(estimate)}
    there = [name for name, size in sizes.items() if size]
    cells, done = "", 0
    for left, name in zip(range(len(there) - 1, -1, -1), there, strict=True):
        done += sizes[name]
        # Rounded where the part ends, so that the widths add up; what is there is never invisible.
        end = min(max(round(width * done / scale), len(cells) + 1), width - left)
        cells += LETTERS[name] * (end - len(cells))
    cells = cells.ljust(width, ".")
    mark = round(width * room / scale)
    return f"[{cells[:mark]}|{cells[mark:]}]"


def taken(estimate: Estimate) -> str:
    """The total, or at least what is known of it."""
    return f"{'' if estimate.total is not None else 'at least '}{gigabytes(estimate.at_least)}"


def largest_words(capacity: Capacity) -> str:
    """The largest image, in a table."""
    from loader.capacity import MOST_PIXELS, scaled_to

    size = capacity.largest_image()
    if size is None:
        return "unknown" if capacity.estimate.verdict == "unknown" else "none"
    if size == scaled_to(capacity.request.images[0], MOST_PIXELS):
        return "any"
    return f"{size[0]}x{size[1]}"


def _whose(estimate: Estimate) -> str:
    device = estimate.device
    return f"that can be used on {device.name}{'' if device.measured else ' (estimate)'}"


def _row(capacity: Capacity, chosen: Capacity) -> tuple[str, ...]:
    estimate, most = capacity.estimate, capacity.most_images()
    mark = " *" if capacity.quantization == chosen.quantization else ""
    return (
        f"{capacity.quantization or 'none published'}{mark}",
        estimate.verdict,
        taken(estimate),
        f"{capacity.share:.0%}",
        largest_words(capacity),
        "unknown" if most is None else f"{most:,}{' or more' if most == MOST_SHOWN else ''}",
    )
