"""Small mistakes, made on purpose: each must turn the oracle beside it red. An oracle that cannot fail is none."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import test_attention_methods
import test_battery
import test_captum
import test_deep_lift
import test_engine
import test_extremal_perturbation
import test_further
import test_gradients
import test_hierarchical
import test_hierarchical_occlusion
import test_integrated_gradients
import test_noisy_gradients
import test_occlusion
import test_operations
import test_prefixes
import test_rise
import test_shapley
import test_slots
import test_surrogates
import test_surroundings
import test_together
import test_tracing
import test_trials
import torch
import transformers as hf
from models import COMMON

from tokensal import InputXGradient, scores
from tokensal.adapters import causal, hooks, linear_rules, operations, rules, secants, trials
from tokensal.engine import (
    Engine,
    budget,
    contributions,
    engine,
    forwards,
    gradients,
    moments,
    prefixes,
    reductions,
    scoring,
    together,
)
from tokensal.errors import UnsupportedModel
from tokensal.methods import (
    adaptive_quadrature,
    alti_logit,
    context_cite,
    extremal_perturbation,
    gim,
    gradient,
    hierarchical,
    hierarchical_occlusion,
    kernel_shap,
    lime,
    owen_values,
    quadrature,
    removal,
    rise,
    sampling,
    shapley_values,
    shares,
    surrogates,
)
from tokensal.perturbations import coalitions, paths, removals
from tokensal.results import tracing
from tokensal.types import Rules


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
    patch.setattr(scoring, "in_chunks", in_chunks)


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


def coalitions_unsorted(patch):
    original = prefixes.by_pattern

    def by_pattern(starts, pattern, lengths):
        sorted_rows = original(starts, pattern, lengths)
        order = torch.arange(len(starts))
        return replace(sorted_rows, order=order, starts=starts, lengths=lengths)

    patch.setattr(scoring, "by_pattern", by_pattern)


def states_of_another_prefix(patch):
    original = scoring.Scoring._inputs

    def inputs(self, rows, origin):
        perturbed = original(self, rows, origin)
        return perturbed if perturbed.parents is None else replace(perturbed, parents=perturbed.parents * 0)

    patch.setattr(scoring.Scoring, "_inputs", inputs)


def prefixes_alike_one_token_too_far(patch):
    original = prefixes.by_pattern

    def by_pattern(starts, pattern, lengths):
        sorted_rows = original(starts, pattern, lengths)
        return replace(sorted_rows, shared=sorted_rows.shared + 1)

    patch.setattr(scoring, "by_pattern", by_pattern)


def mask_of_earlier_sources_forgotten(patch):
    original = causal.States.before

    def before(self, perturbed):
        states = original(self, perturbed)
        return replace(states, keep=torch.ones_like(states.keep))

    patch.setattr(causal.States, "before", before)


def window_overlooked(patch):
    patch.setattr(causal, "smallest_window", lambda config: float("inf"))


def fillers_one_place_early(patch):
    original = removal._fillers

    def fillers(example, engine):
        shown = original(example, engine)
        return replace(shown, embeds=shown.embeds.roll(-1, dims=1))

    patch.setattr(removal, "_fillers", fillers)


def first_filler_alone(patch):
    original = removal.removals
    patch.setattr(removal, "removals", lambda *given: original(*given[:4], given[4] * 0))


def positions_moved_up(patch):
    original = removals.Removals.rows
    patch.setattr(
        removals.Removals, "rows", lambda self, index, first: replace(original(self, index, first), closed=True)
    )


def disagreement_overlooked(patch):
    patch.setattr(trials, "_difference", lambda adapter, logits, others: "")


def states_shared_untried(patch):
    patch.setattr(trials, "_agree", lambda adapter, what, numbers: True)


def padded_in_front(patch):
    def pad(rows):
        longest = max(map(len, rows))
        return torch.stack([torch.cat([row[:1].expand(longest - len(row), -1), row]) for row in rows])

    patch.setattr(causal, "pad_embeddings", pad)


def second_continuation_in_the_place_of_the_first(patch):
    patch.setattr(
        together._Joint, "_columns", property(lambda self: [torch.arange(len(each.targets)) for each in self.examples])
    )


def constants_of_all_examples_added_up(patch):
    def scaled(mode, constant, total):
        return constant if mode.constants is None else constant * mode.constants.mean()

    patch.setattr(linear_rules, "scaled", scaled)
    patch.setattr(rules, "scaled", scaled)


def rules_not_told_apart(patch):
    patch.setattr(forwards.Asked, "__eq__", lambda self, other: self.example is other.example)


def autocast_left_on(patch):
    patch.setattr(torch, "is_autocast_enabled", lambda kind: False)


def threads_not_told_apart(patch):
    for module in (hooks, operations):
        patch.setattr(module, "in_this_thread", lambda hook: hook)


def values_zeroed_by_rows(patch):
    patch.setattr(operations.EditedValues, "_edited", lambda self, values: self.write(self.label(values)))


def every_coalition_alike(patch):
    """Banzhaf's weights."""
    for module in (shapley_values, owen_values):
        patch.setattr(module, "size_weights", lambda players: torch.full((players,), 0.5 ** (players - 1)).double())


