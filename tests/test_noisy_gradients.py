"""VarGrad and Gradient SHAP: closed forms, captum, standard errors that are true, and samples that stop in time."""

from __future__ import annotations

import pytest
import torch
from builders import CONTINUATION, PROMPT, exact_scores, tiny
from counting import CountingAdapter
from models import adapter
from test_engine import LinearModel

from tokensal import Budget, GradCAM, Gradient, GradientSHAP, IntegratedGradients, SmoothGrad, VarGrad, attribute
from tokensal.engine import Engine
from tokensal.errors import InputError
from tokensal.perturbations.noise import Noise
from tokensal.perturbations.paths import RandomPoints
from tokensal.render.layout import lay_out
from tokensal.scores import logit


def square(logits, targets):
    return logit(logits, targets).square()


def linear():
    """A linear model, its example, and the gradients (K, S, D) of its logits."""
    model = LinearModel()
    model.baseline = lambda name, length: torch.full((length, 3), 0.25, dtype=torch.float64)
    example = model.example()
    heads = model.head[[token.id for token in example.targets]]
    causal = torch.arange(6) <= torch.tensor(example.predictors)[:, None]
    return model, example, model.weights[:, None] * heads[:, None] * causal[..., None]


def logprobs_of(adapted, target):
    """The log-probability of a target after some embeddings, as captum calls it."""
    return lambda embeds: adapted.model(inputs_embeds=embeds).logits[:, -1].log_softmax(-1)[:, target]


def deviation_of(embeds, noise):
    return noise * embeds.pow(2).mean().sqrt()


# VarGrad


def test_the_gradient_of_a_linear_model_does_not_vary():
    model, example, _ = linear()
    for norm in ("l1", "l2", "max"):
        scores = VarGrad(norm=norm)(example, Engine(model, logit))
        assert scores.matrix.abs().max() < 1e-25
        assert scores.diagnostics["standard_error"].values.abs().max() < 1e-25


def test_without_noise_nothing_varies_and_no_rounding_is_taken_for_variance():
    single = adapter("Llama", dtype=torch.float32)
    gradients, variances = (
        attribute(single, PROMPT, continuation=CONTINUATION, method=method).scores.nan_to_num()
        for method in (Gradient(), VarGrad(noise=0, samples=4))
    )
    assert variances.max() < 1e-10 * gradients.square().max()


@pytest.mark.parametrize("method", ["gradient", "input_x_gradient"])
def test_the_variance_of_a_quadratic_is_known(method):
    """y = (⟨c, x⟩)², whose gradient is 2⟨c, x⟩c, and varies by 4|c|²σ²·c²."""
    model, example, c = linear()
    embeds = model.embed(example)
    sigma = deviation_of(embeds, 0.3)
    scores = VarGrad(method=method, samples=2048, noise=0.3)(example, Engine(model, square))
    factors = embeds if method == "input_x_gradient" else torch.ones_like(embeds)
    expected = 4 * sigma**2 * c.square().sum((1, 2))[:, None] * (factors * c).square().sum(-1)
    seen = expected > 0
    errors = scores.diagnostics["standard_error"].values
    assert ((scores.matrix - expected)[seen].abs() < 4 * errors[seen]).all()
    assert (errors[seen] < 0.1 * expected[seen]).all()


@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
@pytest.mark.parametrize("rows", [1, 10**6])
def test_the_variance_is_that_of_each_number_before_the_reduction(norm, rows):
    """The norm of variances, by torch's own variance of all gradients at once; not the variance of norms."""
    adapted = tiny()
    example = adapted.example(PROMPT, continuation=CONTINUATION)
    embeds, gradients = adapted.embed(example), []
    noise = Noise(embeds, torch.ones(len(embeds), dtype=torch.bool), float(deviation_of(embeds, 0.2)), 5, seed=3)

    def keep(activations, vectors, about):
        gradients.append(vectors[0])
        return vectors[0].sum(-1)

    list(Engine(adapted).gradients(example, noise, keep))
    variances = torch.cat(gradients, 1).var(1)
    expected = {"l1": variances.sum(-1), "l2": variances.norm(dim=-1), "max": variances.amax(-1)}[norm]
    method = VarGrad(norm=norm, samples=5, noise=0.2, seed=3)
    scores = exact_scores(adapted, method, budget=Budget(rows=rows))
    torch.testing.assert_close(scores.matrix, expected, rtol=1e-9, atol=1e-12)
    assert method == VarGrad(method=Gradient(), norm=norm, samples=5, noise=0.2, seed=3)


