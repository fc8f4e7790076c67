"""AbstractLLM's provider under load: async answers, calls at once, cancelling, giving memory back."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from abstractllm.exceptions import ImageProcessingError, UnsupportedFeatureError

from tests.abstractllm_sessions import circle, llm, square

WHAT = "What is in this image?"
ASKED = {"a red circle": circle("red"), "a blue square": square("blue"), "a blue circle": circle("blue")}


@pytest.fixture(scope="module")
def demo() -> Any:
    return llm()


@pytest.fixture(scope="module")
def endless(checkpoint: Callable[[str], Path]) -> Any:
    """A model with random weights, which does not stop by itself."""
    return llm(str(checkpoint("qwen2.5-vl")))


def test_an_async_answer_is_the_answer(demo: Any) -> None:
    response = asyncio.run(demo.generate_async(WHAT, files=[circle("red")]))
    assert response.content == "a red circle"
    assert response.usage["image_tokens"] == 25


def test_an_async_stream_gives_the_pieces_and_then_the_usage(demo: Any) -> None:
    async def read() -> list[Any]:
        stream = await demo.generate_async(WHAT, files=[circle("red")], stream=True)
        return [piece async for piece in stream]

    pieces = asyncio.run(read())
    assert "".join(piece.content for piece in pieces) == "a red circle"
    assert pieces[-1].usage["completion_tokens"] == 4


def test_async_answers_asked_for_at_once_do_not_mix(demo: Any) -> None:
    async def together() -> list[str]:
        calls = [demo.generate_async(WHAT, files=[image]) for image in ASKED.values()]
        return [response.content for response in await asyncio.gather(*calls)]

    assert asyncio.run(together()) == list(ASKED)


def test_threads_that_ask_at_once_get_their_own_answers(demo: Any) -> None:
    answers: dict[int, str] = {}
    asked = list(ASKED.items()) * 3

    def ask(number: int) -> None:
        pieces = demo.generate(WHAT, files=[asked[number][1]], stream=bool(number % 2))
        answers[number] = "".join(p.content for p in pieces) if number % 2 else pieces.content

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(asked))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answers[number] for number in range(len(asked))] == [expected for expected, _ in asked]


def test_the_event_loop_stays_free_while_a_model_answers(endless: Any) -> None:
    async def count() -> int:
        answer = asyncio.create_task(endless.generate_async("Hello", max_tokens=200))
        ticks = 0
        while not answer.done():
            await asyncio.sleep(0.002)
            ticks += 1
        return ticks

    assert asyncio.run(count()) > 5


def test_a_cancelled_task_stops_the_model(endless: Any) -> None:
    async def cancel() -> None:
        task = asyncio.create_task(endless.generate_async("Hello", max_tokens=20_000))
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    start = time.perf_counter()
    asyncio.run(cancel())
    assert endless.generate("Hello", max_tokens=2).usage["completion_tokens"] == 2
    assert time.perf_counter() - start < 20


def test_a_stream_that_is_left_frees_the_model(endless: Any) -> None:
    stream = endless.generate("Hello", max_tokens=20_000, stream=True)
    assert next(stream).content
    stream.close()
    assert endless.generate("Hello", max_tokens=2).usage["completion_tokens"] == 2


def test_an_async_stream_that_is_left_frees_the_model(endless: Any) -> None:
    async def peek() -> int:
        stream = await endless.generate_async("Hello", max_tokens=20_000, stream=True)
        async for _ in stream:
            break
        await stream.aclose()
        return int((await endless.generate_async("Hello", max_tokens=2)).usage["completion_tokens"])

    assert asyncio.run(peek()) == 2


def test_an_error_reaches_the_task_that_asked(demo: Any) -> None:
    with pytest.raises(ImageProcessingError, match=r"missing\.jpg"):
        asyncio.run(demo.generate_async(WHAT, files=["missing.jpg"]))


def test_unloading_gives_the_memory_back_and_the_next_call_loads_again(
    checkpoint: Callable[[str], Path],
) -> None:
    import mlx.core as mx

    provider = llm(str(checkpoint("qwen2.5-vl")))
    answer = provider.generate("Hello", max_tokens=4).content
    held = mx.get_active_memory()
    weights = sum(file.stat().st_size for file in checkpoint("qwen2.5-vl").glob("*.safetensors"))
    provider.unload()
    assert held - mx.get_active_memory() > 0.9 * weights
    assert mx.get_cache_memory() == 0
    provider.unload()  # again is harmless
    assert provider.generate("Hello", max_tokens=4).content == answer


def test_unloading_waits_for_the_answer_that_is_being_written(demo: Any) -> None:
    provider = llm()
    stream = provider.generate(WHAT, files=[circle("red")], stream=True)
    first = next(stream).content
    unloading = threading.Thread(target=provider.unload)
    unloading.start()
    assert first + "".join(piece.content for piece in stream) == "a red circle"
    unloading.join()
    assert provider.generate(WHAT, files=[circle("red")]).content == "a red circle"


def test_calls_that_wait_while_a_model_is_unloaded_are_answered() -> None:
    provider, answers = llm(), []

    def ask(stream: bool) -> None:
        for _ in range(2):
            pieces = provider.generate(WHAT, files=[circle("red")], stream=stream)
            answers.append("".join(piece.content for piece in pieces) if stream else pieces.content)

    async def together() -> None:
        async def read() -> None:
            stream = await provider.generate_async(WHAT, files=[circle("red")], stream=True)
            answers.append("".join([piece.content async for piece in stream]))

        asked = [provider.generate_async(WHAT, files=[circle("red")]) for _ in range(3)]
        answers.extend(answer.content for answer in await asyncio.gather(*asked))
        await asyncio.gather(*(read() for _ in range(3)))

    calls = [threading.Thread(target=ask, args=(stream,)) for stream in (False, True, False)]
    calls.append(threading.Thread(target=lambda: asyncio.run(together())))
    for call in calls:
        call.start()
    while any(call.is_alive() for call in calls):
        provider.unload()
        time.sleep(0.1)
    assert answers == ["a red circle"] * 12


def test_a_thread_cannot_unload_what_it_is_reading(endless: Any) -> None:
    stream = endless.generate("Hello", max_tokens=100, stream=True)
    next(stream)
    with pytest.raises(UnsupportedFeatureError, match="still open"):
        endless.unload()
    stream.close()
    assert endless.generate("Hello", max_tokens=1).usage["completion_tokens"] == 1
