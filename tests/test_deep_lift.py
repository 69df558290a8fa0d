"""DeepLIFT: complete in one backward on every architecture; its secants against captum and by hand."""

from __future__ import annotations

import math

import pytest
import torch
from battery import MIXTURES
from builders import CONTINUATION, PROMPT, every_architecture, every_attention, exact_scores, tiny, tokenizer_of
from counting import CountingAdapter
from models import model
from torch import nn
from torch.overrides import _get_current_function_mode_stack

from tokensal import LRP, Budget, DeepLift, adapt, attribute
from tokensal.adapters.secants import SecantMode
from tokensal.engine import Engine
from tokensal.errors import InputError, UnsupportedModel
from tokensal.perturbations.inputs import PerturbedInputs
from tokensal.scores import SCORES, logit
from tokensal.types import Secants

METHODS = {
    "zero": DeepLift(keep=[]),
    "mean": DeepLift(baseline="mean", norm="mean", attention="mean"),
    "pad": DeepLift(baseline="pad"),
}


@every_architecture
@every_attention
def test_the_scores_add_up_to_the_change_of_the_score(name, attention):
    """Also where biases and norms are not those of an untrained model, in which they are zero and one."""
    if name in MIXTURES:
        return
    network = model(name, attention=attention)
    with torch.no_grad():
        for parameter_name, parameter in network.named_parameters():
            if "bias" in parameter_name or "norm" in parameter_name:
                parameter.add_(0.3 * torch.randn_like(parameter))
    adapted = adapt(network, tokenizer_of(name))
    example = adapted.example(PROMPT, continuation=CONTINUATION)
    for method, score in zip(METHODS.values(), (SCORES["logprob"], SCORES["entropy"], SCORES["prob"]), strict=True):
        engine = Engine(adapted, score)
        scores = method(example, engine)
        reference = engine.baseline(example, method.baseline)
        kept = [] if not method.keep else [index for index in (0, example.encoder) if index == example.encoder]
        kept += [index for index, token in enumerate(example.sources) if method.keep and token.special]
        reference = reference.clone()
        reference[kept] = engine.embed(example)[kept]
        change = engine.original(example) - engine.scores(example, PerturbedInputs(reference[None]))[0]
        # transformers' eager attention rounds its softmax to float32
        tolerance = 1e-9 if attention == "sdpa" else 1e-4
        torch.testing.assert_close(scores.diagnostics["total"].values, change, rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(scores.matrix.sum(1), change, rtol=tolerance, atol=tolerance)
        assert scores.diagnostics["convergence_delta"].reached.all()


def test_from_zero_it_is_cp_lrp_of_the_logit():
    """Where nothing has a bias, so that every reference is zero."""
    lifted = exact_scores(tiny("Llama"), METHODS["zero"], score=logit)
    ruled = exact_scores(tiny("Llama"), LRP(), score=logit)
    torch.testing.assert_close(lifted.matrix, ruled.matrix, rtol=1e-8, atol=1e-8)


def test_a_forward_more_than_input_x_gradient():
    counting = CountingAdapter(tiny("Llama"))
    example = counting.example(PROMPT, continuation=CONTINUATION)
    engine = Engine(counting, budget=Budget(rows=10**6))
    engine.original(example)
    before = counting.forwards
    DeepLift()(example, engine)
    assert (counting.forwards - before, counting.backwards) == (2, 1)


def test_the_reference_of_what_is_kept_is_what_it_is():
    scores = exact_scores(tiny("Llama"), DeepLift(keep=["sink", "generated"]))
    assert not scores.matrix[:, 0].any() and not scores.matrix[:, len(PROMPT) :].any()
    assert scores.diagnostics["convergence_delta"].reached.all()


def test_several_baselines_are_averaged():
    several = exact_scores(tiny("Llama"), DeepLift(baseline=["zero", "pad"]))
    each = [exact_scores(tiny("Llama"), DeepLift(baseline=name)) for name in ("zero", "pad")]
    torch.testing.assert_close(several.matrix, (each[0].matrix + each[1].matrix) / 2)
    assert several.diagnostics["convergence_delta"].reached.all()


def test_a_score_of_ones_own_is_complete_where_its_operations_are_known():
    def odds(logits, targets):
        log = logits.double().log_softmax(-1).gather(-1, targets.expand(logits.shape[:-1])[..., None])[..., 0]
        return log.exp() / (1 - log.exp())

    scores = exact_scores(tiny("Llama"), DeepLift(), score=odds)
    assert scores.diagnostics["convergence_delta"].values.abs().max() < 1e-9


def test_what_is_incomplete_says_so():
    scores = exact_scores(tiny("Llama"), DeepLift(), score=lambda logits, targets: logits.double().cos().sum(-1))
    assert not scores.diagnostics["convergence_delta"].reached.all()


@pytest.mark.parametrize("options", [{"norm": "half"}, {"attention": "cp"}, {"tolerance": 0}, {"baseline": []}])
def test_options_are_refused_in_a_sentence(options):
    with pytest.raises(InputError):
        DeepLift(**options)


def test_float32_is_complete():
    network = model("Llama", dtype=torch.float32)
    for baseline in ("zero", "mean", "pad"):
        result = attribute(
            adapt(network, tokenizer_of("Llama")), PROMPT, continuation=CONTINUATION, method=DeepLift(baseline=baseline)
        )
        assert result.diagnostics["convergence_delta"].values.abs().max() < 1e-4


# Secants


def multipliers(network, x, x0, **secants):
    """The gradient (n,) of the sum of what a network returns, by secants; and its value."""
    x = x.clone().requires_grad_()
    with SecantMode(Secants(**secants), network) as mode:
        with torch.no_grad():
            network(x0)
        mode.compare()
        y = network(x)
        mode.finish()
    assert not _get_current_function_mode_stack()
    assert y.equal(network(x)) or torch.allclose(y, network(x), rtol=1e-12)
    return torch.autograd.grad(y.sum(), x)[0]


@pytest.mark.filterwarnings("ignore::UserWarning")  # captum says that it sets hooks
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.ELU, nn.LeakyReLU])
def test_agrees_with_captum_where_a_network_has_no_products(activation):
    captum = pytest.importorskip("captum.attr", reason="captum comes with the test extra")
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 7), activation(), nn.Linear(7, 7), activation(), nn.Linear(7, 1)).double()
    x, x0 = torch.randn(2, 3, 5, dtype=torch.float64)
    expected = captum.DeepLift(network).attribute(x, x0)
    torch.testing.assert_close(multipliers(network, x, x0) * (x - x0), expected, rtol=1e-9, atol=1e-9)


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.forward = function


