"""Names: exactly what they say, in any case and with any separator, and never a neighbour."""

from __future__ import annotations

import dataclasses
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import registry
from loader.errors import CardError, MLXCardsError, UnknownModelError, UnsupportedFeatureError
from registry.cards import Card, merge
from registry.catalog import CARDS, Catalog, all_cards
from registry.grids import Fixed, SmartResize
from registry.naming import Target
from tests.test_reader import good_card

SEPARATORS = "_.-"


def by_model_type() -> dict[str, list[Card]]:
    """Model type -> the families that it may mean."""
    found: dict[str, list[Card]] = {}
    for family in map(registry.card, registry.families()):
        for model_type in family.backend.model_types if not family.backend.named_only else ():
            found.setdefault(model_type, []).append(family)
    return found


BY_MODEL_TYPE = by_model_type()


def every_name() -> dict[str, str]:
    """Every name that the cards of the package state -> the name of the card that it means."""
    families = [registry.card(family) for family in registry.families()]
    said = {
        model_type: families[0].name for model_type, families in BY_MODEL_TYPE.items() if len(families) == 1
    }
    for family in families:
        said |= dict.fromkeys((family.id, *family.aliases), family.name)
    for card in map(registry.card, registry.names()):
        assert card.model is not None
        repositories = [card.model.source, *(w.repository for w in card.model.quantizations.values())]
        public = [repository for repository in repositories if repository is not None]
        said |= dict.fromkeys((card.name, *card.model.aliases, *public), card.name)
    return said


NAMES = every_name()


def folded(name: str) -> str:
    return name.lower().translate(dict.fromkeys(map(ord, SEPARATORS), "-"))


NAMES_BY_FOLD = {folded(name): card for name, card in NAMES.items()}


def folder_of(path: Path, **cards: str) -> Path:
    for stem, text in cards.items():
        (path / f"{stem}.yaml").write_text(text, encoding="utf-8")
    return path


def overridden(path: Path, override: str) -> Card:
    """The 32B of the good card with that override."""
    source = "    source: makers/good-32B\n"
    text = good_card().replace(source, f"{source}    override: {override}\n")
    catalog = Catalog(folder_of(path, good=text))
    return catalog.card(catalog.find("good-32b"))


# What resolves.


@pytest.mark.parametrize("name", [*registry.names(), *registry.families()])
def test_a_listed_name_resolves_to_itself(name: str) -> None:
    assert registry.card(name).name == name


@pytest.mark.parametrize(
    ("name", "model", "quantization"),
    [
        ("qwen2.5-vl", None, None),
        ("qwen2_5_vl", None, None),
        ("Qwen2.5-VL-7B-Instruct", "7b", None),
        ("  qwen2.5-vl-7b\n", "7b", None),
        ("Qwen/Qwen2.5-VL-7B-Instruct", "7b", None),
        ("qwen2.5-vl-7b@6bit", "7b", "6bit"),
        ("QWEN2_5_VL_7B@6BIT", "7b", "6bit"),
        ("Qwen2.5-VL-7B-Instruct@bf16", "7b", "bf16"),
        ("mlx-community/Qwen2.5-VL-7B-Instruct-4bit", "7b", "4bit"),
        ("MLX-Community/qwen2.5-vl-7b-instruct-4BIT", "7b", "4bit"),
    ],
)
def test_a_name_means_one_family_model_or_quantization(
    name: str, model: str | None, quantization: str | None
) -> None:
    assert all_cards().find(name) == Target("qwen2.5-vl", model, quantization)


@given(st.data())
def test_case_and_separators_make_no_difference(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(NAMES)))
    letters = (SEPARATORS if letter in SEPARATORS else letter.lower() + letter.upper() for letter in name)
    variant = "".join(data.draw(st.sampled_from(choices)) for choices in letters)

    assert all_cards().find(variant) == all_cards().find(name)
    assert registry.card(variant).name == NAMES[name]


@pytest.mark.parametrize(
    "name", ["qwen2.5-vl-32b", "qwen2.5-vl", "mlx-community/Qwen2.5-VL-7B-Instruct-4bit"]
)
def test_a_card_is_the_same_object_when_asked_twice(name: str) -> None:
    assert registry.card(name) is registry.card(name.upper())


def test_a_card_does_not_depend_on_the_quantization() -> None:
    assert registry.card("qwen2.5-vl-7b@4bit") is registry.card("qwen2.5-vl-7b")


