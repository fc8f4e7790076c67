"""A model that is loaded: ask it about images.

The way of a call: messages -> prompt (loader.prompt), sources -> images (loader.image) -> plans
(loader.resize) -> pixels at the planned size (loader.fit) -> tensors, counted against the plan ->
text (loader.backend).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loader.backend import Backend, Inputs, peak_memory, reset_peak_memory
from loader.errors import CheckpointError, ImageError, MessageError, UnsupportedFeatureError
from loader.fit import fit_image
from loader.image import describe, open_image
from loader.messages import conversation, matched
from loader.prompt import Prompt, render
from loader.resize import Detail, ImagePlan, plan_image
from loader.response import Response, SeenImage, Timings
from loader.sampling import Sampling
from loader.stream import AsyncStream, Steps, Stream

if TYPE_CHECKING:
    import PIL.Image

    from loader.checkpoint import Checkpoint
    from registry.cards import Card

Messages = str | Sequence[Mapping[str, Any]]
"""A question, or messages as in loader.messages."""
WAIT_SECONDS = 0.05
"""How often a call that waits for its turn looks whether it is still wanted."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A call, ready to run."""

    prompt: Prompt
    images: tuple[SeenImage, ...]
    inputs: Inputs
    seconds: float


class VisionModel:
    """A loaded model. One answer is written at a time; calls from other threads wait their turn."""

    def __init__(self, card: Card, checkpoint: Checkpoint, backend: Backend) -> None:
        self.card = card
        self.checkpoint = checkpoint
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
        continue_final_message: bool = False,
        allow_private_urls: bool = False,
        **prompt_options: bool,
    ) -> Stream:
        """As `generate`, with the text as it is written; `.response` is there at the end.

        Everything is checked before this returns: the stream itself only generates.

        Raises MessageError, ImageError, UnsupportedFeatureError for what cannot be asked, and
        CheckpointError where the processor disagrees with the card.
        """
        sampling = Sampling(max_tokens, temperature, top_p, top_k, repetition_penalty, seed)
        start = time.perf_counter()
        sources = _listed(images)
        messages = conversation(prompt, len(sources), system)
        rendered = render(
            self.card,
            messages,
            True,
            continue_final_message,
            None,
            **prompt_options,
        )
        seen, pixels = [], []
        for source in matched(rendered.images, sources):
            look, fitted = self._look(source, detail, max_image_tokens, max_image_pixels, allow_private_urls)
            seen.append(look)
            pixels.append(fitted)
        inputs = self._inputs(rendered, seen, pixels)
        prepared = Prepared(rendered, tuple(seen), inputs, time.perf_counter() - start)
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

    def _look(
        self,
        source: Any,
        detail: Detail,
        max_tokens: int | None,
        max_pixels: int | None,
        allow_private_urls: bool,
    ) -> tuple[SeenImage, PIL.Image.Image]:
        """Open one image, plan it, bring it to the planned size."""
        spec = self.card.image
        assert spec is not None  # noqa: S101  # render refuses images where the card has none
        image = open_image(source, background=spec.background, allow_private_urls=allow_private_urls)
        plan = plan_image(self.card, image.width, image.height, detail, max_tokens, max_pixels)
        _check_stays(self.card, plan)
        return SeenImage(describe(source), plan), fit_image(image, plan, spec.resample)

    def _inputs(self, prompt: Prompt, seen: Sequence[SeenImage], pixels: Sequence[PIL.Image.Image]) -> Inputs:
        """Tensors, counted against the plans: a difference is an error, never an answer."""
        spec = self.card.image
        if spec is not None:
            _refuse_forged_images(prompt, (spec.token, spec.placeholder.strip()))
        inputs = self._backend.prepare(prompt.text, pixels, spec.token if spec else None)
        planned = sum(look.plan.image_tokens for look in seen)
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


def _check_stays(card: Card, plan: ImagePlan) -> None:
    """The processor plans anew on the pixels that it gets: they must stay as they are.

    Raises ImageError for the few shapes at the edge of what a family takes where they would not.
    """
    seen = (plan.width, plan.height)
    with contextlib.suppress(ImageError):
        again = plan_image(card, *seen, detail="full")
        if (again.width, again.height) == seen:
            return
    raise ImageError(
        f"An image of {plan.source[0]}x{plan.source[1]} would be seen at {seen[0]}x{seen[1]}, and the "
        "model's own processor does not take that shape. Cut it into pieces."
    )


def _refuse_forged_images(prompt: Prompt, tokens: Sequence[str]) -> None:
    """The processor gets one string and would take a token that a user typed for an image."""
    # Joined, because neighbouring parts may spell a token together; NUL keeps other segments apart.
    typed = "".join(segment.text if segment.kind == "text" else "\0" for segment in prompt.segments)
    found = next((token for token in tokens if token in typed), None)
    if found is not None:
        raise MessageError(
            f"The text holds {found!r}, the model's own image token, which would be taken for an "
            "image. Take it out of the text, or write it with a space inside."
        )


def _listed(images: Any) -> list[Any]:
    """One source or several, as a list. A file is iterable, too, and yet one source."""
    if images is None:
        return []
    if isinstance(images, (list, tuple)) or (isinstance(images, Iterator) and not hasattr(images, "read")):
        return list(images)
    return [images]
