"""Strategies that cut an image into tiles, beside the processors that they follow."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from loader.errors import ImageError
from loader.resize.budget import strategy
from loader.resize.canvas_tiles import smaller as smaller_canvas_tiles
from loader.resize.plan import Bounds, Geometry, Size
from loader.resize.quarters import smaller as smaller_quarters
from loader.resize.split_tiles import smaller as smaller_split_tiles
from loader.resize.stretch_tiles import smaller as smaller_stretch_tiles
from registry.vision import Resize

np = pytest.importorskip("numpy")
pytest.importorskip("mlx_vlm")

Facts = dict[str, Any]

OCR = {
    "kind": "stretch_tiles", "tile": 640, "patch": 16, "merge": 4, "min_tiles": 2, "max_tiles": 9,
    "choose": "difference", "tie": "half", "overview": {"side": 1024, "fit": "pad", "when": "always"},
    "uncut_side": 640, "row_ends": True, "separators": 1,
}  # fmt: skip
VL2_GRIDS = [[1, 1], [1, 2], [2, 1], [1, 3], [3, 1], [1, 4], [4, 1], [2, 2], [1, 5], [5, 1], [1, 6], [6, 1]]
CASES: dict[str, Facts] = {
    "idefics3": {
        "kind": "split_tiles", "longest_edge": 1456, "tile": 364, "patch": 14, "tokens_per_tile": 169,
    },
    "smolvlm2": {
        "kind": "split_tiles", "longest_edge": 2048, "tile": 512, "patch": 16, "tokens_per_tile": 64,
    },
    "idefics2": {
        "kind": "quarters", "split": True, "shortest_edge": 378, "longest_edge": 980, "patch": 14,
        "tokens_per_tile": 64,
    },
    "lfm2-vl": {
        "kind": "stretch_tiles", "tile": 512, "patch": 16, "merge": 2, "min_tiles": 2, "max_tiles": 10,
        "choose": "difference", "tie": "half",
        "kept": {"min_tokens": 64, "max_tokens": 256, "uncut_tokens": 512},
    },
    "internvl3": {
        "kind": "stretch_tiles", "tile": 448, "patch": 14, "merge": 2, "max_tiles": 12,
        "choose": "difference", "tie": "area", "overview": {"side": 448, "fit": "stretch", "when": "cut"},
    },
    "aya-vision": {
        "kind": "stretch_tiles", "tile": 364, "patch": 14, "merge": 2, "max_tiles": 12,
        "choose": "difference", "tie": "half", "overview": {"side": 364, "fit": "stretch", "when": "cut"},
    },
    "plamo2vl": {
        "kind": "stretch_tiles", "tile": 448, "patch": 14, "merge": 2, "max_tiles": 24,
        "choose": "quotient", "tie": "half", "overview": {"side": 448, "fit": "stretch", "when": "cut"},
    },
    "llama4": {
        "kind": "stretch_tiles", "tile": 336, "patch": 14, "merge": 2, "max_tiles": 4, "choose": "gap",
        "overview": {"side": 336, "fit": "absent", "when": "cut"},
    },
    "phi3-vision": {
        "kind": "stretch_tiles", "tile": 336, "patch": 14, "merge": 2, "max_tiles": 16, "choose": "most",
        "overview": {"side": 336, "fit": "stretch", "when": "always"}, "row_ends": True, "separators": 1,
    },
    "deepseek-ocr": OCR,
    "unlimited-ocr": OCR | {"max_tiles": 32},
    "deepseek-ocr-2": {
        "kind": "stretch_tiles", "tile": 768, "patch": 16, "merge": 4, "max_tiles": 6,
        "choose": "difference", "tie": "half",
        "overview": {"side": 1024, "fit": "pad", "when": "always"}, "separators": 1,
    },
    "deepseek-vl2": {
        "kind": "canvas_tiles", "tile": 384, "patch": 14, "merge": 2, "grids": [*VL2_GRIDS, [2, 3], [3, 2]],
        "fit": "centre", "overview": {"side": 384, "fit": "pad", "when": "always"}, "row_ends": True,
        "separators": 1,
    },
    "llama3.2-vision": {
        "kind": "canvas_tiles", "tile": 560, "patch": 14, "merge": 1, "fit": "corner", "cross": True,
        "grids": [[1, 1], [2, 1], [3, 1], [4, 1], [1, 2], [2, 2], [1, 3], [1, 4]],
    },
    "step3": {
        "kind": "windows", "tile": 504, "patch": 14, "merge": 4, "overview": 728, "max_side": 3024,
    },
}  # fmt: skip
"""The parameters at the released checkpoints' limits."""