def test_names_are_in_natural_order(tmp_path: Path) -> None:
    catalog = Catalog(
        folder_of(tmp_path, good=good_card(), **{"good-10": good_card("x"), "good-9": good_card("y")})
    )

    assert catalog.families() == ("good", "good-9", "good-10")
    assert catalog.names() == ("good-3b", "good-9-3b", "good-9-32b", "good-10-3b", "good-10-32b", "good-32b")


def test_a_model_may_have_a_name_of_its_own(tmp_path: Path) -> None:
    text = good_card().replace("  3b:\n", "  3b:\n    name: better\n")
    catalog = Catalog(folder_of(tmp_path, good=text))

    assert catalog.names() == ("better", "good-32b")
    assert catalog.find("better") == Target("good", "3b")
    with pytest.raises(UnknownModelError):
        catalog.find("good-3b")


# What does not resolve.


@pytest.mark.parametrize(
    "name",
    [
        "qwen25-vl-32b",
        "qwen2.5vl-32b",
        "qwen2.5-vl32b",
        "qwen2.5--vl-32b",
        "qwen2.5-vl-32b-",
        "qwen2.5 vl 32b",
        "qwen2.5-vl-32",
        "qwen2.5-vl-32b-instruct-4bit",
        "qwen/qwen2.5-vl-32b",
        "mlx-community-Qwen2.5-VL-7B-Instruct-4bit",
        "",
        "@4bit",
    ],
)
def test_nothing_else_is_folded(name: str) -> None:
    with pytest.raises(UnknownModelError) as caught:
        registry.card(name)

    assert caught.value.name == name


@given(st.data())
def test_a_typo_never_resolves(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(NAMES)))
    at = data.draw(st.integers(0, len(name) - 1))
    letter = data.draw(st.sampled_from(string.ascii_letters + string.digits + SEPARATORS + "/+"))
    typo = data.draw(
        st.sampled_from(
            [
                name[:at] + name[at + 1 :],
                name[:at] + letter + name[at:],
                name[:at] + letter + name[at + 1 :],
                name[:at] + name[at + 1 : at + 2] + name[at] + name[at + 2 :],
            ]
        )
    )

    if folded(typo) in NAMES_BY_FOLD:
        assert registry.card(typo).name == NAMES_BY_FOLD[folded(typo)]
    else:
        with pytest.raises(UnknownModelError) as caught:
            registry.card(typo)
        assert len(caught.value.suggestions) <= 3
        assert set(caught.value.suggestions) <= set(NAMES)


def test_an_unknown_name_is_answered_with_names_that_look_like_it() -> None:
    with pytest.raises(UnknownModelError) as caught:
        registry.card("qwen2.5-vl-23b")

    error = caught.value
    assert isinstance(error, LookupError)
    assert isinstance(error, MLXCardsError)
    assert error.name == "qwen2.5-vl-23b"
    assert "qwen2.5-vl-32b" in error.suggestions
    assert len(error.suggestions) == 3
    assert str(error) == (
        "No model is called 'qwen2.5-vl-23b', and a name is never resolved to one that looks like it. "
        "Did you mean {}, {} or {}?".format(*error.suggestions)
    )


def test_a_name_like_no_other_is_answered_with_where_the_names_are() -> None:
    with pytest.raises(UnknownModelError, match="`mlx-cards list` shows all names") as caught:
        registry.card("!!!")

    assert caught.value.suggestions == ()


def test_an_unknown_quantization_is_answered_with_those_there_are() -> None:
    with pytest.raises(UnsupportedFeatureError) as caught:
        all_cards().find("Qwen2.5-VL-32B@5bit")

    assert str(caught.value) == (
        "Qwen2.5-VL-32B has no published '5bit' quantization. Choose one of: 4bit, 6bit, 8bit, bf16."
    )


def test_a_quantization_of_a_model_without_any_is_not_answered_with_an_empty_choice(tmp_path: Path) -> None:
    catalog = Catalog(folder_of(tmp_path, good=good_card()))

    with pytest.raises(UnsupportedFeatureError, match=r"'4bit' quantization\. Convert makers/good-32B with"):
        catalog.find("good-32b@4bit")


