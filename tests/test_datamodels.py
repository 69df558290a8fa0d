"""LDS and infidelity: linear games, peers, what coalitions are drawn, and what is not defined."""

from __future__ import annotations

import math

import pytest
import torch
from builders import CONTINUATION, PROMPT, tiny
from hand_made import random_game
from trials_by_hand import linear, ranked, trial_of

from tokensal import ContextCite, Question
from tokensal.case import Case
from tokensal.errors import InputError
from tokensal.evaluation import LDS, Infidelity
from tokensal.evaluation.metric import Trial
from tokensal.options import Generation

WEIGHTS = [1.0, -2.0, 0.5, 0.25, 3.0, 0.7, -0.1]


def one(metric, trial, attribution) -> float:
    [value] = metric(trial, attribution).tolist()
    return value


def drawn(metric, trial, attribution):
    """The coalitions, and what the model scores."""
    present = metric.coalitions(trial, attribution)
    return present.double(), trial.game(metric.replacement).scores(present)[:, 0]


@pytest.mark.parametrize("present", [0.5, 0.8])
def test_the_weights_of_a_linear_score_predict_all_coalitions(present):
    trial = trial_of(linear(WEIGHTS, constant=-3), 7)
    right = ranked(trial, WEIGHTS)
    assert one(LDS(present=present), trial, right) == pytest.approx(1)
    assert one(Infidelity(present=present), trial, right) == pytest.approx(0, abs=1e-12)
    assert one(Infidelity(present=present, scaled=False), trial, right) == pytest.approx(0, abs=1e-12)
    scaled = ranked(trial, [7 * weight for weight in WEIGHTS])
    assert one(LDS(present=present), trial, scaled) == pytest.approx(1)
    assert one(Infidelity(present=present), trial, scaled) == pytest.approx(0, abs=1e-12)
    assert one(Infidelity(present=present, scaled=False), trial, scaled) > 1
    turned = ranked(trial, [-weight for weight in WEIGHTS])
    assert one(LDS(present=present), trial, turned) == pytest.approx(-1)
    assert one(Infidelity(present=present), trial, turned) == 1, "the opposite is scaled to nothing"


def test_scores_of_nothing_predict_nothing():
    trial = trial_of(linear(WEIGHTS), 7)
    zero = ranked(trial, [0.0] * 7)
    assert math.isnan(one(LDS(), trial, zero)) and one(Infidelity(), trial, zero) == 1
    _, values = drawn(Infidelity(), trial, zero)
    expected = (sum(WEIGHTS) - values).square().mean()
    assert one(Infidelity(scaled=False), trial, zero) == pytest.approx(float(expected))


def test_all_equal_scores_rank_coalitions_by_their_size():
    trial = trial_of(random_game(7, seed=1), 7)
    equal = ranked(trial, [0.1] * 7)
    present, values = drawn(LDS(), trial, equal)
    scipy = pytest.importorskip("scipy.stats")
    assert one(LDS(), trial, equal) == pytest.approx(scipy.spearmanr(present.sum(1), values).statistic)


def test_a_score_that_does_not_change_is_not_predicted():
    trial = trial_of(linear([0.0] * 5, constant=2.0), 5)
    attribution = ranked(trial, [1.0, 2, 3, 4, 5])
    assert math.isnan(one(LDS(), trial, attribution)) and math.isnan(one(Infidelity(), trial, attribution))
    assert one(Infidelity(scaled=False), trial, attribution) > 1


@pytest.mark.parametrize("players", [3, 10])
def test_scipy_and_captum_have_the_same_numbers(players):
    """Three players have but eight coalitions, so many are drawn twice."""
    scipy = pytest.importorskip("scipy.stats")
    from captum.metrics import infidelity

    value = random_game(players, seed=5)
    trial = trial_of(value, players)
    scores = torch.randn(players, dtype=torch.float64).float()
    attribution = ranked(trial, scores)
    present, values = drawn(LDS(), trial, attribution)
    credits = attribution.scores[0, 1:].double()
    assert one(LDS(), trial, attribution) == pytest.approx(scipy.spearmanr(present @ credits, values).statistic)

    def perturbed(inputs):
        return 1 - present, present

    for scaled in (False, True):
        expected = infidelity(
            lambda inputs: value(inputs)[:, 0],
            perturbed,
            torch.ones(1, players, dtype=torch.float64),
            credits[None],
            n_perturb_samples=len(present),
            normalize=scaled,
        ).item()
        found = one(Infidelity(scaled=scaled), trial, attribution)
        drops = value(torch.ones(1, players, dtype=torch.float64))[0, 0] - values
        if not scaled:
            assert found == pytest.approx(expected)
        elif ((1 - present) @ credits) @ drops > 0:
            assert found * float(drops.square().mean()) == pytest.approx(expected)
        else:
            assert found == 1 and expected <= float(drops.square().mean())


def test_the_sign_of_the_factor_is_never_turned():
    found = set()
    for seed in range(12):
        trial = trial_of(random_game(6, seed=seed), 6)
        scores = torch.randn(6, generator=torch.Generator().manual_seed(seed))
        values = [one(Infidelity(), trial, ranked(trial, sign * scores)) for sign in (1, -1)]
        assert max(values) == 1 > min(values) >= 0
        found.add(values.index(1))
    assert found == {0, 1}


