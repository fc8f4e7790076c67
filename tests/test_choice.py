"""Which checkpoint a name means on a machine, and why."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import registry
from loader.device import Device, find
from loader.errors import UnknownModelError, UnsupportedFeatureError
from loader.memory import estimate
from registry.cards import PRECISION
from registry.catalog import Catalog
from registry.choice import PHOTO, ROOM_SHARE, WEIGHTS_SHARE, choose
from tests.test_reader import good_card

GB = 10**9


def converted(name: str) -> bool:
    """Whether the card of a model names weights in the format of MLX."""
    model = registry.card(name).model
    assert model is not None
    return bool(model.quantizations)


CONVERTED = list(filter(converted, registry.names()))
EVERY_CONVERTED = pytest.mark.parametrize("name", CONVERTED)


def catalog_of(folder: Path, quantizations: str) -> Catalog:
    """A good card whose 3B has these quantizations."""
    head, _, tail = good_card().partition("    quantizations:\n")
    tail = tail[tail.index("sources:") :]
    (folder / "good.yaml").write_text(f"{head}    quantizations: {quantizations}\n{tail}", encoding="utf-8")
    return Catalog(folder)


@pytest.mark.parametrize(
    ("name", "quantization"),
    [
        ("qwen2.5-vl-32b@6bit", "auto"),
        ("qwen2.5-vl-32b@6bit", "6bit"),
        ("qwen2.5-vl-32b", "6bit"),
        ("Qwen2.5_VL_32B_Instruct", "6BIT"),
        ("Qwen/Qwen2.5-VL-32B-Instruct", "6bit"),
        ("mlx-community/Qwen2.5-VL-32B-Instruct-6bit", "auto"),
        ("MLX-COMMUNITY/qwen2.5-vl-32b-instruct-6bit", "6bit"),
    ],
)
def test_a_quantization_that_is_asked_for_is_taken_on_any_machine(name: str, quantization: str) -> None:
    choice = registry.resolve(name, quantization=quantization, device="m1-8gb")

    assert (choice.model, choice.quantization) == ("qwen2.5-vl-32b", "6bit")
    assert choice.repository == "mlx-community/Qwen2.5-VL-32B-Instruct-6bit"
    assert choice.card is registry.card("qwen2.5-vl-32b")
    assert choice.why == "It was asked for."


@EVERY_CONVERTED
def test_a_hub_repository_resolves_to_itself(name: str) -> None:
    model = registry.card(name).model
    assert model is not None

    for quantization, weights in model.quantizations.items():
        if weights.repository is None:
            continue  # it comes with the package
        choice = registry.resolve(weights.repository)
        assert (choice.model, choice.quantization, choice.repository) == (
            name,
            quantization,
            weights.repository,
        )


@pytest.mark.parametrize(
    ("name", "device", "quantization"),
    [
        ("qwen2.5-vl-3b", "m1-8gb", "8bit"),
        ("qwen2.5-vl-7b", "m1-8gb", "3bit"),
        ("qwen2.5-vl-7b", "m4-max-64gb", "bf16"),
        ("qwen2.5-vl-32b", "m4-max-64gb", "8bit"),
        ("qwen2.5-vl-72b", "m4-max-64gb", "4bit"),
        ("qwen2.5-vl-32b", "m2-ultra-192gb", "bf16"),
        ("qwen2.5-vl-72b", "m2-ultra-192gb", "8bit"),
        ("gemma3-27b", "m2-ultra-192gb", "bf16"),
    ],
)
def test_auto_takes_the_finest_that_leaves_room(name: str, device: str, quantization: str) -> None:
    choice = registry.resolve(name, device=device)

    assert choice.quantization == quantization
    assert choice.why.startswith("The finest that leaves room: with a photo of 12 megapixels it takes ")


@EVERY_CONVERTED
@pytest.mark.parametrize("device", ["m1-8gb", "m4-max-64gb", "m2-ultra-192gb"])
def test_auto_is_the_rule_applied_to_the_card(name: str, device: str) -> None:
    model = registry.card(name).model
    assert model is not None
    room = find(device).working_set

    def leaves_room(quantization: str) -> bool:
        made = estimate(f"{name}@{quantization}", [PHOTO], device=device)
        return made.at_least <= room * (WEIGHTS_SHARE if made.total is None else ROOM_SHARE)

    fit = [q for q, weights in model.quantizations.items() if weights.bytes is not None and leaves_room(q)]
    coarsest = min(model.quantizations, key=PRECISION.index)

    assert registry.resolve(name, device=device).quantization == max(
        fit, key=PRECISION.index, default=coarsest
    )


def test_what_fills_its_share_exactly_still_leaves_room(tmp_path: Path) -> None:
    catalog = catalog_of(
        tmp_path, "{4bit: {repository: a/b, bytes: 5}, 8bit: {repository: a/c, bytes: 4000000000}}"
    )
    chosen = choose(catalog, "good-3b@8bit", quantization="auto", device="m1-8gb")
    needed = estimate(chosen, [PHOTO], device="m1-8gb").total
    assert needed is not None
    exactly = -(-needed * 10 // 9)

    for working_set, quantization in ((exactly, "8bit"), (exactly - 2, "4bit")):
        device = Device("m9-test", 2 * working_set, working_set)
        assert choose(catalog, "good-3b", quantization="auto", device=device).quantization == quantization


@pytest.mark.parametrize(
    ("name", "device", "needed", "room"),
    [("qwen2.5-vl-32b", "m1-8gb", "21.0 GB", "6.4 GB"), ("qwen2.5-vl-72b", "m1-16gb", "34.8 GB", "12.9 GB")],
)
def test_where_nothing_leaves_room_the_smallest_is_taken_and_says_so(
    name: str, device: str, needed: str, room: str
) -> None:
    choice = registry.resolve(name, device=device)
    model = registry.card(name).model
    assert model is not None

    assert choice.quantization == min(model.quantizations, key=PRECISION.index)
    assert choice.why == (
        f"The smallest there is; with a photo of 12 megapixels it takes {needed}, which leave little or no "
        f"room in the {room} that the GPU may use on {device} (estimate)."
    )


def test_weights_of_unknown_size_are_taken_only_where_no_others_fit(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, "{4bit: {repository: a/b, bytes: 2000000000}, 8bit: {repository: a/c}}")

    assert choose(catalog, "good-3b", quantization="auto", device="m1-8gb").quantization == "4bit"


def test_weights_of_unknown_size_are_not_called_too_large(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, "{5bit: {repository: a/b}}")

    choice = choose(catalog, "good-3b", quantization="auto", device="m2-ultra-192gb")

    assert choice.quantization == "5bit"
    assert "of unknown size, and may or may not fit the 154.6 GB" in choice.why


@given(
    name=st.sampled_from(CONVERTED),
    memories=st.lists(st.integers(1, 600 * GB), min_size=2, max_size=2).map(sorted),
)
def test_a_larger_machine_never_gets_a_coarser_quantization(name: str, memories: list[int]) -> None:
    coarse, fine = (
        registry.resolve(name, device=Device("m9-test", memory, memory * 3 // 4)).quantization
        for memory in memories
    )

    assert PRECISION.index(coarse) <= PRECISION.index(fine)


@EVERY_CONVERTED
@pytest.mark.parametrize("device", ["m1-8gb", "m4-max-64gb", None])
def test_the_reason_is_one_sentence_with_the_numbers_that_decided(name: str, device: str | None) -> None:
    choice = registry.resolve(name, device=device)

    assert choice.why.endswith(".")
    assert ". " not in choice.why
    assert (
        f"{find(device).working_set / 1e9:.1f} GB that the GPU may use on {find(device).name}" in choice.why
    )
    assert "(estimate)" in choice.why


def test_without_a_device_this_machine_decides() -> None:
    assert registry.resolve("qwen2.5-vl-3b") == registry.resolve("qwen2.5-vl-3b", device=find(None))


@pytest.mark.parametrize("revision", ["0a" * 20, None])
def test_the_pinned_commit_is_passed_on(revision: str | None, tmp_path: Path) -> None:
    pin = f", revision: {revision}" if revision else ""
    catalog = catalog_of(tmp_path, f"{{4bit: {{repository: a/b{pin}}}}}")

    assert choose(catalog, "good-3b@4bit", quantization="auto", device=None).revision == revision


# Refusals.


@pytest.mark.parametrize("name", ["good-32b", "makers/good-32B"])
def test_a_model_without_a_conversion_is_refused_with_what_to_do(name: str, tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(good_card(), encoding="utf-8")

    with pytest.raises(UnsupportedFeatureError) as caught:
        choose(Catalog(tmp_path), name, quantization="auto", device=None)

    assert str(caught.value) == (
        "No MLX conversion of good-32b is known. "
        "Convert makers/good-32B with mlx_vlm.convert and load the folder."
    )


@pytest.mark.parametrize("name", ["qwen2.5-vl-32b@5bit", "qwen2.5-vl-32b@", "qwen2.5-vl-32b@auto"])
def test_a_quantization_that_is_not_published_is_refused(name: str) -> None:
    with pytest.raises(UnsupportedFeatureError, match=r"Choose one of: 4bit, 6bit, 8bit, bf16\."):
        registry.resolve(name)


@pytest.mark.parametrize("quantization", ["5bit", "", "4-bit", "AUTO"])
def test_an_option_that_is_not_published_is_refused(quantization: str) -> None:
    with pytest.raises(UnsupportedFeatureError, match=r"Choose one of: 4bit, 6bit, 8bit, bf16\."):
        registry.resolve("qwen2.5-vl-32b", quantization=quantization)


@pytest.mark.parametrize("name", ["qwen2.5-vl-32b@4bit", "mlx-community/Qwen2.5-VL-32B-Instruct-4bit"])
def test_a_name_and_an_option_that_contradict_each_other_are_refused(name: str) -> None:
    with pytest.raises(UnsupportedFeatureError) as caught:
        registry.resolve(name, quantization="8bit")

    assert str(caught.value) == (
        f"{name} is 4bit, and quantization='8bit' asks for another. Leave one of them out."
    )


@pytest.mark.parametrize("quantization", ["auto", "4bit"])
def test_a_family_is_not_a_checkpoint(quantization: str) -> None:
    with pytest.raises(UnknownModelError, match=r"qwen2\.5-vl is a family, not one model"):
        registry.resolve("qwen2.5-vl", quantization=quantization)


def test_a_bad_device_is_refused() -> None:
    with pytest.raises(UnsupportedFeatureError, match="'toaster' is not a device"):
        registry.resolve("qwen2.5-vl-3b", device="toaster")
