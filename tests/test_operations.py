"""Backward rules and edits of operations: counted, refused where they do not reach, gone afterwards."""

from __future__ import annotations

import pytest
import torch
from builders import CONTINUATION, PROMPT, every_architecture, exact_scores, tiny
from counting import CountingAdapter
from models import ENCODER_DECODERS, adapter
from torch.overrides import _get_current_function_mode_stack

from tokensal import LRP, AttentionRollout, Budget, InputXGradient, ValueZeroing
from tokensal.adapters.layers import layers_of
from tokensal.adapters.rules import RuleMode
from tokensal.engine import Engine
from tokensal.errors import UnsupportedModel
from tokensal.perturbations.inputs import PerturbedInputs
from tokensal.types import Rules

ALL_RULES = Rules(norm="constant", activation="ratio", product="half", attention="constant", router="constant")


@every_architecture
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_rules_meet_every_attention_norm_and_activation(name, attention):
    adapted = adapter(name, attention=attention)
    example = adapted.example(PROMPT, continuation=CONTINUATION)
    embeds = adapted.embed(example)[None].requires_grad_()
    with adapted.prepared(), RuleMode(ALL_RULES, adapted.model) as mode:
        adapted.forward(example, PerturbedInputs(embeds))
    layers = layers_of(adapted.model)
    attentions = sum(1 if layer.cross is None else 2 for layer in layers)
    assert mode.counts["attention"] == attentions
    assert mode.counts["norm"] >= len(layers) and mode.counts["activation"] >= len(layers)
    gated = name not in ("GPT-2", "GPT-NeoX", "OPT", "Phi", *ENCODER_DECODERS) or name in ("FLAN-T5", "mT5")
    assert (mode.counts["product"] > 0) == gated
    assert (mode.counts["router"] > 0) == (name in ("Mixtral", "Qwen 3 MoE"))
    assert not _get_current_function_mode_stack()


@every_architecture
def test_a_forward_under_rules_has_the_same_numbers(name):
    adapted = tiny(name)
    example = adapted.example(PROMPT, continuation=CONTINUATION)
    engine = Engine(adapted)
    ruled = LRP()(example, engine)
    torch.testing.assert_close(ruled.values, Engine(adapted).original(example), rtol=1e-9, atol=1e-11)


def test_rules_leave_nothing_behind():
    plain = exact_scores(tiny("Llama"), InputXGradient()).matrix
    engine = Engine(tiny("Llama"))
    example = tiny("Llama").example(PROMPT, continuation=CONTINUATION)
    ruled = LRP()(example, engine).matrix
    again = InputXGradient()(example, engine).matrix  # the same engine, without rules
    assert again.equal(plain) and not torch.allclose(ruled, plain)
    with pytest.raises(ZeroDivisionError), RuleMode(ALL_RULES, tiny("GPT-2").model):
        raise ZeroDivisionError
    assert not _get_current_function_mode_stack()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in tiny("GPT-2").model.modules())


class HiddenAttention(torch.autograd.Function):
    """A fused kernel that no mode sees into, as flash attention is."""

    @staticmethod
    def forward(ctx, query, key, value):
        return value + 0 * query.mean() + 0 * key.mean()

    @staticmethod
    def backward(ctx, gradient):
        return gradient, gradient, gradient


@pytest.mark.parametrize("method", [LRP(), ValueZeroing()])
def test_an_attention_that_cannot_be_seen_into_is_refused(method, monkeypatch):
    monkeypatch.setattr(
        torch.nn.functional,
        "scaled_dot_product_attention",
        lambda query, key, value, **options: HiddenAttention.apply(
            query, *(part.repeat_interleave(query.shape[1] // part.shape[1], 1) for part in (key, value))
        ),
    )
    with pytest.raises(UnsupportedModel, match="attention='sdpa' or"):
        exact_scores(adapter("Llama"), method)


def test_one_backward_serves_every_target_of_lrp():
    counting = CountingAdapter(tiny("Llama"))
    example = counting.example(PROMPT, continuation=CONTINUATION)
    LRP()(example, Engine(counting, budget=Budget(rows=10**6)))
    assert (counting.forwards, counting.backwards) == (1, 1)


def test_rollout_is_one_forward():
    counting = CountingAdapter(tiny("Llama"))
    AttentionRollout()(counting.example(PROMPT, continuation=CONTINUATION), Engine(counting))
    assert (counting.forwards, counting.backwards) == (1, 0)
