"""The command: answers for people, JSON for programs, help with examples."""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Callable
from pathlib import Path

import PIL.Image
import pytest

import registry
from loader.resize import plan_image
from registry.catalog import Catalog
from tests.command import Result, mlx_cards

Run = Callable[..., Result]
COMMANDS = ["list", "show", "fit", "plan", "prompt", "run"]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return functools.partial(mlx_cards, capsys=capsys, monkeypatch=monkeypatch)


def test_help_of_the_command_shows_every_subcommand_with_an_example(run: Run) -> None:
    result = run("--help")
    assert result.code == 0
    for command in COMMANDS:
        assert f"mlx-cards {command}" in result.out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_subcommand_shows_an_example(run: Run, command: str) -> None:
    result = run(command, "--help")
    assert result.code == 0
    assert f"\n  mlx-cards {command}" in result.out


def test_no_arguments_show_the_help(run: Run) -> None:
    assert "mlx-cards plan" in (result := run()).out + result.err


def test_the_version_is_that_of_the_package(run: Run) -> None:
    assert run("--version").out.startswith("mlx-cards, version 0.")


def test_list_names_every_model_and_counts_them(run: Run) -> None:
    out = run("list").out
    assert all(name in out for name in registry.names())
    families = {registry.card(name).id for name in registry.names()}  # two have no released models yet
    assert f"{len(registry.names())} models of {len(families)} families" in out


def test_list_takes_a_part_of_a_name(run: Run) -> None:
    rows = json.loads(run("list", "GEMMA3-", "--json").out)
    assert {row["family"] for row in rows} == {"gemma3"}
    assert run("list", "qwen2_5").out == run("list", "Qwen2.5").out


def test_list_without_a_match_says_so(run: Run) -> None:
    assert "'nothing'" in run("list", "nothing").out


@pytest.mark.parametrize("name", [*registry.families(), *registry.names()])
def test_show_has_every_card_for_people_and_for_programs(run: Run, name: str) -> None:
    shown = run("show", name)
    data = json.loads(run("show", name, "--json").out)
    image = registry.card(name).image
    assert shown.code == 0
    assert registry.card(name).title in shown.out
    assert data["name"] == name
    assert image is not None
    assert data["image"]["token"] == image.token


def test_plan_says_size_and_tokens_of_files_and_sizes(run: Run, photo: Path) -> None:
    out = run("plan", "qwen2.5-vl-32b", str(photo), "4032x3024").out
    assert "4032x2988 seen at 1148x840: 1,230 image tokens" in out
    assert "4032x3024 seen at 1148x840: 1,230 image tokens" in out
    assert "2,460 image tokens of 128,000 positions" in out


def test_plan_keeps_the_budget_that_is_asked_for(run: Run) -> None:
    data = json.loads(run("plan", "qwen3-vl-8b", "1000x20000", "--max-image-tokens", "600", "--json").out)
    assert data["image_tokens"] <= 600
    assert data["images"][0]["source"] == [1000, 20000]
    full = json.loads(run("plan", "qwen3-vl-8b", "1000x20000", "--detail", "full", "--json").out)
    assert full["image_tokens"] > 10_000


def test_plan_says_tiles_and_tokens_in_one_line(run: Run) -> None:
    lines = run("plan", "smolvlm2-500m", "4032x3024").out.splitlines()
    assert lines[0].endswith("832 image tokens (64 for each tile of 512x512, 64 for the overview)")
    assert "(16 x 16, each of 56x56 pixels)" in run("plan", "gemma3-4b", "10x10").out.splitlines()[0]


def test_plan_gives_programs_the_tokens_of_every_tile(run: Run) -> None:
    row = json.loads(run("plan", "smolvlm2-500m", "4032x3024", "--json").out)["images"][0]
    assert (row["tile"], row["tile_tokens"], row["overview_tokens"]) == ([512, 512], [64] * 12, 64)
    assert row["pixels_per_token"] == [64, 64]


