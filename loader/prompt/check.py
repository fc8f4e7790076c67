"""What both ways of rendering refuse: roles, images and options that a family does not take."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from loader.errors import MessageError, UnsupportedFeatureError, takes_no_images

if TYPE_CHECKING:
    from registry.cards import Card
    from registry.vision import Image


def unknown_role(card: Card, role: str, known: Collection[str], i: int) -> MessageError:
    """The error for a role that message `i` may not have."""
    carried = card.prompt is not None and card.prompt.system in {"first_user", "last_user"}
    if carried and role == "system":
        return MessageError(
            f"Message {i} is a system message, and {card.id} takes one only at the start. "
            "Move it there, or make it part of a user message.",
            message=i,
        )
    roles = ["system (at the start)", *known] if carried else known
    return MessageError(
        f"Message {i} has the role {role!r}, which {card.id} does not know. "
        f"Its roles are: {', '.join(roles)}.",
        message=i,
    )


def check_image(card: Card, role: str, roles: Collection[str], number: int, at: tuple[int, int]) -> Image:
    """How the family takes images; `number` counts the images so far, this one included.

    Raises MessageError where the part `at` (message, part) may not be an image, UnsupportedFeatureError
    where the family takes none.
    """
    (i, j), image = at, card.image
    if image is None:
        raise takes_no_images(card.name)
    if role not in roles:
        raise MessageError(
            f"Part {j} of message {i} is an image in a message of the role {role!r}, where {card.id} takes "
            "none. Move it to a user message.",
            message=i,
            part=j,
        )
    if image.max_images is not None and number > image.max_images:
        raise MessageError(
            f"Part {j} of message {i} is image {number}, and {card.name} takes at most "
            f"{image.max_images}. Leave some out.",
            message=i,
            part=j,
        )
    return image


def check_option(card: Card, name: str, value: object, known: Collection[str]) -> None:
    """Raises UnsupportedFeatureError for a switch that the family's prompt does not have, or no boolean."""
    if name not in known:
        have = ", ".join(known) or "none"
        raise UnsupportedFeatureError(f"{card.id} has no prompt option {name!r}. Its options are: {have}.")
    if not isinstance(value, bool):
        raise UnsupportedFeatureError(f"{name}={value!r} is neither true nor false. Use one of them.")
