"""Pictures of what a model sees: lines where the tiles are, numbers that add up, sizes that stay small."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from PIL import ImageDraw

import registry
from loader import draw as drawing
from loader.draw import draw
from loader.errors import ImageError, UnsupportedFeatureError
from loader.fit import fit_image
from loader.image import open_image
from loader.page import Panel, page
from loader.parts import Parts, parts
from loader.resize import ImagePlan, plan_image
from loader.resize.plan import Size
from registry.cards import Card
from tests.pictures import pixel_at

# One name for each way to take images: most models of a family have the family's.
WAYS = {repr(registry.card(name).image): name for name in reversed([*registry.families(), *registry.names()])}
FAMILIES = sorted(name for name in WAYS.values() if registry.card(name).image)
SIZES: list[Size] = [(400, 300), (1000, 1000), (1500, 500), (500, 1500), (2200, 1700)]
GREY = (128, 128, 128)
LINE = (240, 228, 66)


def planned(name: str, size: Size) -> tuple[Card, ImagePlan, Parts]:
    """A card, the plan of an image of a size, and its parts."""
    card = registry.card(name)
    plan = plan_image(card, *size, detail="full")
    return card, plan, parts(plan, card)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All words that are drawn."""
    words: list[str] = []
    text = ImageDraw.ImageDraw.text

    @functools.wraps(text)
    def noted(
        self: ImageDraw.ImageDraw, place: tuple[float, float], said: str, *a: object, **k: object
    ) -> None:
        words.append(said)
        text(self, place, said, *a, **k)  # type: ignore[arg-type]

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", noted)
    return words


@pytest.fixture
def panels(monkeypatch: pytest.MonkeyPatch) -> list[PIL.Image.Image]:
    """The pictures that are put on a page, without the words around them."""
    found: list[PIL.Image.Image] = []

    def noted(title: str, given: Sequence[Panel], *rest: Any) -> PIL.Image.Image:
        found.extend(panel.picture for panel in given)
        return page(title, given, *rest)

    monkeypatch.setattr(drawing, "page", noted)
    return found


def lines(row: list[tuple[int, ...]]) -> list[float]:
    """Middles of the strong lines that cross a row of pixels."""
    found: list[list[int]] = []
    for place, colour in enumerate(row):
        if colour == LINE:
            if found and found[-1][-1] == place - 1:
                found[-1].append(place)
            else:
                found.append([place])
    return [sum(run) / len(run) for run in found]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_can_be_drawn(name: str) -> None:
    card = registry.card(name)
    for size in [(640, 480), (300, 900)]:
        drawn = draw(PIL.Image.new("RGB", size, GREY), plan_image(card, *size), card)
        assert drawn.mode == "RGB"
        assert 600 <= max(drawn.size) <= drawing.LARGEST


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 40), (30, 1), (90, 18000), (20000, 150), (3000, 3000)])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_picture_keeps_its_limits_whatever_the_shape(name: str, size: Size) -> None:
    card = registry.card(name)
    try:
        plan = plan_image(card, *size, detail="full")
    except ImageError:
        pytest.skip("the model takes no such image")
    drawn = draw(PIL.Image.new("RGB", size, GREY), plan, card)
    assert 600 <= max(drawn.size) <= drawing.LARGEST


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", FAMILIES)
def test_tiles_overview_and_the_rest_have_all_image_tokens(name: str, size: Size) -> None:
    _, plan, seen = planned(name, size)
    if seen.states:
        assert seen.states * len(seen.tiles) <= (plan.cross_tokens or 0)
        return
    tiles = [tile.tokens for tile in seen.tiles if tile.tokens is not None]
    assert seen.rest >= 0
    if len(tiles) < len(seen.tiles):  # tokens that are all tiles' together
        assert not tiles
        in_cells = seen.cells.unit == "token"
        tiles = [len(seen.cells.columns) * len(seen.cells.rows) if in_cells else 0]
    overview = seen.overview.tokens if seen.overview else 0
    assert sum(tiles) + overview + seen.rest == plan.image_tokens


