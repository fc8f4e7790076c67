"""An answer while it is being written: iterate for text, then ask for `.response`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from types import TracebackType

from loader.errors import UnsupportedFeatureError
from loader.response import Response

Steps = Generator[str, None, Response | None]
"""Yields the text of each token, which may be empty, and returns the response, None if it was stopped."""


class Stream(Iterator[str]):
    """Pieces of an answer, in order. Closing it (or leaving its `with`) stops the generation."""

    def __init__(self, steps: Steps, stop: threading.Event) -> None:
        self._steps = steps
        self._stop = stop
        self._response: Response | None = None

    def __next__(self) -> str:
        while not (text := self.step()):
            pass
        return text

    def step(self) -> str:
        """The text that one more token adds: often none, when a character needs several tokens."""
        try:
            return next(self._steps)
        except StopIteration as end:
            self._response = self._response or end.value
            raise

    def stop(self) -> None:
        """End after the present token, or the wait for the model; safe from any thread."""
        self._stop.set()

    def close(self) -> None:
        """Stop generating and let the model go."""
        self._steps.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def response(self) -> Response:
        """The whole answer. Known when the stream has been read to its end."""
        if self._response is None:
            raise _too_early()
        return self._response


class AsyncStream(AsyncIterator[str]):
    """The same for `async for`: the model runs in a thread of its own, the event loop stays free.

    A cancelled task stops the model, and so does a stream that nobody holds any more; `aclose()` or
    `async with` also wait until it has stopped.
    """

    def __init__(self, start: Callable[[], Stream]) -> None:
        self._worker = _Worker(start)

    async def __anext__(self) -> str:
        self._worker.begin(asyncio.get_running_loop())
        try:
            item = await self._worker.queue.get()
        except asyncio.CancelledError:
            self._worker.stop()
            raise
        if isinstance(item, str):
            return item
        self._worker.queue.put_nowait(None)  # asking again after the end ends again
        if item is None:
            raise StopAsyncIteration
        raise item

    async def aclose(self) -> None:
        """Stop generating, or waiting for the model, and wait until this stream has let go of it."""
        self._worker.stop()
        await asyncio.to_thread(self._worker.join)

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        self._worker.stop()

    @property
    def response(self) -> Response:
        """The whole answer. Known when the stream has been read to its end."""
        if self._worker.stream is None:
            raise _too_early()
        return self._worker.stream.response


class _Worker:
    """The thread behind an AsyncStream. It does not hold the stream, so that dropping that stops it."""

    def __init__(self, start: Callable[[], Stream]) -> None:
        self.queue: asyncio.Queue[str | BaseException | None] = asyncio.Queue()
        self.stream: Stream | None = None
        self._start = start
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._thread is None:
            # Not a daemon: a thread inside MLX when the interpreter goes away would abort the process.
            self._thread = threading.Thread(target=self._run, args=(loop,))
            self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self.stream is not None:
            self.stream.stop()

    def join(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        last: BaseException | None = None
        try:
            with self._start() as self.stream:
                # Checked here, too: a stop before this line has reached no stream.
                while not self._stop.is_set():
                    if text := self.stream.step():
                        _put(loop, self.queue, text)
        except StopIteration:
            pass
        except BaseException as error:  # noqa: BLE001  # it is raised again in the caller's task
            last = error
        _put(loop, self.queue, last)


def _too_early() -> UnsupportedFeatureError:
    return UnsupportedFeatureError(
        "The response is not known before the stream has ended. Read it to its end first."
    )


def _put(
    loop: asyncio.AbstractEventLoop,
    queue: asyncio.Queue[str | BaseException | None],
    item: str | BaseException | None,
) -> None:
    try:
        loop.call_soon_threadsafe(queue.put_nowait, item)
    except RuntimeError:
        return  # the event loop is gone, and with it whoever waited
