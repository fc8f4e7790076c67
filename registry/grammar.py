"""What a card may say about its prompt: a grammar of plain data.

A prompt is  bos  turn*  generation.   A turn is  open  part (join part)*  close.
A part is text or an image.
`loader.prompt` interprets these fields; nothing here runs.
"""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from registry.data import record

Role = Literal["system", "user", "assistant"]
Neighbours = Literal[
    "start text",
    "start image",
    "text text",
    "text image",
    "image text",
    "image image",
    "text end",
    "image end",
]


@record
class Turn:
    """How one role's turn is written."""

    open: str = ""
    """Text before the content of the turn, control tokens included."""
    close: str = ""
    """Text after the content of the turn. Left out when the final message is to be continued."""
    trim: bool = False
    """Strip white space from both ends of every text part."""


@record
class Reasoning:
    """Where a model's reasoning goes in an assistant turn."""

    open: str
    """Text before the reasoning, for example "<think>\\n"."""
    close: str
    """Text after the reasoning and before the answer, for example "\\n</think>\\n\\n"."""
    history: Literal["keep", "drop"] = "keep"
    """drop: reasoning before the last user turn is left out, as the model was trained to expect."""


@record
class PromptChange:
    """What an option changes in the grammar. Fields that are absent stay as they are."""

    generation: str | None = None
    """Replaces `generation`."""
    image_label: str | None = None
    """Text before every image; {n} is the image's number in the conversation, from 1."""


@record
class Option:
    """A switch of upstream's chat template, under upstream's name."""

    default: bool = False
    """What holds when the caller does not say."""
    when_true: PromptChange = PromptChange()
    """Changes when the option is on."""
    when_false: PromptChange = PromptChange()
    """Changes when the option is off."""


@record
class Prompt:
    """The chat template of a family, as data."""

    bos: str = ""
    """Text at the very start. Absent where the tokenizer adds its own start token."""
    roles: dict[Role, Turn]
    """The roles that may speak. This list is closed: any other role is refused."""
    generation: str
    """Text that asks the model to answer, after the last turn."""
    system: Literal["turn", "first_user", "refuse"] = "turn"
    """Where system text goes: a turn of its own, the head of the first user turn, or nowhere."""
    system_separator: str = ""
    """Between system text and the user's own, with `system: first_user`."""
    default_system: str | None = None
    """System text when the conversation does not begin with any."""
    later_system: Literal["turn", "refuse"] = "refuse"
    """A system message that is not the first: a turn where it stands, or an error."""
    alternate: bool = False
    """Refuse conversations that do not go user, assistant, user, ..."""
    images: Literal["inline", "first"] = "inline"
    """inline: images stay among the text; first: they move before the text of their turn."""
    image_roles: tuple[Role, ...] = ("user", "assistant")
    """Roles whose turns may hold an image."""
    join: dict[Neighbours, str] = field(default_factory=dict)
    """Text between neighbouring parts of a turn, by what stands left and right of it."""
    reasoning: Reasoning | None = None
    """Present for models that think aloud in the prompt's own format."""
    options: dict[str, Option] = field(default_factory=dict)
    """Switches that `render` takes. All others are refused."""

    def __post_init__(self) -> None:
        if "user" not in self.roles:
            raise ValueError("roles: a prompt needs a user turn")
        if self.system == "turn" and "system" not in self.roles:
            raise ValueError("roles: `system: turn` needs a system turn")
        if self.system != "turn" and self.later_system == "turn":
            raise ValueError("later_system: a later system turn needs `system: turn`")
