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
import test_prefixes
import test_slots
import test_surroundings
import test_trials
import torch
import transformers as hf
from models import COMMON

from tokensal import InputXGradient, scores
from tokensal.adapters import causal, hooks, operations, trials
from tokensal.engine import Engine, budget, engine, gradients, prefixes, reductions, scoring
from tokensal.errors import UnsupportedModel
from tokensal.methods import adaptive_quadrature, gradient, quadrature, removal
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
    patch.setattr(trials, "_agree_from_states", lambda adapter, logits: True)


def autocast_left_on(patch):
    patch.setattr(torch, "is_autocast_enabled", lambda kind: False)


def threads_not_told_apart(patch):
    for module in (hooks, operations):
        patch.setattr(module, "in_this_thread", lambda hook: hook)


def values_zeroed_by_rows(patch):
    patch.setattr(operations.EditedValues, "_edited", lambda self, values: self.write(self.label(values)))


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
AUTOCAST = partial(test_surroundings.test_what_a_caller_switched_on_reaches_no_number, "Llama", "autocast")
THREADS = partial(test_surroundings.test_a_forward_of_another_thread_is_the_plain_model, "input_x_gradient")
BLOOM = partial(test_further.test_methods_of_layers_run_or_refuse_the_model, "Bloom")
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
        (autocast_left_on, AUTOCAST),
        (threads_not_told_apart, THREADS),
        (values_zeroed_by_rows, BLOOM),
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
