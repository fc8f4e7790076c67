"""What AbstractLLM's provider adds to a call: against mlx_vlm.generate with the same weights and picture.

Both sides are in one process and take turns (see calling). The model has the real dimensions of
SmolVLM-256M; with random weights it writes noise, and never stops by itself. A small model of the same
family, with the same processor and limits, shows what a call adds in milliseconds: the time of the large
one varies by more than that.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.bench.calling import MODEL, OURS, SIDES, SIZE, SMALL, UPSTREAM
from tools.bench.timing import MeasurementError, Report, measure
from tools.train_demo.blas import fast_blas

__all__ = ["figure", "measured", "report", "run"]

ROOT = Path(__file__).parents[2]
AIM = 0.02
"""How much longer than upstream's a call may take."""
LENGTHS = 8, 64
"""Tokens of the answer. Most of what a call adds is there once, whatever its length."""
REAL, SHRUNK = "256M", "small"
MORE = 10
"""Pairs of the small model for each pair that is asked for: its calls are a hundred times shorter."""
SAMPLES = 2000
"""Draws of as many pairs as there are, whose medians say how far chance may have moved the median."""
Case = Mapping[str, Any]
"""What calling.serve prints for one length of answer."""
Figures = Mapping[tuple[str, int], Mapping[str, Any]]
"""By model and length."""


def run(pairs: int) -> Report:
    """Measure `pairs` of calls in turn of each length, after a pair that is not counted."""
    with tempfile.TemporaryDirectory(prefix="mlx-cards-bench-") as scratch:
        environment = _environment()
        real, small = Path(scratch) / REAL, Path(scratch) / SHRUNK
        # In processes of their own: this one must stay small.
        code = f"from tools.bench.calling import build; build({str(real)!r})"
        measure([sys.executable, "-c", code], environment)
        measure([sys.executable, "-m", "tools.random_checkpoint", SMALL, str(small)], environment)
        figures = {
            **measured(SHRUNK, small, LENGTHS[:1], pairs * MORE, environment),
            **measured(REAL, real, LENGTHS, pairs, environment),
        }
    return report(figures)


def _environment() -> dict[str, str]:
    """The caller's, without network, and with a fast product of matrices for both sides.

    MLX's own on Linux takes minutes for a call, in which nothing that is added could be seen.
    """
    library = fast_blas() if sys.platform == "linux" else None
    preloaded = {} if library is None else {"LD_PRELOAD": str(library)}
    return os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"} | preloaded


def measured(
    name: str, checkpoint: Path, lengths: Sequence[int], pairs: int, environment: Mapping[str, str]
) -> Figures:
    """The figures of one model.

    Raises MeasurementError where the two sides did not do the same.
    """
    code = f"from tools.bench.calling import serve; serve({str(checkpoint)!r}, {tuple(lengths)!r}, {pairs})"
    cases: list[Case] = json.loads(measure([sys.executable, "-c", code], environment).output)
    return {(name, case["length"]): figure(name, case) for case in cases}


def figure(name: str, case: Case) -> dict[str, Any]:
    """Medians and spreads of one case; ratios and differences are taken within each pair.

    Raises MeasurementError where the two sides did not do the same.
    """
    _check(case)
    seconds, processor = case["seconds"], case["processor"]
    pairs = list(zip(seconds[OURS], seconds[UPSTREAM], strict=True))
    ratios = [ours / theirs for ours, theirs in pairs]
    used = [a / b for a, b in zip(processor[OURS], processor[UPSTREAM], strict=True)]
    return {
        "model": name,
        "length": case["length"],
        "prompt_tokens": case["answers"][OURS]["prompt_tokens"],
        "text": case["answers"][OURS]["text"],
        "pairs": len(pairs),
        "seconds": {side: statistics.median(seconds[side]) for side in SIDES},
        "ratio": _spread(ratios),
        "processor_ratio": _spread(used),
        "added": _spread([ours - theirs for ours, theirs in pairs]),
        "rounds": {"seconds": seconds, "processor": processor},
    }


def _check(case: Case) -> None:
    """The same prompt, as many tokens as were asked for, and the same answer."""
    ours, theirs = (case["answers"][side] for side in SIDES)
    if ours != theirs or ours["tokens"] != case["length"]:
        raise MeasurementError(
            f"The two sides did not do the same work for {case['length']} tokens, so their times mean "
            f"nothing.\n{OURS}: {ours}\n{UPSTREAM}: {theirs}"
        )


def _spread(values: Sequence[float]) -> dict[str, float]:
    """The median, the middle half of the values, and where the median is with a chance of 95 %."""
    drawn = random.Random(0)  # noqa: S311  # no secret
    medians = [statistics.median(drawn.choices(values, k=len(values))) for _ in range(SAMPLES)]
    fortieths = statistics.quantiles(medians, n=40)
    quarters = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [*values] * 3
    return {
        "median": statistics.median(values),
        "lower": quarters[0],
        "upper": quarters[-1],
        "low": fortieths[0],
        "high": fortieths[-1],
    }


def report(figures: Figures) -> Report:
    """What `measured` found, beside what the project aims at."""
    heading = ("", "prompt", "pairs", *SIDES, "added", "longer", "middle half", "CPU time")
    rows = [heading, *(_row(found) for found in figures.values())]
    title = (
        f"a call of the provider against mlx_vlm.generate, with a picture of {SIZE[0]}x{SIZE[1]} "
        f"({REAL} has the dimensions of {MODEL})"
    )
    lines = [_conclusion(found) for found in figures.values()]
    data = {"aim": AIM, "figures": [dict(found) for found in figures.values()]}
    return Report(title, tuple(rows), "\n".join(lines), data)


def _row(found: Mapping[str, Any]) -> tuple[str, ...]:
    ratio = found["ratio"]
    return (
        f"{found['model']}, {found['length']} tokens",
        f"{found['prompt_tokens']}",
        f"{found['pairs']}",
        *(f"{found['seconds'][side]:.3f} s" for side in SIDES),
        f"{found['added']['median'] * 1000:+.1f} ms",
        _percent(ratio["median"]),
        f"{_percent(ratio['lower'])} to {_percent(ratio['upper'])}",
        _percent(found["processor_ratio"]["median"]),
    )


def _conclusion(found: Mapping[str, Any]) -> str:
    """The small model has no aim in parts of its time, which is next to nothing."""
    what = f"{found['model']}, {found['length']} tokens"
    if found["model"] != REAL:
        added = found["added"]
        return (
            f"{what}: a call takes {added['median'] * 1000:+.1f} ms (median of {found['pairs']} pairs; with "
            f"a chance of 95 % {added['low'] * 1000:+.1f} to {added['high'] * 1000:+.1f})"
        )
    ratio = found["ratio"]
    return (
        f"{what}: a call takes {_percent(ratio['median'])} (median of {found['pairs']} pairs; with a chance "
        f"of 95 % {_percent(ratio['low'])} to {_percent(ratio['high'])}); "
        f"the aim is at most {AIM:+.0%}: {_verdict(ratio)}"
    )


def _verdict(ratio: Mapping[str, float]) -> str:
    """Said only where chance does not decide: other programs move a pair by more than what is looked for."""
    if ratio["high"] <= 1 + AIM:
        return "met"
    return "missed" if ratio["low"] > 1 + AIM else "open, with so few pairs or so busy a machine"


def _percent(ratio: float) -> str:
    """How much longer, of a ratio."""
    return f"{ratio - 1:+.1%}"
