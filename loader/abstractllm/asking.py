"""From a call of AbstractLLM to one that is checked and prepared, so that only the model has to write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from abstractllm.enums import ModelParameter
from abstractllm.exceptions import ContextWindowExceededError

from loader.abstractllm import media, settings
from loader.abstractllm.failures import PROVIDER, translated
from loader.abstractllm.tools import definitions
from loader.abstractllm.turns import Conversation, alternating, converse, system_of
from loader.model import VisionModel

if TYPE_CHECKING:
    from loader.abstractllm.history import History
    from loader.answering import Prepared
    from loader.stream import Stream
    from loader.text_model import TextModel
    from registry.cards import Card

AddTools = Callable[[Sequence[Any], str | None], str | None]
"""Tools and a system prompt to a system prompt that describes the tools."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a caller passes to `generate`."""

    prompt: str | None
    system: str | None
    files: Sequence[Any] | None
    tools: Sequence[Any] | None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    """A call, ready: its stream only has to be read."""

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
        asked = call.prompt or ""
        prompt, found = media.references(asked)
        files = [*(call.files or ()), *settings.images(self.config, options), *found]
        read = media.read(files)
        with translated("vision" if read.images else "generation", self.name):
            conversation = converse(
                self.history,
                messages,
                asked=asked,
                prompt=prompt,
                system=self._system(call, messages),
                files=files,
                media=read,
                own_tools=self.own_tools is not None,
            )
            if call.tools and self.own_tools is not None:
                options["tools"] = definitions(call.tools)
            return self._prepared(conversation, read.detail, options, tools=bool(call.tools))

    @property
    def own_tools(self) -> Card | None:
        """The card, where it says how the model's family defines, calls and answers tools."""
        model = self.model
        return model.card if isinstance(model, VisionModel) and model.can_write_tools else None

    def _system(self, call: Call, messages: Any) -> str | None:
        """The system text that the call sets; None leaves that of the messages."""
        own = system_of(messages)
        system = call.system or (self.config.get_param(ModelParameter.SYSTEM_PROMPT) if own is None else None)
        in_words = call.tools if self.own_tools is None else None
        return self.add_tools(in_words, system or own) if in_words else system

    def _prepared(
        self, conversation: Conversation, detail: str | None, options: dict[str, Any], *, tools: bool
    ) -> Asked:
        model, config = self.model, self.config
        most = settings.max_tokens(config, options)
        sampling = settings.sampling(config, options, most or settings.MAX_TOKENS)
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
        prepared = model.prepare(messages, **options)
        self._check_length(prepared)
        if most is None and (left := self._left(prepared)) is not None:
            sampling = settings.shortened(sampling, left)
        stream = model.answer(prepared, sampling)
        return Asked(stream, prepared.prompt.text, conversation, tools, self.own_tools)

    def _check_length(self, prepared: Prepared) -> None:
        limit, length = self.config.get_param(ModelParameter.MAX_INPUT_TOKENS), prepared.inputs.prompt_tokens
        if limit is not None and length > limit:
            raise ContextWindowExceededError(
                limit,
                length,
                f"The prompt takes {length:,} positions, and max_input_tokens allows {limit:,}. "
                "Shorten it, or use fewer or smaller images (max_image_tokens=).",
                PROVIDER,
            )

    def _left(self, prepared: Prepared) -> int | None:
        """Positions that the context leaves to the answer; None where the context is not known."""
        context = context_of(self.model)
        return None if context is None else max(1, context - prepared.inputs.prompt_tokens)


def context_of(model: VisionModel | TextModel) -> int | None:
    """Positions that a model was made for, None where that is not known."""
    if isinstance(model, VisionModel):
        return model.card.model.context if model.card.model else None
    return model.context