@pytest.mark.parametrize(
    ("suffix", "kind"), [(".png", "PNG"), (".JPG", "JPEG"), (".jpeg", "JPEG"), (".webp", "WEBP")]
)
def test_plan_draws_what_the_model_sees(
    run: Run, photo: Path, tmp_path: Path, suffix: str, kind: str
) -> None:
    target = tmp_path / f"seen{suffix}"
    result = run("plan", "smolvlm2-500m", str(photo), "--show", str(target))
    assert result.code == 0
    assert str(target) in result.err
    assert "832 image tokens" in result.out
    with PIL.Image.open(target) as drawn:
        assert drawn.format == kind
        assert 600 <= max(drawn.size) <= 1600


def test_plan_draws_beside_json_that_stays_json(run: Run, photo: Path, tmp_path: Path) -> None:
    target = tmp_path / "seen.png"
    result = run("plan", "gemma3-4b", str(photo), "--show", str(target), "--json")
    assert json.loads(result.out)["image_tokens"] == 256
    assert target.is_file()


def test_plan_draws_a_picture_over_an_older_one(run: Run, photo: Path, tmp_path: Path) -> None:
    target = tmp_path / "seen.png"
    target.write_bytes(b"older")
    assert run("plan", "gemma3-4b", str(photo), "--show", str(target)).code == 0
    assert target.read_bytes() != b"older"


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        (("640x480",), "without pixels"),
        (("{photo}", "{photo}"), "one image, and 2 are given"),
        (("{folder}/copy.jpg",), "overwrite the image itself"),
    ],
)
def test_plan_draws_nothing_for_wrong_usage_and_says_why(
    run: Run, photo: Path, tmp_path: Path, images: tuple[str, ...], reason: str
) -> None:
    copy = tmp_path / "copy.jpg"
    copy.write_bytes(photo.read_bytes())
    (tmp_path / "link.jpg").symlink_to(copy)
    given = [image.format(photo=photo, folder=tmp_path) for image in images]
    result = run("plan", "gemma3-4b", *given, "--show", str(tmp_path / "link.jpg"))
    assert (result.code, result.out) == (2, "")
    assert reason in result.err
    assert copy.read_bytes() == photo.read_bytes()


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("seen.gif", "does not end like a picture"),
        ("seen", "does not end like a picture"),
        ("nowhere/seen.png", "cannot be written"),
        ("folder.png", "cannot be written"),
        ("nul\0.png", "cannot be written"),
    ],
)
def test_plan_says_where_it_cannot_draw_to(
    run: Run, photo: Path, tmp_path: Path, target: str, reason: str
) -> None:
    (tmp_path / "folder.png").mkdir()
    result = run("plan", "gemma3-4b", str(photo), "--show", f"{tmp_path}/{target}")
    assert (result.code, result.out) == (1, "")
    assert reason in result.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.png"]


def test_prompt_is_byte_for_byte_the_prompt(run: Run) -> None:
    result = run("prompt", "qwen3-vl-8b", "-p", "What is this?", "-i", "640x480")
    assert result.out == (
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>What is this?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_prompt_counts_positions_on_standard_error_and_in_json(
    run: Run, checkpoint: Callable[[str], Path], photo: Path
) -> None:
    asked = ("prompt", "qwen2.5-vl-7b", "-p", "What is this?", "-i", str(photo))
    assert "1,230 image tokens, text not counted" in run(*asked).err
    folder = str(checkpoint("qwen2.5-vl"))
    data = json.loads(run(*asked, "--checkpoint", folder, "--json").out)
    assert data["total_tokens"] == data["image_tokens"] + data["text_tokens"]
    assert data["context_left"] == data["context"] - data["total_tokens"]


def test_prompt_writes_the_expansion_in_full(run: Run) -> None:
    out = run("prompt", "smolvlm2-500m", "-p", "Hi", "-i", "1000x600", "--expanded").out
    assert out.count("<image>") == plan_image(registry.card("smolvlm2-500m"), 1000, 600).image_tokens
    assert "<row_1_col_1>" in out


def test_prompt_compares_with_the_checkpoints_template_and_the_backends_own(
    run: Run, checkpoint: Callable[[str], Path]
) -> None:
    folder = str(checkpoint("qwen2.5-vl"))
    asked = ("prompt", "qwen2.5-vl-7b", "-p", "Hi", "-i", "640x480", "--compare")
    said = run(*asked, "--checkpoint", folder).err
    assert "checkpoint says the same" in said
    assert "mlx-vlm says the same" in said
    assert run(*asked).code == 2


def test_prompt_reads_a_conversation_from_standard_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    messages = [
        {"role": "user", "content": [{"type": "image", "image": "640x480"}, "Hi"]},
        {"role": "assistant", "content": "It"},
    ]
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(messages)))
    data = json.loads(run("prompt", "gemma3-4b", "--messages", "-", "--continue", "--json").out)
    assert data["prompt"].endswith("<start_of_turn>model\nIt")
    assert [s["kind"] for s in data["segments"]].count("image") == 1


