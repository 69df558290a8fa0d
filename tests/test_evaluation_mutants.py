"""Small mistakes in metrics and statistics, made on purpose: each must turn the oracle beside it red."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
import test_curves
import test_datamodels
import test_statistics
import torch

from tokensal.evaluation import curves, datamodels, erasure, ranked_removal
from tokensal.evaluation.rankings import Ranking
from tokensal.results import statistics


def rises_hidden(patch):
    values = curves.CurveMetric.values
    patch.setattr(curves.CurveMetric, "values", lambda *given: values(*given).cummin(0).values)


def empty_prompt_forgotten(patch):
    patch.setattr(curves.CurveMetric, "values", lambda self, scores, outcome: scores / outcome.full)


def sign_of_the_change_kept(patch):
    def values(self, scores, outcome):
        change = outcome.full - outcome.empty if self.normalised else 1
        return (scores - outcome.empty) / change

    patch.setattr(curves.CurveMetric, "values", values)


def orders_mixed_up(patch):
    rows = ranked_removal._rows
    patch.setattr(ranked_removal, "_rows", lambda *given: rows(*given).flip(0))


def rankings_by_place(scores, visible, generator, draws) -> Iterator[Ranking]:
    players = visible.nonzero()[:, 0]
    order = players[scores[players].argsort(descending=True, stable=True)]
    yield Ranking(order, scores[order])


def equal_scores_in_the_order_of_the_text(patch):
    patch.setattr(ranked_removal, "rankings", rankings_by_place)


def steps_of_ten(patch):
    grid = curves.CurveMetric.grid
    patch.setattr(curves.CurveMetric, "grid", lambda self, players: grid(self, players)[::2])


def no_change_overlooked(patch):
    patch.setattr(ranked_removal, "rounding", lambda trial, replacement: torch.tensor(-1.0))


def bins_rounded_down(patch):
    patch.setattr(
        erasure.BinnedRemoval, "counts", lambda self, players: [max(1, int(share * players)) for share in self.bins]
    )


def correlation_of_numbers(patch):
    patch.setattr(datamodels, "rank_correlation", lambda *pair: torch.corrcoef(torch.stack(pair))[0, 1])


def coalitions_of_methods(patch):
    patch.setattr(datamodels, "BEYOND", 0)


def equal_sums_told_apart(patch):
    patch.setattr(datamodels, "RESOLUTION", 1e-20)


def doubles_told_apart(patch):
    patch.setattr(datamodels, "_means", lambda values, same: values)


def present_for_absent(patch):
    measured = datamodels.Infidelity.measured
    patch.setattr(datamodels.Infidelity, "measured", lambda self, first, *rest: measured(self, 1 - first, *rest))


def percentiles(patch):
    patch.setattr(statistics, "_corrections", lambda *given: torch.zeros(2, dtype=torch.float64).unbind())


def level_of_one_side(patch):
    level_of = statistics._level_of
    patch.setattr(statistics, "_level_of", lambda *given: level_of(*given) / 2)


def prompts_in_their_order(patch):
    patch.setattr(statistics, "_defined", lambda row: row[~row.isnan()])


def holm_without_steps(patch):
    patch.setattr(
        statistics, "holm", lambda p_values: {name: min(1, len(p_values) * p) for name, p in p_values.items()}
    )


LINEAR = test_curves.test_the_curve_of_a_linear_score_is_its_sorted_weights_added_up
AREAS = test_curves.test_areas_of_a_linear_score
LOWERED = test_curves.test_a_prompt_that_lowers_the_score_leaves_lower_as_lower
DROPS = test_curves.test_drops_of_a_linear_score
TWIN = partial(test_curves.test_a_slow_twin_has_the_same_areas, 11, 20)
TIES = test_curves.test_equal_scores_count_by_their_expectation_wherever_they_stand
UNCHANGED = test_curves.test_a_score_that_does_not_change_has_no_normalised_curve
PEERS = partial(test_datamodels.test_scipy_and_captum_have_the_same_numbers, 10)
FEW = test_datamodels.test_what_a_target_does_not_see_plays_no_part
UNFITTED = test_datamodels.test_no_method_is_judged_by_the_coalitions_that_it_was_fitted_to
SUMS = test_datamodels.test_the_order_of_players_and_of_sums_does_not_matter
SCIPY = partial(test_statistics.test_the_interval_is_that_of_scipy_for_the_same_resamples, "skewed", 0.95)
INVERTED = partial(test_statistics.test_a_p_value_is_below_the_level_where_the_interval_leaves_out_zero, "normal")
ORDER = test_statistics.test_neither_the_order_of_prompts_nor_other_methods_change_a_number
HOLM = test_statistics.test_holm_by_hand


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mutant", "oracle"),
    [
        (rises_hidden, LINEAR),
        (empty_prompt_forgotten, LINEAR),
        (sign_of_the_change_kept, LOWERED),
        (orders_mixed_up, AREAS),
        (orders_mixed_up, TWIN),
        (equal_scores_in_the_order_of_the_text, TIES),
        (steps_of_ten, TWIN),
        (no_change_overlooked, UNCHANGED),
        (bins_rounded_down, DROPS),
        (correlation_of_numbers, PEERS),
        (present_for_absent, PEERS),
        (coalitions_of_methods, UNFITTED),
        (equal_sums_told_apart, SUMS),
        (doubles_told_apart, FEW),
        (percentiles, SCIPY),
        (level_of_one_side, INVERTED),
        (prompts_in_their_order, ORDER),
        (holm_without_steps, HOLM),
    ],
)
def test_a_mistake_turns_its_oracle_red(mutant, oracle, monkeypatch):
    oracle()  # green as it stands
    mutant(monkeypatch)
    with pytest.raises((AssertionError, RuntimeError)):
        oracle()
