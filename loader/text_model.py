"""A model of text that is loaded: its prompt is what the checkpoint's own chat template writes.

There is no card for it: the registry is for models that see. mlx-lm runs it.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from loader.answering import Answering, Messages, Prepared
from loader.checkpoint.template import chat_template
from loader.errors import CheckpointError, MLXCardsError, UnsupportedFeatureError
from loader.messages import Picture, conversation, read
from loader.prompt.forgery import OnForgery, escape
from loader.prompt.upstream import render_checkpoint
from loader.sampling import Sampling
from loader.stream import Stream
from loader.text_backend import TextBackend

if TYPE_CHECKING:
    from loader.checkpoint import Checkpoint
    from loader.prompt import Prompt

_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "max_seq_len")
"""Where config.json has the positions that a model was made for."""


_PROBE = "Be brief."


class TextModel(Answering[TextBackend]):
    """A loaded model of text. One answer is written at a time; calls from other threads wait their turn."""

    def __init__(self, checkpoint: Checkpoint, *, trust_remote_code: bool = False) -> None:
        """Raises CheckpointError for a checkpoint that mlx-lm cannot load, or without a chat template."""
        template = chat_template(checkpoint.folder)
        if template is None:
            raise CheckpointError(
                f"{checkpoint.folder.name} ships no chat template, so how to ask it is not known. "
                "Take an instruct version of the model."
            )
        super().__init__(TextBackend(checkpoint.folder, trust_remote_code=trust_remote_code))
        self.checkpoint = checkpoint
        self._template = template

    def __repr__(self) -> str:
        return f"<TextModel {self.checkpoint.repository or self.checkpoint.folder}>"

    @property
    def context(self) -> int | None:
        """Positions that config.json states; None where it states none."""
        return stated_context(self.checkpoint.config)

    @functools.cached_property
    def takes_system(self) -> bool:
        """Whether the checkpoint's own template has a place for system text."""
        told = {"role": "system", "content": _PROBE}, {"role": "user", "content": "Hello"}
        try:
            return _PROBE in render_checkpoint(None, self._template, told).text
        except MLXCardsError:
            return False

    def stream(
        self,
        prompt: Messages,
        images: Any = (),
        *,
        max_tokens: int = 512,
        temperature: float = 0.0,
        top_p: float = 1.0,
        top_k: int = 0,
        repetition_penalty: float | None = None,
        seed: int | None = None,
        **options: Any,
    ) -> Stream:
        """The answer as it is written; `.response` is there at the end. `options` are those of `prepare`.

        Raises MessageError and UnsupportedFeatureError for what cannot be asked, images among it.
        """
        sampling = Sampling(max_tokens, temperature, top_p, top_k, repetition_penalty, seed)
        return self.answer(self.prepare(prompt, images, **options), sampling)

    def prepare(
        self,
        prompt: Messages,
        images: Any = (),
        *,
        system: str | None = None,
        continue_final_message: bool = False,
        on_forgery: OnForgery = "escape",
        **prompt_options: Any,
    ) -> Prepared:
        """All that `stream` does before the model answers. `prompt_options` go to the template."""
        start = time.perf_counter()
        messages = self._strings(conversation(prompt, len(images), system))
        rendered = render_checkpoint(
            None, self._template, messages, leave_open=continue_final_message, options=prompt_options
        )
        rendered, escaped = self._safe(rendered, on_forgery)
        inputs = self._backend.prepare(rendered, as_string=on_forgery == "allow")
        if self.context is not None and inputs.prompt_tokens > self.context:
            raise UnsupportedFeatureError(
                f"The prompt takes {inputs.prompt_tokens:,} positions and this model was made for "
                f"{self.context:,}. Shorten it."
            )
        return Prepared(rendered, escaped, (), inputs, time.perf_counter() - start)

    def _strings(self, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The messages with their contents as strings: templates of text models know no lists of parts."""
        turns = read(messages)
        if any(isinstance(part, Picture) for turn in turns for part in turn.parts):
            name = self.checkpoint.repository or self.checkpoint.folder.name
            raise UnsupportedFeatureError(
                f"{name} is a model of text and takes no images. Choose one that does: `mlx-cards list`."
            )
        return [
            {"role": turn.role, "content": turn.text}
            | ({} if turn.reasoning is None else {"reasoning_content": turn.reasoning})
            for turn in turns
        ]

    def _safe(self, prompt: Prompt, on_forgery: OnForgery) -> tuple[Prompt, tuple[str, ...]]:
        """The prompt with no typed text that acts as a control token, and what was escaped."""
        if on_forgery == "escape" and self._backend.can_encode():
            return prompt, ()
        return escape(prompt, self._backend.control_tokens(prompt), on_forgery)


def stated_context(config: Mapping[str, Any]) -> int | None:
    """Positions that a config.json states for its language model; None where it states none."""
    text = config.get("text_config")
    stated = [part.get(key) for part in (text, config) if isinstance(part, Mapping) for key in _CONTEXT_KEYS]
    return next((number for number in stated if isinstance(number, int)), None)
