"""A photograph on the disk becomes a model's tensors: here by default and in full detail, and in mlx-vlm.

Each side is a process of its own for each model and photograph, and the sides take turns (see preparing).
Time is a call's, without imports and loading. Memory is what the process held at most, in all and above what
it held before the first photograph, when everything was imported and loaded. The checkpoints have random
weights, and the image settings of the released models.

PSNR is that of the picture at the model's size, made from as few pixels of the JPEG as the plan takes,
against the one that is made from all of them, as with `exact=True`.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.bench.photographs import PHOTOGRAPHS
from tools.bench.timing import MeasurementError, Report, measure

__all__ = ["measured", "report", "run"]

ROOT = Path(__file__).parents[2]
CHECKPOINTS = {
    "qwen2.5-vl": "qwen2.5-vl",
    "gemma3": "gemma3",
    "smolvlm": "smolvlm-384",
    "internvl3-8b": "internvl-chat",
    "mistral3": "mistral3",
}
"""Model -> the random checkpoint with its processor."""
DEFAULT, FULL, UPSTREAM = SIDES = ("default", "full", "mlx-vlm")
"""As in preparing.SIDES; `full` makes images as large as mlx-vlm does."""
TIMES = "seconds", "processor"
"""On the clock, and of the processor: the second counts no other program on the machine."""
PHONE, LARGEST = "12 MP JPEG", "108 MP JPEG"
BUDGETED = "qwen2.5-vl"
"""The model whose default is fewer tokens than upstream's."""
Answer = dict[str, Any]
"""What preparing.serve prints for a run."""
Figures = Mapping[tuple[str, str], Mapping[str, Any]]
"""By model and photograph."""


def run(pairs: int) -> Report:
    """Measure every model with every photograph, `pairs` times each side."""
    return report(measured(CHECKPOINTS, tuple(PHOTOGRAPHS), pairs), pairs)


def report(figures: Figures, rounds: int) -> Report:
    """What `measured` found, beside what the project aims at."""
    data = {"rounds": rounds, "figures": [dict(figure) for figure in figures.values()]}
    title = "a photograph on the disk to a model's tensors, by default / in full detail / in mlx-vlm"
    return Report(title, _rows(figures), "\n".join(_conclusions(figures, rounds)), data)


def measured(models: Mapping[str, str], photographs: Sequence[str], rounds: int) -> Figures:
    """The figures of each model with each photograph."""
    figures = {}
    with tempfile.TemporaryDirectory(prefix="mlx-cards-bench-") as scratch:
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "HF_HUB_OFFLINE": "1",
            "PYTHONWARNINGS": "ignore",  # Pillow warns of 108 megapixels
        }
        for photograph in photographs:  # in processes of their own: this one must stay small
            code = f"from tools.bench.photographs import write; write({photograph!r}, Path({scratch!r}))"
            measure([sys.executable, "-c", f"from pathlib import Path; {code}"], environment)
        for model, checkpoint in models.items():
            folder = str(Path(scratch) / checkpoint)
            measure([sys.executable, "-m", "tools.random_checkpoint", checkpoint, folder], environment)
            for photograph in photographs:
                path = str(Path(scratch) / PHOTOGRAPHS[photograph][0])
                sides = _sides((model, folder, path), rounds, environment)
                _check(model, photograph, sides)
                code = f"from tools.bench.preparing import quality; quality({model!r}, {path!r})"
                psnr = json.loads(measure([sys.executable, "-c", code], environment).output)
                named = {"model": model, "photograph": photograph}
                figures[model, photograph] = named | _figure(sides, psnr)
    return figures


def _sides(
    arguments: tuple[str, str, str], rounds: int, environment: Mapping[str, str]
) -> dict[str, list[Answer]]:
    """What each side answered in turn, and in a first round that _figure uses for memory alone."""
    answers: dict[str, list[Answer]] = {side: [] for side in SIDES}
    with contextlib.ExitStack() as stack:
        ask = {side: stack.enter_context(_serving((side, *arguments), environment)) for side in SIDES}
        for _ in range(rounds + 1):
            for side in SIDES:
                answers[side].append(ask[side]())
    return answers


@contextlib.contextmanager
def _serving(arguments: tuple[str, ...], environment: Mapping[str, str]) -> Iterator[Callable[[], Answer]]:
    """preparing.serve in a process of its own; each call has it prepare the photograph once."""
    code = f"from tools.bench.preparing import serve; serve{arguments!r}"
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as errors,
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        assert process.stdin is not None  # noqa: S101  # pipes were asked for
        assert process.stdout is not None  # noqa: S101
        requests, answers = process.stdin, process.stdout

        def read() -> Answer:
            if line := answers.readline():
                answer: Answer = json.loads(line)
                return answer
            process.wait()
            errors.seek(0)
            raise MeasurementError(f"A measured program failed:\n{errors.read().strip()}")

        before = read()["before"]

        def ask() -> Answer:
            with contextlib.suppress(BrokenPipeError):  # then `read` says what happened
                requests.write("\n")
                requests.flush()
            answer = read()
            return answer | {"growth": answer["peak"] - before}

        yield ask


