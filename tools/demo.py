"""The main job, shown with the real commands: card, plan, prompt, answers.

python -m tools.demo
"""

from __future__ import annotations

import os
import random
import shlex
import subprocess
import sys
from pathlib import Path

import click
from PIL.Image import Transpose

from tools.train_demo.drawings import Drawing, draw

ROOT = Path(__file__).parents[1]
FOLDER = ".demo"
CHECKPOINT = f"{FOLDER}/qwen2.5-vl"
MODEL, PHOTO, QUESTION = "qwen2.5-vl-7b", "examples/dandelion.jpg", "What is in this picture?"
SMALL, LARGE = f"{FOLDER}/small.png", f"{FOLDER}/large.jpg"
SMALL_SIDE, LARGE_SIDE = (300, 300), (4000, 4000)
TURNED_LEFT, ORIENTATION = 6, 0x112
"""What a phone that was held upright writes into its pictures, and under which tag (EXIF)."""

STEPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("What the card says about the model:", ("show", MODEL)),
    ("What the model will see of a 12-megapixel photo, within the card's budget:", ("plan", MODEL, PHOTO)),
    (
        "The same photo without a budget, as the model's own processor takes it:",
        ("plan", MODEL, PHOTO, "--detail", "full"),
    ),
    ("The exact prompt, still with nothing loaded:", ("prompt", MODEL, "-p", QUESTION, "-i", PHOTO)),
    (
        "An answer. The demo model, which comes with the package, knows shapes and nothing else:",
        ("run", "demo", "-p", "What is in this image?", "-i", SMALL),
    ),
    (
        "A drawing of 15 megapixels, stored lying down as phones store their photos:",
        ("run", "demo", "-p", "Where is it?", "-i", LARGE),
    ),
    (
        "Two images, in order:",
        ("run", "demo", "-p", "What is in the second image?", "-i", SMALL, "-i", LARGE),
    ),
    (
        (
            "The 12-megapixel photo through a model of the real architecture. Its weights are random, so "
            f"what it says is gibberish; on a Mac the same command with a model's name, such as {MODEL}, "
            "answers for real."
        ),
        ("run", CHECKPOINT, "-p", QUESTION, "-i", PHOTO, "--max-tokens", "24"),
    ),
)
"""A line for the reader and the arguments of `mlx-cards`."""


def main() -> int:
    """Run every step; the exit code of the first one that fails."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    if not (ROOT / CHECKPOINT / "config.json").exists():
        click.echo(f"Building a small checkpoint with random weights in {CHECKPOINT}, this once ...\n")
        sys.stdout.flush()
        build = [sys.executable, "-m", "tools.random_checkpoint", "qwen2.5-vl", CHECKPOINT]
        # Its output is the folder, which has just been named; what goes wrong is on standard error.
        made = subprocess.run(build, cwd=ROOT, env=environment, check=False, stdout=subprocess.DEVNULL)
        if made.returncode:
            return made.returncode
    pictures()
    for number, (line, arguments) in enumerate(STEPS):
        if number:
            click.echo()
        click.echo(line)
        click.secho(f"$ {shlex.join(('mlx-cards', *arguments))}", bold=True)
        # The child writes to the same terminal: what was said before it must be there first.
        sys.stdout.flush()
        command = [sys.executable, "-m", "loader.cli", *arguments]
        if code := subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode:
            return code
    return 0


def pictures(root: Path = ROOT) -> tuple[Drawing, Drawing]:
    """Write a small drawing and a large one, which is stored turned; both as they are to be seen."""
    source = random.Random(9)  # noqa: S311  # nothing is kept secret with it
    small = draw(source, sides=SMALL_SIDE)
    large = draw(source, sides=LARGE_SIDE, at_side=True)
    (root / FOLDER).mkdir(exist_ok=True)
    small.image.save(root / SMALL)
    stored = large.image.transpose(Transpose.ROTATE_90)
    exif = stored.getexif()
    exif[ORIENTATION] = TURNED_LEFT
    stored.save(root / LARGE, quality=90, exif=exif)
    return small, large


if __name__ == "__main__":
    sys.exit(main())