SIZES = st.one_of(
    st.tuples(st.integers(1, 12_000), st.integers(1, 9_000)),
    st.tuples(st.integers(1, 900), st.integers(1, 900)),
    st.tuples(st.integers(1, 60), st.integers(1, 200)).map(lambda it: (it[0] * it[1], it[0])),
    st.tuples(st.integers(1, 60), st.integers(1, 200)).map(lambda it: (it[0], it[0] * it[1])),
    # Exact ratios, where grids are equally near.
    st.tuples(st.integers(1, 16), st.integers(1, 16), st.integers(1, 600)).map(
        lambda it: (it[0] * it[2], it[1] * it[2])
    ),
)


@functools.cache
def parameters(name: str) -> Any:
    return TypeAdapter(Resize).validate_json(json.dumps(CASES[name]), strict=True)


def plan(name: str, size: Size, bounds: Bounds = Bounds()) -> Geometry:  # noqa: B008  # immutable
    return strategy(CASES[name]["kind"])(parameters(name), size, bounds)


def facts(geometry: Geometry) -> Facts:
    return {
        "seen": geometry.seen or geometry.resizes[-1],
        "fitted": geometry.resizes[-1],
        "offset": geometry.offset,
        "image_tokens": geometry.image_tokens,
        "cross_tokens": geometry.cross_tokens,
        "patches": geometry.patches,
        "tiles": geometry.tiles,
        "grid": (geometry.cols, geometry.rows),
    }


class Blank:
    """A picture of some size without pixels, for what the processors do with pictures of any size."""

    def __init__(self, size: Size) -> None:
        self.size = size
        self.width, self.height = size

    def resize(self, size: Size, *_: Any, **__: Any) -> Blank:
        return Blank(size)

    def crop(self, box: tuple[int, int, int, int]) -> Blank:
        return Blank((box[2] - box[0], box[3] - box[1]))

    def copy(self) -> Blank:
        return self


def without_init(made: Any, **attributes: Any) -> Any:
    """A processor as its methods see it, without tokenizer files."""
    made = object.__new__(made)
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def array(size: Size) -> Any:
    """Pixels that take no memory, colours first."""
    return np.broadcast_to(np.uint8(0), (3, size[1], size[0]))