@pytest.mark.parametrize("name", ["good", "good@4bit"])
def test_a_family_where_a_model_is_needed_is_answered_with_its_models(name: str, tmp_path: Path) -> None:
    catalog = Catalog(folder_of(tmp_path, good=good_card()))

    with pytest.raises(UnknownModelError) as caught:
        catalog.model_of(name)

    assert caught.value.name == name
    assert str(caught.value) == "good is a family, not one model. Choose one of: good-3b, good-32b."


# Model types.


@pytest.mark.parametrize("model_type", BY_MODEL_TYPE)
def test_a_model_type_means_the_only_family_that_has_it(model_type: str) -> None:
    families = [Target(family.id) for family in BY_MODEL_TYPE[model_type]]

    assert all_cards().find_model_type(model_type) == (families[0] if len(families) == 1 else None)


def test_a_model_type_that_no_card_has_means_nothing() -> None:
    assert all_cards().find_model_type("bert") is None


def test_a_model_type_of_two_cards_means_neither(tmp_path: Path) -> None:
    shared = [
        good_card(name).replace(f"model_types: [{name}]", "model_types: [both]") for name in ("one", "two")
    ]
    catalog = Catalog(folder_of(tmp_path, one=shared[0], two=shared[1]))

    assert catalog.find_model_type("both") is None
    with pytest.raises(UnknownModelError):
        catalog.find("both")


def test_a_model_type_does_not_mean_a_family_that_is_only_named(tmp_path: Path) -> None:
    named = good_card("named").replace("model_types: [named]", "model_types: [good], named_only: true")
    for name, text in {"good": good_card("good"), "named": named}.items():
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    catalog = Catalog(tmp_path)

    assert catalog.find_model_type("good") == Target("good")
    assert catalog.card(catalog.find("named")).backend.model_types == ("good",)


def test_a_model_type_that_another_card_shares_does_not_take_the_familys_own_name(tmp_path: Path) -> None:
    tuned = good_card("tuned").replace("model_types: [tuned]", "model_types: [good]")
    catalog = Catalog(folder_of(tmp_path, good=good_card(), tuned=tuned))

    assert catalog.find("good") == Target("good")


# Folders.


def test_an_empty_folder_has_no_names(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)

    assert catalog.names() == catalog.families() == ()
    with pytest.raises(UnknownModelError) as caught:
        catalog.find("good")
    assert caught.value.suggestions == ()


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("makers/two-3B", "makers/one-3B", "makers/one-3B"),
        ("mlx-community/two-3B-4bit", "mlx-community/ONE-3B-4bit", "mlx-community/ONE-3B-4bit"),
        ("[two-3B-Instruct]", "[one]", "one"),
        ("model_types: [two]", "model_types: [one-3b]", "one-3b"),
        ("  32b:\n", "  32b:\n    name: one_3b\n", "one_3b"),
    ],
    ids=["source", "repository", "alias", "model type", "model"],
)
def test_two_cards_with_one_name_are_refused_by_the_names_of_both(
    old: str, new: str, name: str, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path, one=good_card("one"), two=good_card("two").replace(old, new))

    with pytest.raises(CardError) as caught:
        Catalog(folder)

    assert caught.value.path == str(folder / "two.yaml")
    assert f"the name {name!r} already means " in str(caught.value)
    assert "in one.yaml. Rename one of them." in str(caught.value)


def test_a_card_that_is_not_yaml_is_found_among_good_ones(tmp_path: Path) -> None:
    bad = good_card("bad").replace("title: Bad", "title: Bad: worse")
    folder = folder_of(tmp_path, bad=bad, good=good_card())

    with pytest.raises(CardError) as caught:
        Catalog(folder)

    assert (caught.value.path, caught.value.line) == (str(folder / "bad.yaml"), 2)


def test_a_card_with_a_wrong_value_leaves_good_ones_usable(tmp_path: Path) -> None:
    bad = good_card("bad").replace("patch: 14", "patch: none")
    catalog = Catalog(folder_of(tmp_path, bad=bad, good=good_card()))

    assert catalog.card(catalog.find("good-3b")).name == "good-3b"
    with pytest.raises(CardError) as caught:
        catalog.card(catalog.find("bad-3b"))
    assert (caught.value.path, caught.value.line) == (str(tmp_path / "bad.yaml"), 15)


# Cards that are trusted, and read when they are needed.


def test_no_two_things_in_the_package_share_a_name() -> None:
    Catalog(trusted=True).check_names()


