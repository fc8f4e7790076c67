"""Cards of strangers: none costs more than its size, reaches beyond its folder, or changes a name unsaid."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import registry
from loader.errors import CardError, UnknownModelError
from registry import overlays
from registry.catalog import CARDS, _all_cards
from tests.command import mlx_cards
from tests.conftest import ROOT
from tests.private_cards import changed, child, contributing, put
from tests.test_overlays import python
from tests.test_reader import good_card

LIMITS = """
import resource, sys, time
resource.setrlimit(resource.RLIMIT_AS, (600 << 20, 600 << 20))
import registry
start = time.process_time()
try:
    print(registry.card(sys.argv[1]).name)
except Exception as error:
    print(type(error).__name__, str(error))
print(len(registry.names()) > 9, registry.card("beta-3b").title)
assert time.process_time() - start < 5
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of private cards with a good one."""
    path = put(tmp_path / "private", beta=good_card("beta"))
    monkeypatch.setenv("MLX_CARDS_PATH", str(path))
    _all_cards.cache_clear()
    return path


def asked(folder: Path, name: str = "acme") -> str:
    """What a new process with little memory and time makes of a card; it finds the others all the same."""
    done = subprocess.run(  # noqa: S603  # this interpreter
        [sys.executable, "-c", LIMITS, name],
        env=os.environ | {"PYTHONPATH": str(ROOT), "MLX_CARDS_PATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    said, rest = done.stdout.rsplit("\n", 2)[:2]
    assert rest == "True Beta"
    return said


# What a file may be.


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(
            "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else 'x'] * 9)}]" for n in range(20)),
            "anchors (&name) and aliases (*name) are not allowed",
            id="aliases that unfold to gigabytes",
        ),
        pytest.param("[" * 500_000, "a card has at most 50 levels", id="brackets"),
        pytest.param("a: " * 3 + "{" * 500_000, "mapping values are not allowed", id="braces"),
        pytest.param("- " * 500_000, "a card has at most 50 levels", id="lists"),
        pytest.param("\n".join(" " * n + "a:" for n in range(1000)), "at most 50 levels", id="steps"),
        pytest.param(
            "x: " + "9" * 900_000, "a number has at most 40 digits", id="a number of 900,000 digits"
        ),
        pytest.param(
            "x: 1:" + ":".join(["59"] * 200_000), "a number has at most 40 digits", id="a number in base 60"
        ),
        pytest.param("!!python/object/apply:os.system [id]", "tags", id="a tag"),
        pytest.param("a" * (1 << 20) + "\n", "a card has at most 1,048,576 bytes", id="a byte too much"),
        pytest.param("\0" * 1000, "", id="zeros"),
    ],
)
def test_a_text_that_is_made_to_cost_much_is_refused_and_costs_little(
    text: str, said: str, folder: Path
) -> None:
    put(folder, acme=text)
    error = asked(folder)
    assert error.startswith(f"CardError {folder / 'acme.yaml'}:")
    assert said in error


def test_a_file_of_gigabytes_is_not_read(folder: Path) -> None:
    with (folder / "acme.yaml").open("wb") as file:
        file.truncate(64 << 30)  # takes no room on the disk
    assert "a card has at most 1,048,576 bytes, this file has more" in asked(folder)


def test_what_is_no_regular_file_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "acme.yaml")
    assert "acme.yaml: cannot be read: it is no regular file" in asked(folder)
    (folder / "acme.yaml").unlink()
    (folder / "acme.yaml").symlink_to("/dev/zero")
    assert "acme.yaml: cannot be read: it is no regular file" in asked(folder)


@pytest.mark.parametrize("target", ["acme.yaml", "loop/acme.yaml", "nowhere.yaml"])
def test_a_link_that_leads_nowhere_is_an_error_of_that_card_alone(target: str, folder: Path) -> None:
    (folder / "loop").symlink_to("loop")
    (folder / "acme.yaml").symlink_to(target)
    assert "acme.yaml: cannot be read: " in asked(folder)


def test_a_folder_that_is_called_like_a_card_is_an_error_of_that_card_alone(folder: Path) -> None:
    (folder / "acme.yaml").mkdir()
    assert "acme.yaml: cannot be read: " in asked(folder)


def test_a_folder_of_cards_that_is_a_loop_is_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.setenv("MLX_CARDS_PATH", str(tmp_path / "loop"))
    with pytest.raises(CardError, match="is no folder of cards"):
        registry.names()


@pytest.mark.parametrize("kind", ["brackets", "base 60", "hexadecimal", "pipe", "device", "gigabytes"])
def test_the_validator_and_cards_beside_it_survive_it_too(kind: str, folder: Path) -> None:
    """A fault that ends the process would hide all others; `beta` is checked beside it."""
    file = folder / "acme.yaml"
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "device":
        file.symlink_to("/dev/zero")
    elif kind == "gigabytes":
        with file.open("wb") as large:
            large.truncate(64 << 30)
    else:
        numbers = {"base 60": "x: 1:" + ":".join(["59"] * 200_000), "hexadecimal": "x: 0x" + "f" * 900_000}
        put(folder, acme=numbers.get(kind, "[" * 500_000))
    for checked, code in ((file, 1), (folder / "beta.yaml", None)):
        done = subprocess.run(  # noqa: S603  # this interpreter
            [sys.executable, "-m", "loader.cli", "validate", "--format", "concise", str(checked)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode in ({code} if code is not None else {0, 1}), done.stderr
        assert "bug" not in done.stderr


# What it may reach.


@pytest.mark.parametrize(
    "base", ["../../secret", "/etc/passwd", "..", "acme/../beta", "[beta]", "{a: b}", "3"]
)
def test_extends_reaches_no_file_but_a_card(base: str, folder: Path) -> None:
    (folder.parent.parent / "secret.yaml").write_text(good_card("secret"), encoding="utf-8")
    put(folder, acme=child(base))
    assert f"{folder / 'acme.yaml'}:2:1: extends: there is no other card" in asked(folder)


def test_cards_that_extend_each_other_are_an_error(folder: Path) -> None:
    put(folder, acme=child("gamma"), gamma=child("acme"))
    assert "extends: gamma extends another card itself" in asked(folder)


def test_a_card_that_extends_itself_alone_is_an_error(folder: Path) -> None:
    put(folder, acme=child("acme"))
    assert "extends: there is no other card 'acme'" in asked(folder)


@pytest.mark.parametrize("folder_of_weights", ["/etc", "../..", "demo/../../../..", "~"])
def test_a_private_card_reads_no_folder_of_weights_of_its_choice(
    folder_of_weights: str, folder: Path
) -> None:
    repository = "{repository: mlx-community/acme-3B-4bit}"
    text = good_card("acme")
    old = next(line for line in text.splitlines() if "mlx-community/acme-3B-4bit" in line)
    put(
        folder,
        acme=text.replace(
            old, old.replace("repository: mlx-community/acme-3B-4bit", f'folder: "{folder_of_weights}"')
        ),
    )
    assert repository.strip("{}") not in (folder / "acme.yaml").read_text(encoding="utf-8")
    assert "CardError" in asked(folder)


def test_what_a_card_writes_does_not_steer_the_terminal(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = changed("title: Acme", 'title: "A\\e[2Jcme"', "acme").replace(
        "    aliases: [acme-3B-Instruct]", '    name: "evil\\e]0;x\\a"'
    )
    put(folder, acme=text)
    for command in (["list"], ["list", "evil"], ["show", "acme"], ["show", "acme", "--resolved"]):
        result = mlx_cards(*command, capsys=capsys, monkeypatch=monkeypatch)
        assert "\x1b" not in result.out + result.err
        assert "\x07" not in result.out + result.err


# What it may change.

EVIL = changed("mlx-community/acme-3B-4bit", "evil/weights", "acme")


def test_a_known_name_that_a_private_card_leads_to_other_weights_is_reported(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder, acme=EVIL.replace("[acme-3B-Instruct]", "[qwen2.5-vl-7b]"))
    said = python("import registry; print(registry.resolve('qwen2.5-vl-7b@4bit').repository)")
    assert said == (
        "evil/weights\n"
        f"qwen2.5-vl-7b means 3b of {folder / 'acme.yaml'}, and hides 7b of {CARDS / 'qwen2.5-vl.yaml'}.\n"
    )


@pytest.mark.parametrize("contributed", [False, True])
def test_the_name_of_a_repository_that_leads_to_another_one_is_reported(
    contributed: bool, folder: Path, tmp_path: Path
) -> None:
    site = contributing(
        tmp_path / "site",
        **({"acme": EVIL.replace("acme-3B-Instruct", "google/new-vl")} if contributed else {}),
    )
    if not contributed:
        put(folder, acme=EVIL.replace("acme-3B-Instruct", "google/new-vl"))
    file = (site / "acme_cards" / "models" if contributed else folder) / "acme.yaml"
    said = python("import registry; print(registry.resolve('google/new-vl@4bit').repository)", site)
    assert said == (
        "evil/weights\n"
        f"google/new-vl is an alias of 3b of {file}: it is not loaded from the repository of that name.\n"
    )
    own = python("import registry; registry.card('makers/acme-3b'); registry.card('evil/weights')", site)
    assert own == ""


def test_a_contributed_card_leads_no_known_name_to_other_weights(tmp_path: Path) -> None:
    known = ("qwen2.5-vl-7b", "Qwen/Qwen2.5-VL-7B-Instruct", "mlx-community/Qwen2.5-VL-7B-Instruct-4bit")
    evil = EVIL.replace("[acme-3B-Instruct]", f"[{', '.join(known)}]")
    site = contributing(tmp_path / "site", acme=evil)
    for name in known:
        said = python(
            f"import registry; print(registry.resolve({name!r}, quantization='4bit').repository)", site
        )
        assert said == "mlx-community/Qwen2.5-VL-7B-Instruct-4bit\n"


def test_a_name_that_two_packages_contribute_is_reported(tmp_path: Path) -> None:
    one = contributing(tmp_path / "one", acme=good_card("acme"))
    other = tmp_path / "other"
    put(other / "zeta_cards", zeta=changed("[zeta-3B-Instruct]", "[acme-3B-Instruct]", "zeta"))
    info = other / "zeta_cards-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: zeta\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[mlx_cards.cards]\nzzz = zeta_cards\n", encoding="utf-8")
    said = python("import registry; print(registry.card('acme-3b-instruct').name)", other, one)
    assert said == (
        "acme-3b\n"
        f"acme-3b-instruct means 3b of {one / 'acme_cards' / 'models' / 'acme.yaml'}, "
        f"and hides 3b of {other / 'zeta_cards' / 'zeta.yaml'}.\n"
    )


# Where there is no home.


def test_without_a_home_only_the_users_own_folder_is_missing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(_: type[Path]) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setattr(Path, "home", classmethod(none))
    assert overlays.folders() == (folder,)
    assert registry.card("beta-3b").title == "Beta"
    with pytest.raises(UnknownModelError):
        registry.card("gamma-3b")
    monkeypatch.setenv("MLX_CARDS_PATH", "~nobody-at-all")
    with pytest.raises(CardError, match="~nobody-at-all: is no folder of cards"):
        registry.names()


def test_a_folder_that_may_not_be_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str | Path) -> list[str]:
        if Path(path) == folder:
            raise PermissionError(13, "Permission denied")
        return listed(path)

    listed = os.listdir
    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(CardError, match=r"private: cannot be listed: Permission denied\. Change"):
        registry.names()
