"""The strategies of one picture against the models' own processors: sizes, refusals, pixels, budgets."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from loader.errors import ImageError
from loader.resize import Bounds, Size
from loader.resize.bounded import handed
from loader.resize.budget import strategy
from loader.resize.plan import Geometry
from loader.resize.token_budget import smaller
from registry.grids import Fixed, LongestEdge, PaddedGrid, PatchLimit, SmartResize, TokenBudget

pytest.importorskip("mlx_vlm")

Seen = tuple[list[Size], Size, int]
"""What a processor makes of a size: the sizes that it resamples to, what the model sees, image tokens."""
Processor = Callable[[int, int], Seen]


def model(name: str) -> Any:
    """A module of mlx-vlm's models."""
    return importlib.import_module(f"mlx_vlm.models.{name}")


class Blank:
    """A picture of a size and no pixels: it remembers what it is resized to."""

    mode = "RGB"

    def __init__(self, size: Size, steps: tuple[Size, ...] = ()) -> None:
        self.size, self.steps = size, steps
        self.width, self.height = size

    def resize(self, size: Size, *_: Any, **__: Any) -> Blank:
        if min(size) < 1:
            raise ValueError("height and width must be > 0")  # as Pillow
        return self if size == self.size else Blank(size, (*self.steps, size))

    def crop(self, box: tuple[int, int, int, int]) -> Blank:
        if box[0] == box[2] or box[1] == box[3]:
            raise ValueError("no pixels left")
        return Blank((box[2] - box[0], box[3] - box[1]), self.steps)

    def convert(self, _: str) -> Blank:
        return self

    def paste(self, image: Blank, _: Size) -> None:
        self.steps = image.steps


def blanks() -> Any:
    """Stands for PIL.Image where a processor makes its canvas."""
    return SimpleNamespace(new=lambda _, size, *__: Blank(size), Resampling=Image.Resampling, Image=Blank)


def smart(
    function: Any, factor: int, least: int, most: int, row_ends: bool = False, **more: int
) -> Processor:
    """A family's own `smart_resize`."""

    def run(width: int, height: int) -> Seen:
        limits = {"factor": factor, "min_pixels": least, "max_pixels": most, **more}
        high, wide = function(height=height, width=width, **limits)
        cols, rows = wide // factor, high // factor
        return [(wide, high)], (wide, high), cols * rows + (rows + 2) * row_ends

    return run


