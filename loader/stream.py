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
            raise UnsupportedFeatureError(
                "The response is not known before the stream has ended. Read it to its end first."
            )
        return self._response


class AsyncStream(AsyncIterator[str]):
    """The same for `async for`: the model runs in a thread of its own, the event loop stays free.

    Leaving the loop early needs `aclose()` or `async with`; a cancelled task stops the model, too.
    """

    def __init__(self, start: Callable[[], Stream]) -> None:
        self._start = start
        self._stream: Stream | None = None
        self._queue: asyncio.Queue[str | BaseException | None] = asyncio.Queue()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    async def __anext__(self) -> str:
        if self._thread is None:
            loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._run, args=(loop,), daemon=True)
            self._thread.start()
        try:
            item = await self._queue.get()
        except asyncio.CancelledError:
            self._stop.set()
            if self._stream is not None:
                self._stream.stop()
            raise
        if isinstance(item, str):
            return item
        self._queue.put_nowait(None)  # asking again after the end ends again
        if item is None:
            raise StopAsyncIteration
        raise item

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        last: BaseException | None = None
        try:
            with self._start() as self._stream:
                # Set between the two lines, the stop would reach no stream.
                while not self._stop.is_set():
                    if text := self._stream.step():
                        _put(loop, self._queue, text)
        except StopIteration:
            pass
        except BaseException as error:  # noqa: BLE001  # it is raised again in the caller's task
            last = error
        _put(loop, self._queue, last)

    async def aclose(self) -> None:
        """Stop generating, or waiting for the model, and wait until this stream has let go of it."""
        self._stop.set()
        if self._stream is not None:
            self._stream.stop()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    @property
    def response(self) -> Response:
        """The whole answer. Known when the stream has been read to its end."""
        if self._stream is None:
            raise UnsupportedFeatureError(
                "The response is not known before the stream has ended. Read it to its end first."
            )
        return self._stream.response


def _put(
    loop: asyncio.AbstractEventLoop,
    queue: asyncio.Queue[str | BaseException | None],
    item: str | BaseException | None,
) -> None:
    try:
        loop.call_soon_threadsafe(queue.put_nowait, item)
    except RuntimeError:
        return  # the event loop is gone, and with it whoever waited
