"""A model that is loaded: ask it about images.

The way of a call: messages -> prompt (loader.prompt), sources -> sizes (loader.image) -> plans of all
images together (loader.resize) -> pixels at the planned sizes (loader.fit) -> tensors, counted against
the plans -> text (loader.backend).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loader.backend import Backend, Inputs, peak_memory, reset_peak_memory
from loader.errors import CheckpointError, UnsupportedFeatureError
from loader.fit import fit_opened
from loader.image import Opened, describe
from loader.messages import conversation, matched
from loader.prompt import Prompt, render
from loader.prompt.forgery import OnForgery, escape, image_tokens
from loader.prompt.upstream import render_checkpoint
from loader.resize import Detail, ImagePlan, plan_images, room_for
from loader.response import Response, SeenImage, Timings
from loader.sampling import Sampling
from loader.stream import AsyncStream, Steps, Stream

if TYPE_CHECKING:
    import PIL.Image

    from loader.checkpoint import Checkpoint
    from loader.checkpoint.template import ChatTemplate
    from registry.cards import Card

Messages = str | Sequence[Mapping[str, Any]]
"""A question, or messages as in loader.messages."""
WAIT_SECONDS = 0.05
"""How often a call that waits for its turn looks whether it is still wanted."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A call, ready to run."""

    prompt: Prompt
    escaped: tuple[str, ...]
    images: tuple[SeenImage, ...]
    inputs: Inputs
    seconds: float


