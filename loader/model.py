"""A model that is loaded: ask it about images.

The way of a call: messages -> prompt (loader.prompt), sources -> sizes (loader.image) -> plans of all
images together (loader.resize) -> pixels at the planned sizes (loader.fit) -> tensors, counted against
the plans -> text (loader.backend).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from loader.answering import Answering, Messages, Prepared
from loader.backend import Backend, Inputs
from loader.calls import read_answer
from loader.errors import CheckpointError, UnsupportedFeatureError
from loader.fit import fit_opened
from loader.guard import Guard, OnExceed, Question
from loader.image import Opened
from loader.messages import conversation, matched
from loader.prompt import Prompt, render
from loader.prompt.forgery import OnForgery, escape, image_tokens
from loader.prompt.tools import can_write_tools
from loader.prompt.upstream import render_checkpoint
from loader.resize import Detail, ImagePlan, plan_images, room_for
from loader.response import SeenImage
from loader.sampling import Sampling
from loader.source import describe
from loader.stream import Stream
from loader.tools import read_tools

if TYPE_CHECKING:
    import PIL.Image

    from loader.checkpoint import Checkpoint
    from loader.checkpoint.template import ChatTemplate
    from loader.tools import Tool, ToolCall
    from registry.cards import Card
    from registry.choice import Choice

__all__ = ["Prepared", "VisionModel"]


class VisionModel(Answering[Backend]):
    """A loaded model. One answer is written at a time; calls from other threads wait their turn."""

    def __init__(
        self,
        card: Card,
        checkpoint: Checkpoint,
        backend: Backend,
        template: ChatTemplate | None = None,
        *,
        guard: Guard | None = None,
        choice: Choice | None = None,
    ) -> None:
        """`template`: the checkpoint's own chat template, where it is to be used instead of the card's.
        `guard` checks the memory of every call; None: nothing does."""
        super().__init__(backend)
        self.card = card
        self.checkpoint = checkpoint
        self.choice = choice
        """Which quantization was taken, and why; None where a folder or an unlisted repository was named."""
        self._template = template
        self._guard = guard

    @property
    def can_write_tools(self) -> bool:
        """Whether `tools` can be given to it: the card says how its family writes them, and is used."""
        return self._template is None and can_write_tools(self.card)

    def __repr__(self) -> str:
        where = self.checkpoint.repository or self.checkpoint.folder
        return f"<VisionModel {self.card.name} from {where}>"

    def stream(
        self,
        prompt: Messages,
        images: Any = (),
        *,
        system: str | None = None,
        max_tokens: int = 512,
        temperature: float = 0.0,
        top_p: float = 1.0,
        top_k: int = 0,
        repetition_penalty: float | None = None,
        seed: int | None = None,
        detail: Detail = "auto",
        max_image_tokens: int | None = None,
        max_image_pixels: int | None = None,
        exact: bool = False,
        continue_final_message: bool = False,
        on_forgery: OnForgery = "escape",
        allow_private_urls: bool = False,
        on_exceed: OnExceed = "shrink",
        memory_limit: int | str | None = None,
        check_memory: bool | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        **prompt_options: bool,
    ) -> Stream:
        """As `generate`, with the text as it is written; `.response` is there at the end.

        Everything is checked before this returns: the stream itself only generates. `detail` and the
        two limits are those of `plan_image`; images that would take more of the context than text and
        answer leave share what is left. `exact` decodes every pixel of a large JPEG, where otherwise
        only as many are decoded as the plan takes; sizes and tokens are the same. `on_forgery` is
        what happens to control tokens that the caller's text spells: without images they are plain
        text; with images the backend takes the prompt as one string, and a space breaks them
        ("escape"); "error" refuses them, "allow" lets them act, but for image tokens.

        What would take more memory than MLX allocates gets smaller images, down to the card's small
        budget; then, with `on_exceed="refuse"`, or where every detail is asked for, it is refused.
        `memory_limit` and `check_memory` are those of `loader.load`, for one call.

        `tools` are those that the model may call, as in `loader.render`; what it calls is in the response's
        `tool_calls`.

        Raises MessageError, ImageError, UnsupportedFeatureError for what cannot be asked, and
        CheckpointError where the processor disagrees with the card, MemoryBudgetError.
        """
        sampling = Sampling(max_tokens, temperature, top_p, top_k, repetition_penalty, seed)
        prepared = self.prepare(
            prompt,
            images,
            system=system,
            max_tokens=max_tokens,
            detail=detail,
            max_image_tokens=max_image_tokens,
            max_image_pixels=max_image_pixels,
            exact=exact,
            continue_final_message=continue_final_message,
            on_forgery=on_forgery,
            allow_private_urls=allow_private_urls,
            on_exceed=on_exceed,
            memory_limit=memory_limit,
            check_memory=check_memory,
            tools=tools,
            **prompt_options,
        )
        return self.answer(prepared, sampling)

    def prepare(
        self,
        prompt: Messages,
        images: Any = (),
        *,
        system: str | None = None,
        max_tokens: int = 512,
        detail: Detail = "auto",
        max_image_tokens: int | None = None,
        max_image_pixels: int | None = None,
        exact: bool = False,
        continue_final_message: bool = False,
        on_forgery: OnForgery = "escape",
        allow_private_urls: bool = False,
        on_exceed: OnExceed = "shrink",
        memory_limit: int | str | None = None,
        check_memory: bool | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        **prompt_options: bool,
    ) -> Prepared:
        """All that `stream` does before the model's turn, with the same arguments, checks and errors."""
        start = time.perf_counter()
        sources = _listed(images)
        messages = conversation(prompt, len(sources), system)
        rendered = self._render(messages, continue_final_message, tools, prompt_options)
        self._check_number(len(rendered.images))
        named = matched(rendered.images, sources)
        opened = [self._open(source, allow_private_urls) for source in named]
        rendered, escaped = self._safe(rendered, on_forgery)
        limits = detail, max_image_tokens, max_image_pixels
        guard = self._guard.of_call(memory_limit, check_memory) if self._guard is not None else None
        asked = self._asked(opened, limits, rendered, max_tokens)
        plans, warnings = (asked.plans, ()) if guard is None else guard.admit(asked, on_exceed)
        seen = tuple(SeenImage(describe(it), plan) for it, plan in zip(named, plans, strict=True))
        pixels = self._pixels(opened, plans, exact=exact)
        inputs = self._inputs(rendered, plans, pixels, as_string=on_forgery == "allow")
        reads = None if not tools else partial(_calls, self.card, read_tools(tools))
        return Prepared(rendered, escaped, seen, inputs, time.perf_counter() - start, warnings, reads)

    def next_token(self, prepared: Prepared) -> list[float]:
        """Log-probability of each token of the vocabulary to be the first of the answer."""
        with self._turn(threading.Event()):
            return self._backend.next_token(prepared.inputs)

    def reached(self, one: Prepared, other: Prepared) -> int | None:
        """Positions of the prompt that images change: `other` asks the same about images of the same sizes.

        None where the model keeps what it sees beside the prompt.
        """
        with self._turn(threading.Event()):
            return self._backend.reached(one.inputs, other.inputs)

    def _render(
        self,
        messages: Sequence[Mapping[str, Any]],
        leave_open: bool,
        tools: Sequence[Mapping[str, Any]] | None,
        options: Any,
    ) -> Prompt:
        if self._template is None:
            return render(self.card, messages, True, leave_open, None, tools=tools, **options)
        if tools:
            raise UnsupportedFeatureError(
                "A checkpoint's own template is given no tools, as its form of calls is not known. "
                "Use the card's (prompt='card'), or describe the tools in words."
            )
        return render_checkpoint(self.card, self._template, messages, leave_open=leave_open, options=options)

    def _check_number(self, images: int) -> None:
        """Raises UnsupportedFeatureError for more images than the backend handles."""
        most = self.card.backend.max_images
        if most is not None and images > most:
            raise UnsupportedFeatureError(
                f"{self.card.backend.package} handles at most {most} image{'s' * (most != 1)} for "
                f"{self.card.name}, and these are {images}: it would drop or mix up the "
                "others. Ask about fewer at a time."
            )

    def _open(self, source: Any, allow_private_urls: bool) -> Opened:
        spec = self.card.image
        assert spec is not None  # noqa: S101  # render refuses images where the card has none
        return Opened(source, background=spec.background, allow_private_urls=allow_private_urls)

    def _asked(
        self,
        opened: Sequence[Opened],
        limits: tuple[Detail, int | None, int | None],
        prompt: Prompt,
        answer: int,
    ) -> Question:
        """What becomes of all images together, in what text and answer leave of the context."""
        context = self.card.model.context if self.card.model else None
        text = self._backend.count(prompt)
        room = room_for(context, text, answer)
        sizes = [it.size for it in opened]
        plans = plan_images(self.card, sizes, *limits, room) if sizes else []
        for plan in plans:
            if plan.unseen_tokens:
                raise UnsupportedFeatureError(
                    f"{self.card.name} cannot be given {plan.tiles} tiles: for {plan.unseen_tokens:,} image "
                    f"tokens {self.card.backend.package} makes no picture, and the model would make one up. "
                    "Use detail='auto', which lowers the limit."
                )
        # Each placeholder has a position already. What is beyond the context needs no check of its memory.
        self._check_context(text + sum(plan.image_tokens - 1 for plan in plans))
        return Question(sizes, plans, *limits, room, text, answer)

    def _check_context(self, positions: int) -> None:
        """Raises UnsupportedFeatureError for a prompt that is longer than the model was released for."""
        context = self.card.model.context if self.card.model else None
        if context is not None and positions > context:
            raise UnsupportedFeatureError(
                f"The prompt takes {positions:,} positions and {self.card.name} was "
                f"released for {context:,}. Shorten it, or use fewer or smaller images (max_image_tokens=)."
            )

    def _pixels(
        self, opened: list[Opened], plans: Sequence[ImagePlan], *, exact: bool
    ) -> list[PIL.Image.Image]:
        """The pictures as planned. Each source leaves `opened`: it is gone when the next is decoded."""
        return [fit_opened(opened.pop(0), plan, self.card, exact=exact) for plan in plans]

    def _safe(self, prompt: Prompt, on_forgery: OnForgery) -> tuple[Prompt, tuple[str, ...]]:
        """The prompt with no typed text that acts as a control token, and what was escaped."""
        images = image_tokens(self.card.image)
        if on_forgery == "allow":
            return escape(prompt, images, "error")  # nobody means an image that is not there
        if on_forgery == "escape" and self._backend.can_encode(prompt):
            return prompt, ()
        return escape(prompt, self._backend.control_tokens(prompt) | images, on_forgery)

    def _inputs(
        self,
        prompt: Prompt,
        plans: Sequence[ImagePlan],
        pixels: Sequence[PIL.Image.Image],
        *,
        as_string: bool,
    ) -> Inputs:
        """Tensors, counted against the plans: a difference is an error, never an answer."""
        spec = self.card.image
        setting = plans[0].setting if plans else None  # one for all images of a call
        inputs = self._backend.prepare(prompt, pixels, spec, setting=setting, as_string=as_string)
        planned = sum(plan.image_tokens for plan in plans)
        if spec is not None and spec.positions == "spliced":
            inputs = inputs.spliced(planned, len(plans))
        if inputs.image_tokens != planned:
            raise CheckpointError(
                f"The plan has {planned:,} image tokens and the processor made {inputs.image_tokens:,}: "
                "the checkpoint's settings differ from the card's. "
                "Name the model that the checkpoint is: load(folder, card=NAME)."
            )
        self._check_context(inputs.prompt_tokens)
        return inputs


def _calls(card: Card, tools: Sequence[Tool], text: str) -> tuple[ToolCall, ...]:
    return read_answer(card, text, tools)[1]


def _listed(images: Any) -> list[Any]:
    """One source or several, as a list. A file is iterable, too, and yet one source."""
    if images is None:
        return []
    if isinstance(images, (list, tuple)) or (isinstance(images, Iterator) and not hasattr(images, "read")):
        return list(images)
    return [images]
