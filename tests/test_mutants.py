"""Small mistakes, made on purpose: each must turn the oracle beside it red. An oracle that cannot fail is none."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import test_captum
import test_engine
import test_further
import test_gradients
import test_integrated_gradients
import test_occlusion
import test_shapley
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
    gradient,
    kernel_shap,
    owen_values,
    quadrature,
    sampling,
    shapley_values,
)
from tokensal.perturbations import coalitions, removals


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
        (every_coalition_alike, SHAPLEY),
        (every_coalition_alike, OWEN),
        (kernel_flat, KERNEL),
        (a_sample_drawn_twice, ORDERS_SPREAD),
        (a_sample_drawn_twice, SPREAD),
        (unpaired, ORDERS_PAIRED),
        (unpaired, PAIRED),
        (samples_of_a_pair_counted_as_two, ORDERS_SPREAD),
    ],
)
def test_a_mistake_turns_its_oracle_red(mutant, oracle, monkeypatch):
    oracle()  # green as it stands
    mutant(monkeypatch)
    # the trials of a model are oracles too; pytest.fail is what a refusal that does not come ends in
    with pytest.raises((AssertionError, UnsupportedModel, pytest.fail.Exception, TypeError, IndexError)):
        oracle()
