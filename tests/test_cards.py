"""Every card that comes with the package: valid, sourced, plausible, and reachable by its names."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import registry
from registry.cards import PRECISION, Card, card_of, trusted
from registry.catalog import CARDS
from registry.reader import read
from registry.schema import validated
from registry.validate.dimensions import parameters_of
from tests.golden_rows import GOLDEN, golden

FIRST_LINE = "# yaml-language-server: $schema=../../schemas/card.schema.json"
FACT_GROUPS = ("backend", "prompt", "template", "image", "memory", "models", "license")
BITS = {"3bit": 3, "4bit": 4, "5bit": 5, "6bit": 6, "8bit": 8, "16bit": 16, "fp16": 16, "bf16": 16}

EVERY_FAMILY = pytest.mark.parametrize("family", registry.families())
EVERY_MODEL = pytest.mark.parametrize("name", registry.names())


def path_of(family: str) -> Path:
    return CARDS / f"{family}.yaml"


def is_in(path: str, data: Any) -> bool:
    """Whether a source's path names something that the card says."""
    if not isinstance(data, dict):
        return False
    keys = [key for key in data if path == key or path.startswith(f"{key}.")]  # "0.5b" is one key
    return any(path == key or is_in(path.removeprefix(f"{key}."), data[key]) for key in keys)


def test_the_package_has_cards() -> None:
    assert registry.families()
    assert {path.stem for path in CARDS.glob("*.yaml")} == set(registry.families())


@EVERY_FAMILY
def test_a_card_is_valid_as_the_family(family: str) -> None:
    card = registry.card(family)

    assert (card.id, card.name, card.model) == (family, family, None)


@EVERY_MODEL
def test_a_card_is_valid_as_each_of_its_models(name: str) -> None:
    card = registry.card(name)

    assert card.name == name
    assert card.model is not None


@EVERY_FAMILY
def test_editors_find_the_schema_in_the_first_line(family: str) -> None:
    assert path_of(family).read_text(encoding="utf-8").splitlines()[0] == FIRST_LINE


@EVERY_FAMILY
def test_every_group_of_facts_that_a_card_states_has_a_source(family: str) -> None:
    facts = {fact.split(".")[0] for source in registry.card(family).sources for fact in source.facts}
    stated = {group for group in FACT_GROUPS if read(path_of(family)).get(group)}

    assert stated <= facts


@EVERY_FAMILY
def test_a_source_names_only_facts_that_the_card_states(family: str) -> None:
    data = read(path_of(family))
    facts = [fact for source in registry.card(family).sources for fact in source.facts]

    assert [fact for fact in facts if not is_in(fact, data)] == []


@EVERY_FAMILY
def test_a_source_says_what_was_read_in_it(family: str) -> None:
    assert all(source.note for source in registry.card(family).sources)


@EVERY_FAMILY
def test_every_other_name_of_a_model_resolves_to_it(family: str) -> None:
    for key, model in registry.card(family).models.items():
        repositories = [model.source, *(weights.repository for weights in model.quantizations.values())]
        for name in (*model.aliases, *(known for known in repositories if known is not None)):
            assert registry.card(name).model == model, f"{name} is not {key}"


@EVERY_FAMILY
def test_every_other_name_of_a_family_resolves_to_it(family: str) -> None:
    card = registry.card(family)

    model_types = () if card.backend.named_only else card.backend.model_types

    assert {registry.card(name).name for name in (family, *card.aliases, *model_types)} == {family}


@EVERY_FAMILY
def test_every_golden_case_resolves_to_the_family_whose_file_it_is_in(family: str) -> None:
    rows = golden(family)
    cases = {row["case"] for kind in ("prompts", "images") for row in rows[kind]}

    assert {registry.card(case).id for case in cases} == {family}


@pytest.mark.parametrize(
    ("case", "name"),
    [
        ("qwen2-vl", "qwen2-vl"),
        ("qwen2.5-vl", "qwen2.5-vl"),
        ("qwen3-vl", "qwen3-vl"),
        ("qwen3-vl-thinking", "qwen3-vl-8b-thinking"),
        ("gemma3", "gemma3"),
        ("smolvlm", "smolvlm"),
        ("smolvlm2", "smolvlm2-500m"),
        ("llava-1.5", "llava-1.5"),
    ],
)
def test_a_case_of_the_measured_rows_resolves(case: str, name: str) -> None:
    assert registry.card(case).name == name