class VisionModel:
    """A loaded model. One answer is written at a time; calls from other threads wait their turn."""

    def __init__(
        self, card: Card, checkpoint: Checkpoint, backend: Backend, template: ChatTemplate | None = None
    ) -> None:
        """`template`: the checkpoint's own chat template, where it is to be used instead of the card's."""
        self.card = card
        self.checkpoint = checkpoint
        self._template = template
        self._backend = backend
        self._busy = threading.Lock()
        self._busy_thread: int | None = None

    def __repr__(self) -> str:
        where = self.checkpoint.repository or self.checkpoint.folder
        return f"<VisionModel {self.card.name} from {where}>"

    def generate(self, prompt: Messages, images: Any = (), **options: Any) -> Response:
        """Answer `prompt`, a question or a list of messages.

        `images` is one source or a list: path, URL, bytes, file object, PIL image, array. With a
        question they stand before its text; with messages they fill the image parts that have no
        source of their own, in order. `options` are those of `stream`.
        """
        stream = self.stream(prompt, images, **options)
        for _ in stream:
            pass
        return stream.response

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

        Raises MessageError, ImageError, UnsupportedFeatureError for what cannot be asked, and
        CheckpointError where the processor disagrees with the card.
        """
        sampling = Sampling(max_tokens, temperature, top_p, top_k, repetition_penalty, seed)
        start = time.perf_counter()
        sources = _listed(images)
        messages = conversation(prompt, len(sources), system)
        rendered = self._render(messages, continue_final_message, prompt_options)
        self._check_number(len(rendered.images))
        named = matched(rendered.images, sources)
        opened = [self._open(source, allow_private_urls) for source in named]
        rendered, escaped = self._safe(rendered, on_forgery)
        limits = detail, max_image_tokens, max_image_pixels
        plans = self._plans(opened, limits, rendered, max_tokens)
        seen = tuple(SeenImage(describe(it), plan) for it, plan in zip(named, plans, strict=True))
        pixels = self._pixels(opened, plans, exact=exact)
        inputs = self._inputs(rendered, plans, pixels, as_string=on_forgery == "allow")
        prepared = Prepared(rendered, escaped, seen, inputs, time.perf_counter() - start)
        stop = threading.Event()
        return Stream(self._run(prepared, sampling, stop), stop)

    async def generate_async(self, prompt: Messages, images: Any = (), **options: Any) -> Response:
        """As `generate`, in a thread: the event loop stays free. Cancelling stops the model."""
        stream = self.stream_async(prompt, images, **options)
        async with stream:
            async for _ in stream:
                pass
            return stream.response

    def stream_async(self, prompt: Messages, images: Any = (), **options: Any) -> AsyncStream:
        """As `stream`, for `async for`. Preparation, too, happens in the thread."""
        return AsyncStream(lambda: self.stream(prompt, images, **options))

    def _render(self, messages: Sequence[Mapping[str, Any]], leave_open: bool, options: Any) -> Prompt:
        if self._template is None:
            return render(self.card, messages, True, leave_open, None, **options)
        return render_checkpoint(self.card, self._template, messages, leave_open=leave_open, options=options)

    def _check_number(self, images: int) -> None:
        """Raises UnsupportedFeatureError for more images than the backend handles."""
        most = self.card.backend.max_images
        if most is not None and images > most:
            raise UnsupportedFeatureError(
                f"{self.card.backend.package} handles at most {most} images for {self.card.name}, and these "
                f"are {images}: it would drop or mix up the others. Ask about fewer at a time."
            )

    def _open(self, source: Any, allow_private_urls: bool) -> Opened:
        spec = self.card.image
        assert spec is not None  # noqa: S101  # render refuses images where the card has none
        return Opened(source, background=spec.background, allow_private_urls=allow_private_urls)

    def _plans(
        self,
        opened: Sequence[Opened],
        limits: tuple[Detail, int | None, int | None],
        prompt: Prompt,
        answer: int,
    ) -> list[ImagePlan]:
        """What becomes of all images together, in what text and answer leave of the context."""
        if not opened:
            return []
        context = self.card.model.context if self.card.model else None
        text = self._backend.count(prompt) if context is not None else 0
        room = room_for(context, text, answer)
        plans = plan_images(self.card, [it.size for it in opened], *limits, room)
        for plan in plans:
            if plan.unseen_tokens:
                raise UnsupportedFeatureError(
                    f"{self.card.name} cannot be given {plan.tiles} tiles: for {plan.unseen_tokens:,} image "
                    f"tokens {self.card.backend.package} makes no picture, and the model would make one up. "
                    "Use detail='auto', which lowers the limit."
                )
        return plans

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
        context = self.card.model.context if self.card.model else None
        if context is not None and inputs.prompt_tokens > context:
            raise UnsupportedFeatureError(
                f"The prompt takes {inputs.prompt_tokens:,} positions and {self.card.name} was "
                f"released for {context:,}. Shorten it, or use fewer or smaller images (max_image_tokens=)."
            )
        return inputs

    def _run(self, prepared: Prepared, sampling: Sampling, stop: threading.Event) -> Steps:
        with self._turn(stop) as mine:
            if not mine:
                return None
            reset_peak_memory()
            started = first = time.perf_counter()
            text, tokens, reason = [], 0, "length"
            for piece in self._backend.generate(prepared.inputs, sampling):
                if not tokens:
                    first = time.perf_counter()
                tokens = piece.tokens
                reason = piece.finish_reason or reason
                text.append(piece.text)
                yield piece.text
                if stop.is_set():
                    return None
            ended = time.perf_counter()
            return Response(
                text="".join(text),
                finish_reason=reason,
                prompt=prepared.prompt.text,
                escaped=prepared.escaped,
                warnings=prepared.prompt.warnings,
                prompt_tokens=prepared.inputs.prompt_tokens,
                image_tokens=prepared.inputs.image_tokens,
                completion_tokens=tokens,
                images=prepared.images,
                timings=Timings(prepared.seconds, first - started, ended - first),
                peak_memory=peak_memory(),
            )

    @contextlib.contextmanager
    def _turn(self, stop: threading.Event) -> Iterator[bool]:
        """The backend keeps state between tokens: two answers at a time would mix.

        True once it is this answer's turn, False if `stop` came first.
        """
        me = threading.get_ident()
        if self._busy_thread == me:
            raise UnsupportedFeatureError(
                "Another stream of this model is still open. Read it to its end or close it first."
            )
        while not self._busy.acquire(timeout=WAIT_SECONDS):
            if stop.is_set():
                yield False
                return
        self._busy_thread = me
        try:
            yield True
        finally:
            self._busy_thread = None
            self._busy.release()


def _listed(images: Any) -> list[Any]:
    """One source or several, as a list. A file is iterable, too, and yet one source."""
    if images is None:
        return []
    if isinstance(images, (list, tuple)) or (isinstance(images, Iterator) and not hasattr(images, "read")):
        return list(images)
    return [images]
