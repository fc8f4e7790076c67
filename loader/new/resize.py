"""Which resize strategy a processor follows: strategies of the cards, with this checkpoint's numbers, tried.

No class is known here by name. The cards say what the classes do that they name; of a class that no card
names, every card's strategy is tried with the checkpoint's own numbers, and what agrees with the real
processor on all sizes is proposed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from loader.errors import MLXCardsError
from loader.new import kin
from loader.new.measure import Measured
from loader.new.settings import RESAMPLE, RESIZE, SWITCHES, all_of, number
from loader.new.source import Files
from loader.resize import plan_image
from registry.cards import Card
from registry.vision import Image

_PICTURES = ((640, 480), (333, 517), (1201, 377))
"""Sizes of the pictures whose pixels are compared."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A strategy, the card that it was learned from, and how it compares."""

    resize: Any
    card: Card
    same_class: bool
    agrees: int
    of: int
    """Sizes that it was compared on; 0: it was not."""
    pixels: bool | None = None
    """Whether a picture that is fitted by it becomes the same tensors as the original; None: the strategy
    hands the original over, so that nothing was compared."""

    @property
    def rank(self) -> tuple[int, int]:
        """Tokens first, then pixels: the same, not compared, others."""
        return self.agrees, {True: 2, None: 1, False: 0}[self.pixels]

    @property
    def confirmed(self) -> bool:
        return 0 < self.of == self.agrees


def proposed(
    files: Files, processor: str | None, seen: Measured | None, without: str | None = None
) -> Proposal | None:
    """The strategy that agrees on most sizes; without a measurement, the one of the same class.

    The card `without` is not asked: it is being replaced.
    """
    own = kin.related(files.model_type, processor, without)
    known = [card for card in kin.cards() if card.id != without] if seen is not None else []
    others = [card for card in known if card not in own]
    best: Proposal | None = None
    for card in own + others:
        if card.image is None:
            continue
        for resize in _with_numbers(card.image.resize, files, seen):
            agrees = 0 if seen is None else _agreeing(card, resize, seen)
            found = Proposal(resize, card, card in own, agrees, 0 if seen is None else len(seen.rows))
            if seen is None:
                return found
            if found.confirmed:
                found = replace(found, pixels=_same_pixels(files, card, resize, seen))
            if best is None or found.rank > best.rank:
                best = found
            if found.confirmed and (found.pixels or (found.same_class and found.pixels is None)):
                return found
    if best is not None and not best.same_class and not best.confirmed:
        return None
    return best


def _with_numbers(resize: Any, files: Files, seen: Measured | None) -> Iterator[Any]:
    """The strategy with the checkpoint's numbers, and as the card has it where that is another one."""
    data = all_of(files)
    numbers = {
        field: number(data, paths, switch=field in SWITCHES)
        for field, paths in RESIZE.get(resize.kind, {}).items()
    }
    if resize.kind == "anyres" and (grids := _grids(files, numbers.get("tile"))):
        numbers["grids"] = grids  # type: ignore[assignment]
    if seen is not None and "tokens" in numbers and len({row.image_tokens for row in seen.rows}) == 1:
        numbers["tokens"] = seen.rows[0].image_tokens
    for some in (numbers, _halved(numbers), _unmerged(numbers)):
        made = _changed(resize, some) if some else None
        if made is not None:
            yield made
    yield resize


def _halved(numbers: dict[str, Any]) -> dict[str, Any]:
    """Some upstreams count the two frames that they make of an image."""
    frames = {it: numbers[it] // 2 for it in ("min_pixels", "max_pixels") if numbers.get(it)}
    return {**numbers, **frames} if frames else {}


def _unmerged(numbers: dict[str, Any]) -> dict[str, Any]:
    """Where no file says how patches are merged, they may not be."""
    return {**numbers, "merge": 1} if numbers.get("merge", 0) is None else {}


def _grids(files: Files, tile: int | None) -> tuple[tuple[int, int], ...] | None:
    pinpoints = files.image_settings.get("image_grid_pinpoints")
    if not tile or not isinstance(pinpoints, list):
        return None
    pairs = [pair for pair in pinpoints if isinstance(pair, list) and len(pair) == 2]
    if not all(isinstance(side, int) for pair in pairs for side in pair):
        return None
    return tuple((width // tile, height // tile) for height, width in pairs)


def _changed(resize: Any, numbers: dict[str, Any]) -> Any | None:
    """The record with these numbers; None where they do not go together."""
    known = {field.name for field in fields(resize)}
    own = {name: value for name, value in numbers.items() if name in known and value is not None}
    for name, value in numbers.items():
        outer, dot, inner = name.partition(".")
        if dot and value is not None and is_dataclass(getattr(resize, outer, None)):
            own[outer] = replace(getattr(resize, outer), **{inner: value})
    try:
        return replace(resize, **own)
    except (TypeError, ValueError):
        return None


def _same_pixels(files: Files, card: Card, resize: Any, seen: Measured) -> bool | None:
    """As many tokens may be of another crop, border or filter: the tensors of noise tell them apart."""
    import PIL.Image

    from loader.fit import fit_image

    assert card.image is not None  # noqa: S101  # the caller looked
    resample = RESAMPLE.get(
        number({"image": files.image_settings}, ("image.resample",)) or 0, card.image.resample
    )
    other = replace(card, image=replace(card.image, resize=resize, resample=resample))
    for size in _PICTURES:
        noise = PIL.Image.merge("RGB", [PIL.Image.effect_noise(size, spread) for spread in (40, 70, 100)])
        try:
            plan = plan_image(other, *size, detail="full")
            if not plan.stays:
                return None
            one, two = seen.tensors(noise), seen.tensors(fit_image(noise, plan, resample))
        except (MLXCardsError, ArithmeticError, ValueError):
            return False
        if one.keys() != two.keys() or not all(_equal(one[name], two[name]) for name in one):
            return False
    return True


def _equal(one: Any, two: Any) -> bool:
    """Whether two arrays, or lists, or numbers, are the same."""
    if hasattr(one, "shape") and hasattr(two, "shape"):
        return bool(one.shape == two.shape and (one == two).all().item())
    return bool(one == two)


def _agreeing(card: Card, resize: Any, seen: Measured) -> int:
    assert card.image is not None  # noqa: S101  # the caller looked
    image: Image = replace(card.image, resize=resize)
    other = replace(card, image=image)
    count = 0
    for row in seen.rows:
        try:
            plan = plan_image(other, row.width, row.height, detail="full")
        except (MLXCardsError, ArithmeticError, ValueError):  # numbers of a stranger that no card would have
            continue
        count += plan.image_tokens == row.image_tokens
    return count