FUNCTIONS = {
    "product": lambda x: x[:2] * x[2:],
    "matrix product": lambda x: x.view(2, 2) @ x.view(2, 2).mT,
    "einsum": lambda x: torch.einsum("i,j->ij", x[:2], x[2:]),
    "quotient": lambda x: x[:2] / (1 + x[2:].exp()),
    "reciprocal": lambda x: 3 / (1 + x.exp()),
    "in place": lambda x: (2 * x[:2]).mul_(x[2:]),
    "powers": lambda x: x**2 + x.square() + x**3 + (1 + x**4).sqrt() + (2 + x**2) ** -0.5 + (1 + x**2).log(),
    "softmax": lambda x: x.softmax(-1) * torch.arange(4),
    "log-softmax": lambda x: x.log_softmax(-1)[1],
    "logsumexp": lambda x: x.logsumexp(-1),
    "clamp": lambda x: x.clamp(-0.5, 0.5) + x.abs(),
    "layer norm": lambda x: torch.nn.functional.layer_norm(x, (4,), torch.arange(4.0).double()),
    "rms norm": lambda x: torch.nn.functional.rms_norm(x, (4,), torch.arange(4.0).double(), 1e-6),
    "attention": lambda x: torch.nn.functional.scaled_dot_product_attention(
        *(factor * x.view(1, 1, 2, 2) for factor in (1, 2, 3)), is_causal=True
    ),
    "baddbmm": lambda x: torch.ones(1, 2, 2).double().baddbmm(x.view(1, 2, 2), x.view(1, 2, 2), alpha=3),
}
POINTS = torch.tensor([[0.3, -0.8, 1.2, 2.0], [-1.1, 0.4, 0.9, 2.0]], dtype=torch.float64)  # the last number stays


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("secants", [{}, {"norm": "input", "attention": "values"}])
def test_each_operation_hands_back_its_change(name, secants):
    network, (x, x0) = Function(FUNCTIONS[name]), POINTS
    total = (multipliers(network, x, x0, **secants) * (x - x0)).sum()
    torch.testing.assert_close(total, (network(x) - network(x0)).sum(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_from_itself_a_secant_is_the_gradient(name):
    network, x = Function(FUNCTIONS[name]), POINTS[0].clone().requires_grad_()
    (expected,) = torch.autograd.grad(network(x).sum(), x)
    tolerance = 1e-4 if name == "clamp" else 1e-8
    torch.testing.assert_close(multipliers(network, x.detach(), x.detach()), expected, rtol=tolerance, atol=tolerance)


def test_closed_forms():
    x, x0 = torch.tensor([[3.0, 5.0], [1.0, 2.0]], dtype=torch.float64)
    product = multipliers(Function(lambda x: x[0] * x[1]), x, x0)
    assert product.tolist() == [(5 + 2) / 2, (3 + 1) / 2]
    square = multipliers(Function(lambda x: (x**2).sum()), x, x0)
    assert square.tolist() == [4, 7]
    # log(e³ + e⁵) by exp, sum and log
    slopes = [(math.exp(3) - math.exp(1)) / 2, (math.exp(5) - math.exp(2)) / 3]
    total, total0 = math.exp(3) + math.exp(5), math.exp(1) + math.exp(2)
    of_log = (math.log(total) - math.log(total0)) / (total - total0)
    expected = torch.tensor([slope * of_log for slope in slopes], dtype=torch.float64)
    torch.testing.assert_close(multipliers(Function(lambda x: x.logsumexp(-1)), x, x0), expected, rtol=1e-12, atol=0)


def test_softmax_does_not_overflow_where_all_scores_move_together():
    x, x0 = POINTS[0] + 800, POINTS[1]
    gradient = multipliers(Function(lambda x: x.softmax(-1)[0]), x, x0)
    assert gradient.abs().max() < 1
    change = x.softmax(-1)[0] - x0.softmax(-1)[0]
    torch.testing.assert_close((gradient * (x - x0)).sum(), change, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.topk(1).values,
        lambda x: x[x > 0] ** 2,
        lambda x: x**2 if x[1] > 0 else x,
    ],
)
def test_other_ways_through_a_model_are_refused(function):
    with pytest.raises(UnsupportedModel, match=r"same way through it.*Choose another"):
        multipliers(Function(function), torch.tensor([0.3, -0.8, 1.2]), torch.tensor([1.0, 2.0, 0.5]))