def test_each_unit_is_present_as_often_as_asked_for_and_all_methods_get_the_same():
    trial = trial_of(linear(WEIGHTS), 7)
    first, other = (ranked(trial, torch.randn(7)) for _ in range(2))
    for present in (0.5, 0.8):
        metric = LDS(samples=4000, present=present)
        table = metric.coalitions(trial, first)
        assert table.equal(metric.coalitions(trial, other)) and table.shape == (4000, 7)
        assert table.double().mean(0).tolist() == pytest.approx([present] * 7, abs=0.04)
    engine = trial.case.engine
    one(LDS(), trial, first)
    listed = len(engine.listed)
    for metric in (LDS(), Infidelity(), LDS(samples=20), Infidelity(scaled=False)):
        one(metric, trial, other)
    assert len(engine.listed) == listed
    again = trial_of(linear(WEIGHTS), 7, seed=1)
    assert not LDS().coalitions(again, first).equal(LDS().coalitions(trial, first))


def test_no_method_is_judged_by_the_coalitions_that_it_was_fitted_to():
    players = 20
    trial = trial_of(linear(torch.rand(players)), players)
    ContextCite(samples=64, seed=trial.seed).estimate(trial.game())
    known = set(trial.game().known)
    table = LDS(samples=64).coalitions(trial, ranked(trial, [1.0] * players))
    assert len(known) >= 64 and not known & {row.numpy().tobytes() for row in table}


def test_what_a_target_does_not_see_plays_no_part():
    value = random_game(8, 2, seed=2, seen=(8, 3))
    trial = trial_of(value, 8, seen=(8, 3))
    scores = torch.randn(2, 8)
    attribution = ranked(trial, scores)
    changed = scores.clone()
    changed[1, 3:] = 9
    for metric in (LDS(), Infidelity()):
        assert metric(trial, attribution).equal(metric(trial, ranked(trial, changed)))
    noisy = trial_of(lambda present: value(present) + 1e-13 * present[:, 3:].sum(1, keepdim=True), 8, seen=(8, 3))
    again = ranked(noisy, scores)
    assert LDS()(noisy, again)[1].item() == pytest.approx(LDS()(trial, attribution)[1].item(), abs=1e-12)
    blind = trial_of(random_game(4, 2, seen=(4, 0)), 4, seen=(4, 0))
    values = [metric(blind, ranked(blind, torch.randn(2, 4))) for metric in (LDS(), Infidelity(scaled=False))]
    assert [value.isnan().tolist() for value in values] == [[False, True]] * 2


def test_units_without_a_score_count_as_nothing():
    trial = trial_of(random_game(5, seed=7), 5)
    left_out, zero = ranked(trial, [1.0, float("nan"), -2.0, 3.0, 0.5]), ranked(trial, [1.0, 0.0, -2.0, 3.0, 0.5])
    for metric in (LDS(), Infidelity()):
        assert one(metric, trial, left_out) == one(metric, trial, zero)


def test_the_order_of_players_and_of_sums_does_not_matter():
    """Sums that are equal on paper are equal, in whatever order they are added up."""
    present = torch.rand(48, 9) < 0.5
    credits = torch.tensor([0.1, 0.2, 0.3, -0.1, -0.2, -0.3, 1e-7, 0.7, 1e3], dtype=torch.float64)
    values = torch.randn(48, dtype=torch.float64)
    noise, expected = torch.tensor(1e-12), None
    for _ in range(20):
        order = torch.randperm(9)
        found = LDS().measured(present[:, order].double(), credits[order], values, values.max(), noise)
        expected = found if expected is None else expected
        assert found == expected


@pytest.mark.parametrize("replacement", ["mask", "delete", "pad"])
def test_a_model_is_scored_once_for_all_targets(replacement):
    case = Case.of(tiny(), PROMPT, generation=Generation(continuation=CONTINUATION), question=Question())
    trial, attribution = Trial(case), case.explain("occlusion")
    values = LDS(replacement=replacement)(trial, attribution)
    assert values.shape == (5,) and values.dtype == torch.float64 and values.isfinite().all()
    assert len(trial.game(replacement).known) <= 48 + 2
    shapley = case.explain("shapley_values")
    better = Infidelity(replacement="mask")(trial, shapley) < Infidelity()(trial, case.explain("gradient"))
    assert better.float().mean() > 0.5


@pytest.mark.parametrize(
    ("metric", "options", "message"),
    [
        (LDS, {"samples": 1}, "samples is 1"),
        (LDS, {"present": 1}, "less than 1"),
        (LDS, {"present": 0}, "greater than 0"),
        (LDS, {"replacement": "nothing"}, "replacement"),
        (Infidelity, {"scaled": "yes"}, "scaled is 'yes'"),
    ],
)
def test_options_that_make_no_sense(metric, options, message):
    with pytest.raises(InputError, match=message):
        metric(**options)
