"""Small mistakes, made on purpose: each must turn the oracle beside it red. An oracle that cannot fail is none."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import test_captum
import test_engine
import test_gradients
import test_integrated_gradients
import test_occlusion
import torch

from tokensal import InputXGradient, scores
from tokensal.adapters import causal
from tokensal.engine import Engine, budget, engine, gradients, reductions
from tokensal.errors import UnsupportedModel
from tokensal.methods import adaptive_quadrature, gradient, quadrature
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
COUNTS = partial(test_engine.test_one_forward_serves_all_targets, InputXGradient(), 25, 3)


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
    ],
)
def test_a_mistake_turns_its_oracle_red(mutant, oracle, monkeypatch):
    oracle()  # green as it stands
    mutant(monkeypatch)
    with pytest.raises((AssertionError, UnsupportedModel)):  # the trials of a model are oracles too
        oracle()
