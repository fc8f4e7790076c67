"""The command `mlx-cards`: one module for each subcommand.

Exit codes: 0 done, 1 findings or a refused request, 2 wrong usage, 3 a bug of this project.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from typing import Any, NoReturn

import click

from loader.cli.common import printable
from loader.errors import MLXCardsError

__all__ = ["cli", "main"]

BUG = 3
INTERRUPTED = 130
UNREAD = 141
"""Who read the output has gone, as `head` does. As if SIGPIPE had ended the program."""
_MACHINES = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE})
"""A full or broken disk, or too many open files: no bug of this project, wherever it happens."""
_UTF8 = "Set PYTHONUTF8=1, or ask for --json."


COMMANDS = {
    "check": "check",
    "doctor": "doctor",
    "fit": "fit",
    "list": "list_models",
    "new": "new",
    "plan": "plan",
    "prompt": "prompt",
    "run": "run",
    "schema": "schema",
    "show": "show",
    "validate": "validate",
}
"""Each subcommand with its module, and the function in it."""


class _Commands(click.Group):
    """Imports the module of the subcommand that runs: most of them import more than they take."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        name = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(f"loader.cli.{name}"), name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise _UnreadError from None  # click would end with the code that findings have


class _UnreadError(Exception):
    """Nobody reads the output any more."""


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
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


def main() -> None:
    """Entry point: no traceback for a user's mistake, or the machine's."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    try:
        cli.main(prog_name="mlx-cards", standalone_mode=False, color=False if plain else None)
    except _UnreadError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is written at the end
        sys.exit(UNREAD)
    except MLXCardsError as error:
        _stop(f"error: {error}", 1)
    except click.exceptions.Abort:
        _stop("interrupted", INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except UnicodeEncodeError as error:
        _stop(f"error: The output is written as {error.encoding}, which lacks a character. {_UTF8}", 1)
    except Exception as error:
        if os.environ.get("MLX_CARDS_DEBUG"):
            raise
        if isinstance(error, OSError) and error.errno in _MACHINES:
            where = f" ({error.filename})" if error.filename else ""
            _stop(f"error: {error.strerror}{where}. Mend that, and run it again.", 1)
        _stop(
            f"This is a bug in mlx-cards: {type(error).__name__}: {error}\n"
            "Run it again with MLX_CARDS_DEBUG=1 and report what it prints.",
            BUG,
        )


def _stop(message: str, code: int) -> NoReturn:
    click.echo(printable(message), err=True)
    sys.exit(code)
