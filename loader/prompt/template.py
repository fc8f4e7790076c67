"""The hatch: prompts that are programs, written as Jinja files in registry/templates/.

A template gets tokens that stand for the caller's words and images, not the words themselves: it can
place them, but neither read nor forge them, and what it makes can be tagged as exactly as what a
grammar makes. It sees

    messages            a list of {role, string, parts}; `string`: the content was one string
    part                {type: "text", text: TOKEN} or {type: "image", image: TOKEN, number: N}
    image_count         how many image parts there are in all
    image               TOKEN of an image that no part names: the next of the call's images
    add_generation_prompt, continue_final_message, and the card's options
    raise_exception     to refuse a conversation
"""

from __future__ import annotations

import datetime
import functools
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loader.errors import CardError, MessageError
from loader.messages import Message, Part, Picture
from loader.prompt.check import check_image, check_option, unknown_role
from loader.prompt.opaque import Opaque
from loader.prompt.sandbox import SANDBOX, TemplateError
from loader.prompt.segments import Prompt, Segment

if TYPE_CHECKING:
    from registry.cards import Card
    from registry.grammar import Template

TEMPLATES = Path(__file__).parents[2] / "registry" / "templates"


def render_template(
    card: Card,
    messages: list[Message],
    generate: bool,
    leave_open: bool,
    options: dict[str, bool],
    *,
    now: datetime.datetime | None = None,
) -> Prompt:
    """The prompt, by the card's template; `now` is what it takes for the present.

    Raises what `render` raises, and CardError where the template itself is at fault.
    """
    template = card.template
    assert template is not None  # noqa: S101  # the caller looked
    for name, value in options.items():
        check_option(card, name, value, template.options)
    tokens = _Tokens()
    context = {
        **template.options,
        **options,
        "messages": [tokens.message(card, template, message, i) for i, message in enumerate(messages)],
        "image_count": tokens.images,
        "image": tokens.spare,
        "add_generation_prompt": generate and not leave_open,
        "continue_final_message": leave_open,
    }
    try:
        (text,) = SANDBOX.render(_source(template.file, template.sha256), [context], now)
    except TemplateError as error:
        text = error
    if isinstance(text, TemplateError):
        raise _error(card, template, text)
    return tokens.tagged(card, template, text)


class _Tokens:
    """What stands for the caller's words and images while the template runs; new for each rendering."""

    def __init__(self) -> None:
        self.opaque: Opaque[tuple[int, Part]] = Opaque()
        """Each token means a part and the number of its message."""
        self.images = 0
        self.spare = self.opaque.token((-1, Picture()))

    def message(self, card: Card, template: Template, message: Message, i: int) -> dict[str, Any]:
        """One message as the template sees it."""
        if message.role not in template.roles:
            raise unknown_role(card, message.role, template.roles, i)
        parts: list[dict[str, Any]] = []
        for j, part in enumerate(message.parts):
            token = self.opaque.token((i, part))
            if isinstance(part, str):
                parts.append({"type": "text", "text": token})
            else:
                self.images += 1
                check_image(card, message.role, template.image_roles, self.images, (i, j))
                parts.append({"type": "image", "image": token, "number": self.images})
        return {"role": message.role, "string": message.is_string, "parts": parts}

    def tagged(self, card: Card, template: Template, rendered: str) -> Prompt:
        """What the template made, in segments."""
        segments: list[Segment] = []
        images: list[Any] = []
        said: set[int] = set()
        shown: set[str] = set()
        for piece, meaning in self.opaque.split(rendered):
            if meaning is None:
                if self.opaque.is_damaged(piece):
                    raise CardError(
                        "changes the words that it is given, instead of placing them. Mend the template.",
                        path=str(TEMPLATES / template.file),
                    )
                segments.append(Segment("literal", piece))
                continue
            i, part = meaning
            if isinstance(part, str):
                said.add(i)
                segments += [Segment("text", part)] * bool(part)
            elif card.image is not None:
                shown.add(piece)
                images.append(part.source)
                segments.append(Segment("image", card.image.placeholder.replace("{n}", str(len(images)))))
        self._check_images(template, shown)
        spoken = {i for i, part in self.opaque.meanings.values() if isinstance(part, str) and part}
        warnings = [
            f"The words of message {i} have no place in the prompt of {card.id}."
            for i in sorted(spoken - said)
        ]
        return Prompt(tuple(segments), tuple(images), tuple(warnings))

    def _check_images(self, template: Template, shown: set[str]) -> None:
        """Raises CardError where an image has no place: the model would answer without it."""
        for token, (i, part) in self.opaque.meanings.items():
            if isinstance(part, Picture) and token != self.spare and token not in shown:
                raise CardError(
                    f"has no place for an image of message {i}. Mend the template, or `image_roles`.",
                    path=str(TEMPLATES / template.file),
                )


@functools.cache
def _source(file: str, sha256: str) -> str:
    """The template's file.

    Raises CardError where it is not the one that the card was reviewed with.
    """
    path = TEMPLATES / file
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise CardError(
            f"cannot be read: {error.strerror}. Check `template.file`.", path=str(path)
        ) from error
    if hashlib.sha256(raw).hexdigest() != sha256:
        raise CardError(
            "is not the file that the card names by its hash. Review the change, then set `template.sha256`.",
            path=str(path),
        )
    return raw.decode("utf-8")


def _error(card: Card, template: Template, error: TemplateError) -> MessageError | CardError:
    if error.kind == "refused":
        return MessageError(f"{card.id} cannot say this conversation: {error}. Change the messages.")
    what = "was stopped" if error.kind == "stopped" else "failed"
    return CardError(f"{what}: {error}. Mend the template.", path=str(TEMPLATES / template.file))
