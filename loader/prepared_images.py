"""Images for programs that render prompts and encode images themselves: pictures and plain data, no MLX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loader.errors import takes_no_images
from loader.fit import fit_opened
from loader.image import Opened
from loader.memory import Estimate, estimate
from loader.resize import Detail, ImagePlan, plan_images

if TYPE_CHECKING:
    import PIL.Image

    from loader.device import Device
    from loader.resize.plan import Setting
    from registry.cards import Card

__all__ = ["PreparedImages", "prepare_images"]


@dataclass(frozen=True, slots=True)
class PreparedImages:
    """What a model is to be given, and what must come out of its processor."""

    name: str
    """The model, or the family."""
    placeholder: str
    """What the prompt holds for each image; {n} in it is the image's number, from 1."""
    image_token: str
    """The token that the processor repeats, and that image features replace."""
    pictures: tuple[PIL.Image.Image, ...]
    """Upright RGB, at the sizes that make the processor arrive at the plans."""
    plans: tuple[ImagePlan, ...]
    """Sizes and tokens of each."""
    setting: Setting | None
    """A limit of the processor that has to be lowered for these images, by its name; None as a rule."""
    estimate: Estimate
    """The memory of a question about them."""

    @property
    def image_tokens(self) -> int:
        """Positions of the prompt that hold image features. Another number means that the model sees
        something else."""
        return sum(plan.image_tokens for plan in self.plans)

    def to_dict(self) -> dict[str, Any]:
        """All but the pictures, as plain data for JSON."""
        return {
            "name": self.name,
            "placeholder": self.placeholder,
            "image_token": self.image_token,
            "image_tokens": self.image_tokens,
            "images": [plan.to_dict() for plan in self.plans],
            "setting": None if self.setting is None else dict([self.setting]),
            "estimate": self.estimate.to_dict(),
        }


def prepare_images(
    card: Card | str,
    sources: Sequence[Any],
    *,
    detail: Detail = "auto",
    max_image_tokens: int | None = None,
    max_image_pixels: int | None = None,
    max_tokens: int = 512,
    text_tokens: int = 256,
    exact: bool = False,
    allow_private_urls: bool = False,
    device: Device | str | None = None,
) -> PreparedImages:
    """Open `sources` (as in `open_image`), plan them together, and make the pictures.

    `card` is a card or a name. `max_tokens` and `text_tokens` are the lengths of the answer and of the
    words, for the estimate on `device` (None: this machine); the other options are those of
    `VisionModel.stream`. Raises ImageError, UnknownModelError, UnsupportedFeatureError.
    """
    if isinstance(card, str):
        import registry

        card = registry.card(card)
    image = card.image
    if image is None:
        raise takes_no_images(card.name)
    opened = [
        Opened(source, background=image.background, allow_private_urls=allow_private_urls)
        for source in sources
    ]
    plans = plan_images(card, [it.size for it in opened], detail, max_image_tokens, max_image_pixels)
    made = estimate(card, max_tokens=max_tokens, device=device, text_tokens=text_tokens, plans=plans)
    pictures = [fit_opened(opened.pop(0), plan, card, exact=exact) for plan in plans]
    setting = plans[0].setting if plans else None  # one for all images of a call
    return PreparedImages(
        card.name, image.placeholder, image.token, tuple(pictures), tuple(plans), setting, made
    )
