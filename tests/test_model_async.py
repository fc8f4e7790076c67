"""The same answers without blocking an event loop, and a model that stops when its task does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import PIL.Image
import pytest

import registry
from loader.errors import ImageError, UnsupportedFeatureError
from loader.model import VisionModel

RED = PIL.Image.new("RGB", (300, 200), "red")


@pytest.fixture(scope="module")
def model(checkpoint: Callable[[str], Path]) -> VisionModel:
    return registry.load(checkpoint("qwen2.5-vl"))


def test_an_async_answer_is_the_answer(model: VisionModel) -> None:
    expected = model.generate("What?", RED, max_tokens=8)
    response = asyncio.run(model.generate_async("What?", RED, max_tokens=8))
    assert (response.text, response.images) == (expected.text, expected.images)


def test_an_async_stream_gives_the_pieces_and_then_the_response(model: VisionModel) -> None:
    async def read() -> tuple[list[str], str]:
        stream = model.stream_async("What?", RED, max_tokens=8)
        pieces = [text async for text in stream]
        return pieces, stream.response.text

    pieces, text = asyncio.run(read())
    assert "".join(pieces) == text


def test_the_event_loop_stays_free_while_a_model_answers(model: VisionModel) -> None:
    async def count() -> int:
        answer = asyncio.create_task(model.generate_async("What?", RED, max_tokens=200))
        ticks = 0
        while not answer.done():
            await asyncio.sleep(0.002)
            ticks += 1
        return ticks

    assert asyncio.run(count()) > 5


def test_async_answers_asked_for_at_once_do_not_mix(model: VisionModel) -> None:
    questions = ["Hello", "What is this?", "Again?"]
    alone = [model.generate(question, RED, max_tokens=8).text for question in questions]

    async def together() -> list[str]:
        answers = [model.generate_async(question, RED, max_tokens=8) for question in questions]
        return [response.text for response in await asyncio.gather(*answers)]

    assert asyncio.run(together()) == alone


def test_an_error_reaches_the_task_that_asked(model: VisionModel) -> None:
    with pytest.raises(ImageError, match=r"missing\.jpg"):
        asyncio.run(model.generate_async("What?", "missing.jpg"))


def test_a_cancelled_task_stops_the_model(model: VisionModel) -> None:
    async def cancel() -> None:
        task = asyncio.create_task(model.generate_async("Hello", max_tokens=20_000))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    start = time.perf_counter()
    asyncio.run(cancel())
    assert time.perf_counter() - start < 10
    assert model.generate("Hello", max_tokens=2).text is not None


def test_a_task_that_waits_for_its_turn_can_be_cancelled(model: VisionModel) -> None:
    async def wait_in_vain() -> float:
        async with model.stream_async("Hello", max_tokens=20_000) as busy:
            await anext(busy)
            start = time.perf_counter()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(model.generate_async("Hello"), 0.3)
            return time.perf_counter() - start

    assert asyncio.run(wait_in_vain()) < 5


def test_leaving_a_stream_early_frees_the_model(model: VisionModel) -> None:
    async def peek() -> str:
        async with model.stream_async("Hello", max_tokens=20_000) as stream:
            return await anext(stream)

    assert asyncio.run(peek())
    assert model.generate("Hello", max_tokens=2).completion_tokens == 2


def test_breaking_out_of_a_stream_frees_the_model(model: VisionModel) -> None:
    async def peek_and_ask() -> int:
        async for _ in model.stream_async("Hello", max_tokens=20_000):
            break
        return (await model.generate_async("Hello", max_tokens=2)).completion_tokens

    start = time.perf_counter()
    assert asyncio.run(peek_and_ask()) == 2
    assert time.perf_counter() - start < 10


def test_a_response_is_not_known_before_an_async_stream_has_begun(model: VisionModel) -> None:
    async def ask() -> None:
        stream = model.stream_async("Hello")
        with pytest.raises(UnsupportedFeatureError, match="to its end"):
            _ = stream.response

    asyncio.run(ask())