def edges(name: str, size: Size) -> Facts:
    if name == "idefics3":
        from transformers.models.idefics3 import image_processing_pil_idefics3 as source

        made: Any = source.Idefics3ImageProcessorPil
    else:
        from transformers.models.smolvlm import image_processing_pil_smolvlm as source

        made = source.SmolVLMImageProcessorPil
    case = CASES[name]
    tile = {"longest_edge": case["tile"]}
    real = made(size={"longest_edge": case["longest_edge"]}, max_image_size=tile)

    def resize(_: Any, image: Any, size: Any, **__: Any) -> Any:
        return array((size.width, size.height))

    with mock.patch.object(made.__bases__[0], "resize", resize):
        whole = real.resize_for_vision_encoder(real.resize(array(size), real.size), case["tile"])
        frames, rows, cols = real.split_images(whole, tile)
    assert {frame.shape for frame in frames} == {(3, case["tile"], case["tile"])}
    return {
        "seen": (whole.shape[2], whole.shape[1]),
        "grid": (cols, rows),
        "tiles": len(frames),
        "image_tokens": len(frames) * case["tokens_per_tile"],
        "patches": len(frames) * (case["tile"] // case["patch"]) ** 2,
    }


def idefics2(_: str, size: Size) -> Facts:
    from transformers.models.idefics2 import image_processing_pil_idefics2 as source

    real = source.Idefics2ImageProcessorPil(do_image_splitting=True)
    sizes = [source.get_resize_output_image_size(part, real.size) for part in real.split_images(array(size))]
    high, wide = (max(sides) for sides in zip(*sizes, strict=True))
    return {
        "seen": (sizes[0][1] + sizes[1][1], sizes[0][0] + sizes[2][0]),
        "tiles": len(sizes),
        "image_tokens": 64 * len(sizes),
        "patches": len(sizes) * (high // 14) * (wide // 14),
    }


@functools.cache
def lfm2_processor(**options: Any) -> Any:
    from mlx_vlm.models.lfm2_vl.processing_lfm2_vl import Lfm2VlNumpyImageProcessor

    return Lfm2VlNumpyImageProcessor(**options)


def lfm2(_: str, size: Size) -> Facts:
    real = lfm2_processor()
    views, rows, cols, _ = real._views_for_image(Blank(size), True, real.min_tiles, real.max_tiles, True)
    patches = [view.width // 16 * (view.height // 16) for view in views]
    if max(patches) > real.max_num_patches:
        raise ValueError("the processor cuts such a picture off and the model fails at what is left")
    tiled = len(views) > 1
    return {
        "seen": (512 * cols, 512 * rows) if tiled else views[0].size,
        "grid": (cols, rows),
        "tiles": len(views),
        "image_tokens": sum(count // 4 for count in patches),
        "patches": len(views) * real.max_num_patches,
    }


def internvl(_: str, size: Size) -> Facts:
    from mlx_vlm.models.internvl_chat.processor import dynamic_preprocess

    blank: Any = Blank(size)
    with mock.patch.object(blank, "resize", wraps=blank.resize) as resize:
        tiles = dynamic_preprocess(blank, 1, 12, 448, use_thumbnail=True)
    return {
        "seen": resize.call_args_list[0].args[0],
        "tiles": len(tiles),
        "image_tokens": 256 * len(tiles),
        "patches": 1024 * len(tiles),
    }


def plamo(_: str, size: Size) -> Facts:
    from mlx_vlm.models.plamo2vl.processing import _dynamic_preprocess_eagle2_image

    tiles = _dynamic_preprocess_eagle2_image(Blank(size), max_num=24, use_thumbnail=True)
    return {"tiles": len(tiles)}


def aya(_: str, size: Size) -> Facts:
    from mlx_vlm.models.aya_vision.processing_aya_vision import AyaVisionProcessor
    from transformers.models.got_ocr2 import image_processing_pil_got_ocr2 as source

    real = source.GotOcr2ImageProcessorPil(crop_to_patches=True, size={"height": 364, "width": 364})
    tiles = real.get_number_of_image_patches(size[1], size[0])
    words = dict.fromkeys(("start_of_img", "end_of_img", "tile", "tile_global"), "") | {"img_patch": "*"}
    named = {f"{word}_token": text for word, text in words.items()}
    text = without_init(AyaVisionProcessor, img_size=364, patch_size=28, **named)._prompt_split_image(tiles)
    cols, rows = source.get_optimal_tiled_canvas(size[::-1], (364, 364), 1, 12)
    return {"grid": (cols, rows), "tiles": tiles, "image_tokens": text.count("*")}


def llama4(_: str, size: Size) -> Facts:
    from mlx_vlm.models.llama4.processing_llama4 import Llama4ImageProcessor, Llama4Processor

    rows, cols = Llama4ImageProcessor()._get_best_resolution(*size)
    text = without_init(Llama4Processor)._prompt_split_image((rows, cols), 144)
    return {"grid": (cols, rows), "tiles": rows * cols, "image_tokens": text.count("<|patch|>")}


def phi3(_: str, size: Size) -> Facts:
    from mlx_vlm.models.phi3_v.processing_phi3_v import Phi3VImageProcessor, _calc_hd_transform_size

    seen = _calc_hd_transform_size(*size, 16)
    if not all(seen):
        raise ValueError("height and width must be > 0")  # as Pillow says to a resize to this
    tokens = Phi3VImageProcessor(num_crops=16).calc_num_image_tokens(Blank(size))
    return {"seen": seen, "tiles": seen[0] * seen[1] // 336**2 + 1, "image_tokens": tokens}


PLACEHOLDER = "<image>"


class Tokenizer:
    """One token for each text."""

    bos_token_id = eos_token_id = 0

    def encode(self, *_: Any, **__: Any) -> list[int]:
        return [1]


def transform(image: Any) -> Any:
    """The processor's own, without the pixels."""
    import mlx.core as mx

    return mx.zeros((1,))


transform.mean = (0.5, 0.5, 0.5)  # type: ignore[attr-defined]


def deepseek_processor(name: str) -> tuple[Any, Any]:
    if name == "deepseek-vl2":
        from mlx_vlm.models.deepseek_vl_v2 import processing_deepsek_vl_v2 as source

        made, patch, merge = source.DeepseekVLV2Processor, 14, 2
    elif name == "deepseek-ocr-2":
        from mlx_vlm.models.deepseekocr_2 import processing_deepseekocr as source

        made, patch, merge = source.DeepseekOCR2Processor, 16, 4
    elif name == "deepseek-ocr":
        from mlx_vlm.models.deepseekocr import processing_deepseekocr as source

        made, patch, merge = source.DeepseekOCRProcessor, 16, 4
    else:
        from mlx_vlm.models.unlimited_ocr import processing_unlimitedocr as source

        made, patch, merge = source.UnlimitedOCRProcessor, 16, 4
    sizes = [(384 * cols, 384 * rows) for cols, rows in CASES["deepseek-vl2"]["grids"]]
    return source, without_init(
        made, tokenizer=Tokenizer(), image_token=PLACEHOLDER, image_token_id=9, image_transform=transform,
        patch_size=patch, downsample_ratio=merge, image_size=384, candidate_resolutions=sizes,
    )  # fmt: skip


def deepseek(name: str, size: Size) -> Facts:
    source, real = deepseek_processor(name)
    pad = SimpleNamespace(pad=lambda _, size, **__: Blank(size))
    with mock.patch.object(source, "ImageOps", pad):
        ids, pictures, _, grids, _ = real.tokenize_with_images(f"a{PLACEHOLDER}b", [Blank(size)])
    cols, rows = (int(number) for number in (grids if name == "deepseek-vl2" else grids.tolist())[0])
    found: Facts = {"grid": (cols, rows), "image_tokens": ids.count(9)}
    if name == "deepseek-vl2":
        return found | {"tiles": len(pictures), "seen": (384 * cols, 384 * rows)}
    if name == "deepseek-ocr-2" or cols * rows > 1:
        side = CASES[name]["tile"]
        found |= {"seen": (side * cols, side * rows), "tiles": len(pictures[0]) + 1}
    return found


def mllama(_: str, size: Size) -> Facts:
    from transformers.models.mllama import image_processing_pil_mllama as source

    width, height = size
    canvas = source.get_optimal_tiled_canvas(height, width, 4, 560)
    fitted = source.get_image_size_fit_to_canvas(height, width, *canvas, 560)
    rows, cols = (int(side) // 560 for side in canvas)
    return {
        "seen": (cols * 560, rows * 560),
        "fitted": (int(fitted[1]), int(fitted[0])),
        "offset": (0, 0),
        "grid": (cols, rows),
        "tiles": rows * cols,
        "image_tokens": 1,
        "cross_tokens": 6404,
    }


def step3(_: str, size: Size) -> Facts:
    from mlx_vlm.models.step3p7.processing_step3p7 import ImagePatcher

    real = ImagePatcher()
    count = real.get_num_patches(*size)[0]
    side = real._preprocess_size(max(size), max(size))[0]
    crop = real._crop_size(side, side, 504)[0] if count else 728
    return {"seen": (crop, crop), "tiles": count, "image_tokens": 169 + 81 * count}


UPSTREAM: dict[str, Callable[[str, Size], Facts]] = {
    "idefics3": edges, "smolvlm2": edges, "idefics2": idefics2, "lfm2-vl": lfm2, "internvl3": internvl,
    "plamo2vl": plamo, "aya-vision": aya, "llama4": llama4, "phi3-vision": phi3, "deepseek-ocr": deepseek,
    "unlimited-ocr": deepseek, "deepseek-ocr-2": deepseek, "deepseek-vl2": deepseek,
    "llama3.2-vision": mllama, "step3": step3,
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=300, deadline=None)
@given(size=SIZES)
def test_any_size_is_planned_as_the_models_own_processor_does_it(name: str, size: Size) -> None:
    try:
        real = UPSTREAM[name](name, size)
    except (ValueError, ZeroDivisionError):
        with pytest.raises(ImageError):
            plan(name, size)
        return
    if name == "idefics2" and min(size) < 2:
        assume(False)  # its sizes can be worked out, its pixels cannot: the next test but one
    if name == "deepseek-vl2" and max(size) / min(size) >= 384:
        assume(False)  # a blank picture: see the test of overlong images
    mine = facts(plan(name, size))
    assert {fact: mine[fact] for fact in real} == real


@settings(max_examples=60, deadline=None)
@given(size=SIZES, most=st.integers(2, 10))
def test_fewer_tiles_are_what_the_processor_makes_of_a_lowered_attribute(size: Size, most: int) -> None:
    lowered = dataclasses.replace(parameters("lfm2-vl"), max_tiles=most)
    with mock.patch.object(lfm2_processor(), "max_tiles", most):
        try:
            real = lfm2("lfm2-vl", size)
        except ValueError:
            return
    mine = facts(strategy("stretch_tiles")(lowered, size, Bounds()))
    assert {fact: mine[fact] for fact in real} == real


def random_image(size: Size) -> Any:
    from PIL import Image

    pixels = np.random.default_rng(size).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@functools.cache
def processor(name: str) -> Callable[[Any], list[Any]]:  # noqa: PLR0911  # one line for each
    """The real processor of a family, pixels and all, as a function to arrays."""
    if name in {"idefics3", "smolvlm2", "idefics2", "llama3.2-vision", "aya-vision"}:
        from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
        from transformers.models.idefics2.image_processing_pil_idefics2 import Idefics2ImageProcessorPil
        from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
        from transformers.models.mllama.image_processing_pil_mllama import MllamaImageProcessorPil
        from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

        real: Any = {
            "idefics3": Idefics3ImageProcessorPil,
            "smolvlm2": lambda: SmolVLMImageProcessorPil(
                size={"longest_edge": 2048}, max_image_size={"longest_edge": 512}
            ),
            "idefics2": lambda: Idefics2ImageProcessorPil(do_image_splitting=True),
            "llama3.2-vision": lambda: MllamaImageProcessorPil(size={"height": 560, "width": 560}),
            "aya-vision": lambda: GotOcr2ImageProcessorPil(
                crop_to_patches=True, size={"height": 364, "width": 364}
            ),
        }[name]()

        def pictures(image: Any) -> list[Any]:
            pixels = np.array(real(image)["pixel_values"])
            return list(pixels.reshape(-1, *pixels.shape[-3:]))

        return pictures
    if name == "internvl3":
        from mlx_vlm.models.internvl_chat.processor import InternVLImageProcessor

        return lambda image: [
            np.array(part) for part in InternVLImageProcessor().preprocess([image])["pixel_values"][0]
        ]
    if name == "llama4":
        from mlx_vlm.models.llama4.processing_llama4 import Llama4ImageProcessor

        return lambda image: list(Llama4ImageProcessor().preprocess([image])["pixel_values"])
    if name == "lfm2-vl":
        return lambda image: list(lfm2_processor().preprocess([image])["pixel_values"])
    if name == "phi3-vision":
        from mlx_vlm.models.phi3_v.processing_phi3_v import Phi3VImageProcessor

        return lambda image: list(Phi3VImageProcessor(num_crops=16)._process_single_image(image)[0])
    if name == "step3":
        from mlx_vlm.models.step3p7.processing_step3p7 import ImagePatcher

        def patched(image: Any) -> list[Any]:
            base, tiles, _ = ImagePatcher()(image)
            return [np.array(part) for part in (base.resize((728, 728), 2), *tiles)]

        return patched
    source, made = deepseek_processor(name)
    made.image_transform = source.ImageTransform()

    def tokenized(image: Any) -> list[Any]:
        pictures = made.tokenize_with_images(f"a{PLACEHOLDER}b", [image])[1]
        return [np.array(part.astype(source.mx.float32)) for part in pictures]

    return tokenized


RESAMPLE = {"idefics3": 1, "smolvlm2": 1, "llama3.2-vision": 2, "idefics2": 2, "step3": 2}
"""Pillow's numbers of the filters that are not bicubic."""
PIXELS = [
    "idefics3", "idefics2", "llama3.2-vision", "aya-vision", "internvl3", "llama4", "lfm2-vl", "phi3-vision",
    "step3", "deepseek-vl2",
]  # fmt: skip
SMALL = st.one_of(
    st.tuples(st.integers(2, 500), st.integers(2, 500)),
    st.sampled_from([(1400, 300), (300, 1100), (448, 448)]),
)


@pytest.mark.parametrize("name", PIXELS)
@settings(max_examples=4, deadline=None)
@given(size=SMALL)
def test_real_pixels_become_the_pictures_of_the_plan(name: str, size: Size) -> None:
    mine = plan(name, size)
    pictures = processor(name)(random_image(size))
    expected = mine.tiles + (name == "step3")
    if name == "llama3.2-vision":  # up to four, blank ones
        assert all(not picture.any() for picture in pictures[expected:])
    else:
        assert len(pictures) == expected
    if name not in {"lfm2-vl", "step3"}:
        patch = CASES[name]["patch"]
        assert mine.patches == sum(p.shape[1] // patch * (p.shape[2] // patch) for p in pictures)


@pytest.mark.parametrize("name", PIXELS)
@settings(max_examples=8, deadline=None)
@given(size=SMALL)
def test_an_image_that_stays_is_the_same_to_the_processor_when_it_is_scaled_before(
    name: str, size: Size
) -> None:
    mine = plan(name, size)
    if not mine.stays:
        return
    image = random_image(size)
    scaled = functools.reduce(lambda it, to: it.resize(to, RESAMPLE.get(name, 3)), mine.resizes, image)
    for one, other in zip(processor(name)(image), processor(name)(scaled), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("name", "size"), [("internvl3", (30, 31)), ("llama4", (900, 300)), ("lfm2-vl", (640, 480))]
)
def test_an_image_without_a_second_view_stays(name: str, size: Size) -> None:
    assert plan(name, size).stays
    assert plan("smolvlm2", size).stays


def test_an_overview_of_the_original_does_not_let_an_image_be_scaled_before() -> None:
    assert not plan("internvl3", (640, 480)).stays
    assert not plan("deepseek-ocr", (600, 400)).stays
    assert plan("internvl3", (4 * 448, 3 * 448)).stays  # it is there already


@pytest.mark.parametrize(
    ("name", "size", "says"),
    [
        ("idefics2", (1, 40), "1x40 cannot be cut into four quarters"),
        ("lfm2-vl", (12, 12_000), "has more than the 1,024 patches"),
        ("phi3-vision", (6000, 1), "6000 times as long as wide, and nothing of it is left"),
        ("deepseek-vl2", (1, 9000), "9000 times as long as wide, and nothing of it is left"),
    ],
)
def test_an_image_that_the_processor_fails_at_is_refused(name: str, size: Size, says: str) -> None:
    with pytest.raises(ImageError, match=says):
        plan(name, size)


def test_what_is_refused_makes_the_processor_fail_or_show_nothing() -> None:
    with pytest.raises(ZeroDivisionError):
        processor("idefics2")(random_image((40, 1)))
    with pytest.raises(ValueError, match="must be > 0"):
        processor("phi3-vision")(random_image((6000, 1)))
    assert {picture.std() for picture in np.array(processor("deepseek-vl2")(random_image((1, 9000))))} == {0}


@settings(max_examples=300, deadline=None)
@given(size=SIZES, tokens=st.integers(1, 3500), pixels=st.none() | st.integers(1, 10_000_000))
def test_a_budget_makes_windows_fewer_and_the_smaller_image_has_as_many(
    size: Size, tokens: int, pixels: int | None
) -> None:
    full, mine = plan("step3", size), plan("step3", size, Bounds(tokens, pixels))
    seen = mine.seen or mine.resizes[-1]
    assert mine.image_tokens <= full.image_tokens
    assert not mine.tiles or (mine.image_tokens <= tokens and (pixels is None or seen[0] ** 2 <= pixels))
    if mine == full:
        return
    assert max(mine.resizes[-1]) < max(size)
    again = plan("step3", mine.resizes[-1])
    assert dataclasses.replace(again, stays=mine.stays) == mine
    assert again.stays


SMALLER: dict[str, Callable[[Any], Iterator[Any]]] = {
    "split_tiles": smaller_split_tiles,
    "stretch_tiles": smaller_stretch_tiles,
    "canvas_tiles": smaller_canvas_tiles,
    "quarters": smaller_quarters,
}


@pytest.mark.parametrize("name", [name for name in CASES if name not in {"step3", "llama3.2-vision"}])
def test_each_lower_level_takes_no_more_tokens_and_the_last_takes_the_least(name: str) -> None:
    kind = CASES[name]["kind"]
    for size in ((4032, 3024), (900, 3000), (3000, 200)):
        levels = SMALLER[kind](parameters(name))
        counts = [strategy(kind)(level, size, Bounds()).tiles for level in levels]
        assert counts == sorted(counts, reverse=True)
        assert counts[-1] <= CASES[name].get("min_tiles", 1) + 1


def test_the_canvas_that_embeddings_are_numbered_by_has_no_lower_level() -> None:
    assert list(smaller_canvas_tiles(parameters("llama3.2-vision"))) == []


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("internvl3", {"min_tiles": 13}, "min_tiles: larger"),
        ("internvl3", {"tie": None}, "tie: choose=difference"),
        ("llama4", {"tie": "half"}, "tie: choose=difference"),
        ("lfm2-vl", {"min_tiles": 1}, "kept: replaces"),
        ("lfm2-vl", {"kept": {"min_tokens": 9, "max_tokens": 8, "uncut_tokens": 8}}, "max_tokens: not"),
        ("internvl3", {"uncut_side": 448}, "uncut_side: nothing"),
        ("llama3.2-vision", {"separators": 1}, "cross: the prompt"),
        ("llama3.2-vision", {"grids": []}, "at least 1"),
        ("step3", {"max_side": 700}, "overview: not between"),
        ("idefics2", {"longest_edge": 300}, "shortest_edge: larger"),
    ],
)
def test_parameters_that_contradict_each_other_are_refused(name: str, change: Facts, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        TypeAdapter(Resize).validate_json(json.dumps(CASES[name] | change), strict=True)
