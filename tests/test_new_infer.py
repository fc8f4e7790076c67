"""A grammar inferred by asking equals the one that answered: each card stands for an upstream template."""

from __future__ import annotations

import datetime
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import loader
from loader.checkpoint.template import ChatTemplate
from loader.errors import CheckpointError, MLXCardsError
from loader.new.conversations import IMAGE, answer, scattered, user
from loader.new.draft import InexpressibleError, said
from loader.new.infer import infer
from loader.new.upstream import Request, Upstream, of_template
from registry.cards import Card
from registry.catalog import all_cards
from registry.naming import Target

CONVERSATIONS, SEED = 300, 20_261_121
SHORT = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    "{{ '<assistant>' if add_generation_prompt }}"
)


def upstream_of(card: Card) -> Upstream:
    """A card in the place of upstream: it is asked as a template is, and nothing else of it is looked at."""

    def render(requests: Sequence[Request], now: datetime.datetime) -> list[str | None]:
        return [said(card, request, now) for request in requests]

    prompt = card.prompt
    options, start, tags = {}, "", (("<think>", "</think>"),)
    if prompt is not None:
        options, start = prompt.options, prompt.bos
        if prompt.reasoning is not None:
            tags = ((prompt.reasoning.open.strip(), prompt.reasoning.close.strip()),)
    formats = dict.fromkeys(re.findall(r"\{date:([^}]*)\}", repr(prompt)))
    return Upstream(render, formats=tuple(formats), switches=tuple(options), tags=tags, start=start)


def cards() -> Iterator[Card]:
    """Each prompt that there is, once."""
    catalog, prompts = all_cards(), []
    for family in catalog.families():
        for key in (None, *catalog.card(Target(family)).models):
            card = catalog.card(Target(family, key))
            if card.prompt is not None and card.prompt not in prompts:
                prompts.append(card.prompt)
                yield card


@pytest.mark.parametrize("card", list(cards()), ids=lambda card: card.name)
def test_the_inferred_grammar_says_300_random_conversations_as_the_card(card: Card) -> None:
    found = infer(upstream_of(card))
    assert found.remarks == []
    assert found.different == []
    assert card.prompt is not None
    assert set(found.draft.prompt.options) == set(card.prompt.options)
    chance = random.Random(SEED)  # noqa: S311
    thought = card.prompt.reasoning
    tags = [(thought.open.strip(), thought.close.strip())] if thought is not None else []
    for turns in scattered(CONVERSATIONS, SEED, tags):
        chosen = [name for name in card.prompt.options if chance.random() < 0.5]
        options = tuple((name, chance.random() < 0.5) for name in chosen[:1])
        request = Request(turns, chance.random() < 0.5, options)
        assert said(found.draft.card(), request) == said(card, request), turns


@pytest.mark.parametrize(
    "family", [it for it in all_cards().families() if all_cards().card(Target(it)).template]
)
def test_a_prompt_that_is_a_program_is_not_said_to_be_a_grammar(family: str) -> None:
    card = all_cards().card(Target(family))
    try:
        found = infer(upstream_of(card))
    except InexpressibleError:
        return
    assert found.different


def test_dates_become_formats_and_are_right_on_another_day() -> None:
    source = "{{ '<s>Today: ' + strftime_now('%d %b %Y') + '\n' }}" + SHORT
    found = infer(of_template(ChatTemplate(source)))
    assert "{date:%d %b %Y}" in found.draft.prompt.bos
    then = datetime.datetime(2030, 3, 4, 5)
    made = loader.render(found.draft.card(), [{"role": "user", "content": "Hi"}], now=then)
    assert made.text == "<s>Today: 04 Mar 2030\n<user>Hi<assistant>"


def test_a_switch_with_three_values_is_named_and_left_out() -> None:
    source = SHORT + "{{ {true: 'yes', false: 'no'}.get(effort, 'medium') if add_generation_prompt }}"
    found = infer(of_template(ChatTemplate(source)))
    assert found.draft.prompt.options == {}
    assert found.remarks == ["the switch effort has a default that is neither true nor false"]


def test_what_differs_is_told_with_the_conversation() -> None:
    source = SHORT.replace(
        "{{ m.content }}", "{{ m.content }}{{ '!' if loop.index > 2 and m.role == 'user' }}"
    )
    with pytest.raises(InexpressibleError, match="changes along the conversation"):
        infer(of_template(ChatTemplate(source)))
    two = "{{ '<two>' if messages|length > 1 and messages[0].role == messages[1].role }}"
    found = infer(of_template(ChatTemplate(SHORT + two)))
    assert found.different
    assert all(it.turns[0]["role"] == it.turns[1]["role"] for it in found.different)


def test_words_that_a_template_loses_need_not_be_said() -> None:
    source = SHORT.replace("{{ m.content }}", "{{ m.content if m.content is string else m.content[0].text }}")
    found = infer(of_template(ChatTemplate(source)))
    assert found.draft.placeholder is None
    assert found.draft.prompt.roles["user"].open == "<user>"
    for difference in found.different:  # of parts without words nobody can tell whether they were lost
        parts = [part["text"] for turn in difference.turns for part in turn["content"]]
        assert any(not part.strip() for part in parts)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (
            "{% for i in range(10**9) %}{% for j in range(10**9) %}{% endfor %}{% endfor %}",
            "cannot be probed",
        ),
        ("{{ 'x' * 3000000 }}", "cannot be probed"),
        ("{{ ''.__class__.__mro__ }}", "cannot be probed"),
        ("{% for m in messages %", "not even one question"),
        ("{{ raise_exception('no') }}", "not even one question"),
        ("nothing of yours", "not even one question"),
        ("", "not even one question"),
        ("{{ messages }}", "not even one question"),
    ],
)
def test_a_template_that_is_hostile_or_no_template_is_refused_in_words(source: str, reason: str) -> None:
    with pytest.raises((InexpressibleError, CheckpointError), match=reason):
        infer(of_template(ChatTemplate(source)))


def test_a_template_that_refuses_is_told_from_one_that_says_nothing() -> None:
    source = "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}" + SHORT
    draft = infer(of_template(ChatTemplate(source))).draft
    assert draft.prompt.system == "refuse"
    with pytest.raises(MLXCardsError):
        loader.render(draft.card(), [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}])


def test_numbers_of_images_are_seen_across_turns() -> None:
    source = (
        "{% set ns = namespace(n=0) %}{% for m in messages %}<{{ m.role }}>"
        "{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}"
        "{% if p.type == 'image' %}{% set ns.n = ns.n + 1 %}<img_{{ ns.n }}>{% else %}{{ p.text }}{% endif %}"
        "{% endfor %}{% endif %}{% endfor %}"
    )
    draft = infer(of_template(ChatTemplate(source))).draft
    assert draft.placeholder == "<img_{n}>"
    made = loader.render(draft.card(), [user(IMAGE, "a"), answer("b"), user(IMAGE)])
    assert made.text == "<user><img_1>a<assistant>b<user><img_2>"


def test_no_module_of_inference_names_a_family() -> None:
    """Knowledge about families is in cards: the code that makes cards has none."""
    names = {name for family in all_cards().families() for name in (family, family.replace("-", "_"))}
    names |= {
        it for family in all_cards().families() for it in all_cards().card(Target(family)).backend.model_types
    }
    code = "".join(path.read_text(encoding="utf-8") for path in Path(loader.__file__).parent.glob("new/*.py"))
    assert {name for name in names if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", code)} == set()