@pytest.mark.parametrize("family", registry.families())
def test_names_of_the_package_are_where_resolving_looks_for_them(family: str) -> None:
    """In the text of the card, or the card's id and a model's key: no other file is parsed."""
    text = folded((CARDS / f"{family}.yaml").read_text(encoding="utf-8"))
    card = registry.card(family)
    composed = {folded(f"{family}-{key}") for key in card.models}
    own = {folded(name) for name, said in NAMES.items() if registry.card(said).id == family}

    assert {name for name in own if name not in text} <= composed | {folded(family)}


NAMES_OF_TWO_CARDS = [
    "one",
    "one-3b",
    "ONE_32B",
    "two-3b@8bit",
    "one-3B-Instruct",
    "makers/one-32B",
    "mlx-community/one-3B-4bit",
    "other",
    "Other_Name",
    "own.name",
    "elsewhere/else-8bit",
    "two-type",
    "two_type",
    "both",
    "two-32b",
    "two-64b",
    "two-3b@3bit",
    "tw",
    "",
]


@pytest.mark.parametrize("name", NAMES_OF_TWO_CARDS)
def test_trusted_cards_answer_as_others_do(name: str, tmp_path: Path) -> None:
    two = (
        good_card("two")
        .replace("model_types: [two]", "model_types: [both, two_type]")
        .replace("  32b:\n", "  32b:\n    name: own_name\n    aliases: [other, other.name]\n")
        .replace("mlx-community/two-3B-8bit", "elsewhere/Else-8bit")
    )
    one = good_card("one").replace("model_types: [one]", "model_types: [both, one]")
    folder = folder_of(tmp_path, one=one, two=two)

    def answer(trusted: bool) -> Target | tuple[type[Exception], str]:
        try:
            return Catalog(folder, trusted=trusted).find(name)
        except MLXCardsError as error:
            return type(error), str(error)

    assert answer(trusted=True) == answer(trusted=False)


@pytest.mark.parametrize(
    "name",
    ["good", "Good_3B", "good-3b@4bit", "good-3B-Instruct", "mlx-community/good-3B-4bit", "makers/good-32B"],
)
def test_a_name_with_the_id_of_a_trusted_card_opens_no_other_file(name: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, good=good_card(), goo=good_card("goo"))
    (folder / "a-link-to-nowhere.yaml").symlink_to(folder / "nothing")

    assert Catalog(folder, trusted=True).find(name).family == "good"
    with pytest.raises(CardError, match="cannot be read"):
        Catalog(folder)


def test_a_name_without_the_id_parses_only_the_cards_that_mention_it(tmp_path: Path) -> None:
    good = good_card().replace("[good-3B-Instruct]", "[nick]")
    folder = folder_of(tmp_path, bad="{", good=good)

    assert Catalog(folder, trusted=True).find("nick") == Target("good", "3b")


@pytest.mark.parametrize("name", ["bad-3b", "unheard-of", "bad-type"])
def test_a_trusted_card_that_is_not_yaml_is_shown_at_its_place_when_it_is_needed(
    name: str, tmp_path: Path
) -> None:
    bad = good_card("bad").replace("title: Bad", "title: Bad: worse").replace("[bad]", "[bad_type]")
    catalog = Catalog(folder_of(tmp_path, bad=bad, good=good_card()), trusted=True)

    assert catalog.find("good-3b") == Target("good", "3b")
    with pytest.raises(CardError) as caught:
        catalog.find(name)
    assert (caught.value.path, caught.value.line) == (str(tmp_path / "bad.yaml"), 2)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("patch: 14", "patcch: 14", 15),
        ("model_types: [good]", "model_types: good", 4),
        ("    source: makers/good-3B\n", "", 24),
        ("license: apache-2.0", "license: apache-2.0\nlicense: mit\npatch: 14", 4),
        ('open: "<u>"', "open: [INST]", 8),
        ('  generation: "<a>"', "  generation: yes", 10),
        ("merge: 2", "merge: two", 15),
        ("schema_version: 1", "schema_version: !!bool 1", 1),
        ("checked: 2026-11-21", "checked: 2026-02-30", 34),
    ],
    ids=[
        "a key",
        "the model types",
        "a source",
        "a key that is there twice",
        "a list for text",
        "a boolean for text",
        "text for a number",
        "a tag",
        "a day that there is not",
    ],
)
def test_a_fault_of_a_trusted_card_is_shown_at_its_place(
    old: str, new: str, line: int, tmp_path: Path
) -> None:
    catalog = Catalog(folder_of(tmp_path, good=good_card().replace(old, new)), trusted=True)

    with pytest.raises(CardError) as caught:
        catalog.card(catalog.find("good-3b"))

    assert (caught.value.path, caught.value.line) == (str(tmp_path / "good.yaml"), line)


