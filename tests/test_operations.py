"""Backward rules and edits of operations: counted, refused where they do not reach, gone afterwards."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # its usual name
from builders import CONTINUATION, PROMPT, every_architecture, exact_scores, tiny
from counting import CountingAdapter
from models import ENCODER_DECODERS, adapter
from torch import nn
from torch.overrides import _get_current_function_mode_stack

from tokensal import (
    GIM,
    LRP,
    AttentionRollout,
    Budget,
    Deconvnet,
    DeepLift,
    GuidedBackprop,
    InputXGradient,
    ValueZeroing,
)
from tokensal.adapters.layers import layers_of
from tokensal.adapters.rules import RuleMode
from tokensal.adapters.secants import SecantMode
from tokensal.engine import Engine
from tokensal.errors import UnsupportedModel
from tokensal.perturbations.inputs import PerturbedInputs
from tokensal.types import Rules, Secants

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
    for method in (LRP(), LRP(epsilon=0.1, gamma=0.3), GIM(), Deconvnet(), GuidedBackprop()):
        ruled = method(example, Engine(adapted))
        torch.testing.assert_close(ruled.values, Engine(adapted).original(example), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("method", [LRP(), LRP(gamma=0.3), GIM(), Deconvnet(), GuidedBackprop(), DeepLift()])
def test_rules_leave_nothing_behind(method):
    plain = exact_scores(tiny("Llama"), InputXGradient()).matrix
    engine = Engine(tiny("Llama"))
    example = tiny("Llama").example(PROMPT, continuation=CONTINUATION)
    altered = method(example, engine).matrix
    again = InputXGradient()(example, engine).matrix  # the same engine, without rules
    assert again.equal(plain) and not torch.allclose(altered, plain)


@pytest.mark.parametrize("mode", [RuleMode(ALL_RULES, tiny("GPT-2").model), SecantMode(Secants(), tiny("GPT-2").model)])
def test_a_mode_that_an_error_leaves_is_gone(mode):
    with pytest.raises(ZeroDivisionError), mode:
        raise ZeroDivisionError
    assert not _get_current_function_mode_stack()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in tiny("GPT-2").model.modules())


# One operation at a time


def ruled_gradient(function, x, cotangent, **rules):
    """The gradient of cotangent · function(x) under rules."""
    x = x.clone().requires_grad_()
    with RuleMode(Rules(**rules), nn.Module()):
        y = function(x)
    torch.testing.assert_close(y, function(x), rtol=1e-12, atol=1e-12)
    return torch.autograd.grad(y, x, cotangent)[0]


X, G = torch.tensor([[-2.0, -1, 1, 2, 3, 0.5], [1, 2, -1, -1, 1, -3]], dtype=torch.float64)


def test_guided_backpropagation_keeps_what_is_positive_above_and_below():
    assert ruled_gradient(F.relu, X, G, activation="guided").tolist() == [0, 0, 0, 0, 1, 0]
    x = X.clone().requires_grad_()
    (derivative,) = torch.autograd.grad(F.gelu(x).sum(), x)
    expected = torch.where((X > 0) & (G > 0), G * derivative, 0)
    torch.testing.assert_close(ruled_gradient(F.gelu, X, G, activation="guided"), expected)


@pytest.mark.parametrize("function", [F.relu, F.gelu, F.silu])
def test_deconvnet_is_a_relu_of_the_gradient(function):
    assert ruled_gradient(function, X, G, activation="positive").tolist() == [1, 2, 0, 0, 1, 0]


@pytest.mark.parametrize("rule", ["positive", "guided"])
def test_soft_caps_and_gates_keep_their_gradients(rule):
    def capped(x):
        return torch.tanh(x) * torch.sigmoid(x.flip(0)) + x**2

    x = X.clone().requires_grad_()
    (expected,) = torch.autograd.grad(capped(x), x, G)
    torch.testing.assert_close(ruled_gradient(capped, X, G, activation=rule), expected)


@pytest.mark.parametrize("factor", [1.0, 1.702])
def test_a_sigmoid_that_gates_its_own_input_is_an_activation_function(factor):
    """gpt-oss writes one so: neither halved as a product, nor missed by the rules of activation functions."""

    def swish(x):
        return x * torch.sigmoid(x * factor)

    x = X.clone().requires_grad_()
    (expected,) = torch.autograd.grad(swish(x), x, G)
    torch.testing.assert_close(ruled_gradient(swish, X, G, product="half"), expected)
    assert ruled_gradient(swish, X, G, activation="positive").tolist() == [1, 2, 0, 0, 1, 0]
    ratio = swish(X) / X
    torch.testing.assert_close(ruled_gradient(swish, X, G, activation="ratio"), G * ratio)


ATTENTION = Rules(attention="half", temperature=2.0)


def written_out(q, k, v):
    return torch.matmul(F.softmax(torch.matmul(q, k.mT) / 2**0.5, dim=-1), v)


def fused(q, k, v):
    return F.scaled_dot_product_attention(q, k, v)


@pytest.mark.parametrize("attend", [written_out, fused])
def test_a_quarter_to_queries_and_keys_a_half_to_values_at_the_temperature(attend):
    torch.manual_seed(0)
    q, k, v, gradient = (torch.randn(1, 1, 3, 2, dtype=torch.float64).requires_grad_() for _ in range(4))
    with RuleMode(ATTENTION, nn.Module()):
        y = attend(q, k, v)
    torch.testing.assert_close(y, attend(q, k, v))
    shares = torch.autograd.grad(y, (q, k, v), gradient)
    scores = q @ k.mT / 2**0.5
    warm = (scores / 2).softmax(-1)
    of_weights = gradient @ v.mT
    of_scores = warm * (of_weights - (of_weights * warm).sum(-1, keepdim=True)) / 2**0.5
    expected = of_scores @ k / 4, of_scores.mT @ q / 4, scores.softmax(-1).mT @ gradient / 2
    for share, wanted in zip(shares, expected, strict=True):
        torch.testing.assert_close(share, wanted)


@pytest.mark.parametrize("bias", [None, torch.tensor([0.5, -2.0], dtype=torch.float64)])
@pytest.mark.parametrize(("epsilon", "gamma"), [(0, 0), (0.5, 0), (0, 0.4), (0.5, 0.4)])
@pytest.mark.parametrize("write", ["linear", "addmm", "matmul"])
def test_linear_layers_share_as_zennit_has_it(write, epsilon, gamma, bias):
    """Epsilon: R_i = x_i Σ_j w_ji R_j / (z_j + ε sign z_j). Gamma: with w + γ w⁺, by the signs of x and z."""
    if write == "matmul" and bias is not None:
        return
    x = torch.tensor([[1.0, -2, 3], [-1, 0.5, 2]], dtype=torch.float64)
    weight = torch.tensor([[1.0, 2, -1], [-3, 0.5, 1]], dtype=torch.float64)
    gradient = torch.tensor([[1.0, -2], [0.5, 3]], dtype=torch.float64)
    constants = torch.ones((), dtype=torch.float64).requires_grad_()
    leaf = x.clone().requires_grad_()
    with RuleMode(Rules(epsilon=epsilon, gamma=gamma), nn.Module(), constants):
        if write == "addmm":
            y = torch.addmm(torch.zeros(2).double() if bias is None else bias, leaf, weight.T)
        else:
            y = F.linear(leaf, weight, bias) if write == "linear" else leaf @ weight.T
    share, *of_bias = torch.autograd.grad(y, (leaf, constants), gradient, allow_unused=True)
    expected, left = torch.zeros_like(x), 0.0
    for row, output in itertools.product(range(2), range(2)):
        terms = [*(x[row] * weight[output]).tolist(), 0.0 if bias is None else float(bias[output])]
        z = sum(terms)
        weighed = [term * (1 + gamma * ((term > 0) == (z > 0))) for term in terms]
        relevance = float(gradient[row, output]) * z / (sum(weighed) + epsilon * (1 if z > 0 else -1))
        expected[row] += torch.tensor(weighed[:3], dtype=torch.float64) * relevance
        left += weighed[3] * relevance
    torch.testing.assert_close(share * x, expected)
    assert bias is None or float(of_bias[0]) == pytest.approx(left)


class Packed(nn.Module):
    """Experts whose weights are packed, as transformers runs them by default."""

    def forward(self, x):
        return torch.bmm(torch.ones(2, 3, 3), x[..., None])[..., 0]


def test_packed_experts_are_told_from_attention():
    with RuleMode(Rules(gamma=0.5), Packed()) as mode:
        Packed()(torch.ones(2, 3).requires_grad_())
    assert mode.counts["packed"] == 1


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
