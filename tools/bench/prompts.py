"""A conversation becomes a prompt: a card's grammar against Jinja and against mlx-vlm, call by call.

All in one process, where everything is imported, loaded, compiled and has run before: what is left is
the work itself. The templates are those of the random checkpoints, which are shorter than the released
ones; Jinja has less to do here than it has there.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import timeit
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.bench.timing import MeasurementError, Report, measure

__all__ = ["run"]

ROOT = Path(__file__).parents[2]
CHECKPOINTS = {"qwen2.5-vl": "qwen2.5-vl", "gemma3": "gemma3", "smolvlm": "smolvlm-384"}
"""Card -> the random checkpoint with its processor and template."""
OURS, JINJA, UPSTREAM = SIDES = ("mlx-cards", "cached jinja", "mlx-vlm")
AIMS = {JINJA: 3.0, UPSTREAM: 5.0}
ROUNDS = 25
"""Rounds for each pair that is asked for: the work takes microseconds, not seconds."""
CALLS = 40
"""Calls of each side in one round."""
MESSAGES: list[dict[str, Any]] = [
    {
        "role": "user",
        "content": [
            {"type": "image"},
            {"type": "text", "text": "What is in this picture? Answer in one sentence."},
        ],
    },
    {
        "role": "assistant",
        "content": [{"type": "text", "text": "Two boats on a lake, and a mountain behind them."}],
    },
    {
        "role": "user",
        "content": [
            {"type": "image"},
            {"type": "text", "text": "And what has changed in this one? List the differences."},
        ],
    },
]
IMAGES = 2


def run(pairs: int) -> Report:
    """Measure `pairs` times ROUNDS rounds of all sides in turn, for each family."""
    measured = {}
    with tempfile.TemporaryDirectory(prefix="mlx-cards-bench-") as scratch:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
        for family, checkpoint in CHECKPOINTS.items():
            folder = str(Path(scratch) / checkpoint)
            measure([sys.executable, "-m", "tools.random_checkpoint", checkpoint, folder], environment)
            child = f"from tools.bench.prompts import child; child({family!r}, {folder!r}, {pairs * ROUNDS})"
            measured[family] = json.loads(measure([sys.executable, "-c", child], environment).output)
    return _report({family: _figures(**result) for family, result in measured.items()}, pairs * ROUNDS)


def child(family: str, checkpoint: str, rounds: int) -> None:
    """Print what each side wrote, and its microseconds a call in every round. Imports everything."""
    calls = _calls(family, checkpoint)
    # Also the first run of each side, which compiles and fills caches.
    texts = {side: call() for side, call in calls.items()}
    timers = {side: timeit.Timer(call) for side, call in calls.items()}
    times: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side, timer in timers.items():
            times[side].append(timer.timeit(CALLS) / CALLS * 1e6)
    print(json.dumps({"texts": texts, "times": times}))


def _calls(family: str, checkpoint: str) -> dict[str, Callable[[], str]]:
    import importlib

    from mlx_vlm.prompt_utils import apply_chat_template
    from mlx_vlm.utils import load_config, load_processor
    from transformers.utils.chat_template_utils import render_jinja_template

    import loader
    import registry

    card, render = registry.card(family), loader.render
    config = load_config(Path(checkpoint))
    importlib.import_module(f"mlx_vlm.models.{config['model_type']}")  # it registers the processor
    processor = load_processor(Path(checkpoint), add_detokenizer=False, trust_remote_code=False)
    tokens = processor.tokenizer.special_tokens_map
    template = processor.chat_template or processor.tokenizer.chat_template  # as mlx-vlm looks for it

    def ours() -> str:
        return render(card, MESSAGES).text

    def jinja() -> str:  # the call that is inside apply_chat_template, with what that passes
        texts, _ = render_jinja_template(
            [MESSAGES], chat_template=template, add_generation_prompt=True, **tokens
        )
        return str(texts[0])

    def upstream() -> str:
        return str(apply_chat_template(processor, config, MESSAGES, num_images=IMAGES))

    return {OURS: ours, JINJA: jinja, UPSTREAM: upstream}


def _figures(texts: Mapping[str, str], times: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Medians, and how many times faster ours is: the ratio is taken within each round.

    Raises MeasurementError if the template and the card do not write the same prompt.
    """
    if texts[OURS] != texts[JINJA]:
        raise MeasurementError(
            "The card and the template disagree, so their times mean nothing.\n"
            f"{OURS}: {texts[OURS]!r}\n{JINJA}: {texts[JINJA]!r}"
        )
    return {
        "microseconds": {side: statistics.median(times[side]) for side in SIDES},
        "ratios": {side: _spread(times[OURS], times[side]) for side in (JINJA, UPSTREAM)},
        "differs": None if texts[UPSTREAM] == texts[OURS] else texts[UPSTREAM],
    }


def _spread(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """The ratio over the rounds; `low` to `high` are nine rounds of ten."""
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    twentieths = statistics.quantiles(ratios, n=20)
    return {
        "median": statistics.median(ratios),
        "low": twentieths[0],
        "high": twentieths[-1],
        "min": min(ratios),
        "max": max(ratios),
    }


def _report(figures: Mapping[str, Any], rounds: int) -> Report:
    rows: list[tuple[str, ...]] = [("", *SIDES, f"to {JINJA}", f"to {UPSTREAM}")]
    for family, figure in figures.items():
        medians = [f"{figure['microseconds'][side]:.0f} us" for side in SIDES]
        ratios = [
            f"{ratio['median']:.1f}x ({ratio['low']:.1f} to {ratio['high']:.1f})"
            for ratio in figure["ratios"].values()
        ]
        rows.append((family, *medians, *ratios))
    data = {"rounds": rounds, "calls": CALLS, "aims": AIMS, "families": dict(figures)}
    title = f"a conversation of {len(MESSAGES)} turns and {IMAGES} images to its prompt, in one process"
    return Report(title, tuple(rows), "\n".join([*_conclusions(figures, rounds), *_notes(figures)]), data)


def _conclusions(figures: Mapping[str, Any], rounds: int) -> list[str]:
    lines = []
    for side, aim in AIMS.items():
        ratios = [figure["ratios"][side]["median"] for figure in figures.values()]
        lines.append(
            f"{OURS} is {min(ratios):.1f} to {max(ratios):.1f} times faster than {side} "
            f"(medians of {rounds} rounds, in brackets nine rounds of ten); the aim is at least {aim:g} times"
        )
    return lines


def _notes(figures: Mapping[str, Any]) -> list[str]:
    """Where mlx-vlm, which rewrites messages before the template sees them, makes another prompt."""
    return [
        f"{family}: {UPSTREAM} writes another prompt: {figure['differs']!r}"
        for family, figure in figures.items()
        if figure["differs"] is not None
    ]