@EVERY_FAMILY
def test_a_family_has_golden_prompts_with_a_stamp(family: str) -> None:
    assert (GOLDEN / f"{family}.yaml").is_file()
    rows = golden(family)

    assert rows["prompts"]
    assert rows["stamp"].keys() == {"date", *(kind for kind in ("prompts", "images") if rows[kind])}


@EVERY_MODEL
def test_a_model_has_at_least_the_parameters_that_its_dimensions_need(name: str) -> None:
    model = registry.card(name).model
    assert model is not None
    if model.text is not None and model.parameters is not None:
        assert parameters_of(model.text) <= model.parameters
        assert model.text.heads % model.text.kv_heads == 0


@EVERY_MODEL
def test_experts_and_windows_are_described_completely_or_not_at_all(name: str) -> None:
    model = registry.card(name).model
    assert model is not None
    text = model.text
    if text is None:
        return
    assert len({field is None for field in (text.window, text.full_every)}) == 1
    experts = (text.experts, text.active_experts, text.expert_intermediate)
    assert len({field is None for field in experts}) == 1


@EVERY_MODEL
def test_finer_quantizations_weigh_more(name: str) -> None:
    model = registry.card(name).model
    assert model is not None
    weights = {q: w.bytes for q, w in model.quantizations.items() if w.bytes is not None}
    coarse_to_fine = sorted(weights, key=PRECISION.index)

    for coarse, fine in pairwise(coarse_to_fine):
        if BITS[coarse] == BITS[fine]:
            assert weights[coarse] == weights[fine]
        else:
            assert weights[coarse] < weights[fine]


@EVERY_MODEL
def test_weights_have_the_bytes_of_their_precision(name: str) -> None:
    model = registry.card(name).model
    assert model is not None
    if model.parameters is None:
        return
    full = 2 * model.parameters

    for quantization, weights in model.quantizations.items():
        if weights.bytes is None:
            continue
        if BITS[quantization] == 16:
            # A few vectors of Qwen3.5's linear attention are kept in four bytes.
            assert full <= weights.bytes <= full * 1.00001
        else:
            # Scales and the unquantized vision tower come on top of the bits themselves.
            assert model.parameters * BITS[quantization] / 8 < weights.bytes < full


@EVERY_FAMILY
def test_a_repository_is_listed_once(family: str) -> None:
    models = registry.card(family).models.values()
    repositories = [w.repository or w.folder for model in models for w in model.quantizations.values()]

    assert len(set(repositories)) == len(repositories)


@EVERY_MODEL
def test_the_prompt_holds_one_nonempty_placeholder_per_image(name: str) -> None:
    image = registry.card(name).image

    assert image is not None
    assert image.placeholder.strip()
    assert image.token.strip()


@EVERY_MODEL
def test_a_windowed_tower_has_full_layers_among_its_own(name: str) -> None:
    memory = registry.card(name).memory
    if memory is None:
        return
    tower = memory.vision

    assert bool(tower.full_layers) == (tower.attention == "windows")
    assert all(0 <= layer < tower.layers for layer in tower.full_layers)


@EVERY_MODEL
def test_a_budget_is_one_that_the_resize_can_keep(name: str) -> None:
    card = registry.card(name)
    assert card.image is not None
    budget, resize = card.image.budget, card.image.resize
    if budget is None or resize.kind != "smart_resize":
        return
    pixels = (resize.patch * resize.merge) ** 2

    assert resize.min_pixels <= (budget.low or budget.tokens) * pixels
    assert (budget.low or 0) < budget.tokens
    assert budget.tokens * pixels <= resize.max_pixels


def test_the_thinking_models_reason_and_their_twins_do_not() -> None:
    def reasons(card: Card) -> bool:
        return card.prompt is not None and card.prompt.reasoning is not None

    assert reasons(registry.card("qwen3-vl-8b-thinking"))
    assert not reasons(registry.card("qwen3-vl-8b"))
    thinking = [n for n in registry.names() if n.startswith("qwen3-vl") and n.endswith("-thinking")]
    assert all(reasons(registry.card(name)) for name in thinking)


@EVERY_FAMILY
def test_a_card_that_is_trusted_equals_the_one_that_is_validated(family: str) -> None:
    """At run time the packaged cards are built without validation, which costs more than all the rest."""
    data = read(path_of(family))
    for key in (None, *data["models"]):
        quick = card_of(data, family=family, key=key, make=trusted)
        assert quick == card_of(data, family=family, key=key, make=validated)