def test_the_mean_of_the_activations_is_squared_where_a_method_multiplies_by_them():
    wrapped = exact_scores(tiny(), VarGrad(method=GradCAM(layers="all"), samples=6, noise=0.05))
    assert (wrapped.matrix >= 0).all() and wrapped.matrix.any()
    halved = exact_scores(tiny(), VarGrad(method=GradCAM(layers="all"), samples=6, noise=0.025))
    seen = wrapped.matrix > 1e-9  # for small noise, the variance goes with its square
    assert 2 < (wrapped.matrix[seen] / halved.matrix[seen]).median() < 8


def test_captums_noise_tunnel_on_the_same_noise(monkeypatch):
    """Captum's variance is divided by n, ours by n − 1."""
    captum = pytest.importorskip("captum.attr", reason="captum comes with the test extra")
    adapted, samples = tiny(), 4
    example = adapted.example(PROMPT, continuation=CONTINUATION)
    embeds = adapted.embed(example)
    sigma = deviation_of(embeds, 0.2)
    copies = Noise(embeds, torch.ones(len(embeds), dtype=torch.bool), float(sigma), samples, seed=3)
    drawn = copies.rows(torch.arange(samples), 0).embeds - embeds
    scores = exact_scores(adapted, VarGrad(samples=samples, noise=0.2, seed=3)).matrix
    for row, target in enumerate(CONTINUATION):
        read = len(PROMPT) + row
        monkeypatch.setattr(torch, "normal", lambda mean, deviation, read=read: drawn[:, :read])
        method = captum.NoiseTunnel(
            captum.Saliency(
                lambda points, target=target: (
                    adapted.model(inputs_embeds=points).logits[:, -1].log_softmax(-1)[:, target]
                )
            )
        )
        theirs = method.attribute(embeds[None, :read], nt_type="vargrad", nt_samples=samples, abs=False)[0].sum(-1)
        torch.testing.assert_close(scores[row, :read] * (samples - 1) / samples, theirs, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("method", [VarGrad, SmoothGrad])
def test_the_jackknife_tells_how_much_the_scores_vary_from_seed_to_seed(method):
    model, example, _ = linear()
    runs = [method(samples=32, noise=0.3, seed=seed)(example, Engine(model, square)) for seed in range(40)]
    spread = torch.stack([run.matrix for run in runs]).std(0)
    mean = torch.stack([run.diagnostics["standard_error"].values for run in runs]).mean(0)
    ratios = (mean / spread)[spread > 0]
    assert len(ratios) and ((ratios > 0.7) & (ratios < 1.45)).all()


def test_a_variance_needs_a_copy_more():
    with pytest.raises(InputError, match="samples is 2, but should be a whole number from 3"):
        VarGrad(samples=2)
    with pytest.raises(InputError, match="var_grad is around one gradient, which 'occlusion' does not take"):
        VarGrad(method="occlusion")
    assert VarGrad(samples=3).signed is False and "norm='l1'" in repr(VarGrad())


# Gradient SHAP


def test_a_linear_model_needs_no_second_batch():
    model, example, c = linear()
    scores = GradientSHAP(baseline="mean", keep=())(example, Engine(model, logit))
    expected = (c * (model.embed(example) - 0.25)).sum(-1)
    torch.testing.assert_close(scores.matrix, expected, rtol=1e-12, atol=1e-12)
    assert scores.diagnostics["gradients"].values.tolist() == [16] * 3
    assert scores.diagnostics["standard_error"].reached.all()
    assert scores.diagnostics["convergence_delta"].values.abs().max() < 1e-12
    torch.testing.assert_close(scores.diagnostics["total"].values, expected.sum(1))


def test_it_is_integrated_gradients_of_a_quadratic_in_expectation():
    model, example, _ = linear()
    own = torch.randn(6, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    baselines = ["zero", "mean", own]
    exact = IntegratedGradients(baseline=baselines, steps=1, keep=())(example, Engine(model, square)).matrix
    sampled = GradientSHAP(baseline=baselines, keep=(), samples=2048, tolerance=1e-3)(example, Engine(model, square))
    errors, total = sampled.diagnostics["standard_error"].values, sampled.diagnostics["total"].values
    distances = ((sampled.matrix - exact) / errors)[errors > 0]
    assert distances.abs().max() < 4 and 0.5 < distances.square().mean().sqrt() < 1.7
    # complete in expectation: what is missed is chance, and smaller than ten times the error of a single score
    torch.testing.assert_close(total, exact.sum(1))
    assert (sampled.diagnostics["convergence_delta"].values.abs() < 10 * errors.amax(1)).all()


def test_the_scores_are_those_of_integrated_gradients_within_their_errors_on_a_transformer():
    baselines = ["pad", "eos"]
    exact = exact_scores(tiny(), IntegratedGradients(baseline=baselines, steps=60)).matrix
    sampled = exact_scores(tiny(), GradientSHAP(baseline=baselines, samples=512, tolerance=1e-3))
    errors = sampled.diagnostics["standard_error"].values
    distances = ((sampled.matrix - exact) / errors)[errors > 0]
    assert distances.abs().max() < 4.5 and 0.4 < distances.square().mean().sqrt() < 1.7


def test_captums_gradient_shap_on_the_same_draws():
    """Captum repeats a coefficient for all samples of an input, so its own inner method is given ours one by one."""
    captum_shap = pytest.importorskip("captum.attr._core.gradient_shap", reason="captum comes with the test extra")
    adapted, samples, width = tiny(), 6, 32
    example = adapted.example(PROMPT, continuation=CONTINUATION)
    embeds = adapted.embed(example)
    starts = torch.stack([adapted.baseline(name, 11) for name in ("pad", "eos")])
    points = RandomPoints(
        starts, embeds, torch.ones(11, dtype=torch.bool), float(deviation_of(embeds, 0.1)), torch.arange(samples), 4
    )
    options = {"samples": samples, "seed": 4, "noise": 0.1, "keep": (), "tolerance": 1e-9}
    scores = exact_scores(adapted, GradientSHAP(baseline=["pad", "eos"], **options)).matrix
    begin, end, places = points._drawn(torch.arange(samples), 0)
    for row, target in enumerate(CONTINUATION[:2]):
        read = len(PROMPT) + row
        method = captum_shap.InputBaselineXGradient(logprobs_of(adapted, target))
        total = torch.zeros(read, width, dtype=torch.float64)
        for sample in range(samples):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("numpy.random.uniform", lambda low, high, size, s=sample: [places[s].item()] * size)
                total += method.attribute(end[sample : sample + 1, :read], begin[sample : sample + 1, :read])[0]
        torch.testing.assert_close(scores[row, :read], (total / samples).sum(-1).detach(), rtol=1e-6, atol=1e-9)


def test_sampling_goes_on_until_the_error_is_within_the_tolerance_or_says_that_it_is_not():
    loose, strict = (
        exact_scores(tiny(), GradientSHAP(baseline="pad", samples=200, tolerance=tolerance)).diagnostics
        for tolerance in (5.0, 1e-4)
    )
    assert loose["standard_error"].reached.all() and loose["gradients"].values[0] < 200
    assert not strict["standard_error"].reached.any() and strict["gradients"].values.tolist() == [200] * 5
    assert loose["gradients"].values[0] % 16 == 0
    changes = loose["total"].values.abs().clamp(min=0.1)
    torch.testing.assert_close(loose["standard_error"].allowed, 5.0 * changes)
    result = attribute(tiny(), PROMPT, continuation=CONTINUATION, method=GradientSHAP(samples=16, tolerance=1e-4))
    [text] = [text for name, text in lay_out(result).caption if name == "standard error"]
    assert "⚠ tolerance missed by" in text


def test_every_sample_is_another_point_and_the_same_in_every_batch():
    embeds = torch.zeros(4, 2, dtype=torch.float64)
    starts = torch.stack([torch.full_like(embeds, 1.0), torch.full_like(embeds, -1.0)])
    points = RandomPoints(starts, embeds, torch.ones(4, dtype=torch.bool), 0.0, torch.arange(400), seed=1)
    everything = points.rows(torch.arange(400), 0).embeds[:, 0, 0]
    assert len(set(everything.tolist())) == 400
    assert abs(everything.mean()) < 0.15 and abs(everything.abs().mean() - 0.5) < 0.06
    later = points.numbered(torch.arange(300, 310)).rows(torch.arange(10), 2).embeds
    assert later.shape == (10, 2, 2) and torch.equal(later[:, 0, 0], everything[300:310])
    assert 120 < (points.steps(torch.arange(400), 0)[:, 0, 0] > 0).sum() < 280


def test_what_is_kept_is_the_same_at_both_ends_and_gets_nothing():
    scores = exact_scores(tiny(), GradientSHAP(samples=16, noise=0.2, keep=("sink", "generated"))).matrix
    assert scores[:, [0, *range(len(PROMPT), 11)]].abs().max() == 0
    assert scores[:, 1 : len(PROMPT)].abs().min() > 0


def test_several_baselines_and_embeddings_of_ones_own():
    pad = tiny().baseline("pad", 1)[0]
    named = exact_scores(tiny(), GradientSHAP(baseline=["zero", "pad"], samples=16)).matrix
    own = GradientSHAP(baseline=["zero", pad], samples=16)
    assert exact_scores(tiny(), own).matrix.equal(named)
    assert repr(own).startswith("GradientSHAP(baseline=['zero', embeddings(32,)], keep=")


def test_an_average_and_a_variance_are_of_the_same_gradients():
    """E|g − ḡ|² + |ḡ|² = E|g|², with weights that leave a batch out."""
    adapted = tiny()
    example = adapted.example(PROMPT, continuation=CONTINUATION)
    embeds = adapted.embed(example)
    noise = Noise(embeds, torch.ones(len(embeds), dtype=torch.bool), 0.3, 6, seed=7)
    weights = torch.tensor([[1 / 6] * 6, [0, 0, 0.25, 0.25, 0.25, 0.25]], dtype=torch.float64)

    def moments(**options):
        [chunk] = Engine(adapted, budget=Budget(memory=1, rows=1)).gradients(
            example, noise, lambda a, gradients, r: gradients[0].square().sum(-1), average=weights, **options
        )
        return chunk.reduced

    [spread] = Engine(adapted).gradients(
        example, noise, lambda a, variances, r: variances[0].sum(-1), average=weights, variance=True
    )
    squares = torch.cat(
        [chunk.reduced for chunk in Engine(adapted).gradients(example, noise, lambda a, g, r: g[0].square().sum(-1))]
    )
    expected = torch.einsum("rks,ar->aks", squares, weights) - moments()
    counts = torch.tensor([6.0, 4.0])[:, None, None]
    torch.testing.assert_close(spread.reduced * (counts - 1) / counts, expected, rtol=1e-8, atol=1e-9)


# Counts


@pytest.mark.parametrize(
    ("method", "forwards"),
    [(VarGrad(samples=8), 2), (VarGrad(method="lrp", samples=8), 2), (GradientSHAP(samples=8), 3)],
    ids=repr,
)
def test_one_forward_and_one_backward_carry_all_copies_and_targets(method, forwards):
    """Besides the copies, the example itself is run, and the baselines are."""
    model = CountingAdapter(tiny())
    example = model.example(PROMPT, continuation=CONTINUATION)
    method(example, Engine(model, budget=Budget(rows=10**6)))
    assert (model.forwards, model.backwards) == (forwards, 1)