def _check(model: str, photograph: str, sides: Mapping[str, Sequence[Answer]]) -> None:
    """In full detail, both gave the model as many pixels and as many tokens."""
    full, upstream = ([sides[side][0][key] for key in ("shape", "tokens")] for side in (FULL, UPSTREAM))
    if full != upstream:
        raise MeasurementError(
            f"The two sides disagree about {model} and {photograph}, so their times mean nothing.\n"
            f"mlx-cards, in full detail: {full}\n{UPSTREAM}: {upstream}"
        )


def _figure(sides: Mapping[str, Sequence[Answer]], psnr: float | None) -> dict[str, Any]:
    """Medians of times, with ratios taken within each round; peaks over all rounds."""
    times = {
        kind: {side: [answer[kind] for answer in answers[1:]] for side, answers in sides.items()}
        for kind in TIMES
    }
    growth = {side: max(answer["growth"] for answer in answers) for side, answers in sides.items()}
    return {
        "tokens": {side: answers[0]["tokens"] for side, answers in sides.items()},
        "times": times,
        **{kind: {side: statistics.median(rounds) for side, rounds in times[kind].items()} for kind in TIMES},
        **{f"{kind}_ratio": _times_less(times[kind]) for kind in TIMES},
        "peak": {side: max(answer["peak"] for answer in answers) for side, answers in sides.items()},
        "growth": growth,
        "growth_ratio": {side: growth[UPSTREAM] / growth[side] for side in (DEFAULT, FULL)},
        "psnr": psnr,
    }


def _times_less(times: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {
        side: statistics.median(b / a for a, b in zip(times[side], times[UPSTREAM], strict=True))
        for side in (DEFAULT, FULL)
    }


def _rows(figures: Figures) -> tuple[tuple[str, ...], ...]:
    heading = ("", "tokens", "seconds", "times faster", "less CPU time", "MB more", "MB in all", "times less")
    rows = [(*heading, "PSNR")]
    for (model, photograph), figure in figures.items():
        rows.append(
            (
                f"{model}, {photograph}",
                _triple(figure["tokens"], "{:,}"),
                _triple(figure["seconds"], "{:.2f}"),
                _triple(figure["seconds_ratio"], "{:.1f}"),
                _triple(figure["processor_ratio"], "{:.1f}"),
                _triple({side: size / 1e6 for side, size in figure["growth"].items()}, "{:,.0f}"),
                _triple({side: size / 1e6 for side, size in figure["peak"].items()}, "{:,.0f}"),
                _triple(figure["growth_ratio"], "{:.1f}"),
                "the same" if figure["psnr"] is None else f"{figure['psnr']:.1f} dB",
            )
        )
    return tuple(rows)


def _triple(values: Mapping[str, float], form: str) -> str:
    """By default / in full detail / mlx-vlm; of ratios to mlx-vlm there are two."""
    return " / ".join(form.format(values[side]) for side in SIDES if side in values)


def _conclusions(figures: Figures, rounds: int) -> list[str]:
    phone = {key: figure for key, figure in figures.items() if key == (BUDGETED, PHONE)}
    largest = {key: figure for key, figure in figures.items() if key[1] == LARGEST}
    qualities = {key: figure["psnr"] for key, figure in figures.items() if figure["psnr"] is not None}
    aims = (
        (f"{BUDGETED}, {PHONE}, times faster", _ratios(phone, "seconds"), 8),
        (f"{BUDGETED}, {PHONE}, times less CPU time", _ratios(phone, "processor"), 8),
        (f"{BUDGETED}, {PHONE}, times less memory", _ratios(phone, "growth"), 5),
        (f"{LARGEST}, times faster", _ratios(largest, "seconds"), 8),
        (f"{LARGEST}, times less CPU time", _ratios(largest, "processor"), 8),
        (f"{LARGEST}, times less memory", _ratios(largest, "growth"), 8),
        ("in full detail, times faster", _ratios(figures, "seconds", FULL), 1),
        ("in full detail, times less CPU time", _ratios(figures, "processor", FULL), 1),
        ("PSNR", qualities, 40),
    )
    lines = [_aim(what, values, aim) for what, values, aim in aims if values]
    return [f"times are medians of {rounds} rounds; memory is the most in any round", *lines]


def _ratios(figures: Figures, kind: str, side: str = DEFAULT) -> dict[tuple[str, str], float]:
    return {key: figure[f"{kind}_ratio"][side] for key, figure in figures.items()}


def _aim(what: str, values: Mapping[tuple[str, str], float], aim: float) -> str:
    """Where an aim is missed, the line names what missed it."""
    missed = [f"{model}, {photograph}" for (model, photograph), value in values.items() if value < aim]
    low, high = min(values.values()), max(values.values())
    found = f"{low:.2f} to {high:.2f}" if len(values) > 1 else f"{low:.2f}"
    verdict = f"missed by {'; '.join(missed)}" if missed else "met"
    return f"{what}: {found}; the aim is {aim:g} or more: {verdict}"
