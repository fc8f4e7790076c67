"""The command `mlx-cards`: one module for each subcommand.

Exit codes: 0 done, 1 findings or a refused request, 2 wrong usage, 3 a bug of this project.
"""

from __future__ import annotations

import os
import sys

import click

from loader.cli.check import check
from loader.cli.common import printable
from loader.cli.doctor import doctor
from loader.cli.fit import fit
from loader.cli.list_models import list_models
from loader.cli.new import new
from loader.cli.plan import plan
from loader.cli.prompt import prompt
from loader.cli.run import run
from loader.cli.show import show
from loader.cli.validate import validate
from loader.errors import MLXCardsError

__all__ = ["cli", "main"]

BUG = 3
INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="mlx-cards", prog_name="mlx-cards")
def cli() -> None:
    """Vision-language models on MLX: know the prompt, the pixels and the tokens before you load.

    \b
    mlx-cards list
    mlx-cards show qwen2.5-vl-32b
    mlx-cards fit --device m4-pro-24gb
    mlx-cards plan qwen2.5-vl-32b photo.jpg 1920x1080
    mlx-cards prompt qwen2.5-vl-32b -p "What is this?" -i photo.jpg
    mlx-cards run qwen2.5-vl-7b -p "What is this?" -i photo.jpg
    mlx-cards check qwen2.5-vl-7b
    mlx-cards doctor
    mlx-cards new ./my-checkpoint
    mlx-cards validate my-cards/acme.yaml
    """


for _command in (list_models, show, fit, plan, prompt, run, new, validate, check, doctor):
    cli.add_command(_command)


def main() -> None:
    """Entry point: no traceback for a user's mistake."""
    try:
        cli.main(prog_name="mlx-cards", standalone_mode=False)
    except MLXCardsError as error:
        _stop(f"error: {error}", 1)
    except click.exceptions.Abort:
        _stop("interrupted", INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Exception as error:
        if os.environ.get("MLX_CARDS_DEBUG"):
            raise
        _stop(
            f"This is a bug in mlx-cards: {type(error).__name__}: {error}\n"
            "Run it again with MLX_CARDS_DEBUG=1 and report what it prints.",
            BUG,
        )


def _stop(message: str, code: int) -> None:
    click.echo(printable(message), err=True)
    sys.exit(code)
