"""The check before a question is answered: refuse it, warn, or make its images smaller.

Refused is only what MLX itself would not allocate (loader.memory): a request that merely pages is
answered, with a warning. What is checked before there is a model: loader.weighing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from loader.errors import UnsupportedFeatureError
from loader.memory.totals import compute
from loader.resize import plan_images
from loader.weighing import Weights, advised, machine, refused, request_for

if TYPE_CHECKING:
    from loader.device import Device
    from loader.memory.result import Estimate
    from loader.resize import Detail, ImagePlan, Size
    from registry.cards import Card

OnExceed = Literal["shrink", "refuse"]
LEAST_TOKENS = 256
"""Image tokens below which no image is made smaller where the card has no budget: the least that the makers
of the Qwen models propose. A choice of this project."""
SMALLER = "; made smaller, as the memory has room for no more"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a loaded model, as far as memory goes."""

    sizes: Sequence[Size]
    plans: list[ImagePlan]
    detail: Detail
    max_image_tokens: int | None
    max_image_pixels: int | None
    room: int | None
    """Positions that are left to images."""
    text: int
    """Positions besides images."""
    answer: int


@dataclass(frozen=True, slots=True)
class Guard:
    """What a loaded model may take."""

    card: Card
    weights: Weights
    device: Device
    """As it was before the model was loaded: what the model holds is not counted twice."""
    check: bool = True

    def of_call(self, memory_limit: int | str | None, check_memory: bool | None) -> Guard:
        """The same with what one call overrides."""
        device = self.device if memory_limit is None else machine(memory_limit)
        # Who gives a call a limit wants it kept, also of a model that was loaded without a check.
        check = check_memory if check_memory is not None else self.check or memory_limit is not None
        return replace(self, device=device, check=check)

    def admit(self, asked: Question, on_exceed: OnExceed) -> tuple[list[ImagePlan], tuple[str, ...]]:
        """The plans that the memory allows, and warnings.

        Images are made smaller down to the card's small budget, unless `on_exceed` is "refuse" or every
        detail was asked for. Raises MemoryBudgetError where that is not enough.
        """
        if on_exceed not in ("shrink", "refuse"):
            raise UnsupportedFeatureError(f"on_exceed={on_exceed!r} is not known. Use shrink or refuse.")
        plans = asked.plans
        if not self.check:
            return plans, ()
        made = self._estimate(asked, plans)
        if made.verdict == "refuses" and on_exceed == "shrink" and plans and asked.detail != "full":
            smaller = self._smaller(asked)
            if smaller is not None:
                plans, made = smaller
        if made.verdict == "refuses":
            raise refused("This cannot be answered", made)
        warnings = (f"This may page: {advised(made)}",) if made.verdict == "pages" else ()
        return plans, warnings

    def _smaller(self, asked: Question) -> tuple[list[ImagePlan], Estimate] | None:
        """The largest images that fit, or the smallest there are; None where they cannot be made smaller."""
        low = least_tokens(self.card)
        high = max(plan.image_tokens for plan in asked.plans) - 1
        if high < low:
            return None
        best = self._within(asked, low)
        if best[1].verdict in ("pages", "refuses"):
            return best
        while low < high:
            middle = (low + high + 1) // 2
            found = self._within(asked, middle)
            if found[1].verdict in ("pages", "refuses"):
                high = middle - 1
            else:
                low, best = middle, found
        return best

    def _within(self, asked: Question, tokens: int) -> tuple[list[ImagePlan], Estimate]:
        """The images with at most so many tokens each, as far as the family can."""
        made = plan_images(self.card, asked.sizes, asked.detail, tokens, asked.max_image_pixels, asked.room)
        plans = [
            plan if plan.image_tokens == was.image_tokens else replace(plan, note=f"{plan.note}{SMALLER}")
            for plan, was in zip(made, asked.plans, strict=True)
        ]
        return plans, self._estimate(asked, plans)

    def _estimate(self, asked: Question, plans: Sequence[ImagePlan]) -> Estimate:
        request = request_for(self.card, self.weights, plans, text=asked.text, answer=asked.answer)
        longest = self.card.model.context if self.card.model is not None else None
        if longest is not None:  # who sets a high limit to the answer means that there is none
            left = max(1, longest - request.prompt_tokens(tuple(plans)))
            request = replace(request, max_tokens=min(asked.answer, left))
        limited = replace(
            request,
            detail=asked.detail,
            max_image_tokens=asked.max_image_tokens,
            max_image_pixels=asked.max_image_pixels,
        )
        return compute(limited, self.device)


def least_tokens(card: Card) -> int:
    """Image tokens of one image below which the guard does not go."""
    budget = card.image.budget if card.image is not None else None
    return LEAST_TOKENS if budget is None else budget.low or budget.tokens
