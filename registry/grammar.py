"""What a card may say about its prompt: a grammar of plain data.

A prompt is  bos  turn*  generation.   A turn is  open  part (join part)*  close.
A part is text or an image.
`loader.prompt` interprets these fields; nothing here runs. docs/cards.md has an example of each.
"""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from registry.data import Rule, record
from registry.tools import Tools

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

TEMPLATE = r"^[\w-][\w.-]*\.jinja$"
"""A name, not a path: cards are data from strangers, too, and may name no file elsewhere."""


@record
class Turn:
    """How one role's turn is written."""

    open: str = ""
    """Text before the content of the turn, control tokens included."""
    close: str = ""
    """Text after the content of the turn. Left out when the final message is to be continued."""
    close_last: str | None = None
    """Text after the content when nothing follows the turn, where it differs from `close`."""
    trim: Literal["parts", "ends", "turn"] | None = None
    """White space that is stripped: of every text part, of the first and last part where they are text,
    or of the whole turn with its joins."""
    join: dict[Neighbours, str] | None = None
    """Replaces the prompt's `join` in turns of this role."""


@record
class Reasoning:
    """Where a model's reasoning goes in an assistant turn."""

    open: str
    """Text before the reasoning, for example "<think>\\n"."""
    close: str
    """Text after the reasoning and before the answer, for example "\\n</think>\\n\\n"."""
    history: Literal["keep", "drop"] = "keep"
    """drop: reasoning before the last user turn is left out, as the model was trained to expect."""
    empty: Literal["never", "last", "after_question", "always"] = "never"
    """Which assistant turns without reasoning have the frame all the same: the last one of those after the
    last user turn, all of those, or every one."""
    tagged: bool = True
    """Whether reasoning is also read out of a message's text, between `open` and `close`."""
    none: str | None = None
    """What stands for reasoning that is absent, where it is not `open` and `close`."""


@record
class PromptChange:
    """What an option changes in the grammar. Fields that are absent stay as they are."""

    generation: str | None = None
    """Replaces `generation`."""
    image_label: str | None = None
    """Text before every image; {n} is the image's number in the conversation, from 1."""
    roles: dict[Role, Turn] = field(default_factory=dict)
    """Replaces the turns of these roles."""
    without_default_system: bool = False
    """The default system text does not hold."""


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
    generation: str = ""
    """Text that asks the model to answer, after the last turn. Absent where the user turn's close does."""
    generation_after_assistant: bool = True
    """Whether `generation` also follows a conversation that ends with an answer."""
    system: Literal["turn", "first_user", "last_user", "refuse"] = "turn"
    """Where system text goes: a turn of its own, the head of the first or last user turn, or nowhere."""
    system_separator: str = ""
    """Between system text and the user's own, with `system: first_user` and `last_user`."""
    empty_system: Literal["keep", "skip", "default"] = "keep"
    """A system message without text: written all the same, left out, or replaced by the default."""
    default_system: str | None = None
    """System text when the caller gives none."""
    default_system_if: Literal["not_first", "absent", "no_images"] = "not_first"
    """When the default holds: the conversation does not begin with system text; it has none anywhere; it
    does not begin with any and holds no image."""
    later_system: Literal["turn", "refuse"] = "refuse"
    """A system message that is not the first: a turn where it stands, or an error."""
    later_system_turn: Turn | None = None
    """How that turn is written, where it differs from the first one."""
    alternate: bool = False
    """Refuse conversations that do not go user, assistant, user, ..."""
    images: Literal["inline", "first", "first_of_two"] = "inline"
    """inline: images stay among the text; first: they move before the text of their turn; first_of_two:
    they do so in turns of two parts."""
    image_roles: tuple[Role, ...] = ("user", "assistant")
    """Roles whose turns may hold an image."""
    join: dict[Neighbours, str] = field(default_factory=dict)
    """Text between neighbouring parts of a turn, by what stands left and right of it."""
    reasoning: Reasoning | None = None
    """Present for models that think aloud in the prompt's own format."""
    tools: Tools | None = None
    """Whether the family has tool calls of its own, and how they are written. Absent: not established."""
    options: dict[str, Option] = field(default_factory=dict)
    """Switches that `render` takes. All others are refused."""

    def __post_init__(self) -> None:
        if "user" not in self.roles:
            raise ValueError("roles: a prompt needs a user turn")
        if self.system == "turn" and "system" not in self.roles:
            raise ValueError("roles: `system: turn` needs a system turn")
        if self.system != "turn" and self.later_system == "turn":
            raise ValueError("later_system: a later system turn needs `system: turn`")
        if self.later_system_turn is not None and self.later_system != "turn":
            raise ValueError("later_system_turn: needs `later_system: turn`")
        written = self.tools is not None and self.tools.can_be_written
        if written and (self.system != "turn" or self.alternate):
            raise ValueError("tools: definitions need `system: turn`, and results do not `alternate`")


@record
class Template:
    """A prompt that is a program: a Jinja file, written for this project, run in a sandbox.

    The file gets no words of the caller, only tokens that stand for them (loader.template), so that
    it can place text but neither read nor forge it.
    """

    file: Annotated[str, Rule(pattern=TEMPLATE)]
    """Name of the file in registry/templates/."""
    sha256: str
    """Hash of the file, in hexadecimal: what was reviewed is what runs."""
    roles: tuple[Role, ...]
    """The roles that may speak. This list is closed: any other role is refused."""
    image_roles: tuple[Role, ...] = ("user",)
    """Roles whose turns may hold an image."""
    options: dict[str, bool] = field(default_factory=dict)
    """Switches that `render` takes, with their defaults. All others are refused."""
