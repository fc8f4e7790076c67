"""From a call of AbstractLLM to one that is checked and prepared, so that only the model has to write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from abstractllm.enums import ModelParameter
from abstractllm.exceptions import ContextWindowExceededError
from abstractllm.tools import ToolDefinition

from loader.abstractllm import media, settings
from loader.abstractllm.failures import PROVIDER, translated
from loader.abstractllm.tools import chosen, definitions, in_words
from loader.abstractllm.turns import Conversation, alternating, converse, system_of
from loader.errors import MessageError
from loader.model import VisionModel
from loader.text_model import TextModel, stated_context

if TYPE_CHECKING:
    from loader.abstractllm.history import History
    from loader.answering import Prepared
    from loader.stream import Stream
    from registry.cards import Card

AddTools = Callable[[list[ToolDefinition], str | None], str | None]
"""Tools and a system prompt to a system prompt that describes the tools."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a caller passes to `generate`."""

    prompt: str | None
    system: str | None
    files: Sequence[Any]
    tools: Any
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    """A call, ready: its stream only has to be read."""

    desk: Desk
    stream: Stream
    prompt: str
    """As the model is given it, placeholders not expanded."""
    conversation: Conversation
    tools: bool
    own_tools: Card | None
    """The card whose form of tools is used; None: they are described in words."""


@dataclass(frozen=True, slots=True)
class Desk:
    """A loaded model with what its provider knows besides."""

    name: str
    model: VisionModel | TextModel
    history: History
    config: settings.Settings
    add_tools: AddTools

    def ask(self, call: Call) -> Asked:
        """Check and prepare a call. Raises AbstractLLM's errors."""
        options = settings.plain(call.options)
        options.pop("model", None)  # a session says it once more
        messages = options.pop("messages", None)
        tools = call.tools if call.tools is not None else self.config.get_param(ModelParameter.TOOLS)
        tools = chosen(tools, settings.of_call(self.config, options, "tool_choice"))
        asked = call.prompt or ""
        prompt, found = media.references(asked)
        files = [*call.files, *settings.images(self.config, options), *found]
        private = options.get("allow_private_urls", self.config.get_param("allow_private_urls"))
        read = media.read(files, allow_private_urls=bool(private))
        with translated("vision" if read.images else "generation", self.name):
            conversation = converse(
                self.history,
                messages,
                asked=asked,
                prompt=prompt,
                system=self._system(call.system, tools, messages),
                files=files,
                media=read,
                own_tools=self.own_tools is not None,
            )
            if tools and self.own_tools is not None:
                options["tools"] = definitions(tools)
            return self._prepared(conversation, read.detail, options, tools=bool(tools))

    @property
    def own_tools(self) -> Card | None:
        """The card, where it says how the model's family defines, calls and answers tools."""
        model = self.model
        return model.card if isinstance(model, VisionModel) and model.can_write_tools else None

    def _system(self, asked: str | None, tools: Any, messages: Any) -> str | None:
        """The system text that the call sets; None leaves that of the messages."""
        own = system_of(messages)
        system = asked or (self.config.get_param(ModelParameter.SYSTEM_PROMPT) if own is None else None)
        if not tools or self.own_tools is not None:
            return system
        return self.add_tools(in_words(tools), system or own)

    def _prepared(
        self, conversation: Conversation, detail: str | None, options: dict[str, Any], *, tools: bool
    ) -> Asked:
        model, config = self.model, self.config
        most = settings.max_tokens(config, options)
        longest = settings.of_call(config, options, "max_input_tokens")
        sampling = settings.sampling(config, options, settings.MAX_TOKENS if most is None else most)
        for name in settings.ASKING:
            if (value := config.get_param(name)) is not None:
                options.setdefault(name, value)
        detail = settings.detail(config, options, detail)
        messages = conversation.messages
        if isinstance(model, VisionModel):
            if model.card.prompt is not None and model.card.prompt.alternate:
                messages = alternating(messages)
            options |= {"detail": detail, "max_tokens": sampling.max_tokens}
        else:
            for name in settings.OF_CARDS:
                options.pop(name, None)
        prepared = prepare(model, messages, options)
        _check_length(prepared, longest)
        if most is None and (left := self._left(prepared)) is not None:
            sampling = settings.shortened(sampling, left)
        stream = model.answer(prepared, sampling)
        return Asked(self, stream, prepared.prompt.text, conversation, tools, self.own_tools)

    def _left(self, prepared: Prepared) -> int | None:
        """Positions that the context leaves to the answer; None where the context is not known."""
        context = context_of(self.model)
        return None if context is None else max(1, context - prepared.inputs.prompt_tokens)


def prepare(
    model: VisionModel | TextModel, messages: list[dict[str, Any]], options: dict[str, Any]
) -> Prepared:
    """As `model.prepare`. A user's messages in a row are one where a text model's template refuses them."""
    try:
        return model.prepare(messages, **options)
    except MessageError:
        merged = alternating(messages)
        if isinstance(model, VisionModel) or merged == messages:
            raise
        return model.prepare(merged, **options)


def _check_length(prepared: Prepared, longest: int | None) -> None:
    length = prepared.inputs.prompt_tokens
    if longest is not None and length > longest:
        raise ContextWindowExceededError(
            longest,
            length,
            f"The prompt takes {length:,} positions, and max_input_tokens allows {longest:,}. "
            "Shorten it, or use fewer or smaller images (max_image_tokens=).",
            PROVIDER,
        )


def context_of(model: VisionModel | TextModel) -> int | None:
    """Positions that a model was made for, None where that is not known."""
    if isinstance(model, VisionModel):
        if model.card.model is not None and model.card.model.context is not None:
            return model.card.model.context
        return stated_context(model.checkpoint.config)
    return model.context
