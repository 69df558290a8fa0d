"""Localisation by hand: small rankings whose value is known, all orders of equals, and what is ranked at all."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from tokensal import Occlusion, load
from tokensal.errors import InputError
from tokensal.evaluation import METRICS
from tokensal.evaluation.localisation import GoldMass, LocalisationMetric, PointingGame, Recall, ReciprocalRank, TopKHit
from tokensal.evaluation.metric import Trial, trial_of
from tokensal.evaluation.prompts.prompt import Gold, Prompt
from tokensal.types import Example, Role, Token, Unit

NAN = math.nan
LOCALISATION = [
    PointingGame(),
    TopKHit(k=2),
    TopKHit(k=3),
    Recall(),
    Recall(fraction=0.4),
    GoldMass(),
    ReciprocalRank(),
]
every_metric = pytest.mark.parametrize("metric", LOCALISATION, ids=repr)


def measured(metric: LocalisationMetric, scores, gold, **options) -> list[float]:
    """The metric of scores (J,) or (K, J), of a prompt of J units behind a first one that is out of the ranking."""
    rows = torch.tensor(scores, dtype=torch.float32)
    rows = rows if rows.ndim == 2 else rows[None]
    rows = torch.cat([torch.full((len(rows), 1), 99.0), rows], dim=1)
    mask = torch.tensor(gold, dtype=torch.bool)
    mask = torch.cat([torch.zeros(*mask.shape[:-1], 1, dtype=torch.bool), mask], dim=-1)
    return metric(trial(rows.shape[1], len(rows), mask), attribution(rows, **options)).tolist()


def trial(units: int, targets: int, gold) -> Trial:
    tokens = tuple(Token(0, "a", index, index + 1, Role.PROMPT) for index in range(units))
    example = Example("a" * units, tokens, tokens[:1] * targets, (units - 1,) * targets)
    return Trial(SimpleNamespace(example=example), gold)


def attribution(rows, *, roles=None, special=(), encoder=0):
    count = rows.shape[1]
    roles = roles or [Role.PROMPT] * count
    sources = [Unit((0,), "a", index, index + 1, roles[index], special=index in special) for index in range(count)]
    return SimpleNamespace(scores=rows, sources=sources, encoder=encoder)


# By hand


@pytest.mark.parametrize(
    ("metric", "scores", "gold", "expected"),
    [
        (PointingGame(), [1, 3, 2], [0, 1, 0], 1),
        (PointingGame(), [1, 3, 2], [1, 0, 1], 0),
        (PointingGame(), [5, 5, 5, 5], [1, 0, 0, 0], 1 / 4),
        (PointingGame(), [5, 5, 1, 5], [1, 0, 1, 1], 2 / 3),
        (PointingGame(), [-3, -2, -1], [0, 0, 1], 1),
        (PointingGame(magnitude=True), [-3, -2, -1], [1, 0, 0], 1),
        (PointingGame(), [NAN, -2, NAN], [0, 1, 0], 1),  # what has a score comes before what has none
        (PointingGame(), [NAN, NAN], [0, 1], 1 / 2),
        (TopKHit(k=2), [1, 3, 2], [0, 0, 1], 1),
        (TopKHit(k=2), [1, 3, 2], [1, 0, 0], 0),
        (TopKHit(k=2), [9, 5, 5, 5], [0, 1, 0, 0], 1 / 3),  # one place for three equals
        (TopKHit(k=3), [9, 5, 5, 5], [0, 1, 1, 0], 1),  # two places, one of the three is wrong
        (TopKHit(k=3), [9, 5, 5, 5, 5], [0, 1, 1, 0, 0], 1 - 1 / 6),
        (TopKHit(k=9), [1, 2], [1, 0], 1),  # all of them
        (Recall(fraction=0.5), [4, 3, 2, 1], [1, 0, 1, 0], 1 / 2),
        (Recall(fraction=0.5), [4, 4, 4, 1], [1, 0, 0, 1], 1 / 3),
        (Recall(fraction=1), [4, 3, 2, 1], [1, 0, 1, 0], 1),
        (Recall(), list(range(20)), [0] * 18 + [1, 1], 1),  # a tenth of twenty are two
        (Recall(), list(range(21)), [0] * 18 + [1, 1, 0], 1),  # of twenty-one three, rounded up
        (Recall(), list(range(20)), [1] * 20, 1 / 10),
        (Recall(fraction=0.7), list(range(10)), [0, 0, 1, 0, 0, 0, 0, 0, 0, 0], 0),  # 7 of 10, in spite of rounding
        (GoldMass(), [1, 3, -9], [0, 1, 1], 3 / 4),
        (GoldMass(magnitude=True), [1, 3, -9], [0, 1, 1], 12 / 13),
        (GoldMass(), [NAN, 3, 1], [1, 1, 0], 3 / 4),
        (GoldMass(), [-1, 0, -2], [1, 0, 0], NAN),
        (GoldMass(), [0, 0], [1, 0], NAN),
        (ReciprocalRank(), [1, 3, 2], [1, 0, 0], 1 / 3),
        (ReciprocalRank(), [1, 3, 2], [1, 0, 1], 1 / 2),
        (ReciprocalRank(), [5, 5, 5], [1, 0, 0], (1 + 1 / 2 + 1 / 3) / 3),
        (ReciprocalRank(), [9, 5, 5], [0, 1, 0], (1 / 2 + 1 / 3) / 2),
        (ReciprocalRank(), [5, 5, 5], [1, 1, 0], (2 / 3) * 1 + (1 / 3) * (1 / 2)),
        (ReciprocalRank(), [NAN, 3], [1, 0], 1 / 2),
    ],
)
def test_by_hand(metric, scores, gold, expected):
    assert measured(metric, scores, gold) == pytest.approx([expected], nan_ok=True)


@every_metric
def test_equals_count_by_their_mean_over_all_orders(metric):
    generator = torch.Generator().manual_seed(3)
    for _ in range(12):
        scores = torch.randint(0, 3, (5,), generator=generator).double()
        gold = torch.rand(5, generator=generator) < 0.5
        gold[0] = True
        values = []
        for order in itertools.permutations(range(5)):  # who comes first of equals
            clear = scores + torch.tensor(order) * 1e-9
            values.append(metric.measure(clear, gold))
        assert metric.measure(scores, gold) == pytest.approx(sum(values) / len(values), abs=1e-7, nan_ok=True)


@every_metric
def test_neither_the_place_of_units_nor_the_order_of_targets_counts(metric):
    generator = torch.Generator().manual_seed(5)
    scores = torch.randint(-2, 4, (3, 9), generator=generator).tolist()
    gold = (torch.rand(3, 9, generator=generator) < 0.4).tolist()
    expected = measured(metric, scores, gold)
    places = torch.randperm(9, generator=generator).tolist()
    moved = measured(
        metric, [[row[place] for place in places] for row in scores], [[g[p] for p in places] for g in gold]
    )
    assert moved == pytest.approx(expected, nan_ok=True)
    assert measured(metric, scores[::-1], gold[::-1]) == pytest.approx(expected[::-1], nan_ok=True)


@every_metric
def test_scores_that_are_all_equal_are_chance(metric):
    gold = torch.tensor([True, False, True, False, False, False, False])
    value = metric.measure(torch.full((7,), 0.5, dtype=torch.float64), gold)
    draws = torch.Generator().manual_seed(0)
    samples = [metric.measure(torch.randperm(7, generator=draws).double() + 1000, gold) for _ in range(4000)]
    assert value == pytest.approx(sum(samples) / len(samples), abs=0.02)


@every_metric
def test_gold_is_the_same_for_all_targets_or_each_has_its_own(metric):
    scores, first, second = [[4, 3, 2, 1], [1, 2, 3, 4]], [1, 0, 0, 0], [0, 0, 1, 0]
    both = measured(metric, scores, [first, second])
    assert both == [measured(metric, scores, first)[0], measured(metric, scores, second)[1]]


# What is ranked


def test_the_first_token_is_ranked_if_it_should_be_or_is_gold():
    rows = torch.tensor([[9.0, 1, 2]])
    of = trial(3, 1, torch.tensor([False, False, True]))
    assert PointingGame()(of, attribution(rows)).tolist() == [1]
    assert PointingGame(sink=True)(of, attribution(rows)).tolist() == [0]
    first = replace(of, gold=torch.tensor([True, False, False]))
    assert PointingGame()(first, attribution(rows)).tolist() == [1]


def test_in_an_encoder_decoder_it_is_the_decoders_first_token():
    rows = torch.tensor([[9.0, 1, 20]])
    of = trial(3, 1, torch.tensor([True, False, False]))
    assert PointingGame()(of, attribution(rows, encoder=2)).tolist() == [1]
    assert PointingGame(sink=True)(of, attribution(rows, encoder=2)).tolist() == [0]
    assert PointingGame()(of, attribution(rows, encoder=3)).tolist() == [0]  # units of the encoder alone


@pytest.mark.parametrize(
    "options",
    [
        {"special": {2}},
        *({"roles": [Role.PROMPT, Role.PROMPT, role]} for role in (Role.TEMPLATE, Role.GENERATED, Role.CONTRAST)),
    ],
)
def test_special_tokens_the_template_and_the_answer_are_not_ranked(options):
    rows = torch.tensor([[0.0, 1, 20]])
    of = trial(3, 1, torch.tensor([False, True, False]))
    assert PointingGame()(of, attribution(rows, **options)).tolist() == [1]
    assert PointingGame()(of, attribution(rows)).tolist() == [0]


def test_what_a_target_does_not_see_is_not_ranked():
    of = trial(4, 2, torch.tensor([False, True, False, False]))
    of = replace(of, case=SimpleNamespace(example=replace(of.case.example, predictors=(1, 3))))
    rows = torch.tensor([[0.0, NAN, NAN, NAN], [0.0, 0, 0, 0]])  # the method left out what the first target sees
    assert PointingGame()(of, attribution(rows)).tolist() == pytest.approx([1, 1 / 3])


@every_metric
def test_without_ranked_gold_there_is_no_number(metric):
    values = measured(metric, [[1, 2], [1, 2]], [[0, 0], [1, 1]])
    assert math.isnan(values[0]) and not math.isnan(values[1])


def test_gold_is_needed():
    with pytest.raises(InputError, match="pointing_game needs gold"):
        PointingGame()(trial(3, 1, None), attribution(torch.zeros(1, 3)))


def test_an_attribution_of_something_else_is_refused():
    with pytest.raises(InputError, match=r"has 1 targets and 3 units, but the attribution has the shape \(1, 2\)"):
        PointingGame()(trial(3, 1, torch.ones(3, dtype=torch.bool)), attribution(torch.zeros(1, 2)))


@pytest.mark.parametrize(
    ("metric", "options", "message"),
    [
        (TopKHit, {"k": 0}, "k is 0"),
        (Recall, {"fraction": 0}, "greater than 0"),
        (Recall, {"fraction": 1.5}, "at most 1"),
        (PointingGame, {"sink": 1}, "sink is 1, but should be true or false"),
    ],
)
def test_bad_options_are_refused(metric, options, message):
    with pytest.raises(InputError, match=message):
        metric(**options)


# On a model


def test_the_values_are_float64_and_one_for_each_target():
    spans = [Gold(17, 21, target=0), Gold(8, 13, target=1), Gold(4, 7, target=2)]
    prompt = Prompt(
        id="0", prompt="the 3rd of March, 1987", continuation="1987-03-03", targets=(0, 2, 4), gold=tuple(spans)
    )
    of = trial_of(prompt, load("dates"))
    for metric in METRICS.values():
        if issubclass(metric, LocalisationMetric):
            values = metric()(of, of.case.explain(Occlusion()))
            assert values.shape == (3,) and values.dtype == torch.float64 and values.device.type == "cpu"
            assert 0 <= float(values.min()) <= float(values.max()) <= 1
    assert PointingGame()(of, of.case.explain(Occlusion())).tolist() == [1, 1, 1]
