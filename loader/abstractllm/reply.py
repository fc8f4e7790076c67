"""An answer as AbstractLLM's GenerateResponse."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from abstractllm.types import GenerateResponse

from loader.source import describe, is_data_uri

if TYPE_CHECKING:
    from loader.response import Response


class Reply(GenerateResponse):  # type: ignore[misc]
    """A response that AbstractLLM's session can also keep as it is.

    `Session.send_async` stores whole responses where it expects text (session.py of 1.1.1 and 1.1.5).
    """

    def strip(self) -> str:
        """The text without white space around it."""
        return (self.content or "").strip()


def chunk(text: str, model: str) -> GenerateResponse:
    """A piece of an answer: what is new."""
    return Reply(content=text, model=model)


def reply(
    response: Response, content: str, model: str, messages: Sequence[Mapping[str, Any]], tool_calls: Any
) -> GenerateResponse:
    """A whole answer, or the end of a stream; `raw_response` is this project's, with each image's plan."""
    return Reply(
        content=content,
        raw_response=response,
        usage=_usage(response),
        model=model,
        finish_reason=response.finish_reason,
        tool_calls=tool_calls,
        image_paths=list(_images(messages)) or None,
    )


def _usage(response: Response) -> dict[str, Any]:
    """The numbers of the provider that this one replaces; image tokens are part of the prompt's."""
    timings = response.timings
    asked, answered = response.prompt_tokens, response.completion_tokens
    return {
        "prompt_tokens": asked,
        "completion_tokens": answered,
        "total_tokens": asked + answered,
        "image_tokens": response.image_tokens,
        "time": timings.prepare + timings.first_token + timings.generate,
        "prompt_tps": asked / timings.first_token if timings.first_token else 0.0,
        "generation_tps": (answered - 1) / timings.generate if timings.generate else 0.0,
        "peak_memory": response.peak_memory / 1e9,
    }


def _images(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Where the images came from, in the order of the prompt: paths and URLs, else a description."""
    for message in messages:
        content = message["content"]
        for part in content if isinstance(content, list | tuple) else ():
            if isinstance(part, Mapping) and part.get("type") in ("image", "image_url", "input_image"):
                yield _label(part.get("image", part.get("image_url", part.get("url"))))


def _label(source: Any) -> str:
    if isinstance(source, Mapping):
        source = source.get("url")
    named = isinstance(source, str | os.PathLike) and not is_data_uri(os.fspath(source))
    return os.fspath(source) if named else describe(source)