def rescaled(where: Any, processor: Any, factor: int) -> Processor:
    """A family's own `rescale`, which resizes, crops and pads a picture."""

    def run(width: int, height: int) -> Seen:
        with mock.patch.object(where, "Image", blanks()):
            done = processor.rescale(Blank((width, height)))
        return [*done.steps], done.size, (done.width // factor) * (done.height // factor)

    return run


def grid_of(function: Callable[[int, int], Size], factor: int) -> Processor:
    """A function of the width and height -> the height and width that are seen."""

    def run(width: int, height: int) -> Seen:
        high, wide = function(width, height)
        return [(wide, high)], (wide, high), (wide // factor) * (high // factor)

    return run


def falcon_run(name: str) -> Callable[[int, int], Seen]:
    of = model(name)
    edges = (64, 1024) if name.startswith("falcon_ocr") else (256, 1024)

    def run(width: int, height: int) -> Seen:
        with mock.patch.object(of, "Image", SimpleNamespace(BICUBIC=3, Image=Blank)):
            done = of._smart_resize(of._resize_if_necessary(Blank((width, height)), *edges), 16)
        return [*done.steps], done.size, (done.width // 16) * (done.height // 16)

    return run


def glm5_run(width: int, height: int) -> Seen:
    names = {"patch_size": 14, "merge_size": 2, "temporal_patch_size": 2, "patch_expand_factor": 1}
    limits = {"min_image_tokens": 16, "max_image_tokens": 8000}
    of = model("glm5_next.processing")
    high, wide, inner_high, inner_wide = of._resize_geometry(2, height, width, **names, **limits)
    return [(inner_wide, inner_high)], (wide, high), (wide // 28) * (high // 28)


def deepseek_run(width: int, height: int) -> Seen:
    names = {"patch_size": 14, "downsample_ratio": 3, "min_pixels": 295_936, "max_image_tokens": 1024}
    config = SimpleNamespace(vision_max_wh_ratio=None, **{f"vision_{key}": names[key] for key in names})
    of = model("deepseek_v41.processing_deepseek_v41")
    rows, cols, high, wide = of.plan_image_grid(width, height, config)
    inner: Any = ImageOps.contain(Blank((width, height)), (wide, high))  # type: ignore[arg-type]
    return [inner.size], (wide, high), of.num_image_tokens(rows, cols)


def inkling_run(width: int, height: int) -> Seen:
    pixels = numpy.broadcast_to(numpy.zeros((1, 1, 1), numpy.uint8), (3, height, width))
    count = len(model("inkling.processing_inkling").divide_to_patches(pixels, 40))
    rows = -(-height // 40)
    return [], (count // rows * 40, rows * 40), count


def nemotron_run(width: int, height: int) -> Seen:
    of = model("nemotron_h_nano_omni.image_processing_nemotron_h_nano_omni").NemotronHNanoOmniImageProcessor
    limits = SimpleNamespace(patch_size=16, min_num_patches=1024, _downsample_factor=2)
    cols, rows = of._compute_target_patches(limits, Blank((width, height)), 13_312)
    return [(cols * 16, rows * 16)], (cols * 16, rows * 16), cols * rows // 4


def phi4mm_run(width: int, height: int) -> Seen:
    # The three branches of `preprocess`, which itself takes real pixels only (see the test of pixels).
    most = min(max((height // 14) * (width // 14), 256), 3600)
    function = model("phi4mm.processing_phi4mm").get_image_size_for_max_num_patches
    high, wide = function(height, width, 14, most)
    return [(wide, high)], (wide, high), (wide // 14) * (high // 14)


def minicpmo_run(width: int, height: int) -> Seen:
    of = model("minicpmo.processing_minicpmo").MiniCPMOImageProcessor
    seen = of._find_best_resize((width, height), 448, 14)
    return [seen], seen, 64


def siglip2_run(width: int, height: int) -> Seen:
    name = "transformers.models.siglip2.image_processing_pil_siglip2"
    function = importlib.import_module(name).get_image_size_for_max_num_patches
    return grid_of(lambda wide, high: function(high, wide, 16, 3600), 16)(width, height)


def gemma4_run(tokens: int) -> Processor:
    function = model("gemma4.processing_gemma4").get_aspect_ratio_preserving_size
    return grid_of(lambda width, height: function(height, width, 16, tokens * 9, 3), 48)


def spark_run(width: int, height: int) -> Seen:
    of = model("muse_spark.image_processing")
    limits = {"patch_h": 28, "patch_w": 28, "min_tokens": 1, "max_tokens": 4096}
    return grid_of(lambda wide, high: of._find_resize_target(high, wide, **limits)[0], 28)(width, height)


def pixtral_run(edge: int, factor: int) -> Processor:
    function = model("pixtral.image_processing_pixtral").get_resize_output_image_size
    return grid_of(lambda width, height: function((height, width), edge, factor), factor)


def smart_parameters(patch: int, least: int, most: int, **more: Any) -> SmartResize:
    fields: dict[str, Any] = {"merge": 2, "max_aspect": 200, **more}
    return SmartResize(kind="smart_resize", patch=patch, min_pixels=least, max_pixels=most, **fields)


def limit(most: int | None, fit: Any, side: int | None, **more: Any) -> PatchLimit:
    fields: dict[str, Any] = {"patch": 14, "merge": 2, **more}
    return PatchLimit(kind="patch_limit", max_patches=most, max_side=side, fit=fit, **fields)


def budget(patch: int, merge: int, most: int, grid: Any, **more: Any) -> TokenBudget:
    return TokenBudget(kind="token_budget", patch=patch, merge=merge, max_tokens=most, grid=grid, **more)


QWEN = model("qwen3_vl.processing_qwen3_vl")._smart_resize_image
COHERE = model("cohere_compass.processing_cohere_compass").smart_resize
PADDLE = model("paddleocr_vl.processing_paddleocr_vl").smart_resize
MINIMAX = model("minimax_m3_vl.processing_minimax_m3_vl").smart_resize
GLM_OCR = model("glm_ocr.processing").smart_resize
GLM4V = importlib.import_module("transformers.models.glm4v.image_processing_pil_glm4v").smart_resize
ERNIE = model("ernie4_5_moe_vl.processing_ernie4_5_moe_vl").smart_resize
HUNYUAN = model("hunyuan_vl.processing_hunyuan_vl").smart_resize
GLIMMER = model("muse_glimmer.processing_muse_glimmer").smart_resize
KIMI_VL = model("kimi_vl.processing_kimi_vl")
KIMI_K25 = model("kimi_k25.processing_kimi_k25")
KIMI_K3 = model("kimi_k3.processing_kimi_k3")
LOCATE = model("locateanything.image_processing_locateanything")
FALCON = "falcon_ocr.processing_falcon_ocr"
FALCON_PERCEPTION = "falcon_perception.processing_falcon_perception"

CASES: dict[str, tuple[Any, Processor]] = {
    "qwen2-vl": (smart_parameters(14, 3136, 12_845_056), smart(QWEN, 28, 3136, 12_845_056)),
    "qwen3-vl": (smart_parameters(16, 65_536, 16_777_216), smart(QWEN, 32, 65_536, 16_777_216)),
    "mage-vl": (smart_parameters(16, 3136, 1_003_520), smart(QWEN, 32, 3136, 1_003_520)),
    "zaya1-vl": (smart_parameters(14, 3136, 1_003_520), smart(QWEN, 28, 3136, 1_003_520)),
    "cohere-compass": (smart_parameters(16, 16_384, 3_868_706), smart(COHERE, 32, 16_384, 3_868_706)),
    "paddleocr-vl": (
        smart_parameters(14, 147_384, 2_822_400, short_side="enlarge_rounded"),
        smart(PADDLE, 28, 147_384, 2_822_400),
    ),
    "minimax-m3-vl": (
        smart_parameters(14, 3136, 451_584, short_side="one"),
        smart(MINIMAX, 28, 3136, 451_584, max_total_pixels=3584 * 3584),
    ),
    "glm4v": (
        smart_parameters(14, 12_544 // 2, 9_633_792 // 2, short_side="enlarge"),
        smart(GLM4V, 28, 12_544, 9_633_792, num_frames=2),
    ),
    "glm4v-moe": (
        smart_parameters(14, 12_544 // 2, 11_760_000 // 2, short_side="enlarge"),
        smart(GLM4V, 28, 12_544, 11_760_000, num_frames=2),
    ),
    "glm-ocr": (
        smart_parameters(14, 12_544 // 2, 9_633_792 // 2, short_side="enlarge"),
        smart(GLM_OCR, 28, 12_544, 9_633_792, num_frames=2),
    ),
    "ernie4.5-vl": (
        smart_parameters(14, 3136, 1_003_520, short_side="one", overlong="widen", whole_pixels=True),
        smart(ERNIE, 28, 3136, 1_003_520),
    ),
    "hunyuan-vl": (
        smart_parameters(16, 262_144, 4_194_304, row_end="image"),
        smart(HUNYUAN, 32, 262_144, 4_194_304, row_ends=True),
    ),
    "falcon-ocr": (
        smart_parameters(16, 3136, 1_003_520, merge=1, max_aspect=1024, shortest_edge=64, longest_edge=1024),
        falcon_run(FALCON),
    ),
    "falcon-perception": (
        smart_parameters(16, 3136, 1_003_520, merge=1, max_aspect=1024, shortest_edge=256, longest_edge=1024),
        falcon_run(FALCON_PERCEPTION),
    ),
    "gemma4": (budget(16, 3, 280, "fill_down", budgets=(70, 140, 280, 560, 1120)), gemma4_run(280)),
    "gemma4-70": (budget(16, 3, 70, "fill_down"), gemma4_run(70)),
    "phi4-siglip": (budget(16, 1, 3600, "fill_up", padded=True), siglip2_run),
    "minicpmo": (budget(14, 1, 1024, "fill_nearest", tokens=64), minicpmo_run),
    "muse-glimmer": (
        budget(14, 2, 4096, "shape"),
        grid_of(lambda width, height: GLIMMER(height, width, 28, 4096), 28),
    ),
    "muse-spark": (budget(14, 2, 4096, "shape", min_tokens=1), spark_run),
    "phi4mm": (budget(14, 1, 3600, "rows", min_tokens=256, padded=True), phi4mm_run),
    "nemotron-omni": (budget(16, 2, 3328, "even", min_tokens=256), nemotron_run),
    "glm5-next": (
        PaddedGrid(kind="padded_grid", patch=14, merge=2, min_pixels=12_544, max_tokens=8000, whole="tokens"),
        glm5_run,
    ),
    "deepseek-v4.1": (
        PaddedGrid(
            kind="padded_grid",
            patch=14,
            merge=3,
            min_pixels=295_936,
            max_tokens=1024,
            whole="patches",
            row_end="image",
        ),
        deepseek_run,
    ),
    "kimi-vl": (
        limit(4096, "crop", 511, overlong="refuse"),
        rescaled(KIMI_VL, KIMI_VL.KimiVLImageProcessor(), 28),
    ),
    "kimi-k2.5": (limit(16_384, "pad", 512), rescaled(KIMI_K25, KIMI_K25.KimiK25ImageProcessor(), 28)),
    "kimi-k3": (limit(65_536, "pad", 512), rescaled(KIMI_K3, KIMI_K3.KimiK3ImageProcessor(), 28)),
    "locateanything": (
        limit(25_600, "stretch", 511, overlong="refuse"),
        rescaled(LOCATE, LOCATE.LocateAnythingImageProcessor(), 28),
    ),
    "inkling": (limit(None, "pad", None, patch=40, merge=1, spare_column=True), inkling_run),
    "pixtral": (
        LongestEdge(kind="longest_edge", patch=16, merge=1, longest_edge=1024, row_end="other"),
        pixtral_run(1024, 16),
    ),
    "mistral3": (
        LongestEdge(kind="longest_edge", patch=14, merge=2, longest_edge=1540, row_end="other"),
        pixtral_run(1540, 28),
    ),
}


def plan(parameters: Any, size: Size, bounds: Bounds | None = None) -> Geometry:
    return strategy(parameters.kind)(parameters, size, bounds or Bounds())


def upstream(run: Processor, size: Size) -> Seen | None:
    """What the processor makes of a size; None where it refuses or crashes."""
    try:
        steps, seen, tokens = run(*size)
    except (ValueError, ZeroDivisionError):
        return None
    return (steps, seen, tokens) if min(seen) > 0 else None


def ours(parameters: Any, size: Size) -> Seen | None:
    """The same of a plan. A step to the size that the picture has is none."""
    try:
        geometry = plan(parameters, size)
    except ImageError:
        return None
    return [*geometry.resizes], geometry.seen or geometry.resizes[-1], geometry.image_tokens


def changes(steps: list[Size], size: Size) -> list[Size]:
    """The steps that change the size."""
    return [step for before, step in zip([size, *steps], steps, strict=False) if step != before]


@st.composite
def sizes(draw: st.DrawFn) -> Size:
    """From a pixel to 12,000 x 9,000, of every shape up to 1:200 and some beyond."""
    long = draw(st.one_of(st.integers(1, 12_000), st.integers(1, 600)))
    shape = draw(st.one_of(st.floats(1, 3), st.floats(1, 205), st.floats(150, 12_000)))
    short = max(1, min(9000, round(long / shape)))
    return (long, short) if draw(st.booleans()) else (short, long)


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=100, deadline=None)
@given(size=sizes())
def test_every_size_is_planned_as_the_models_own_processor_plans_it(name: str, size: Size) -> None:
    parameters, run = CASES[name]
    wanted, have = upstream(run, size), ours(parameters, size)

    assert (have is None) == (wanted is None), (wanted, have)
    if wanted and have:
        assert (changes(have[0], size), *have[1:]) == (changes(wanted[0], size), *wanted[1:])


def binding(parameters: Any, size: Size, bounds: Bounds) -> Iterator[tuple[Geometry, Geometry]]:
    """The plan without and with bounds, where those ask for less and the processor takes the size at all."""
    try:
        full, bound = plan(parameters, size), plan(parameters, size, bounds)
    except ImageError:
        return
    wide, high = full.seen or full.resizes[-1]
    if full.image_tokens > (bounds.tokens or full.image_tokens) or wide * high > (
        bounds.pixels or wide * high
    ):
        yield full, bound


BOUNDED = [
    name for name, (parameters, _) in CASES.items() if not getattr(parameters, "grid", "").startswith("fill")
]


@pytest.mark.parametrize("name", BOUNDED)
@settings(max_examples=40, deadline=None)
@example(size=(41, 5615), tokens=1, by_pixels=False)  # what the processor makes of it is too long for it
@given(size=sizes(), tokens=st.integers(1, 4000), by_pixels=st.booleans())
def test_a_budget_gives_a_picture_that_the_processor_leaves_as_it_is(
    name: str, size: Size, tokens: int, by_pixels: bool
) -> None:
    parameters, run = CASES[name]
    bounds = Bounds(pixels=tokens * 784) if by_pixels else Bounds(tokens)
    for full, bound in binding(parameters, size, bounds):
        assert bound.image_tokens <= full.image_tokens
        assert len(bound.resizes) == 1 or bound == full
        if bound == full:
            continue
        given_size = handed(bound)
        seen = upstream(run, given_size)
        assert bound.stays
        assert seen is not None
        assert changes(seen[0], given_size) == []
        assert seen[1:] == (bound.seen or bound.resizes[-1], bound.image_tokens)


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=40, deadline=None)
@given(size=sizes())
def test_stays_says_whether_the_processor_leaves_its_own_picture_as_it_is(name: str, size: Size) -> None:
    parameters, run = CASES[name]
    assume(ours(parameters, size) is not None)
    geometry = plan(parameters, size)
    picture = handed(geometry)
    again = upstream(run, picture)
    wanted = geometry.seen or geometry.resizes[-1], geometry.image_tokens

    assert geometry.stays == (again is not None and not changes(again[0], picture) and again[1:] == wanted)


@pytest.mark.parametrize("name", BOUNDED)
@pytest.mark.parametrize("tokens", [400, 1000])  # 336 is the least of Falcon Perception
def test_a_budget_on_a_photo_is_kept_and_used(name: str, tokens: int) -> None:
    parameters, _ = CASES[name]
    full = plan(parameters, (4032, 3024)).image_tokens
    bound = plan(parameters, (4032, 3024), Bounds(tokens)).image_tokens

    assert min(tokens, full) * 0.85 <= bound <= tokens


def test_rows_are_closed_by_image_tokens_or_by_others() -> None:
    pixtral, hunyuan = (plan(CASES[name][0], (640, 480)) for name in ("pixtral", "hunyuan-vl"))

    assert (pixtral.grid, pixtral.image_tokens, pixtral.extra_tokens) == ((40, 30), 1200, 30)
    assert (hunyuan.grid, hunyuan.image_tokens, hunyuan.extra_tokens) == ((20, 15), 20 * 15 + 15 + 2, 0)


def test_a_grid_that_fills_has_the_budgets_that_it_was_trained_for() -> None:
    parameters, _ = CASES["gemma4"]
    steps = list(smaller(parameters))

    assert [step.max_tokens for step in steps] == [140, 70]
    assert [plan(step, (4032, 3024)).image_tokens for step in (parameters, *steps)] == [266, 130, 63]
    assert plan(steps[-1], (999, 500)) == plan(CASES["gemma4-70"][0], (999, 500))
    assert list(smaller(steps[-1])) == []
    assert plan(parameters, (4032, 3024), Bounds(10)) == plan(parameters, (4032, 3024))


REFUSED = [
    ("kimi-vl", (27, 500), r"27x500 is too narrow: less than the 28 pixels of one token.*Enlarge it"),
    ("kimi-vl", (9000, 28), r"seen at 8988x28, and the model takes sides of at most 7,154 pixels.*Scale it"),
    ("pixtral", (9000, 2), r"9000x2 has nothing left of its short side when its long one is 1024.*Cut it"),
    ("falcon-ocr", (3000, 2), r"3000x2 is 1500 times as long as wide, and the model takes at most 1024"),
    ("glm4v", (4000, 10), r"4000x10 is 400 times as long as wide, and the model takes at most 200"),
]


@pytest.mark.parametrize(("name", "size", "says"), REFUSED)
def test_a_size_that_the_processor_refuses_is_refused_with_the_reason(
    name: str, size: Size, says: str
) -> None:
    with pytest.raises(ImageError, match=says):
        plan(CASES[name][0], size)


def config(**limits: Any) -> SimpleNamespace:
    return SimpleNamespace(**{f"vision_{key}": limits[key] for key in limits})


DEEPSEEK = config(
    max_wh_ratio=None, patch_size=14, downsample_ratio=3, min_pixels=295_936, max_image_tokens=1024
)
GREY = {"norm_mean": [0.5] * 3, "norm_std": [0.5] * 3}


def qwen_pixels(patch: int, least: int, most: int) -> Callable[[Any], Any]:
    of = model("qwen3_vl.processing_qwen3_vl").Qwen3VLImageProcessor
    return lambda image: of(patch_size=patch, min_pixels=least, max_pixels=most)([image])["pixel_values"]


def values(kind: Any, call: str = "__call__", **more: Any) -> Callable[[Any], Any]:
    """The pixel values of a processor of `kind`, made with `more`."""
    return lambda image: getattr(kind(**more), call)([image])["pixel_values"]


def glm_ocr_pixels(image: Any) -> Any:
    processor = model("glm_ocr.processing").Glm46VImageProcessor(use_transformers_backend=False)
    return processor._process_one(numpy.asarray(image).transpose(2, 0, 1))[0]


PIXELS: dict[str, tuple[int, int, Callable[[Any], Any]]] = {
    # The filter, how many times each pixel is there, what makes the tensor.
    "qwen2-vl": (3, 2, qwen_pixels(14, 3136, 12_845_056)),
    "qwen3-vl": (3, 2, qwen_pixels(16, 65_536, 16_777_216)),
    "cohere-compass": (
        3,
        2,
        values(model("cohere_compass.processing_cohere_compass").CohereCompassImageProcessor),
    ),
    "paddleocr-vl": (3, 1, values(model("paddleocr_vl.processing_paddleocr_vl").ImageProcessor)),
    "minimax-m3-vl": (
        3,
        2,
        values(model("minimax_m3_vl.processing_minimax_m3_vl").MiniMaxM3VLImageProcessor),
    ),
    "glm4v-moe": (
        3,
        2,
        values(importlib.import_module(GLM4V.__module__).Glm4vImageProcessorPil),
    ),
    "glm-ocr": (3, 2, glm_ocr_pixels),
    "ernie4.5-vl": (
        3,
        1,
        values(model("ernie4_5_moe_vl.processing_ernie4_5_moe_vl").ImageProcessor, "preprocess"),
    ),
    "hunyuan-vl": (2, 1, values(model("hunyuan_vl.processing_hunyuan_vl").HunYuanVLImageProcessor)),
    "falcon-ocr": (3, 1, lambda image: model(FALCON).preprocess_image(image)[0]),
    "gemma4": (
        3,
        1,
        lambda image: model("gemma4.processing_gemma4").Gemma4ImageProcessor()([image])[0]["pixel_values"],
    ),
    "phi4-siglip": (
        2,
        1,
        values(
            importlib.import_module(
                "transformers.models.siglip2.image_processing_pil_siglip2"
            ).Siglip2ImageProcessorPil,
            max_num_patches=3600,
        ),
    ),
    "minicpmo": (
        3,
        1,
        lambda image: (
            model("minicpmo.processing_minicpmo").MiniCPMOImageProcessor()._preprocess_single(image)[0]
        ),
    ),
    "muse-glimmer": (1, 2, values(model("muse_glimmer.processing_muse_glimmer").MuseGlimmerImageProcessor)),
    "muse-spark": (
        1,
        1,
        lambda image: (
            model("muse_spark.image_processing").ImageProcessor().preprocess_image(numpy.asarray(image))[0]
        ),
    ),
    "phi4mm": (2, 1, values(model("phi4mm.processing_phi4mm").Phi4MMImageProcessor)),
    "nemotron-omni": (
        3,
        1,
        values(
            model(
                "nemotron_h_nano_omni.image_processing_nemotron_h_nano_omni"
            ).NemotronHNanoOmniImageProcessor,
            "_preprocess",
            **GREY,
        ),
    ),
    "glm5-next": (3, 2, values(model("glm5_next.processing").Glm5NextImageProcessor)),
    "deepseek-v4.1": (
        3,
        1,
        lambda image: model("deepseek_v41.processing_deepseek_v41").load_image(image, DEEPSEEK)[0],
    ),
    "kimi-vl": (3, 1, values(KIMI_VL.KimiVLImageProcessor)),
    "kimi-k2.5": (3, 1, values(KIMI_K25.KimiK25ImageProcessor)),
    "kimi-k3": (3, 1, values(KIMI_K3.KimiK3ImageProcessor)),
    "locateanything": (3, 1, values(LOCATE.LocateAnythingImageProcessor)),
    "inkling": (3, 2, values(model("inkling.processing_inkling").InklingImageProcessor)),
    "pixtral": (3, 1, values(model("pixtral.image_processing_pixtral").PixtralImageProcessor)),
}


def noise(size: Size) -> Image.Image:
    pixels = numpy.random.default_rng(7).integers(0, 256, (size[1], size[0], 3), numpy.uint8)
    return Image.fromarray(pixels)


def fitted(image: Image.Image, geometry: Geometry, chosen: int) -> Image.Image:
    """The picture that the processor is given."""
    for step in geometry.resizes:
        image = image.resize(step, Image.Resampling(chosen))
    left, top = max(0, geometry.offset[0]), max(0, geometry.offset[1])
    return image.crop((left, top, left + handed(geometry)[0], top + handed(geometry)[1]))


@pytest.mark.parametrize("size", [(61, 43), (300, 200), (97, 500), (700, 560)], ids=str)
@pytest.mark.parametrize("name", PIXELS)
def test_the_processor_makes_the_same_tensor_of_the_planned_picture(name: str, size: Size) -> None:
    parameters, (chosen, times, make) = CASES[name][0], PIXELS[name]
    geometry, image = plan(parameters, size), noise(size)
    tensor = numpy.asarray(make(image))

    assert tensor.size == 3 * times * geometry.patches * parameters.patch**2
    if geometry.stays:
        again = numpy.asarray(make(fitted(image, geometry, chosen)))
        # Nemotron resamples in floats: what it is given in whole numbers is as near as it gets.
        near = 0.2 if name == "nemotron-omni" else 0.0
        assert again.shape == tensor.shape
        assert float(numpy.abs(again - tensor).mean()) <= near
        assert near or bool((again == tensor).all())


SQUARE = Fixed(kind="fixed", width=384, height=384, fit="pad", patch=16, tokens=576, least=14)
FIRST = Fixed(kind="fixed", width=1024, height=1024, fit="pad_first", patch=64, tokens=256)


@settings(max_examples=40, deadline=None)
@given(size=st.tuples(st.integers(1, 1500), st.integers(1, 1500)))
def test_a_padded_square_is_that_of_the_models_own_processor(size: Size) -> None:
    processor = model("multi_modality.multi_modality").ImageProcessor({"vision_config": {"params": {}}})
    image, geometry = Image.new("RGB", size, "red"), plan(SQUARE, size)
    pixels = processor.resize(image)

    red = numpy.argwhere(pixels[0] != processor.background_color[0])
    (top, left), (bottom, right) = red.min(0), red.max(0) + 1
    assert pixels.shape == (3, 384, 384)
    assert geometry.resizes == ((right - left, bottom - top),)
    assert geometry.offset == (-left, -top)
    assert geometry.seen == (384, 384)
    if geometry.stays:
        assert (processor.resize(fitted(image, geometry, 3)) == pixels).all()


@pytest.mark.parametrize("size", [(40, 40), (640, 480), (100, 700)], ids=str)
def test_a_square_that_is_padded_first_lies_where_the_plan_says(size: Size) -> None:
    processor = model("fastvlm.processing").FastVLMImageProcessor()
    pixels = numpy.asarray(processor.preprocess([Image.new("RGB", size, "red")])["pixel_values"])
    geometry = plan(FIRST, size)

    # A pixel of the source is several of the square, and its edge is smeared over as many.
    blur = 2 * 1024 / max(size)
    _, _, rows, columns = numpy.nonzero(pixels[:, :1] > 0.5)
    left, top = -geometry.offset[0], -geometry.offset[1]
    assert pixels.shape == (1, 3, 1024, 1024)
    assert abs(columns.min() - left) <= blur
    assert abs(rows.min() - top) <= blur
    assert abs(columns.max() + 1 - left - geometry.resizes[-1][0]) <= blur
    assert abs(rows.max() + 1 - top - geometry.resizes[-1][1]) <= blur
    assert not geometry.stays
