"""Small mistakes, made on purpose: each must turn the oracle beside it red. An oracle that cannot fail is none."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import test_captum
import test_engine
import test_extremal_perturbation
import test_further
import test_gradients
import test_hierarchical_occlusion
import test_integrated_gradients
import test_occlusion
import test_rise
import test_surrogates
import test_surroundings
import test_trials
import torch
import transformers as hf
from models import COMMON

from tokensal import InputXGradient, scores
from tokensal.adapters import causal, hooks, operations, trials
from tokensal.engine import Engine, budget, engine, gradients, reductions
from tokensal.errors import UnsupportedModel
from tokensal.methods import (
    adaptive_quadrature,
    context_cite,
    extremal_perturbation,
    gradient,
    hierarchical_occlusion,
    lime,
    quadrature,
    rise,
    surrogates,
)
from tokensal.perturbations import removals


def sign_flipped(patch):
    patch.setattr(gradient, "dot", lambda *given: -reductions.dot(*given))


def absolute_value_taken(patch):
    patch.setattr(gradient, "dot", lambda *given: reductions.dot(*given).abs())


def not_multiplied_by_the_input(patch):
    patch.setattr(gradient, "dot", lambda *given: given[1][0].sum(-1))


def target_shifted_by_one(patch):
    original = causal.CausalAdapter.forward

    def forward(self, example, perturbed, states=None):
        return original(self, replace(example, predictors=tuple(p - 1 for p in example.predictors)), perturbed, states)

    patch.setattr(causal.CausalAdapter, "forward", forward)


def head_gradient_left_out(patch):
    original = causal.CausalAdapter.forward

    def forward(self, example, perturbed, states=None):
        found = original(self, example, perturbed, states)
        return replace(found, logits=found.logits * 1.001)

    patch.setattr(causal.CausalAdapter, "forward", forward)


def normaliser_dropped(patch):
    patch.setitem(scores.SCORES, "logprob", scores.logit)


def last_chunk_dropped(patch):
    original = budget.in_chunks

    def in_chunks(total, size, work):
        pieces = list(original(total, size, work))
        last = pieces[-1]
        if isinstance(last, list):
            return [*pieces[:-1], [torch.zeros_like(tensor) for tensor in last]]
        return [*pieces[:-1], torch.zeros_like(last)] if isinstance(last, torch.Tensor) else pieces

    patch.setattr(engine, "in_chunks", in_chunks)
    patch.setattr(gradients, "in_chunks", in_chunks)


def mask_forgotten(patch):
    original = causal.CausalAdapter.forward
    patch.setattr(
        causal.CausalAdapter,
        "forward",
        lambda self, example, perturbed, states=None: original(self, example, replace(perturbed, keep=None), states),
    )


def a_forward_for_each_target(patch):
    original = gradients.Differentiation._graph

    def graph(self, rows):
        for _ in self.example.targets:
            self.engine.kept = None
            found = original(self, rows)
        return found

    patch.setattr(gradients.Differentiation, "_graph", graph)


def weight_dropped(patch):
    patch.setattr(adaptive_quadrature, "SIMPSON", (1 / 6, 4 / 6, 0))
    nodes, weights = quadrature.gauss_legendre(4)
    kept = torch.cat([weights[:-1], torch.zeros(1, dtype=weights.dtype)])
    patch.setitem(quadrature.RULES, "gauss_legendre", lambda steps: (nodes, kept))


def baseline_forgotten(patch):
    patch.setattr(Engine, "baseline", lambda self, example, given: self.embed(example) / 2)


def shared_beginning_off_by_one(patch):
    original = removals.Removals.altered_from.fget
    patch.setattr(
        removals.Removals,
        "altered_from",
        property(lambda self: (original(self) + 1).clamp(max=self.absent.shape[1] - 1)),
    )


def positions_moved_up(patch):
    original = removals.Removals.rows
    patch.setattr(
        removals.Removals, "rows", lambda self, index, first: replace(original(self, index, first), closed=True)
    )


def disagreement_overlooked(patch):
    patch.setattr(trials, "_difference", lambda adapter, logits, others: "")


def states_shared_untried(patch):
    patch.setattr(trials, "_shares_states", lambda adapter, example, plain: True)


def autocast_left_on(patch):
    patch.setattr(torch, "is_autocast_enabled", lambda kind: False)


def threads_not_told_apart(patch):
    for module in (hooks, operations):
        patch.setattr(module, "in_this_thread", lambda hook: hook)


def values_zeroed_by_rows(patch):
    patch.setattr(operations.EditedValues, "_edited", lambda self, values: self.write(self.label(values)))


def surrogates_judged_by_what_they_were_fitted_to(patch):
    patch.setattr(lime, "ridge", lambda penalty: of_everything(surrogates.ridge(penalty)))
    patch.setattr(context_cite, "lasso", lambda penalty: of_everything(surrogates.lasso(penalty)))


def of_everything(fit):
    """No fold is left out."""

    def fitted(present, values, weights, seen):
        targets = weights.shape[1] // (1 + surrogates.FOLDS)
        return fit(present, values, weights[:, :targets].repeat(1, 1 + surrogates.FOLDS), seen)

    return fitted


def doubles_in_several_folds(patch):
    patch.setattr(surrogates, "_folds", lambda coalitions: torch.arange(len(coalitions)) % surrogates.FOLDS)


def players_not_standardised(patch):
    original = surrogates._lasso_path
    patch.setattr(surrogates, "_lasso_path", lambda x, y, penalty: original(x / 2, y, penalty) / 2)


def coefficients_that_return_to_zero_kept(patch):
    """The positive ones."""
    original = surrogates._step
    patch.setattr(
        surrogates,
        "_step",
        lambda distance, speed: torch.where(distance < -1e-9, torch.inf, original(distance, speed)),
    )


def kernel_of_captums_width(patch):
    original = lime.LIME._weights
    patch.setattr(lime.LIME, "_weights", lambda self, *given: original(replace(self, kernel_width=1.0), *given))


def log_odds_forgotten(patch):
    patch.setattr(context_cite, "log_odds", lambda logprobs: logprobs)


def divided_by_the_expected_number_of_masks(patch):
    def difference(kept, scores):
        half = len(kept) / 2
        return (scores.T @ kept.double() - scores.T @ (~kept).double()) / half, original(kept, scores)[1]

    original = rise.kept_less_removed
    patch.setattr(rise, "kept_less_removed", difference)


def windows_that_do_not_move(patch):
    original = torch.randint
    patch.setattr(torch, "randint", lambda *given, **options: original(*given, **options) * 0)


def drops_not_shared(patch):
    original = hierarchical_occlusion.HierarchicalOcclusion.estimate

    def estimate(self, game):
        scores, diagnostics = original(self, game)
        return torch.where(scores.abs() > 0, scores * 2, scores), diagnostics

    patch.setattr(hierarchical_occlusion.HierarchicalOcclusion, "estimate", estimate)


def opened_without_magnitude(patch):
    original = torch.Tensor.topk
    patch.setattr(torch.Tensor, "topk", lambda self, count, dim=-1: original(self, 1, dim=dim))


def slopes_of_the_input_itself(patch):
    patch.setattr(
        extremal_perturbation.Blending,
        "_blends",
        lambda self, masks, original=extremal_perturbation.Blending._blends: replace(
            original(self, masks), baseline=self.baseline / 2
        ),
    )


def area_of_all_units(patch):
    original = extremal_perturbation._budgets
    patch.setattr(extremal_perturbation, "_budgets", lambda areas, visible: original(areas, torch.ones_like(visible)))


TWIN = partial(test_gradients.test_agrees_with_its_slow_twin, "Llama", "sdpa", ("input_x_gradient", None))
SLOPES = partial(test_gradients.test_gradients_are_finite_differences, "Llama")
CHUNKS = partial(test_gradients.test_chunks_change_no_number, "Llama", 25)
MASKS = partial(test_gradients.test_a_masked_source_has_no_influence, "Llama")
CAPTUM = partial(test_captum.test_input_x_gradient_is_captums_layer_gradient_x_activation, "Llama", "logprob")
CLOSED = test_engine.test_a_linear_model_is_attributed_in_closed_form
RULE = partial(test_integrated_gradients.test_a_fixed_rule_agrees_with_its_slow_twin, "Llama", "sdpa")
CELLS = test_integrated_gradients.test_contributions_are_simpsons_rule_over_the_cells_of_each_target
CERTIFICATE = partial(
    test_integrated_gradients.test_the_certificate_holds_and_can_be_checked_from_outside, "GPT-2", "zero"
)
OCCLUSION = partial(test_occlusion.test_agrees_with_its_slow_twin, "Llama", "sdpa", "mask")
CAUSALITY = partial(test_trials.test_a_model_that_sees_later_tokens_is_refused, hf.BertConfig(**COMMON))
POSITIONS = test_trials.test_a_model_with_other_positions_for_ids_than_for_embeddings_is_refused
EAGER = test_trials.test_attention_weights_of_another_function_are_refused
STATES = partial(
    test_trials.test_states_that_a_model_does_not_take_are_not_shared,
    lambda: test_trials.of_two_halves(hf.SwitchTransformersConfig(**test_trials.SWITCH)),
)
AUTOCAST = partial(test_surroundings.test_what_a_caller_switched_on_reaches_no_number, "Llama", "autocast")
THREADS = partial(test_surroundings.test_a_forward_of_another_thread_is_the_plain_model, "input_x_gradient")
BLOOM = partial(test_further.test_methods_of_layers_run_or_refuse_the_model, "Bloom")
NOISE, SPARSE_NOISE = (
    partial(test_surrogates.test_a_surrogate_of_noise_predicts_nothing, method)
    for method in test_surrogates.METHODS.values()
)
FOLDS = test_surrogates.test_fit_and_error_are_those_of_fits_without_each_fold
LASSO = partial(test_surrogates.test_a_lasso_meets_the_conditions_of_its_minimum, 24, 40, 1e-4)
LOG_ODDS = test_surrogates.test_context_cite_explains_the_log_odds_of_the_group
LIME_OF_CAPTUM = test_surrogates.test_lime_is_captums_with_the_same_coalitions_kernel_and_regression
KEPT = partial(test_rise.test_estimates_are_as_far_off_as_their_standard_errors_say, 1)
WINDOWS = test_rise.test_every_player_is_kept_as_often_and_neighbours_together
OPENED = test_hierarchical_occlusion.test_units_of_opened_passages_have_their_own_drop_and_others_a_share
SLOPES_OF_MASKS = test_extremal_perturbation.test_slopes_are_finite_differences
AREAS = test_extremal_perturbation.test_scores_are_the_mean_of_masks_within_zero_and_one
COUNTS = partial(test_engine.test_one_forward_serves_all_targets, InputXGradient(), 25, 3)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(
    ("mutant", "oracle"),
    [
        (sign_flipped, TWIN),
        (sign_flipped, CAPTUM),
        (sign_flipped, CLOSED),
        (absolute_value_taken, TWIN),
        (absolute_value_taken, CLOSED),
        (not_multiplied_by_the_input, TWIN),
        (target_shifted_by_one, TWIN),
        (target_shifted_by_one, CAPTUM),
        (head_gradient_left_out, TWIN),
        (normaliser_dropped, CAPTUM),
        (last_chunk_dropped, CHUNKS),
        (last_chunk_dropped, SLOPES),
        (mask_forgotten, MASKS),
        (a_forward_for_each_target, COUNTS),
        (weight_dropped, RULE),
        (weight_dropped, CELLS),
        (baseline_forgotten, RULE),
        (baseline_forgotten, CERTIFICATE),
        (shared_beginning_off_by_one, OCCLUSION),
        (positions_moved_up, OCCLUSION),
        (disagreement_overlooked, CAUSALITY),
        (disagreement_overlooked, POSITIONS),
        (disagreement_overlooked, EAGER),
        (states_shared_untried, STATES),
        (autocast_left_on, AUTOCAST),
        (threads_not_told_apart, THREADS),
        (values_zeroed_by_rows, BLOOM),
        (surrogates_judged_by_what_they_were_fitted_to, NOISE),
        (surrogates_judged_by_what_they_were_fitted_to, SPARSE_NOISE),
        (doubles_in_several_folds, FOLDS),
        (players_not_standardised, LASSO),
        (coefficients_that_return_to_zero_kept, LASSO),
        (kernel_of_captums_width, LIME_OF_CAPTUM),
        (log_odds_forgotten, LOG_ODDS),
        (divided_by_the_expected_number_of_masks, KEPT),
        (windows_that_do_not_move, WINDOWS),
        (drops_not_shared, OPENED),
        (opened_without_magnitude, OPENED),
        (slopes_of_the_input_itself, SLOPES_OF_MASKS),
        (area_of_all_units, AREAS),
    ],
)
def test_a_mistake_turns_its_oracle_red(mutant, oracle, monkeypatch):
    oracle()  # green as it stands
    mutant(monkeypatch)
    # the trials of a model are oracles too; pytest.fail is what a refusal that does not come ends in
    with pytest.raises((AssertionError, UnsupportedModel, pytest.fail.Exception, TypeError, IndexError)):
        oracle()
