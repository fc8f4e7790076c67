"""The command, run in this process."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import pytest

from loader.cli import main


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str


def mlx_cards(*arguments: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Result:
    """Run `mlx-cards` with these arguments."""
    monkeypatch.setattr(sys, "argv", ["mlx-cards", *arguments])
    code = 0
    try:
        main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    captured = capsys.readouterr()
    return Result(code, captured.out, captured.err)