@pytest.mark.parametrize("name", FAMILIES)
def test_without_row_ends_and_separators_every_image_token_is_a_tile_s_or_the_overview_s(name: str) -> None:
    card, plan, seen = planned(name, (1500, 1000))
    resize = card.image.resize if card.image else None
    closed = getattr(resize, "row_ends", False) or getattr(resize, "row_end", None) == "image"
    if closed or getattr(resize, "separators", 0) or resize is None or resize.kind == "anyres" or seen.states:
        assert seen.rest > 0 or plan.image_tokens == 0
    else:
        absent = getattr(getattr(resize, "overview", None), "fit", "") == "absent"
        assert seen.rest == 0 or absent


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", FAMILIES)
def test_tiles_cover_what_is_seen_and_overlap_as_the_card_says(name: str, size: Size) -> None:
    _, plan, seen = planned(name, size)
    assert seen.across[0] == seen.down[0] == 0
    assert (seen.across[-1], seen.down[-1]) == (plan.width, plan.height)
    assert len(seen.tiles) == max(plan.rows or 1, 1) * max(plan.cols or 1, 1)
    area = sum((right - left) * (bottom - top) for left, top, right, bottom in (t.box for t in seen.tiles))
    assert area == pytest.approx(plan.width * plan.height)
    for span in (*seen.cells.columns, *seen.cells.rows):
        assert span[0] < span[1]
    assert seen.cells.columns[-1][1] <= plan.width
    assert seen.cells.rows[-1][1] <= plan.height


@pytest.mark.parametrize("name", ["smolvlm2-500m", "internvl-chat", "llava-next", "molmo2", "idefics2"])
def test_lines_stand_at_the_borders_of_tiles_within_a_pixel(name: str, panels: list[PIL.Image.Image]) -> None:
    card, plan, seen = planned(name, (1200, 900))
    draw(PIL.Image.new("RGB", (1200, 900), GREY), plan, card)
    main = panels[0]
    scale = drawing.framed(plan, seen)[0].scale
    # Between two lines, and below the labels, nothing else has the colour.
    y, x = round(seen.down[1] * scale) - 9, round(seen.across[1] * scale) - 9
    across = lines([pixel_at(main, (place, y)) for place in range(main.width)])
    down = lines([pixel_at(main, (x, place)) for place in range(main.height)])
    assert across == pytest.approx([edge * scale for edge in seen.across[1:-1]], abs=1)
    assert down == pytest.approx([edge * scale for edge in seen.down[1:-1]], abs=1)


@pytest.mark.parametrize(
    "name", ["smolvlm2-500m", "smolvlm-2.2b", "internvl-chat", "idefics2", "minicpm-v-4.6"]
)
def test_labels_of_equal_tiles_sum_to_the_image_tokens(name: str, written: list[str]) -> None:
    card, plan, _ = planned(name, (1600, 1200))
    draw(PIL.Image.new("RGB", (1600, 1200), GREY), plan, card)
    labels = [
        int(match[1].replace(",", ""))
        for word in written
        if (match := re.fullmatch(r"([\d,]+) tokens", word))
    ]
    assert len(labels) == plan.tiles
    assert sum(labels) == plan.image_tokens


def test_tiles_that_share_their_tokens_have_numbers_and_the_sum_stands_above(written: list[str]) -> None:
    card, plan, _ = planned("molmo2", (1600, 1200))
    draw(PIL.Image.new("RGB", (1600, 1200), GREY), plan, card)
    assert plan.grid is not None
    assert any(f"{plan.grid[0]} x {plan.grid[1]} image tokens together" in word for word in written)
    assert {"tile 1", "tile 2", "196 tokens", "seen by both neighbours"} <= set(written)


def test_the_note_stands_below_whole(written: list[str]) -> None:
    card = registry.card("qwen2.5-vl-7b")
    plan = plan_image(card, 4000, 300, max_tokens=1)
    draw(PIL.Image.new("RGB", (4000, 300)), plan, card)
    assert "though" in plan.note
    assert plan.note in " ".join(written)


