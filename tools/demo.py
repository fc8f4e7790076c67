"""The main job, shown with the real commands: card, plan, prompt, answer.

python -m tools.demo
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import click

ROOT = Path(__file__).parents[1]
CHECKPOINT = ".demo/qwen2.5-vl"
MODEL, PHOTO, QUESTION = "qwen2.5-vl-7b", "examples/dandelion.jpg", "What is in this picture?"

STEPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("What the card says about the model:", ("show", MODEL)),
    ("What the model will see of a 12-megapixel photo, within the card's budget:", ("plan", MODEL, PHOTO)),
    (
        "The same photo without a budget, as the model's own processor takes it:",
        ("plan", MODEL, PHOTO, "--detail", "full"),
    ),
    ("The exact prompt, still with nothing loaded:", ("prompt", MODEL, "-p", QUESTION, "-i", PHOTO)),
    (
        (
            "An answer. This checkpoint has random weights, so what it says is gibberish; on a Mac the same "
            f"command with a model's name, such as {MODEL}, answers for real."
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


if __name__ == "__main__":
    sys.exit(main())
