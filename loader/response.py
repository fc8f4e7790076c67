"""What an answer comes with: the text, and everything that was done to get it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loader.resize import ImagePlan
    from loader.tools import ToolCall


@dataclass(frozen=True, slots=True)
class SeenImage:
    """What was done to one image."""

    source: str
    """A short label of where it came from."""
    plan: ImagePlan
    """Sizes, tokens, and the way back to the caller's pixels."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds of wall time."""

    prepare: float
    """Opening and resizing images, rendering, tokenizing."""
    first_token: float
    """From prepared inputs to the first token: vision encoder and prefill."""
    generate: float
    """From the first token to the last."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer."""

    text: str
    finish_reason: str
    """"stop": the model ended its turn; "length": max_tokens were reached."""
    prompt: str
    """The exact prompt, placeholders not expanded."""
    escaped: tuple[str, ...]
    """Control tokens that the caller's text spelled and that were broken by a space."""
    warnings: tuple[str, ...]
    """What a caller should know: words that the family's format has no place for, memory that may page."""
    prompt_tokens: int
    """All positions before the answer, those of images included."""
    image_tokens: int
    """Positions that hold image features."""
    completion_tokens: int
    """Tokens of the answer."""
    images: tuple[SeenImage, ...]
    """What was done to each image, in the order of the prompt."""
    timings: Timings
    peak_memory: int
    """Bytes that MLX had allocated at most during the call, weights included."""
    tool_calls: tuple[ToolCall, ...] = ()
    """Calls of the tools that were offered. They stand in the text, too, as the model wrote them."""

    def to_dict(self) -> dict[str, Any]:
        """The response as plain data, for JSON."""
        return {
            "text": self.text,
            "finish_reason": self.finish_reason,
            "prompt": self.prompt,
            "escaped": list(self.escaped),
            "warnings": list(self.warnings),
            "tool_calls": [call.to_dict() for call in self.tool_calls],
            "usage": {
                "prompt_tokens": self.prompt_tokens,
                "image_tokens": self.image_tokens,
                "completion_tokens": self.completion_tokens,
            },
            "images": [{"from": seen.source, **seen.plan.to_dict()} for seen in self.images],
            "timings": asdict(self.timings),
            "peak_memory": self.peak_memory,
        }
