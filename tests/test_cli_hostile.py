"""The command where things are not as they should be: no reader, no room, no home, another encoding."""

from __future__ import annotations

import functools
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command import Result, mlx_cards
from tests.conftest import ROOT
from tests.private_cards import changed, put

Run = Callable[..., Result]
FULL = Path("/dev/full")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return functools.partial(mlx_cards, capsys=capsys, monkeypatch=monkeypatch)


@pytest.fixture
def odd_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory with files that are not what they are called."""
    monkeypatch.chdir(tmp_path)
    Path("binary.json").write_bytes(b"\x9f\xff")
    Path("deep.json").write_text("[" * 100_000, encoding="utf-8")


def command(arguments: str, **environment: str | None) -> subprocess.Popen[bytes]:
    """The command in a process of its own; a variable that is None is not set."""
    given = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.Popen(  # noqa: S603  # this interpreter
        [sys.executable, "-m", "loader.cli", *arguments.split()],
        env={name: value for name, value in given.items() if value is not None},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def ended(process: subprocess.Popen[bytes]) -> Result:
    out, err = process.communicate(timeout=60)
    return Result(process.returncode, out.decode(errors="surrogateescape"), err.decode())


@pytest.mark.parametrize("unbuffered", ["1", None])
@pytest.mark.parametrize("arguments", ["list", "prompt demo -p x", "schema", "validate --format json"])
def test_output_that_nobody_reads_ends_the_command_quietly_as_a_signal_would(
    arguments: str, unbuffered: str | None
) -> None:
    process = command(arguments, PYTHONUNBUFFERED=unbuffered)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    said = process.stderr.read().decode()
    assert process.wait() == 141
    assert "Error" not in said
    assert "bug" not in said


def redirected(arguments: str, where: str) -> subprocess.CompletedProcess[str]:
    """The command with its standard output where the shell leads it."""
    return subprocess.run(  # noqa: S602
        f"{sys.executable} -m loader.cli {arguments} {where}",
        shell=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(not FULL.exists(), reason="a disk that is always full is Linux's")
@pytest.mark.parametrize("arguments", ["list", "show demo", "prompt demo -p x", "fit --json", "schema"])
def test_a_full_disk_is_no_bug(arguments: str) -> None:
    done = redirected(arguments, f"> {FULL}")
    assert done.returncode == 1
    assert "error: No space left on device. Mend that, and run it again." in done.stderr


@pytest.mark.parametrize("arguments", ["list", "prompt demo -p x", "doctor --json"])
def test_without_a_standard_output_the_command_does_its_work(arguments: str) -> None:
    done = redirected(arguments, ">&-")
    assert done.returncode == 0, done.stderr


def test_an_interrupt_ends_with_130_and_no_traceback() -> None:
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "loader.cli", "prompt", "demo", "--messages", "/dev/stdin"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with pytest.raises(subprocess.TimeoutExpired):  # it waits for the conversation
        process.wait(timeout=3)
    process.send_signal(signal.SIGINT)
    result = ended(process)
    assert result.code in (130, -signal.SIGINT)  # the shell says 130 of both
    assert result.err.strip() == "interrupted"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_another_encoding_loses_nothing_unsaid(encoding: str, tmp_path: Path) -> None:
    put(tmp_path, acme=changed("<u>", "<\uff5cUser\uff5c>", "acme"))
    own = {"MLX_CARDS_PATH": str(tmp_path), "PYTHONIOENCODING": encoding}
    raw = ended(command("prompt acme-3b -p x", **own))
    assert raw.code == 0
    assert "<\uff5cUser\uff5c>" in raw.out
    data = ended(command("prompt acme-3b -p x --json", **own))
    assert json.loads(data.out)["prompt"] == raw.out
    if encoding == "ascii":  # which click takes for a mistake, and writes UTF-8
        return
    table = ended(command("show acme-3b --resolved", **own))
    assert table.code == 1
    assert "which lacks a character. Set PYTHONUTF8=1, or ask for --json." in table.err


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colours_are_for_terminals_that_want_them(environment: dict[str, str], coloured: bool) -> None:
    wanted = {"NO_COLOR": None, "TERM": "xterm", "PYTHONPATH": str(ROOT), **environment}
    given = {name: value for name, value in (os.environ | wanted).items() if value is not None}
    process, terminal = pty.fork()
    if process == 0:
        os.execve(sys.executable, [sys.executable, "-m", "loader.cli", "list", "demo"], given)  # noqa: S606
    written = b""
    try:
        while part := os.read(terminal, 1000):
            written += part
    except OSError:  # how Linux says that the other end is closed
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    assert b"demo" in written
    assert (b"\x1b[" in written) == coloured


@pytest.mark.parametrize("home", [None, "", "/nowhere", "/dev/null", "/proc/nowhere"])
@pytest.mark.parametrize(
    "arguments", ["list", "show demo", "plan demo 64x64", "run demo -p x --max-tokens 1"]
)
def test_a_home_that_cannot_be_written_to_keeps_nothing_from_working(
    arguments: str, home: str | None
) -> None:
    unset = dict.fromkeys(("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "HF_HOME"))
    result = ended(command(arguments, HOME=home, **unset))
    assert result.code == 0, result.err


@pytest.mark.parametrize("columns", ["0", "1", "40"])
def test_a_narrow_terminal_cuts_no_name(columns: str) -> None:
    assert "qwen3-vl-235b-a22b-thinking " in ended(command("list", COLUMNS=columns)).out
    assert "doctor" in ended(command("--help", COLUMNS=columns)).out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["show", "./folder"], 1, "The commands that load a model take the path of a checkpoint"),
        (["show", "~/folder"], 1, "The commands that load a model take the path of a checkpoint"),
        (["prompt", "demo", "--messages", ""], 2, "--messages needs the path of a file"),
        (["prompt", "demo", "--messages", "binary.json"], 1, "binary.json is not JSON: it is no UTF-8 text."),
        (["prompt", "demo", "--messages", "deep.json"], 1, "deep.json is not JSON: it is nested too deeply."),
        (
            ["plan", "demo", "64x64.png", "--show", ""],
            1,
            "'' does not end like a picture that can be written",
        ),
        (["list", "\udcff"], 0, ""),
        (["show", "\udcff"], 1, "No model is called"),
        (["lst"], 2, "No such command 'lst'"),
    ],
)
def test_odd_arguments_are_answered_in_words(
    arguments: list[str], code: int, said: str, run: Run, odd_files: None
) -> None:
    result = run(*arguments)
    assert result.code == code
    assert said in result.err
    assert "Traceback" not in result.err


def test_each_subcommand_is_imported_only_when_it_runs() -> None:
    code = (
        "import sys; from loader.cli import main; sys.argv[1:] = ['list', 'demo']; main()\n"
        "print(*sorted(name for name in sys.modules if name.startswith(('loader.cli.', 'PIL.'))))"
    )
    done = subprocess.run(  # noqa: S603  # this interpreter
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "loader.cli.common loader.cli.list_models"