def test_run_answers_about_a_photo_and_says_what_was_done(
    run: Run, checkpoint: Callable[[str], Path], photo: Path
) -> None:
    folder = str(checkpoint("gemma3"))
    result = run("run", folder, "-p", "What is this?", "-i", str(photo), "--max-tokens", "4")
    assert result.code == 0
    assert "dandelion.jpg: 4032x2988 seen at 896x896: 256 image tokens" in result.err
    assert "4 answered (length)" in result.err
    data = json.loads(
        run("run", folder, "-p", "What is this?", "-i", str(photo), "--max-tokens", "4", "--json").out
    )
    assert result.out == data["text"] + "\n"
    assert data["usage"]["image_tokens"] == 256


def test_run_says_which_quantization_was_taken_and_why(run: Run) -> None:
    result = run("run", "demo", "-p", "What is this?", "--max-tokens", "2")
    assert result.code == 0
    assert result.err.splitlines()[0] == f"demo@fp16: {registry.resolve('demo').why}"


def test_run_keeps_the_limit_that_is_given_unless_the_check_is_left_out(run: Run) -> None:
    asked = ("run", "demo", "-p", "What is this?", "--max-tokens", "2", "--memory-limit", "1MB")
    refused = run(*asked)
    assert (refused.code, refused.out) == (1, "")
    assert "demo cannot be loaded: " in refused.err
    assert run(*asked, "--no-memory-check").code == 0


def test_prompt_refuses_images_that_the_conversation_has_no_place_for(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('[{"role": "user", "content": "Hi"}]'))
    result = run("prompt", "qwen2.5-vl-7b", "--messages", "-", "-i", "a.jpg")
    assert (result.code, result.out) == (1, "")
    assert "Image parts without a source: 0" in result.err


def test_an_error_about_a_strangers_text_does_not_steer_the_terminal(run: Run) -> None:
    result = run("show", "x\x1b[2J\x1b]0;owned\x07")
    assert result.code == 1
    assert "\x1b" not in result.err


def test_a_bug_ends_with_its_own_exit_code_and_without_a_traceback(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Catalog, "names", lambda _: 1 / 0)
    result = run("list")
    assert result.code == 3
    assert "This is a bug in mlx-cards: ZeroDivisionError" in result.err
    assert "Traceback" not in result.err


def test_a_bug_is_shown_whole_to_whoever_asks_for_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Catalog, "names", lambda _: 1 / 0)
    monkeypatch.setenv("MLX_CARDS_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        run("list")


@pytest.mark.parametrize(
    "arguments",
    [
        ("nothing",),
        ("plan", "gemma3-4b"),
        ("plan", "gemma3-4b", "10x10", "--detail", "max"),
        ("prompt", "gemma3-4b"),
        ("prompt", "gemma3-4b", "-p", "x", "--messages", "y"),
        ("run", "gemma3-4b", "-p", "x", "--max-tokens", "0"),
    ],
)
def test_wrong_usage_ends_with_2_and_points_to_the_help(run: Run, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.code == 2
    assert "Usage: mlx-cards" in result.err