def kernel_flat(patch):
    patch.setattr(kernel_shap, "kernel", lambda present: (present.sum(1) % present.shape[1] > 0).double())


def a_sample_drawn_twice(patch):
    original = coalitions.generator
    patch.setattr(coalitions, "generator", lambda seed, number: original(seed, number // 4))


def unpaired(patch):
    for sampler in (coalitions.KernelPairs, coalitions.Permutations):
        patch.setattr(sampler, "block", one_half_from_the_next(sampler.block))


def one_half_from_the_next(original):
    def block(self, number):
        first, second = original(self, 2 * number), original(self, 2 * number + 1)
        return torch.cat([first[: len(first) // 2], second[len(second) // 2 :]])

    return block


def samples_of_a_pair_counted_as_two(patch):
    original = sampling.RunningMean.error.fget
    patch.setattr(sampling.RunningMean, "error", property(lambda self: original(self) / 2**0.5))


def variance_of_norms(patch):
    original = moments.moments_of

    def moments_of(gradients, weights, *, squares):
        norms = [tensor.norm(dim=-1, keepdim=True).expand_as(tensor) for tensor in gradients]
        return original(norms if squares else gradients, weights, squares=squares)

    patch.setattr(gradients, "moments_of", moments_of)


def means_of_chunks_taken_for_one(patch):
    patch.setattr(moments, "_between", lambda weights, others, sums, other_sums: 0 * sums)


def a_point_drawn_twice(patch):
    original = paths.RandomPoints._draw
    patch.setattr(paths.RandomPoints, "_draw", lambda self, number, first: original(self, number // 2, first))


def not_its_own_step(patch):
    original = paths.RandomPoints.steps
    patch.setattr(paths.RandomPoints, "steps", lambda self, index, first: original(self, 0 * index, first))


def norm_rule_not_applied(patch):
    handlers = {key: handler for key, handler in rules.RuleMode.handlers.items() if key not in operations.RSQRT}
    patch.setattr(rules.RuleMode, "handlers", handlers)


def half_for_a_quarter(patch):
    original = torch.Tensor.lerp
    patch.setattr(torch.Tensor, "lerp", lambda self, other, share: original(self, other, max(share, 0.5)))


def sign_of_the_input_ignored(patch):
    original = torch.where
    patch.setattr(torch, "where", lambda condition, x, other: original(condition | True, x, other))


def negative_gradients_kept(patch):
    patch.setattr(rules, "_positive_part", lambda gradient: gradient)


def temperature_forgotten(patch):
    patch.setattr(gim, "Rules", lambda temperature, **options: Rules(**options))


def reference_of_a_factor_forgotten(patch):
    original = secants.SecantMode.reference

    def reference(self, *tensors):
        before = original(self, *tensors)
        return before if before is None or len(before) == 1 else tuple(tensor.detach() for tensor in tensors)

    patch.setattr(secants.SecantMode, "reference", reference)


def derivative_for_a_secant(patch):
    patch.setattr(secants, "smooth_slope", lambda function, x, x0, plain=secants.smooth_slope: plain(function, x, x))


def bias_left_out_of_gamma(patch):
    patch.setattr(linear_rules, "scaled", lambda mode, constant: 0 * constant)


def twin_of_the_battery(row):
    try:
        test_battery.exact.cache_clear()
        test_battery.test_agrees_with_its_slow_twin(row, "Llama")
    finally:
        test_battery.exact.cache_clear()


def sign_of_the_trace_dropped(patch):
    original = tracing._others
    patch.setattr(tracing, "_others", lambda *given: original(*given).abs())


def credit_passed_to_the_sink(patch):
    original = tracing._others
    patch.setattr(tracing, "_others", lambda row, index, ranked: original(row, index, torch.ones_like(ranked)))


def heads_mixed_up(patch):
    original = contributions._projected
    patch.setattr(contributions, "_projected", lambda parts: original(parts).roll(1, 0))


def values_of_other_sources(patch):
    original = contributions._projected
    patch.setattr(contributions, "_projected", lambda parts: original(parts).roll(1, 1))


def a_head_left_out(patch):
    original = contributions._projected
    patch.setattr(
        contributions, "_projected", lambda parts: original(parts) * torch.tensor([1, 1, 1, 0])[:, None, None]
    )


def bias_left_out(patch):
    original = contributions._error
    patch.setattr(contributions, "_error", lambda sums, parts: original(sums - parts.bias, parts))


def operations_followed_outside(patch):
    patch.setattr(operations.EditedValues, "leaving", lambda self, module, arguments, output: None)


def stream_left_out(patch):
    patch.setattr(shares, "own_parts", lambda parts: torch.zeros_like(parts.before)[None])
    patch.setattr(alti_logit, "own_parts", shares.own_parts)


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


def score_of_a_passage_to_each_unit(patch):
    original = hierarchical._shared
    patch.setattr(
        hierarchical, "_shared", lambda values, sizes: original(values * sizes if values.ndim == 2 else values, sizes)
    )


def passages_alone_in_the_game(patch):
    original = hierarchical.PassageGame.scores
    patch.setattr(
        hierarchical.PassageGame, "scores", lambda game, present: original(game, present | (game.membership.sum(1) > 1))
    )


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
PREFIXES = partial(test_prefixes.test_coalitions_that_share_prefixes_have_the_scores_of_each_alone, "Llama", False)
REPLACED = partial(test_prefixes.test_coalitions_that_share_prefixes_have_the_scores_of_each_alone, "Llama", True)
WINDOWS = partial(test_prefixes.test_masked_sources_are_skipped_up_to_the_window_of_a_layer, 30, False)
SLOTS = partial(test_slots.test_occlusion_puts_each_filler_in_place, "Llama")
CAUSALITY = partial(test_trials.test_a_model_that_sees_later_tokens_is_refused, hf.BertConfig(**COMMON))
POSITIONS = test_trials.test_a_model_with_other_positions_for_ids_than_for_embeddings_is_refused
EAGER = test_trials.test_attention_weights_of_another_function_are_refused
STATES = partial(
    test_trials.test_states_that_a_model_does_not_take_are_not_shared,
    lambda: test_trials.of_two_halves(hf.SwitchTransformersConfig(**test_trials.SWITCH)),
)
TOGETHER = test_together.test_gradients_of_a_model_with_biases_and_two_continuations
KNOWN = test_together.test_a_method_gets_what_it_asks_for_and_nothing_else
AUTOCAST = partial(test_surroundings.test_what_a_caller_switched_on_reaches_no_number, "Llama", "autocast")
THREADS = partial(test_surroundings.test_a_forward_of_another_thread_is_the_plain_model, "input_x_gradient")
BLOOM = partial(test_further.test_methods_of_layers_run_or_refuse_the_model, "Bloom")
SHAPLEY, KERNEL, OWEN = (
    partial(test_shapley.test_few_players_get_the_mean_over_all_orders, method, 6) for method in test_shapley.EXACT
)
PAIRED, ORDERS_PAIRED = (
    partial(test_shapley.test_pairs_are_exact_where_no_more_than_two_players_interact, test_shapley.SAMPLED[name])
    for name in ("kernel_shap", "shapley_sampling")
)
SPREAD, ORDERS_SPREAD = (
    partial(test_shapley.test_estimates_are_as_far_off_as_their_standard_errors_say, test_shapley.SAMPLED[name])
    for name in ("kernel_shap", "shapley_sampling")
)
VARIANCE = partial(
    test_noisy_gradients.test_the_variance_is_that_of_each_number_before_the_reduction, norm="l2", rows=1
)
EXPECTED = test_noisy_gradients.test_captums_gradient_shap_on_the_same_draws
DRAWS = test_noisy_gradients.test_every_sample_is_another_point_and_the_same_in_every_batch
GIM_TWIN = partial(twin_of_the_battery, "gim")
GUIDED_TWIN = partial(twin_of_the_battery, "guided_backprop")
DEEP_LIFT_TWIN = partial(twin_of_the_battery, "deep_lift")
COMPLETE = partial(test_deep_lift.test_the_scores_add_up_to_the_change_of_the_score, "Qwen 3", "sdpa")
GUIDED = test_operations.test_guided_backpropagation_keeps_what_is_positive_above_and_below
SHARES = partial(
    test_operations.test_linear_layers_share_as_zennit_has_it, "linear", 0, 0.4, torch.tensor([0.5, -2]).double()
)
SIGNS = partial(test_tracing.test_signs_multiply_along_a_path, -2, 3, -3)
TRACED_SUMS = partial(test_tracing.test_rows_add_up_and_the_sink_keeps_what_it_has, 1)
PARTS = partial(test_attention_methods.test_the_parts_of_every_attention_add_up, "GPT-2")
UPPER = partial(test_attention_methods.test_value_x_gradient_is_attention_x_gradient_of_all_that_look, "GPT-2")
FLOW_SHARES = test_attention_methods.test_shares_of_a_hand_made_attention_in_closed_form
NOISE, SPARSE_NOISE = (
    partial(test_surrogates.test_a_surrogate_of_noise_predicts_nothing, method)
    for method in test_surrogates.METHODS.values()
)
FOLDS = test_surrogates.test_fit_and_error_are_those_of_fits_without_each_fold
LASSO = partial(test_surrogates.test_a_lasso_meets_the_conditions_of_its_minimum, 24, 40, 1e-4)
LOG_ODDS = test_surrogates.test_context_cite_explains_the_log_odds_of_the_group
LIME_OF_CAPTUM = test_surrogates.test_lime_is_captums_with_the_same_coalitions_kernel_and_regression
KEPT = partial(test_rise.test_estimates_are_as_far_off_as_their_standard_errors_say, 1)
MASK_WINDOWS = test_rise.test_every_player_is_kept_as_often_and_neighbours_together
OPENED = test_hierarchical_occlusion.test_units_of_opened_passages_have_their_own_drop_and_others_a_share
LEVELS = test_hierarchical.test_each_level_is_what_a_slow_twin_says
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
        (coalitions_unsorted, REPLACED),
        (states_of_another_prefix, REPLACED),
        (prefixes_alike_one_token_too_far, REPLACED),
        (mask_of_earlier_sources_forgotten, PREFIXES),
        (window_overlooked, WINDOWS),
        (fillers_one_place_early, SLOTS),
        (first_filler_alone, SLOTS),
        (disagreement_overlooked, CAUSALITY),
        (disagreement_overlooked, POSITIONS),
        (disagreement_overlooked, EAGER),
        (states_shared_untried, STATES),
        (padded_in_front, TOGETHER),
        (second_continuation_in_the_place_of_the_first, TOGETHER),
        (constants_of_all_examples_added_up, TOGETHER),
        (rules_not_told_apart, KNOWN),
        (autocast_left_on, AUTOCAST),
        (threads_not_told_apart, THREADS),
        (values_zeroed_by_rows, BLOOM),
        (every_coalition_alike, SHAPLEY),
        (every_coalition_alike, OWEN),
        (kernel_flat, KERNEL),
        (a_sample_drawn_twice, ORDERS_SPREAD),
        (a_sample_drawn_twice, SPREAD),
        (unpaired, ORDERS_PAIRED),
        (unpaired, PAIRED),
        (samples_of_a_pair_counted_as_two, ORDERS_SPREAD),
        (variance_of_norms, VARIANCE),
        (means_of_chunks_taken_for_one, VARIANCE),
        (a_point_drawn_twice, DRAWS),
        (not_its_own_step, EXPECTED),
        (norm_rule_not_applied, GIM_TWIN),
        (half_for_a_quarter, GIM_TWIN),
        (temperature_forgotten, GIM_TWIN),
        (sign_of_the_input_ignored, GUIDED),
        (negative_gradients_kept, GUIDED),
        (negative_gradients_kept, GUIDED_TWIN),
        (bias_left_out_of_gamma, SHARES),
        (reference_of_a_factor_forgotten, DEEP_LIFT_TWIN),
        (reference_of_a_factor_forgotten, COMPLETE),
        (derivative_for_a_secant, COMPLETE),
        (sign_of_the_trace_dropped, SIGNS),
        (credit_passed_to_the_sink, TRACED_SUMS),
        (heads_mixed_up, PARTS),
        (values_of_other_sources, PARTS),
        (a_head_left_out, PARTS),
        (bias_left_out, PARTS),
        (stream_left_out, FLOW_SHARES),
        (operations_followed_outside, UPPER),
        (surrogates_judged_by_what_they_were_fitted_to, NOISE),
        (surrogates_judged_by_what_they_were_fitted_to, SPARSE_NOISE),
        (doubles_in_several_folds, FOLDS),
        (players_not_standardised, LASSO),
        (coefficients_that_return_to_zero_kept, LASSO),
        (kernel_of_captums_width, LIME_OF_CAPTUM),
        (log_odds_forgotten, LOG_ODDS),
        (divided_by_the_expected_number_of_masks, KEPT),
        (windows_that_do_not_move, MASK_WINDOWS),
        (drops_not_shared, OPENED),
        (opened_without_magnitude, OPENED),
        (score_of_a_passage_to_each_unit, OPENED),
        (score_of_a_passage_to_each_unit, LEVELS),
        (passages_alone_in_the_game, LEVELS),
        (slopes_of_the_input_itself, SLOPES_OF_MASKS),
        (area_of_all_units, AREAS),
    ],
)
def test_a_mistake_turns_its_oracle_red(mutant, oracle, monkeypatch):
    if oracle in (PREFIXES, REPLACED, WINDOWS):
        monkeypatch.setattr(budget, "CPU_FIXED", 0)
    oracle()  # green as it stands
    mutant(monkeypatch)
    # the trials of a model are oracles too; pytest.fail is what a refusal that does not come ends in
    with pytest.raises((AssertionError, UnsupportedModel, pytest.fail.Exception, TypeError, IndexError)):
        oracle()
