"""What a request takes: crashes replayed to the byte, known sizes, and what is not known."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import pytest

import loader
import registry
from loader.device import Device
from loader.memory import estimate
from loader.memory.result import Part
from tests.conftest import ROOT

GIB = 1024**3
PHOTO_12MP = (4032, 3024)
MAC = "m4-max-128gb"
PARTS = ["weights", "vision", "kv_cache", "prefill", "overhead"]


# Replayed reports.


def test_the_photo_that_crashed_a_mac_of_128_gb_is_refused_to_the_byte() -> None:
    """16 heads x 62,208 patches squared x 2 bytes, and a limit of 77,309,411,328 for one allocation."""
    made = estimate(
        registry.resolve("qwen2-vl-2b@bf16"),
        images=[PHOTO_12MP],
        device=MAC,
        detail="full",
        attention="materialized",
    )

    assert made.largest_buffer == 123_834_728_448
    assert made.device.buffer_limit == 77_309_411_328
    assert made.verdict == "refuses"
    assert made.reason.startswith("One tensor takes 123.8 GB, and a single allocation may have 77.3 GB")
    assert any('detail="auto"' in sentence for sentence in made.advice)


def test_the_same_photo_fits_within_the_cards_budget() -> None:
    """Its 1,230 tokens need 0.77 GB of scores."""
    made = estimate("qwen2-vl-2b@bf16", [PHOTO_12MP], device=MAC, attention="materialized")

    assert made.largest_buffer == 16 * 4920**2 * 2
    assert made.verdict == "fits"
    assert made.advice == ()


def test_the_same_photo_no_longer_needs_scores_where_attention_is_fused() -> None:
    made = estimate("qwen2-vl-2b@bf16", [PHOTO_12MP], device=MAC, detail="full")

    assert made.largest_buffer is not None
    assert made.largest_buffer < 1e9
    assert made.verdict == "fits"


def test_a_long_prompt_read_at_once_is_one_buffer_of_37_gb() -> None:
    """A report for a Mac mini with M4 Pro and 48 GB: some 24,000 tokens, 32 heads, one chunk (exo #1048)."""
    whole: Any = {"context": 24000, "device": "m4-pro-48gb", "attention": "materialized"}

    at_once = estimate("qwen3-vl-8b@4bit", max_tokens=1, prefill_chunk=None, **whole)
    in_chunks = estimate("qwen3-vl-8b@4bit", max_tokens=1, **whole)

    assert at_once.largest_buffer == 32 * 24000**2 * 2 == 36_864_000_000
    assert at_once.device.buffer_limit == 30_150_672_384
    assert at_once.verdict == "refuses"
    assert in_chunks.verdict == "fits"


def test_logits_of_a_prompt_read_at_once_are_counted() -> None:
    made = estimate("gemma4-e2b@4bit", max_tokens=1, context=24000, prefill_chunk=None, attention="fused")

    assert made.largest_buffer == 24000 * 262144 * 4


@pytest.mark.parametrize(
    ("name", "image", "heads"),
    [
        ("qwen2.5-vl-7b@4bit", (4032, 3024), 16),
        ("qwen3.5-9b@4bit", (4032, 3024), 16),
        ("dots-ocr-3b@4bit", (4032, 3024), 12),
        ("muse-glimmer-30b@4bit", (4032, 3024), 16),
    ],
)
def test_every_tower_that_takes_an_image_as_one_sequence_has_the_same_scores(
    name: str, image: tuple[int, int], heads: int
) -> None:
    patches = loader.plan_image(registry.card(name), *image, detail="full").patches
    assert patches is not None
    made = estimate(name, [image], device=MAC, detail="full", attention="materialized")

    assert made.largest_buffer == heads * patches**2 * 2


@pytest.mark.parametrize(
    ("name", "scores"),
    [
        ("pixtral-12b@4bit", 16 * (3072 + 3072) ** 2 * 2),  # both images as one sequence
        ("gemma3-4b@4bit", 2 * 16 * 4096**2 * 2),  # a batch of two
        ("qwen2-vl-2b@4bit", 16 * 4920**2 * 2),  # each by itself
        ("llama3.2-vision-11b@4bit", 2 * 16 * 6432**2 * 4),  # four tiles an image, in 32 bits
        ("molmo2-4b@8bit", 14 * 16 * 729**2 * 4),  # fourteen crops, multiplied out in 32 bits
    ],
)
def test_two_photos_have_the_scores_of_their_kind_of_attention(name: str, scores: int) -> None:
    from loader.memory.request import Request
    from loader.memory.vision import vision_bytes

    card = registry.card(name)
    assert card.memory is not None
    assert card.image is not None
    request = Request(card, (PHOTO_12MP,) * 2, 512, attention="materialized")
    made = vision_bytes(card.memory.vision, request.plans(), card.image.resize.patch, request, "cpu")

    assert made.scores >= scores
    assert made.largest == max(scores, widest(name))


def widest(name: str) -> int:
    """Bytes of the queries, keys and values of Molmo 2's crops, which are more than its scores."""
    return 3 * 1152 * 14 * 729 * 2 if name.startswith("molmo2") else 0


# Exact sizes.


@pytest.mark.parametrize(
    ("name", "gib"),
    [("bf16", 62.31), ("4bit", 18.45), ("6bit", 26.08), ("8bit", 33.70)],
)
def test_weights_are_those_that_were_counted(name: str, gib: float) -> None:
    made = estimate(f"qwen2.5-vl-32b@{name}", device=MAC)

    assert made.weights is not None
    assert round(made.weights / GIB, 2) == gib
    assert made.parts["weights"].kind == "exact"
    assert made.weights_source == "computed"


@pytest.mark.parametrize(
    ("name", "bytes_per_position"),
    [
        ("qwen2-vl-2b", 28_672),
        ("kimi-vl-a3b-thinking", 276_480),  # expanded: latent it would be 31,104
        ("deepseek-vl2-small", 276_480),
        ("kimi-k2.5-1t", 70_272),  # latent
        ("llama3.2-vision-11b", 131_072),
    ],
)
def test_the_cache_has_the_width_that_the_backend_caches(name: str, bytes_per_position: int) -> None:
    made = estimate(name, max_tokens=256, text_tokens=768, device=MAC)

    assert made.kv_cache == 1024 * bytes_per_position
    assert made.parts["kv_cache"].kind == "exact"


def test_a_cache_grows_in_steps_of_256() -> None:
    sizes = {
        tokens: estimate("qwen2-vl-2b", max_tokens=tokens, text_tokens=100, device=MAC).kv_cache
        for tokens in (1, 156, 157)
    }

    assert sizes == {1: 256 * 28_672, 156: 256 * 28_672, 157: 512 * 28_672}


def test_a_sliding_window_bounds_its_layers_only() -> None:
    """Gemma 3 4B: 5 layers keep all, 29 keep 1,024 positions, and a chunk while it is read."""
    short, long = (
        estimate("gemma3-4b", max_tokens=1, context=n, device=MAC).kv_cache for n in (30_000, 60_000)
    )
    assert short is not None
    assert long is not None

    assert long - short == 20_480 * (60_160 - 30_208)
    assert short == 20_480 * 30_208 + 118_784 * (1024 - 1 + 2048)


def test_linear_attention_keeps_a_state_of_fixed_size() -> None:
    """Qwen3.5 0.8B: 18 layers with 262,144 elements in 32 bits and 18,432 in 16, six with keys and values."""
    made = estimate("qwen3.5-0.8b", max_tokens=1, text_tokens=255, device=MAC)

    assert made.kv_cache == 18 * (262_144 * 4 + 18_432 * 2) + 256 * 12_288


def test_cross_attention_keeps_the_states_of_images() -> None:
    without, with_one = (
        estimate("llama3.2-vision-11b", [PHOTO_12MP] * n, max_tokens=1, context=255, device=MAC).kv_cache
        for n in (0, 1)
    )
    assert without is not None
    assert with_one is not None

    assert with_one - without == 8 * 2048 * 2 * 6404


def test_a_quantized_cache_is_smaller_once_it_is_quantized() -> None:
    def cache(bits: int | None, context: int) -> int:
        size = estimate("qwen2.5-vl-7b", context=context, kv_bits=bits, device=MAC).kv_cache
        assert size is not None
        return size

    assert cache(4, 1000) == cache(None, 1000)
    assert cache(4, 100_000) * 64 == cache(None, 100_000) * 64 * (4 / 8 + 4 / 64) / 2


def test_a_tower_in_32_bits_that_casts_nothing_makes_the_cache_twice_as_large() -> None:
    with_image, without = (
        estimate("llama4-scout", [(336, 336)] * n, max_tokens=1, context=600, device=MAC).kv_cache
        for n in (1, 0)
    )
    assert without is not None

    assert with_image == 2 * without


# Parts, and what is not known.


@pytest.mark.parametrize("name", registry.names())
def test_every_part_says_how_sure_it_is_and_why(name: str) -> None:
    made = estimate(name, [PHOTO_12MP], device=MAC)

    assert list(made.parts) == PARTS
    for part in made.parts.values():
        assert part.why
        assert (part.bytes is None) == (part.kind == "unknown")
    assert (made.total is None) == any(part.bytes is None for part in made.parts.values())
    assert made.reason.endswith(".")


@pytest.mark.parametrize("name", ["gemma3n-e4b", "fastvlm-7b", "deepseek-ocr-3b"])
def test_an_encoder_of_another_kind_is_unknown_and_never_zero(name: str) -> None:
    made = estimate(name, [PHOTO_12MP], device=MAC)

    assert made.vision is None
    assert made.total is None
    assert made.largest_buffer is None
    assert made.verdict == "unknown"
    assert "vision comes on top, of unknown size" in made.reason
    assert made.weights is not None
    assert made.at_least > made.weights


def test_what_is_unknown_can_still_be_refused_by_what_is_known() -> None:
    assert estimate("gemma3n-e4b@bf16", [PHOTO_12MP], device="m1-8gb").verdict == "refuses"


def test_without_images_the_encoder_takes_nothing_and_that_is_exact() -> None:
    made = estimate("gemma3n-e4b", device=MAC)

    assert made.parts["vision"] == Part(0, "exact", "no images")
    assert made.total is not None


def test_a_model_without_a_conversion_counts_two_bytes_a_parameter() -> None:
    made = estimate("molmo2-er", device=MAC)

    assert made.weights == 2 * 4_850_869_200
    assert made.parts["weights"].kind == "estimate"
    assert made.weights_source is None


def test_a_part_cannot_be_unknown_and_have_bytes() -> None:
    with pytest.raises(ValueError, match="unknown exactly when"):
        Part(0, "unknown", "it is not known")


def test_an_estimate_for_metal_has_a_margin_and_says_so() -> None:
    mac = estimate("qwen2-vl-2b", [PHOTO_12MP], device=MAC)
    cpu = Device("a server", 64 * GIB, 64 * GIB, engine="cpu")
    server = estimate("qwen2-vl-2b", [PHOTO_12MP], device=cpu)

    assert "not measured on Metal" in mac.parts["vision"].why
    assert "margin" in mac.parts["overhead"].why
    assert "measured on MLX's backend for processors" in server.parts["vision"].why
    assert mac.vision is not None
    assert server.vision is not None
    assert server.vision > mac.vision  # scores are never fused there, and MLX runs further ahead


def test_an_estimate_is_plain_data_for_json() -> None:
    made = estimate("qwen2-vl-2b@4bit", [PHOTO_12MP], device="m1-8gb")
    data = json.loads(json.dumps(made.to_dict()))

    assert data["total"] == made.total
    assert data["parts"]["weights"] == {
        "bytes": made.weights,
        "kind": "exact",
        "why": made.parts["weights"].why,
    }
    assert data["device"]["name"] == "m1-8gb"


# Advice.


def test_advice_names_the_quantization_that_fits() -> None:
    made = estimate("qwen2.5-vl-32b@bf16", [PHOTO_12MP], device="m4-max-64gb")

    assert made.verdict == "refuses"
    assert made.advice[0] == "The 8bit quantization fits, with weights of 36.2 GB."


def test_advice_names_the_size_and_the_number_of_images_that_fit() -> None:
    many = estimate("qwen3.5-4b@4bit", [PHOTO_12MP] * 30, device="m1-8gb")

    assert many.verdict != "fits"
    (size,) = [sentence for sentence in many.advice if sentence.startswith("Images of ")]
    width, height = (int(side) for side in size.split()[2].split("x"))
    assert estimate("qwen3.5-4b@4bit", [(width, height)] * 30, device="m1-8gb").verdict == "fits"
    (count,) = [sentence for sentence in many.advice if "of the 30 images fit" in sentence]
    fitting = int(count.split()[0])
    assert estimate("qwen3.5-4b@4bit", [PHOTO_12MP] * fitting, device="m1-8gb").verdict == "fits"
    assert estimate("qwen3.5-4b@4bit", [PHOTO_12MP] * (fitting + 1), device="m1-8gb").verdict != "fits"


def test_advice_names_the_prompt_that_fits() -> None:
    made = estimate("llava-1.5-7b@4bit", context=200_000, device="m1-16gb")

    (sentence,) = [sentence for sentence in made.advice if sentence.startswith("A prompt of ")]
    assert sentence == "A prompt of 4,096 positions without images fits."


def test_the_command_that_raises_the_limit_is_given_where_it_helps_and_it_does() -> None:
    asked = ("qwen2.5-vl-72b@8bit", [PHOTO_12MP])
    made = estimate(*asked, device="m2-max-96gb")

    assert made.verdict == "pages"
    (sentence,) = [sentence for sentence in made.advice if "sysctl" in sentence]
    command, mib = sentence.rsplit("=", 1)
    assert command.endswith("sudo sysctl iogpu.wired_limit_mb")
    raised = Device("raised", made.device.memory, int(mib) * 1024**2)
    assert estimate(*asked, device=raised).verdict == "fits"


def test_the_command_is_not_given_where_the_memory_is_not_there() -> None:
    made = estimate("qwen2.5-vl-72b@bf16", device="m4-max-128gb")

    assert made.verdict == "refuses"
    assert not any("sysctl" in sentence for sentence in made.advice)


def test_what_other_programs_hold_counts() -> None:
    free = Device("mine", 32 * GIB, 24 * GIB)
    taken = Device("mine", 32 * GIB, 24 * GIB, in_use=20 * GIB)

    assert estimate("qwen2-vl-7b@bf16", device=free).verdict == "fits"
    made = estimate("qwen2-vl-7b@bf16", device=taken)
    assert made.verdict == "pages"
    assert "21.5 GB of the memory are in use" in made.reason
    assert "Close other programs: they hold 21.5 GB." in made.advice


# Light and quick.


def test_an_estimate_takes_less_than_a_millisecond() -> None:
    choice = registry.resolve("qwen2.5-vl-32b@8bit")
    estimate(choice, [PHOTO_12MP], device=MAC)

    def run() -> float:
        start = time.process_time()
        for _ in range(50):
            estimate(choice, [PHOTO_12MP], device=MAC)
        return (time.process_time() - start) / 50

    assert min(run() for _ in range(5)) < 0.001


def test_an_estimate_imports_nothing_heavy() -> None:
    code = (
        "import sys, loader\n"
        "loader.estimate('qwen2-vl-2b@4bit', [(4032, 3024)], device='m1-8gb').advice\n"
        "loader.estimate('qwen2-vl-2b', [(4032, 3024)], device='m1-8gb')\n"
        "heavy = {'mlx', 'mlx_vlm', 'transformers', 'numpy', 'PIL', 'huggingface_hub', 'pydantic'}\n"
        "assert not heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)  # noqa: S603  # this interpreter
