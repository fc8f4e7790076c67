"""Overlapping, padded and unequal tiles: each plan beside what the model's own processor class does.

Small pictures go through the real pixel work. For large ones the processor is given a picture without
pixels, so that its own code decides the sizes and nothing is resampled.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from loader.errors import ImageError
from loader.resize.budget import strategy
from loader.resize.plan import Bounds, Geometry, Size
from registry.data import build
from registry.vision import Resize

pytest.importorskip("mlx_vlm")

NEXT = {"kind": "anyres", "tile": 336, "patch": 14, "grids": [[2, 1], [1, 2], [2, 2], [1, 3], [3, 1]]}
GRANITE = {"kind": "anyres", "tile": 384, "patch": 14, "grids": [[2, 1], [3, 1], [1, 2], [2, 2], [1, 3]]}
GRANITE_4 = {"kind": "anyres", "tile": 384, "patch": 16, "merge": 2, "grids": [[2, 1], [1, 2], [2, 2]]}
SIX = [[cols, rows] for rows in range(1, 7) for cols in range(1, 7)]
ONEVISION = {"kind": "anyres", "tile": 384, "patch": 14, "shrink_above": 9, "grids": SIX}
OVERLAP = {"kind": "crops", "tile": 378, "patch": 14, "margin": 4, "merge": 2, "fit": "stretch"}
MOLMO = {**OVERLAP, "tile": 336, "merge_across": False, "max_tiles": 12, "fit": "pad"}
SCALED = {
    "kind": "smart_resize",
    "patch": 14,
    "merge": 1,
    "min_pixels": 3136,
    "max_pixels": 1_003_520,
    "max_aspect": 1_000_000,
}
PARAMETERS: dict[str, Any] = {
    name: build(Resize, data)
    for name, data in {
        "llava-next": NEXT,
        "granite-vision": GRANITE,
        "granite4-vision": GRANITE_4,
        "llava-onevision": ONEVISION,
        "molmo": MOLMO,
        "molmo2": {**OVERLAP, "merge_across": True, "max_tiles": 8},
        "molmo-point": {**OVERLAP, "merge_across": True, "max_tiles": 24, "overview": "other"},
        "jina-vlm": {**OVERLAP, "scaled": SCALED, "merge_across": False, "max_tiles": 12},
        "moondream": {"kind": "merged_crops", "tile": 378, "patch": 14, "margin": 4, "max_tiles": 12},
        "minicpm-v": {"kind": "slices", "tile": 448, "patch": 14, "merge": 4, "max_tiles": 9},
    }.items()
}
ANYRES = ["llava-next", "granite-vision", "granite4-vision", "llava-onevision"]
PATCH, COLUMN, START, END = range(4)

LONG = st.integers(1, 12_000)
NARROW = st.tuples(st.integers(1, 60), LONG)
SIZES = st.one_of(st.tuples(LONG, LONG), NARROW, NARROW.map(lambda size: size[::-1]))


DECISIVE = [
    *[(6062, 9895), (9025, 3840), (10_402, 2485), (249, 11_001)],  # single precision: a pixel more or less
    *[(804, 1843), (1519, 3969), (1640, 2624)],  # just above a threshold of scaling down; a float below whole
    *[(1, 1), (112, 112), (111, 113), (113, 12_000), (336, 1), (337, 1), (5000, 5000), (896, 448)],
]


class Blank:
    """A picture, or an array, of which only the size is known, and a list of what it was resized to."""

    dtype = None

    def __init__(self, size: Size, log: list[Size] | None = None) -> None:
        self.size, self.log = size, [] if log is None else log
        self.shape = (size[1], size[0], 3)

    def max(self) -> float:
        return 1.0

    def __mul__(self, _: object) -> Blank:
        return self

    def astype(self, _: object) -> Blank:
        return self

    def resize(self, size: Size, *_: object, **__: object) -> Blank:
        if min(*size, *self.size) < 1:
            raise ValueError("height and width must be > 0")  # as Pillow does
        self.log.append((int(size[0]), int(size[1])))
        return Blank(self.log[-1], self.log)

    def crop(self, box: tuple[int, int, int, int]) -> Blank:
        return Blank((box[2] - box[0], box[3] - box[1]), [])

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.zeros(self.shape, dtype or np.uint8)


@contextlib.contextmanager
def without_pixels(log: list[Size]) -> Iterator[None]:
    """The processors take a Blank for an array, and for the picture that they make of it."""
    from mlx_vlm.models.jina_vlm import image_processor
    from mlx_vlm.models.molmo import processing_molmo
    from mlx_vlm.models.molmo2 import processing
    from mlx_vlm.models.molmo_point import image_processing

    def resized(image: Blank, size: Size) -> Any:
        return np.array(image.resize((size[1], size[0])), np.float32)

    def picture(array: Any) -> Blank:
        return Blank((array.shape[1], array.shape[0]), log)

    pillow = SimpleNamespace(
        fromarray=picture, Resampling=Image.Resampling, Image=Image.Image, BICUBIC=Image.Resampling.BICUBIC
    )
    with contextlib.ExitStack() as stack:
        for module in (processing_molmo, processing, image_processor):
            stack.enter_context(mock.patch.object(module, "Image", pillow))
        stack.enter_context(mock.patch.object(image_processing, "resize_image", resized))
        yield


def counted(ids: Any, tiles: int) -> dict[str, int]:
    ids = list(ids)
    return {"image_tokens": ids.count(PATCH), "tokens": len(ids), "tiles": tiles}


def molmo(parameters: Any, picture: Any) -> dict[str, Any]:
    from mlx_vlm.models.molmo.processing_molmo import MolmoImageProcessor

    processor = MolmoImageProcessor(max_crops=parameters.max_tiles)
    pixels, ids, _, _ = processor.preprocess(picture, PATCH, COLUMN, START, END)
    return {**counted(ids, len(pixels)), "patches": pixels.shape[0] * pixels.shape[1]}


def molmo2(parameters: Any, picture: Any) -> dict[str, Any]:
    from mlx_vlm.models.molmo2.processing import Molmo2Processor, image_to_patches_and_grids

    half = [0.5] * 3
    grid, pixels, _, _ = image_to_patches_and_grids(
        picture, parameters.max_tiles, [4, 4], [378, 378], Image.Resampling.BILINEAR, half, half, 14, 2, 2
    )
    processor = object.__new__(Molmo2Processor)
    processor.image_use_col_tokens, processor.use_single_crop_start_token = True, True
    processor.use_single_crop_col_tokens = None
    words = processor.get_image_tokens(grid[0]).replace("><", "> <").split()
    ids = [PATCH if word == "<im_patch>" else COLUMN for word in words]
    return {**counted(ids, len(pixels)), "patches": pixels.shape[0] * pixels.shape[1]}


def molmo_point(parameters: Any, picture: Any) -> dict[str, Any]:
    from mlx_vlm.models.molmo_point.image_processing import image_to_patches_and_grids
    from mlx_vlm.models.molmo_point.processing_molmo_point import MolmoPointProcessor

    half = [0.5] * 3
    grid, pixels, _, _ = image_to_patches_and_grids(
        picture, parameters.max_tiles, (4, 4), (378, 378), half, half, 14, 2, 2
    )
    words = MolmoPointProcessor(mock.Mock(), mock.Mock()).get_image_tokens(grid[0])
    ids = [PATCH if word == "<im_patch>" else COLUMN for word in words]
    return {**counted(ids, len(pixels)), "patches": pixels.shape[0] * pixels.shape[1]}


def jina_vlm(parameters: Any, picture: Any) -> dict[str, Any]:
    from mlx_vlm.models.jina_vlm.image_processor import ImageProcessor

    processor = ImageProcessor(max_crops=parameters.max_tiles, patch_token_id=PATCH, start_token_id=START)
    made = processor.process_image(picture)
    pixels = made["pixel_values"]
    return {**counted(made["image_tokens"], len(pixels)), "patches": pixels.shape[0] * pixels.shape[1]}


def moondream(parameters: Any, picture: Any) -> dict[str, Any]:
    from mlx_vlm.models.moondream3.image_crops import create_crops
    from mlx_vlm.models.moondream3.processing_moondream3 import NUM_VISION_TOKENS

    made, layout = create_crops(picture, 378, parameters.max_tiles, 4)
    rows, cols = layout or (0, 0)
    return {"tiles": len(made), "rows": rows, "cols": cols, "image_tokens": NUM_VISION_TOKENS}


def minicpm(parameters: Any, picture: Any) -> dict[str, Any]:
    from mlx_vlm.models.minicpmv4_6.processing_minicpmv4_6 import MiniCPMVImageProcessor, MiniCPMVProcessor

    processor = object.__new__(MiniCPMVProcessor)
    processor.tokenizer = SimpleNamespace(
        im_start_id=START, im_end_id=END, slice_start_id=START, slice_end_id=END, image_token_id=PATCH
    )
    processor.tokenizer.encode = lambda text, **_: [COLUMN] * len(text)
    processor.image_token = "<|image_pad|>"  # noqa: S105  # a token of a prompt
    processor.image_processor = MiniCPMVImageProcessor(max_slice_nums=parameters.max_tiles)
    overview, parts, grid = processor.image_processor.slice_image(picture)
    pieces = [overview, *(piece for row in parts for piece in row)]
    sides = np.array([[piece.size[1] // 14, piece.size[0] // 14] for piece in pieces])
    ids = processor._build_placeholder_ids_for_image(sides, grid or (0, 0), 0, 16)
    cols, rows = grid or (0, 0)
    return {
        "image_tokens": ids.count(PATCH),
        "tiles": len(pieces),
        "patches": int(sides.prod(axis=1).sum()),
        "rows": rows,
        "cols": cols,
    }


def anyres(name: str, parameters: Any, size: Size) -> dict[str, Any]:
    from mlx_vlm.models.granite4_vision.processing_granite4_vision import Granite4VisionProcessor
    from mlx_vlm.models.llava_next.processing_llava_next import LlavaNextProcessor
    from mlx_vlm.models.llava_onevision.processing_llava_onevision import LlavaOnevisionProcessor
    from transformers.image_processing_utils import get_patch_output_size, select_best_resolution
    from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

    # Granite Vision 3 has a copy of LLaVA-NeXT's class. To import it would make it load both families.
    kinds: dict[str, Any] = {
        "granite4-vision": Granite4VisionProcessor,
        "llava-onevision": LlavaOnevisionProcessor,
    }
    tile = parameters.tile
    points = [[rows * tile, cols * tile] for cols, rows in parameters.grids]
    processor = object.__new__(kinds.get(name, LlavaNextProcessor))
    processor.image_processor = SimpleNamespace(image_grid_pinpoints=points)
    processor.patch_size, processor.num_additional_image_tokens = parameters.patch, 0
    processor.downsample_rate, processor.num_image_tokens = "1/2", 729
    processor.vision_aspect_ratio = "anyres_max_9"
    best = select_best_resolution((size[1], size[0]), points)
    pixels = np.broadcast_to(np.uint8(0), (3, size[1], size[0]))
    high, wide = get_patch_output_size(pixels, best, "channels_first")
    (top, _), (left, _) = LlavaNextImageProcessorPil()._get_padding_size((high, wide), best)
    return {
        "image_tokens": processor._get_number_of_features(size[1], size[0], tile, tile),
        "rows": best[0] // tile,
        "cols": best[1] // tile,
        "resizes": ((wide, high),),
        "offset": (-left, -top),
        "seen": (best[1], best[0]),
    }


CUT: dict[str, Callable[[Any, Any], dict[str, Any]]] = {
    "molmo": molmo,
    "molmo2": molmo2,
    "molmo-point": molmo_point,
    "jina-vlm": jina_vlm,
    "moondream": moondream,
    "minicpm-v": minicpm,
}
RESIZE_OF_THE_GRID = {"crops": -2, "slices": -1}
"""Which of upstream's calls resizes the grid, counted from the last; the overview's follows in `crops`."""


def planned(parameters: Any, size: Size) -> Geometry:
    geometry: Geometry = strategy(parameters.kind)(parameters, size, Bounds())
    return geometry


def facts(geometry: Geometry, asked: dict[str, Any]) -> dict[str, Any]:
    tokens = geometry.image_tokens + (geometry.extra_tokens or 0)
    return {fact: tokens if fact == "tokens" else getattr(geometry, fact) for fact in asked}


def lowered(parameters: Any) -> list[Any]:
    """The parameters and all that the strategy offers for a smaller budget."""
    import importlib

    module = importlib.import_module(f"loader.resize.{parameters.kind}")
    return [parameters, *module.smaller(parameters)]


def check_anyres(name: str, parameters: Any, size: Size) -> None:
    upstream = anyres(name, parameters, size)
    assert facts(planned(parameters, size), upstream) == upstream


def check_cut(name: str, parameters: Any, size: Size) -> None:
    blank = Blank(size)
    try:
        with without_pixels(blank.log), np.errstate(divide="ignore"):
            upstream = CUT[name](parameters, blank)
    except ValueError:
        with pytest.raises(ImageError, match="so narrow that nothing is left"):
            planned(parameters, size)
        return
    geometry = planned(parameters, size)
    assert facts(geometry, upstream) == upstream
    if parameters.kind in RESIZE_OF_THE_GRID:
        assert geometry.resizes[-1] == blank.log[RESIZE_OF_THE_GRID[parameters.kind]]


@given(name=st.sampled_from(ANYRES), size=SIZES, data=st.data())
@settings(max_examples=1000, deadline=None)
def test_the_best_grid_its_padding_and_its_tokens_are_upstreams(
    name: str, size: Size, data: st.DataObject
) -> None:
    check_anyres(name, data.draw(st.sampled_from(lowered(PARAMETERS[name]))), size)


@pytest.mark.parametrize("name", CUT)
@given(size=SIZES, data=st.data())
@settings(max_examples=60, deadline=None)
def test_tiles_and_tokens_of_every_size_are_upstreams(name: str, size: Size, data: st.DataObject) -> None:
    check_cut(name, data.draw(st.sampled_from(lowered(PARAMETERS[name]))), size)


@pytest.mark.parametrize("size", DECISIVE)
@pytest.mark.parametrize("name", PARAMETERS)
def test_sizes_that_a_rounding_or_a_tie_decides_are_upstreams(name: str, size: Size) -> None:
    steps = lowered(PARAMETERS[name])
    for parameters in (steps[0], steps[-2]):  # nearly the least, too
        (check_cut if name in CUT else check_anyres)(name, parameters, size)


@given(size=SIZES)
@settings(max_examples=1000)
def test_single_precision_chooses_the_grid_that_numpy_chooses(size: Size) -> None:
    from mlx_vlm.models.molmo2.processing import select_tiling

    for name in ("molmo2", "molmo-point"):
        parameters = PARAMETERS[name]
        grid = select_tiling(size[1] - 112, size[0] - 112, 266, parameters.max_tiles)
        geometry = planned(parameters, size)
        assert (geometry.rows, geometry.cols) == tuple(map(int, grid))


@pytest.mark.parametrize("size", [(1, 1), (112, 112), (37, 900), (1300, 700), (640, 480), (113, 1200)])
@pytest.mark.parametrize("name", CUT)
def test_real_pictures_are_cut_as_planned(name: str, size: Size) -> None:
    picture: Any = Image.new("RGB", size, "white")
    if PARAMETERS[name].kind == "crops":
        picture = np.asarray(picture) / np.float32(255) if name != "molmo-point" else np.asarray(picture)
    with np.errstate(divide="ignore"):
        upstream = CUT[name](PARAMETERS[name], picture)
    assert facts(planned(PARAMETERS[name], size), upstream) == upstream


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (640, 480), (300, 900), (1400, 200)])
@pytest.mark.parametrize("name", ["llava-next", "granite4-vision", "llava-onevision"])
def test_real_pictures_fill_what_is_planned_between_the_padding(name: str, size: Size) -> None:
    from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

    parameters = PARAMETERS[name]
    tile = parameters.tile
    processor = LlavaNextImageProcessorPil(
        image_grid_pinpoints=[[rows * tile, cols * tile] for cols, rows in parameters.grids],
        size={"shortest_edge": tile},
        crop_size={"height": tile, "width": tile},
        do_normalize=False,
    )
    geometry = planned(parameters, size)
    (pixels,) = processor([Image.new("RGB", size, "white")], return_tensors="np")["pixel_values"]
    assert len(pixels) == geometry.tiles
    assert geometry.rows
    tiles = pixels[1:, 0].reshape(geometry.rows, -1, tile, tile).swapaxes(1, 2)
    white = np.argwhere(tiles.reshape(geometry.rows * tile, -1) > 0.5)
    top, left = -white.min(axis=0)
    high, wide = white.max(axis=0) - white.min(axis=0) + 1
    assert (geometry.offset, geometry.resizes) == ((left, top), ((wide, high),))


@given(size=st.tuples(st.integers(1, 500), st.integers(1, 500)))
@settings(max_examples=30, deadline=None)
def test_borders_around_a_padded_image_are_where_upstream_puts_them(size: Size) -> None:
    from mlx_vlm.models.molmo.processing_molmo import resize_and_pad

    try:
        geometry = planned(PARAMETERS["molmo"], size)
    except ImageError:
        return  # the test of tiles and tokens, above
    assert geometry.seen
    _, mask = resize_and_pad(np.ones((size[1], size[0], 3), np.float32), geometry.seen[::-1])
    inside = np.argwhere(mask)
    top, left = -inside.min(axis=0)
    high, wide = inside.max(axis=0) - inside.min(axis=0) + 1
    assert (geometry.offset, geometry.resizes) == ((left, top), ((wide, high),))


@pytest.mark.parametrize("name", PARAMETERS)
@given(size=SIZES)
@settings(max_examples=25)
def test_less_means_fewer_tiles_at_most_step_by_step(name: str, size: Size) -> None:
    steps = lowered(PARAMETERS[name])
    limits = [
        max(cols * rows for cols, rows in step.grids) if step.kind == "anyres" else step.max_tiles
        for step in steps
    ]
    assert limits == sorted(set(limits), reverse=True)
    with contextlib.suppress(ImageError):
        cells = [(made.rows or 0) * (made.cols or 0) for made in (planned(step, size) for step in steps)]
        assert all(cell <= limit for cell, limit in zip(cells, limits, strict=True))


@given(size=SIZES)
def test_one_picture_that_is_said_to_stay_is_planned_as_itself(size: Size) -> None:
    geometry = planned(PARAMETERS["minicpm-v"], size)
    if geometry.stays:
        again = planned(PARAMETERS["minicpm-v"], geometry.resizes[-1])
        assert (again.resizes, again.tiles) == (geometry.resizes, 1)


def test_an_image_of_which_the_overview_would_keep_nothing_is_refused() -> None:
    with pytest.raises(ImageError, match=r"of 1x400 is so narrow.*336 pixels.*\. Cut it into pieces\."):
        planned(PARAMETERS["molmo"], (1, 400))


@pytest.mark.parametrize("kind", ["crops", "merged_crops"])
def test_margins_that_leave_nothing_of_a_tile_are_refused(kind: str) -> None:
    parameters = {"crops": {**MOLMO, "margin": 12}, "merged_crops": {"kind": kind, "tile": 112, "patch": 14}}
    with pytest.raises(ValueError, match="nothing is left of a"):
        build(Resize, {"margin": 4, "max_tiles": 4, **parameters[kind]})
