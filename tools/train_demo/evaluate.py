"""How often the demo model is right about drawings that it has not seen.

    python -m tools.train_demo.evaluate                        # the package's own, 500 questions of each kind
    python -m tools.train_demo.evaluate --checkpoint FOLDER    # another one

Every question goes the whole way of `registry.load("demo").generate`, with files as they are saved.
"""

from __future__ import annotations

import argparse
import io
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import registry
from tools.train_demo.conversations import WHAT, WHERE, nth
from tools.train_demo.drawings import Drawing, draw

if TYPE_CHECKING:
    from loader.model import VisionModel

__all__ = ["KINDS", "Question", "ask", "main", "questions", "saved"]

SEED = 7_000_001
"""Far from the seeds of training."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question, its images as files, and the only right answer."""

    text: str
    images: tuple[bytes, ...]
    answer: str


def what(source: random.Random) -> Question:
    """What a drawing shows."""
    drawing = draw(source)
    return Question(WHAT[0], (saved(drawing, source),), drawing.what)


def where(source: random.Random) -> Question:
    """At which side the shape is."""
    drawing = draw(source, at_side=True)
    while drawing.side is None:
        drawing = draw(source, at_side=True)
    return Question(WHERE, (saved(drawing, source),), drawing.side)


def first(source: random.Random) -> Question:
    """What the first of two drawings shows."""
    return _of_two(source, 0)


def second(source: random.Random) -> Question:
    """What the second of two drawings shows."""
    return _of_two(source, 1)


KINDS: dict[str, Callable[[random.Random], Question]] = {
    "what": what,
    "where": where,
    "first": first,
    "second": second,
}


def _of_two(source: random.Random, number: int) -> Question:
    """Two drawings that are called differently: otherwise no answer would show that the order was seen."""
    drawings = draw(source), draw(source)
    while drawings[0].what == drawings[1].what:
        drawings = drawings[0], draw(source)
    images = tuple(saved(drawing, source) for drawing in drawings)
    return Question(nth(number), images, drawings[number].what)


def saved(drawing: Drawing, source: random.Random) -> bytes:
    """A drawing as a PNG or JPEG file."""
    file = io.BytesIO()
    if source.random() < 0.5:
        drawing.image.save(file, "PNG", compress_level=1)
    else:
        drawing.image.save(file, "JPEG", quality=source.randint(70, 95))
    return file.getvalue()


def questions(kind: str, number: int) -> Iterator[Question]:
    """The same ones each time."""
    source = random.Random(f"{SEED} {kind}")  # noqa: S311  # nothing is kept secret with it
    for _ in range(number):
        yield KINDS[kind](source)


def ask(model: VisionModel, question: Question) -> str:
    """The model's answer."""
    return model.generate(question.text, images=list(question.images), max_tokens=12).text


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask, and print the share of right answers of each kind."""
    parser = argparse.ArgumentParser(prog="python -m tools.train_demo.evaluate", description=main.__doc__)
    parser.add_argument("--checkpoint", type=Path, help="a folder (default: the one in the package)")
    parser.add_argument("--number", type=int, default=500, help="questions of each kind (default 500)")
    parser.add_argument("--wrong", action="store_true", help="print every wrong answer")
    options = parser.parse_args(arguments)
    if options.checkpoint is None:
        model = registry.load("demo")
    else:
        model = registry.load(options.checkpoint, card="demo", strict=True)
    for kind in KINDS:
        right = 0
        for question in questions(kind, options.number):
            answer = ask(model, question)
            right += answer == question.answer
            if options.wrong and answer != question.answer:
                print(f"  {question.text} {question.answer!r} was asked for, {answer!r} answered")
        print(f"{kind:8}{right / options.number:.1%} of {options.number}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
