"""The canary sings: whatever is broken on the way to the model, the questions of tests/test_sight.py notice.

Each fault is put into this package's own code, or into the settings of the checkpoint's processor. Then fewer
answers are right, far fewer than those tests ask for, or the call is refused.
"""

from __future__ import annotations

import functools
import json
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import registry
from loader.backend import Backend, Inputs, _tensors
from loader.errors import CheckpointError
from loader.fit import fit_opened
from loader.messages import conversation, matched
from loader.model import VisionModel
from loader.prompt import Prompt, render
from loader.prompt.segments import Segment
from loader.rgb import to_rgb, turn_of
from tests import sight
from tests.sight import Asked, accuracy

mx = pytest.importorskip("mlx.core")

Mutation = Callable[[pytest.MonkeyPatch], None]
Questions = Callable[[], Iterator[Asked]]

SUNG = 0.75
"""Share of right answers, at most, when something is broken: far from what tests/test_sight.py asks for
(sight.LEAST). Measured: 0 to 58 %."""
IMAGE, WORD = "<|image_pad|>", "a"


@pytest.fixture(scope="module")
def demo() -> VisionModel:
    """The model that sees."""
    return registry.load("demo", strict=True, local_files_only=True)


def some(asked: Iterator[Asked]) -> list[Asked]:
    """Half of the questions, by chance, with sources that are made before anything is broken."""
    return random.Random("some").sample(list(asked), 12)  # noqa: S311  # nothing is kept secret with it


# Faults of pixels