@pytest.mark.parametrize("text", ["", "- a list", "\ttabs", "a: [", "\xff"], ids=repr)
def test_a_trusted_file_that_is_no_card_is_refused_as_any_other(text: str, tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_bytes(text.encode("latin-1"))
    errors = []
    for use in (lambda: Catalog(tmp_path, trusted=True).find("good"), lambda: Catalog(tmp_path)):
        with pytest.raises(CardError) as caught:
            use()
        errors.append(str(caught.value))

    assert errors[0] == errors[1]


def test_a_folder_that_is_not_there_has_no_cards(tmp_path: Path) -> None:
    assert Catalog(tmp_path / "nowhere").families() == ()


# Overrides.


def test_without_an_override_a_model_sees_the_family(tmp_path: Path) -> None:
    family = Catalog(folder_of(tmp_path, good=good_card())).card(Target("good"))
    model = overridden(tmp_path, "{}")

    assert (model.prompt, model.image, model.memory) == (family.prompt, family.image, family.memory)


def test_an_override_is_seen_by_its_model_alone(tmp_path: Path) -> None:
    overridden(tmp_path, '{prompt: {generation: "<b>"}}')
    catalog = Catalog(tmp_path)
    prompts = [catalog.card(catalog.find(name)).prompt for name in ("good", "good-3b", "good-32b")]

    assert [prompt.generation for prompt in prompts if prompt] == ["<a>", "<a>", "<b>"]


def test_maps_of_an_override_merge(tmp_path: Path) -> None:
    card = overridden(tmp_path, "{image: {resize: {patch: 16}}, prompt: {roles: {user: {trim: parts}}}}")
    family = Catalog(tmp_path).card(Target("good"))

    assert card.image is not None
    assert family.image is not None
    assert isinstance(family.image.resize, SmartResize)
    assert card.image == dataclasses.replace(
        family.image, resize=dataclasses.replace(family.image.resize, patch=16)
    )
    assert card.prompt is not None
    assert (card.prompt.roles["user"].open, card.prompt.roles["user"].trim) == ("<u>", "parts")


def test_lists_of_an_override_are_replaced(tmp_path: Path) -> None:
    card = overridden(tmp_path, "{memory: {vision: {full_layers: [0]}}}")

    assert card.memory is not None
    assert card.memory.vision.full_layers == (0,)


def test_another_kind_replaces_the_whole_map(tmp_path: Path) -> None:
    fixed = "{kind: fixed, width: 336, height: 336, fit: crop, patch: 14, tokens: 576}"
    card = overridden(tmp_path, f"{{image: {{resize: {fixed}}}}}")

    assert card.image is not None
    assert card.image.resize == Fixed(kind="fixed", width=336, height=336, fit="crop", patch=14, tokens=576)


def test_the_same_kind_said_again_merges(tmp_path: Path) -> None:
    card = overridden(tmp_path, "{image: {resize: {kind: smart_resize, merge: 1}}}")

    assert card.image is not None
    assert (card.image.resize.kind, card.image.resize.patch) == ("smart_resize", 14)


def test_an_override_with_nothing_takes_a_part_away(tmp_path: Path) -> None:
    assert overridden(tmp_path, "{image: null}").image is None


@pytest.mark.parametrize("part", ["title", "models", "sources", "license"])
def test_an_override_of_an_unknown_part_is_refused(part: str, tmp_path: Path) -> None:
    with pytest.raises(CardError, match=f"override: cannot change {part}"):
        overridden(tmp_path, f"{{{part}: x}}")


def test_merging_leaves_both_maps_as_they_were() -> None:
    base, change = {"a": {"b": 1, "c": [1]}}, {"a": {"c": [2]}}

    assert merge(base, change) == {"a": {"b": 1, "c": [2]}}
    assert (base, change) == ({"a": {"b": 1, "c": [1]}}, {"a": {"c": [2]}})
