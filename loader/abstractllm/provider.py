"""The provider: AbstractLLM's interface outside, a card and a loaded model inside."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from abstractllm.enums import ModelCapability, ModelParameter
from abstractllm.exceptions import ModelLoadingError, UnsupportedFeatureError
from abstractllm.providers.base import BaseProvider
from abstractllm.tools import ToolDefinition, UniversalToolHandler

from loader.abstractllm import settings
from loader.abstractllm.asking import Asked, Call, Desk, context_of
from loader.abstractllm.failures import PROVIDER, translated
from loader.abstractllm.history import History
from loader.abstractllm.media import listed
from loader.abstractllm.models import open_model
from loader.abstractllm.reply import chunk, reply
from loader.abstractllm.tools import calls
from loader.calls import read_answer
from loader.errors import UnsupportedFeatureError as UnsupportedHere
from loader.model import VisionModel
from loader.stream import AsyncStream

if TYPE_CHECKING:
    from abstractllm.types import GenerateResponse

    from loader.response import Response
    from loader.stream import Stream
    from loader.text_model import TextModel

Files = Any
Tools = Sequence[Mapping[str, Any] | Callable[..., Any]]


class MLXProvider(BaseProvider):  # type: ignore[misc]
    """AbstractLLM's provider for MLX. A model with a card sees images, any other is one of text.

    The model is loaded at once. `unload` gives its memory back; the next call loads it again.
    """

    def __init__(self, config: Mapping[str | ModelParameter, Any] | None = None) -> None:
        """`config`: docs/abstractllm.md lists what it may hold. Raises ModelLoadingError and MemoryError."""
        super().__init__()
        self.provider_name = PROVIDER
        self.config_manager = settings.Settings(dict(config or {}))
        self._desk: Desk | None = None
        self._loaded_as: tuple[Any, ...] = ()
        self._loading = threading.Lock()
        self._history = History()
        self.load_model()

    def load_model(self) -> None:
        """Load the configured model, unless it is loaded already; another one is given up first.

        Raises ModelLoadingError, and MemoryError where its weights are too large.
        """
        self._ready()

    def unload(self) -> None:
        """Give the model's memory back, after the answer that is being written."""
        with self._loading:
            self._close()

    def generate(
        self,
        prompt: str | None = None,
        system_prompt: str | None = None,
        files: Files | None = None,
        stream: bool = False,
        tools: Tools | None = None,
        **kwargs: Any,
    ) -> GenerateResponse | Generator[GenerateResponse, None, None]:
        """Answer `prompt`; with `stream`, write the answer piece by piece, and close with its usage.

        `files`: images (path, URL, bytes, file, PIL image, array), texts and tables; also as @file in the
        prompt. `messages` is a conversation that the prompt belongs to. Further options are those of the
        configuration, and the switches of the model's chat template.

        Raises AbstractLLM's ImageProcessingError, FileProcessingError, UnsupportedFeatureError,
        InvalidRequestError, ContextWindowExceededError and GenerationError, and MemoryError.
        """
        call = Call(prompt, system_prompt, listed(files), tools, kwargs)
        pieces = self._pieces(self._ask(call), call, stream=stream)
        return pieces if stream else next(pieces)

    _generate_impl = generate

    async def generate_async(
        self,
        prompt: str | None = None,
        system_prompt: str | None = None,
        files: Files | None = None,
        stream: bool = False,
        tools: Tools | None = None,
        **kwargs: Any,
    ) -> GenerateResponse | AsyncGenerator[GenerateResponse, None]:
        """As `generate`, in a thread. A cancelled task stops the model, and so does a closed stream."""
        pieces = self._pieces_async(Call(prompt, system_prompt, listed(files), tools, kwargs), stream=stream)
        if stream:
            return pieces
        async with contextlib.aclosing(pieces):
            return await anext(pieces)

    def _pieces(self, asked: Asked, call: Call, *, stream: bool) -> Generator[GenerateResponse, None, None]:
        """The answer piece by piece and its end, or with `stream` off the whole of it."""
        with translated("generation", self._name):
            try:
                with asked.stream as pieces:
                    for text in pieces:
                        if stream:
                            yield chunk(text, self._name)
                    end = self._reply(asked, pieces.response, last=stream)
            except UnsupportedHere:
                if asked.desk is self._desk:
                    raise
                # Unloaded before its turn came.
                yield from self._pieces(self._ask(call), call, stream=stream)
            else:
                yield end

    async def _pieces_async(self, call: Call, *, stream: bool) -> AsyncGenerator[GenerateResponse, None]:
        """As `_pieces`."""
        begun: list[Asked] = []
        with translated("generation", self._name):
            try:
                async with AsyncStream(lambda: self._begin(call, begun)) as pieces:
                    async for text in pieces:
                        if stream:
                            yield chunk(text, self._name)
                    end = self._reply(begun[0], pieces.response, last=stream)
            except UnsupportedHere:
                if not begun or begun[0].desk is self._desk:
                    raise
                async for piece in self._pieces_async(call, stream=stream):
                    yield piece
            else:
                yield end

    def _begin(self, call: Call, begun: list[Asked]) -> Stream:
        begun.append(self._ask(call))
        return begun[0].stream

    def _ask(self, call: Call) -> Asked:
        desk = self._ready()
        try:
            asked = desk.ask(call)
        except UnsupportedFeatureError:
            if desk is self._desk:
                raise
            return self._ask(call)  # unloaded in the meantime
        self._capture_verbatim_context(asked.prompt)
        return asked

    def _reply(self, asked: Asked, response: Response, *, last: bool = False) -> GenerateResponse:
        """The whole answer, or the end of a stream, which adds no text; remembered for later turns."""
        talk, text = asked.conversation, response.text
        if asked.own_tools is not None and response.tool_calls:
            words, made = read_answer(asked.own_tools, text, ())[0], response.tool_calls
            self._history.remember_calls(talk.spoken, words, talk.turns, text=text, calls=made)
            return reply(response, "" if last else words, self._name, talk.messages, calls(words, made))
        self._history.remember(talk.spoken, text, talk.turns, tools=asked.tools)
        in_words = asked.tools and asked.own_tools is None
        found = self._extract_tool_calls(text) if in_words else None
        return reply(response, "" if last else text, self._name, talk.messages, found)

    def get_capabilities(self) -> dict[str | ModelCapability, Any]:
        """What the model can do, by its card; a model of text has none, and no vision.

        "tool_support" is AbstractLLM's word for how: native, prompted or none.
        """
        desk = self._ready()
        model, native = desk.model, desk.own_tools is not None
        vision = isinstance(model, VisionModel) and model.card.image is not None
        system = _takes_system(model)
        return {
            ModelCapability.STREAMING: True,
            ModelCapability.MAX_TOKENS: settings.max_tokens(self.config_manager, {}) or settings.MAX_TOKENS,
            ModelCapability.SYSTEM_PROMPT: system,
            ModelCapability.ASYNC: True,
            ModelCapability.MULTI_TURN: True,
            # In the family's own form, or described in system text; calls are read out of the answer.
            ModelCapability.FUNCTION_CALLING: native or system,
            ModelCapability.TOOL_USE: native or system,
            "tool_support": "native" if native else "prompted" if system else "none",
            ModelCapability.VISION: vision,
        }

    def get_model_limits(self) -> dict[str, int]:
        """Positions of the model's context, and of the longest answer."""
        context = context_of(self._ready().model)
        if context is None:
            limits: dict[str, int] = super().get_model_limits()
            return limits
        return {"input": context, "output": min(settings.MAX_TOKENS, context)}

    def apply_model_defaults(self) -> None:
        """Nothing: what is not configured follows the model at every call."""

    def _ready(self) -> Desk:
        """The configured model, loaded."""
        config, name = self.config_manager, self._name
        options = {key: value for key in settings.LOADING if (value := config.get_param(key)) is not None}
        wanted = name, {"quantization": settings.quantization(config), **options}
        with self._loading, translated("loading", name):
            if self._desk is None or wanted != self._loaded_as:
                self._close()
                model = open_model(*wanted)
                self._desk = Desk(name, model, self._history, config, self._with_tools)
                self._loaded_as = wanted
            return self._desk

    def _close(self) -> None:
        desk, self._desk = self._desk, None  # at once: a call that finds its model closed looks here
        if desk is not None:
            try:
                with translated("unloading", desk.name):
                    desk.model.close()
            except UnsupportedFeatureError:
                self._desk = desk
                raise
        self._tool_handler = None

    @property
    def _name(self) -> str:
        name = self.config_manager.get_param(ModelParameter.MODEL)
        if not name:
            raise ModelLoadingError(
                "No model is named. Pass model=, for example model='qwen2.5-vl-7b'.", PROVIDER
            )
        return str(name)

    def _with_tools(self, tools: list[ToolDefinition], system: str | None) -> str | None:
        if not _takes_system(self._ready().model):
            raise UnsupportedFeatureError(
                "tools",
                f"{self._name} has no place for system text, in which tools would be described. "
                "Choose another model, or describe them in the prompt.",
                PROVIDER,
            )
        enhanced: str | None = self._prepare_tool_context(tools, system)[0]
        return enhanced

    def _get_tool_handler(self) -> UniversalToolHandler:
        """AbstractLLM's prompted tools, in the format that it has for the model's name.

        It is not asked where the card says how the family itself writes tools.
        """
        if self._tool_handler is None:
            model = self._ready().model
            handler = UniversalToolHandler(model.card.name if isinstance(model, VisionModel) else self._name)
            handler.supports_native, handler.supports_prompted = False, True
            self._tool_handler = handler
        return self._tool_handler


def _takes_system(model: VisionModel | TextModel) -> bool:
    """Whether the card, or a text model's own template, has a place for system text."""
    if not isinstance(model, VisionModel):
        return model.takes_system
    card = model.card
    if card.prompt is not None:
        return card.prompt.system != "refuse"
    return card.template is not None and "system" in card.template.roles
