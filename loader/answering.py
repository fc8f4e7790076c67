"""What every loaded model does with a prepared call: wait for its turn, write, stop, report; and close."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from loader.backend import free_memory, peak_memory, reset_peak_memory
from loader.errors import UnsupportedFeatureError
from loader.response import Response, SeenImage, Timings
from loader.sampling import Sampling
from loader.stream import AsyncStream, Steps, Stream

if TYPE_CHECKING:
    from loader.backend import Inputs, Piece
    from loader.prompt import Prompt
    from loader.tools import ToolCall

Messages = str | Sequence[Mapping[str, Any]]
"""A question, or messages as in loader.messages."""
WAIT_SECONDS = 0.05
"""How often a call that waits for its turn looks whether it is still wanted."""


class Writer(Protocol):
    """A backend: it makes text of tensors."""

    def generate(self, inputs: Inputs, sampling: Sampling) -> Iterator[Piece]:
        """Pieces of the answer, until the model stops or `sampling.max_tokens` are reached."""
        ...


WriterT = TypeVar("WriterT", bound=Writer)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A call, ready to run."""

    prompt: Prompt
    escaped: tuple[str, ...]
    images: tuple[SeenImage, ...]
    inputs: Inputs
    seconds: float
    warnings: tuple[str, ...] = ()
    """What a caller should know besides the prompt's own."""
    read_calls: Callable[[str], tuple[ToolCall, ...]] | None = None
    """Reads calls of tools out of the answer; None where none were offered."""


class Answering(Generic[WriterT]):
    """A loaded model. One answer is written at a time; calls from other threads wait their turn."""

    def __init__(self, backend: WriterT) -> None:
        self._held: WriterT | None = backend
        self._busy = threading.Lock()
        self._busy_thread: int | None = None

    @property
    def _backend(self) -> WriterT:
        if self._held is None:
            raise UnsupportedFeatureError("This model was closed, and its memory given back. Load it again.")
        return self._held

    def stream(self, prompt: Messages, images: Any = (), **options: Any) -> Stream:
        """As `generate`, with the text as it is written; `.response` is there at the end."""
        raise NotImplementedError

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

    def answer(self, prepared: Prepared, sampling: Sampling) -> Stream:
        """What `stream` returns, for a call that `prepare` has prepared and a caller has looked at."""
        stop = threading.Event()
        return Stream(self._run(prepared, sampling, stop), stop)

    def close(self) -> None:
        """Wait for the answer that is being written, then give the model's memory back.

        Later calls raise UnsupportedFeatureError.
        """
        with self._turn(threading.Event()):
            self._held = None
        free_memory()

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
            said = "".join(text)
            return Response(
                text=said,
                finish_reason=reason,
                prompt=prepared.prompt.text,
                escaped=prepared.escaped,
                warnings=(*prepared.prompt.warnings, *prepared.warnings),
                prompt_tokens=prepared.inputs.prompt_tokens,
                image_tokens=prepared.inputs.image_tokens,
                completion_tokens=tokens,
                images=prepared.images,
                timings=Timings(prepared.seconds, first - started, ended - first),
                peak_memory=peak_memory(),
                tool_calls=prepared.read_calls(said) if prepared.read_calls is not None else (),
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