def every(change: Callable[[Image.Image], Image.Image]) -> Mutation:
    """Every opened picture is changed."""

    def mutate(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("loader.image.to_rgb", lambda image, ground: change(to_rgb(image, ground)))

    return mutate


def blue_first(image: Image.Image) -> Image.Image:
    """As OpenCV has its channels."""
    return Image.merge("RGB", image.split()[::-1])


def blank(image: Image.Image) -> Image.Image:
    """Nothing is left but its size."""
    return Image.new("RGB", image.size, "white")


def not_turned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The EXIF orientation is not read."""
    for place in ("loader.image.turn_of", "loader.rgb.turn_of"):
        monkeypatch.setattr(place, lambda _: None)


def turned_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The EXIF orientation is applied, and once more by who reads it next."""

    def again(image: Image.Image, ground: Any) -> Image.Image:
        upright, turn = to_rgb(image, ground), turn_of(image)
        return upright if turn is None else upright.transpose(turn)

    monkeypatch.setattr("loader.image.to_rgb", again)


def alpha_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies under transparent parts is shown."""
    monkeypatch.setattr("loader.rgb._opaque", lambda image, *_: image.convert("RGB"))


def clipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen bits are cut off at 255, as Pillow's own conversion does."""
    monkeypatch.setattr("loader.rgb._eight_bits", lambda image: image)


def profile_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers are taken for sRGB."""
    monkeypatch.setattr("loader.rgb._to_srgb", lambda image, _: image.convert("RGB"))


def of_the_call_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pixels are those of another call, at the right size."""
    kept: list[Image.Image] = []

    def fit(*arguments: Any, **options: Any) -> Image.Image:
        kept.append(fit_opened(*arguments, **options))
        return kept[max(len(kept) - 2, 0)].resize(kept[-1].size)

    monkeypatch.setattr("loader.model.fit_opened", fit)


# Faults of order


def sources_swapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last image stands where the first belongs."""
    monkeypatch.setattr("loader.model.matched", lambda *both: matched(*both)[::-1])


def pixels_swapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompt and plans are in order, and the pictures are handed over in another."""
    ordered = Backend.prepare

    def prepare(self: Backend, prompt: Prompt, images: Sequence[Any], image: Any, **options: Any) -> Inputs:
        return ordered(self, prompt, images[::-1], image, **options)

    monkeypatch.setattr(Backend, "prepare", prepare)


def history_without_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the last turn keeps its images."""

    def words_only(message: Any) -> Any:
        content = message["content"]
        return message if isinstance(content, str) else message | {"content": [str(content[-1])]}

    def cut(prompt: Any, *others: Any) -> list[Any]:
        *earlier, last = conversation(prompt, *others)
        return [*map(words_only, earlier), last]

    monkeypatch.setattr("loader.model.conversation", cut)


FAULTS: dict[str, tuple[Mutation, Questions]] = {
    "blue comes first": (every(blue_first), lambda: sight.what(sight.plain)),
    "a picture of nothing": (every(blank), lambda: sight.what(sight.plain)),
    "a negative": (
        every(lambda image: image.point(lambda value: 255 - value)),
        lambda: sight.what(sight.plain),
    ),
    "upside down": (
        every(lambda image: image.transpose(Image.Transpose.ROTATE_180)),
        lambda: sight.where(sight.plain),
    ),
    "the call before": (of_the_call_before, lambda: sight.both(sight.plain)),
    **{
        f"orientation {number} not read": (
            not_turned,
            functools.partial(lambda number: sight.where(sight.oriented(number, "JPEG", "PNG")), number),
        )
        for number in (2, 3, 6, 8)
    },
    "orientation applied twice": (turned_twice, lambda: sight.where(sight.oriented(6, "PNG"))),
    "transparency dropped": (alpha_dropped, lambda: sight.what(sight.cut_out)),
    "sixteen bits clipped": (clipped, lambda: sight.where(sight.deep_greys)),
    "profile ignored": (profile_ignored, lambda: sight.what(sight.profiled)),
    "images swapped": (sources_swapped, lambda: sight.in_order(sight.plain)),
    "images swapped over two turns": (sources_swapped, lambda: sight.later_image(sight.plain)),
    "images swapped at the end": (pixels_swapped, lambda: sight.in_order(sight.plain)),
    "images of earlier turns dropped": (history_without_images, lambda: sight.asked_again(sight.plain)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_with_images_makes_answers_wrong(
    demo: VisionModel, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """The questions that are answered rightly without the fault are not, with it."""
    mutate, questions = FAULTS[fault]
    asked = some(questions())
    mutate(monkeypatch)
    assert accuracy(demo, asked) <= SUNG


def test_a_card_with_a_dark_background_has_the_shapes_on_it(
    demo: VisionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is transparent shows the card's background: black is one that the model does not know."""
    spec = demo.card.image
    assert spec is not None
    dark = replace(spec, background="black")
    monkeypatch.setattr(demo, "card", replace(demo.card, image=dark))
    assert accuracy(demo, some(sight.what(sight.cut_out))) <= SUNG


# The processor's settings

SETTINGS: dict[str, dict[str, Any]] = {
    "mean and deviation of CLIP": {
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    },
    "mean and deviation that are assumed where none are given": {"image_mean": None, "image_std": None},
    "no normalisation": {"do_normalize": False},
    "pixels up to 255": {"do_rescale": False},
}


def with_settings(folder: Path, to: Path, settings: dict[str, Any]) -> VisionModel:
    """A copy of a checkpoint whose processor is set otherwise."""
    shutil.copytree(folder, to)
    file = to / "preprocessor_config.json"
    said = json.loads(file.read_text(encoding="utf-8")) | settings
    file.write_text(json.dumps(said), encoding="utf-8")
    return registry.load(to, card="demo", strict=True)


@pytest.mark.parametrize("fault", SETTINGS)
def test_pixels_of_another_scale_make_answers_wrong(demo: VisionModel, tmp_path: Path, fault: str) -> None:
    """The processor takes them, and the model sees something else."""
    broken = with_settings(demo.checkpoint.folder, tmp_path / "broken", SETTINGS[fault])
    assert accuracy(broken, some(sight.what(sight.plain))) <= SUNG


def test_a_copy_with_the_same_settings_answers_as_well(demo: VisionModel, tmp_path: Path) -> None:
    """It is the settings that make the difference, not the copy."""
    copy = with_settings(demo.checkpoint.folder, tmp_path / "copy", {"image_mean": [0.94] * 3})
    assert accuracy(copy, sight.what(sight.plain)) >= sight.LEAST


# Placeholders


def words_instead(prompt: Prompt) -> Prompt:
    """The images are named, and have no placeholders."""
    segments = [Segment("text", "an image") if it.kind == "image" else it for it in prompt.segments]
    return replace(prompt, segments=tuple(segments))


def one_less(prompt: Prompt) -> Prompt:
    """The last placeholder is missing."""
    last = max(number for number, it in enumerate(prompt.segments) if it.kind == "image")
    return replace(prompt, segments=prompt.segments[:last] + prompt.segments[last + 1 :])


def one_more(prompt: Prompt) -> Prompt:
    """The last placeholder is there twice."""
    last = max(number for number, it in enumerate(prompt.segments) if it.kind == "image")
    return replace(prompt, segments=(*prompt.segments[: last + 1], *prompt.segments[last:]))


@pytest.mark.parametrize("mutate", [words_instead, one_less, one_more])
def test_a_prompt_with_too_few_or_too_many_placeholders_is_refused(
    demo: VisionModel, monkeypatch: pytest.MonkeyPatch, mutate: Callable[[Prompt], Prompt]
) -> None:
    """No answer is given about images that the prompt does not hold."""
    monkeypatch.setattr(
        "loader.model.render", lambda *arguments, **options: mutate(render(*arguments, **options))
    )
    asked = list(sight.in_order(sight.plain))
    with pytest.raises(CheckpointError, match=r"processor made|processor refused"):
        accuracy(demo, asked)


Ids = list[int]


def one_token_less(ids: Ids, image: int, word: int) -> Ids:
    """The first image token is a word."""
    first = ids.index(image)
    return [*ids[:first], word, *ids[first + 1 :]]


def no_tokens(ids: Ids, image: int, word: int) -> Ids:
    """All image tokens are words."""
    return [word if number == image else number for number in ids]


def with_ids(inputs: Inputs, change: Callable[[Ids, int, int], Ids], *tokens: int) -> Inputs:
    """The same with other ids, counted as before."""
    ids = change(inputs.tensors["input_ids"].flatten().tolist(), *tokens)
    return replace(inputs, tensors=inputs.tensors | {"input_ids": mx.array([ids])})


@pytest.mark.parametrize("change", [one_token_less, no_tokens])
def test_a_processor_that_writes_too_few_image_tokens_is_refused(
    demo: VisionModel, monkeypatch: pytest.MonkeyPatch, change: Callable[[Ids, int, int], Ids]
) -> None:
    """One token less would hardly show in the answers: most were right without the count."""
    image, word = (demo._backend.token_id(token) for token in (IMAGE, WORD))

    def made(output: Any) -> dict[str, Any]:
        inputs = Inputs(_tensors(output), 0, 0)
        return with_ids(inputs, change, image, word).tensors

    monkeypatch.setattr("loader.backend._tensors", made)
    with pytest.raises(CheckpointError, match="image tokens and the processor made"):
        accuracy(demo, sight.what(sight.plain))


def test_image_tokens_that_became_words_unseen_by_the_count_make_answers_wrong(
    demo: VisionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pixels without places are pixels that nobody sees."""
    prepare = Backend.prepare

    def prepared(self: Backend, *arguments: Any, **options: Any) -> Inputs:
        inputs = prepare(self, *arguments, **options)
        return with_ids(inputs, no_tokens, self.token_id(IMAGE), self.token_id(WORD))

    monkeypatch.setattr(Backend, "prepare", prepared)
    assert accuracy(demo, some(sight.what(sight.plain))) <= SUNG