def test_padding_is_hatched_and_said(written: list[str]) -> None:
    card, plan, seen = planned("llava-next", (1000, 700))
    drawn = draw(PIL.Image.new("RGB", (1000, 700), "red"), plan, card)
    assert "padding" in written
    assert seen.content[1] > 0
    colours = {colour for _, colour in drawn.getcolors(1 << 24) or []}
    assert {(78, 86, 98), (44, 49, 57)} <= colours


def test_what_a_crop_cuts_off_is_dimmed_and_said(written: list[str]) -> None:
    card, plan, seen = planned("llava-1.5", (800, 400))
    assert seen.content == (-168, 0, 504, 336)
    assert drawing.framed(plan, seen)[0].view == (-168, 0, 504, 336)
    drawn = draw(PIL.Image.new("RGB", (800, 400), "white"), plan, card)
    assert "cut off, 50.0% of the image" in written
    # The same row, left of what is seen and in it.
    middle = drawn.height // 2 + 3
    dimmed, clear = pixel_at(drawn, (60, middle)), pixel_at(drawn, (drawn.width // 2 + 9, middle))
    assert max(dimmed) < 110
    assert min(clear) > 150


def test_of_a_long_image_cut_to_a_square_only_a_part_of_the_rest_is_shown(written: list[str]) -> None:
    card, plan, seen = planned("llava-1.5", (1000, 20000))
    view = drawing.framed(plan, seen)[0].view
    assert view[3] - view[1] == 3 * plan.height
    draw(PIL.Image.new("RGB", (1000, 20000)), plan, card)
    assert "cut off, 95.0% of the image, not all of it shown" in written


def test_a_long_screenshot_is_drawn_in_strips_that_are_cut_between_tokens(written: list[str]) -> None:
    card = registry.card("qwen2.5-vl-7b")
    plan = plan_image(card, 1000, 20000)
    seen = parts(plan, card)
    frame, cuts = drawing.framed(plan, seen)
    assert len(cuts) > 2
    assert {round(cut / frame.scale) % 28 for cut in cuts} == {0}
    assert (cuts[0], cuts[-1]) == (0, frame.size[1])
    drawn = draw(PIL.Image.new("RGB", (1000, 20000)), plan, card)
    assert 0.5 < drawn.width / drawn.height < 2
    assert f"One picture, drawn in {len(cuts) - 1} strips" in written


def test_cells_too_fine_to_draw_are_left_out_and_said(
    written: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "_MAIN", (300, 300))
    card, plan, _ = planned("qwen3.5", (4000, 3000))
    draw(PIL.Image.new("RGB", (4000, 3000)), plan, card)
    assert "One image token is 32x32 pixels, too small to draw here." in " ".join(written)


def test_between_the_lines_stand_the_pixels_that_the_model_sees(
    photo: Path, panels: list[PIL.Image.Image]
) -> None:
    card = registry.card("llava-1.5")
    image = open_image(photo)
    before = image.tobytes()
    plan = plan_image(card, *image.size)
    drawn = draw(image, plan, card)
    seen = fit_image(image, plan, "bicubic")
    left, scale = plan.offset[0], drawing.framed(plan, parts(plan, card))[0].scale
    assert image.tobytes() == before
    assert drawn.width > panels[0].width
    for column, row in itertools.product(range(24), range(24)):
        x, y = column * 14 + 7, row * 14 + 7  # the middle of a cell
        there = pixel_at(panels[0], (int((left + x + 0.5) * scale), int((y + 0.5) * scale)))
        # Of a crop only the part that is shown is resized, which may differ by a rounding.
        assert there == pytest.approx(pixel_at(seen, (x, y)), abs=12)


def test_a_family_without_vision_is_refused() -> None:
    card, plan, _ = planned("gemma3-4b", (10, 10))
    blind = dataclasses.replace(card, image=None)
    with pytest.raises(UnsupportedFeatureError, match="takes no images"):
        draw(PIL.Image.new("RGB", (10, 10)), plan, blind)
