"""The two sides of the overhead benchmark, in one process: the same weights in the same memory.

The provider loads the model; mlx-vlm is then called with the model and the processor that it holds, with
the prompt that mlx-vlm's own template rendered beforehand, and with the same picture.
"""

from __future__ import annotations

import contextlib
import gc
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.bench.photographs import ORIGINAL
from tools.bench.timing import MeasurementError

if TYPE_CHECKING:
    import PIL.Image

    from registry.cards import Card

__all__ = [
    "MODEL",
    "OURS",
    "SIDES",
    "SIZE",
    "SMALL",
    "UPSTREAM",
    "Answer",
    "build",
    "check_tensors",
    "fill",
    "load",
    "serve",
    "widen",
]

MODEL = "smolvlm2-256m"
SMALL = "smolvlm-512"
"""The random checkpoint with its processor at the released limits, and its template."""
SIZE = 2048, 512
"""The fewest tiles that these limits allow, four and the overview: the model has the least to do."""
QUESTION = "What is in this picture?"
OURS, UPSTREAM = SIDES = ("mlx-cards", "mlx-vlm")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a side asked, and what it got."""

    prompt: str
    prompt_tokens: int
    tokens: int
    text: str


Ask = Callable[[int], Answer]
"""How many tokens to write -> the answer."""


def build(folder: str) -> None:
    """Write a checkpoint with the dimensions that the card states for MODEL, and random weights."""
    import platform

    import registry
    from tools.random_checkpoint import build as build_small
    from tools.random_checkpoint import weights

    path = build_small(SMALL, Path(folder))
    card = registry.card(MODEL)
    _rewrite(path / "config.json", lambda config: widen(config, card))
    # MLX's backend for processors has a fast product of matrices in 32 bits only.
    weights.write(path, seed=0, dtype="bfloat16" if platform.system() == "Darwin" else "float32")
    size = json.loads((path / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    _rewrite(path / "tokenizer.json", lambda tokenizer: fill(tokenizer, size))


def _rewrite(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    data = json.loads(file.read_text(encoding="utf-8"))
    change(data)
    file.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")


def widen(config: dict[str, Any], card: Card) -> None:
    """Take widths and depths from the card; the ids of tokens stay."""
    model, memory = card.model, card.memory
    assert model is not None  # noqa: S101  # MODEL names one, with its dimensions
    assert model.text is not None  # noqa: S101
    assert memory is not None  # noqa: S101
    config["vocab_size"] = model.text.vocab
    config["text_config"] |= {
        **_layers(model.text),
        "num_key_value_heads": model.text.kv_heads,
        "vocab_size": model.text.vocab,
    }
    config["vision_config"] |= _layers(memory.vision)


def _layers(part: Any) -> dict[str, int]:
    return {
        "num_hidden_layers": part.layers,
        "hidden_size": part.hidden,
        "intermediate_size": part.intermediate,
        "num_attention_heads": part.heads,
    }


def fill(tokenizer: dict[str, Any], size: int) -> None:
    """Give the ids that the small tokenizer lacks a text each, so that equal answers are equal ids.

    No text is encoded to these: there are no merges that make them.
    """
    vocabulary = tokenizer["model"]["vocab"]
    taken = {*vocabulary.values(), *(token["id"] for token in tokenizer["added_tokens"])}
    vocabulary |= {f"Ġ{number}": number for number in range(size) if number not in taken}  # " 4711"


def load(checkpoint: Path) -> dict[str, Ask]:
    """Both sides, by name.

    Raises MeasurementError where they would not give the model the same.
    """
    from abstractllm import create_llm
    from mlx_vlm import generate
    from mlx_vlm.prompt_utils import apply_chat_template

    import loader.abstractllm  # noqa: F401  # registers the provider

    provider = create_llm("mlx-cards", model=str(checkpoint), card=MODEL, temperature=0.0)
    loaded = provider._ready().model  # nothing public hands out the backend's own objects
    model, processor = loaded._backend._model, loaded._backend._processor
    picture = _picture(loaded.card)
    prompt = str(apply_chat_template(processor, model.config, QUESTION, num_images=1))

    def ours(tokens: int) -> Answer:
        response = provider.generate(QUESTION, files=[picture], max_tokens=tokens).raw_response
        return Answer(response.prompt, response.prompt_tokens, response.completion_tokens, response.text)

    def upstream(tokens: int) -> Answer:
        made = generate(model, processor, prompt, image=[picture], max_tokens=tokens, temperature=0.0)
        return Answer(prompt, made.prompt_tokens, made.generation_tokens, made.text)

    prepared = loaded.prepare(QUESTION, [picture]).inputs.tensors
    check_tensors(prepared, _upstream_tensors(model, processor, prompt, picture))
    return {OURS: ours, UPSTREAM: upstream}


def _picture(card: Card) -> PIL.Image.Image:
    """A part of the photograph, at a size that stays as it is."""
    import PIL.Image
    from PIL import ImageOps

    import loader

    with PIL.Image.open(ORIGINAL) as photograph:
        picture = ImageOps.fit(ImageOps.exif_transpose(photograph), SIZE)
    plan = loader.plan_image(card, *picture.size)
    assert (plan.width, plan.height) == picture.size  # noqa: S101  # SIZE is chosen so
    return picture


def _upstream_tensors(model: Any, processor: Any, prompt: str, picture: PIL.Image.Image) -> Mapping[str, Any]:
    """What mlx_vlm.generate makes of its arguments (0.7.10, generate/dispatch.py)."""
    from mlx_vlm.utils import prepare_inputs, should_add_special_tokens

    added = should_add_special_tokens(model.config.model_type, processor)
    made: Mapping[str, Any] = prepare_inputs(
        processor, images=[picture], prompts=prompt, add_special_tokens=added
    )
    return made


def check_tensors(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """The same positions and, to the bit, the same pixels. Raises MeasurementError for others."""
    import mlx.core as mx

    for name in ("input_ids", "pixel_values"):
        if not mx.array_equal(ours[name], theirs[name]).item():
            raise MeasurementError(f"The two sides give the model different {name}: nothing can be compared.")


def serve(checkpoint: str, lengths: Sequence[int], pairs: int) -> None:
    """Print, for each number of tokens, the answers of both sides and the times of `pairs` of calls."""
    with contextlib.redirect_stdout(sys.stderr):  # backends print
        sides = load(Path(checkpoint))
        cases = [_case(sides, length, pairs) for length in lengths]
    print(json.dumps(cases))


def _case(sides: Mapping[str, Ask], length: int, pairs: int) -> dict[str, Any]:
    # Also the first call of each, which reads weights and fills caches.
    answers = {side: asdict(ask(length)) for side, ask in sides.items()}
    times: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
    for pair in range(pairs):
        # Who is second finds the caches of who was first.
        for side in SIDES if pair % 2 else reversed(SIDES):
            times[side].append(_timed(sides[side], length, answers[side]["text"]))
    kinds = ("seconds", "processor")
    rounds = {
        kind: {side: [pair[i] for pair in times[side]] for side in sides} for i, kind in enumerate(kinds)
    }
    return {"length": length, "answers": answers, **rounds}


def _timed(ask: Ask, length: int, text: str) -> tuple[float, float]:
    """Seconds on the clock, and of the processor, of a call that answers as before."""
    gc.collect()  # not the other side's garbage
    start, used = time.perf_counter(), time.process_time()
    answer = ask(length)
    taken = time.perf_counter() - start, time.process_time() - used
    if answer.text != text:
        raise MeasurementError(f"Another answer than before: {answer.text!r} instead of {text!r}.")
    return taken
