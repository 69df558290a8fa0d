"""LIME and ContextCite: known weights, the conditions that a fit must meet, captum, and what is said of the error."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from functools import partial

import pytest
import torch
from builders import CONTINUATION, PROMPT, tiny
from counting import CountingAdapter
from hand_made import HandMade, random_game
from models import adapter
from test_engine import LinearModel

from tokensal import LIME, Attribution, ContextCite, attribute
from tokensal.engine import Engine
from tokensal.errors import InputError
from tokensal.methods import context_cite, surrogates
from tokensal.perturbations.coalitions import Independent, UniformSizes, every_coalition
from tokensal.render.layout import lay_out
from tokensal.scores import logit, logprob
from tokensal.types import Group

METHODS = {"lime": LIME(samples=64, regularization=0), "context_cite": ContextCite(samples=64, regularization=0)}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
WEIGHTS = torch.tensor([[1.0, -2.03, 0.57, 0.11, 3.3], [0.21, 0.4, -1.0, 0.0, 0.0]], dtype=torch.float64)


class Scored(HandMade):
    score = staticmethod(logit)


def linear(present):
    return present @ WEIGHTS.T - 4


def noise(count):
    return torch.randn(count, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


# Known weights


@every_method
def test_the_weights_of_a_linear_score_are_recovered(method):
    engine = Scored(linear, 5, seen=(5, 3))
    scores = method(engine.example(), engine)
    torch.testing.assert_close(scores.matrix[:, 1:], WEIGHTS, rtol=1e-9, atol=1e-9)
    assert not scores.scored[0] and scores.scored[1:].all()
    for name in ("fit", "rank_fit"):
        torch.testing.assert_close(scores.diagnostics[name].values, torch.ones(2, dtype=torch.float64))
    assert scores.diagnostics["standard_error"].values.abs().max() < 1e-9
    assert scores.diagnostics["coalitions"].values.tolist() == [64, 64]


def test_a_linear_model_is_recovered_through_the_engine():
    model = LinearModel()
    example = model.example()
    expected = model.embed(example) @ model.head[[token.id for token in example.targets]].T * model.weights[:, None]
    for method in METHODS.values():
        options = {"samples": 64, "regularization": 0, "replacement": "zero", "keep": ()}
        matrix = type(method)(**options)(example, Engine(model, logit)).matrix
        causal = torch.arange(6) <= torch.tensor(example.predictors)[:, None]
        torch.testing.assert_close(matrix, expected.T * causal, rtol=1e-9, atol=1e-9)


@every_method
def test_a_target_knows_nothing_of_players_that_it_does_not_see(method):
    """Its surrogate is that of the players alone that it sees, whatever others do."""
    engine = Scored(random_game(6, 2, seen=(6, 3)), 6, seen=(6, 3))
    scores = method(engine.example(), engine)
    assert scores.matrix[1, 4:].eq(0).all() and scores.diagnostics["standard_error"].values[1, 4:].eq(0).all()
    assert scores.matrix[1, 1:4].all() and scores.diagnostics["standard_error"].values[1, 1:4].all()


def test_context_cite_explains_the_log_odds_of_the_group():
    adapted = tiny("Llama")
    example = adapted.example(PROMPT, continuation=CONTINUATION)
    method = ContextCite(samples=40, replacement="pad", seed=4)
    scores = method(example, Engine(adapted, logprob))
    game = method.game(example, Engine(adapted, logprob))
    present = torch.cat([Independent(len(game.players), 4).block(number) for number in range(40)])
    probabilities = game.scores(present).exp()
    weights, _ = surrogates.lasso(0.01)(
        present.double(), probabilities.logit(), torch.ones_like(probabilities), game.visible
    )
    torch.testing.assert_close(scores.matrix[:, game.players], weights, rtol=1e-8, atol=1e-8)


def test_the_penalty_counts_by_target():
    """Twice as many targets with twice the log-odds have twice the scores."""
    engine = Scored(lambda present: present @ WEIGHTS[:1].T, 5)
    twice = Scored(lambda present: 2 * (present @ WEIGHTS[:1].T), 5)
    example = engine.example()
    pair = replace(example, targets=example.targets * 2, predictors=(5, 5), groups=(Group((0, 1)),))
    one, two = ContextCite(regularization=0.3)(example, engine), ContextCite(regularization=0.3)(pair, twice)
    torch.testing.assert_close(two.matrix, 2 * one.matrix)
    errors = [each.diagnostics["standard_error"].values for each in (one, two)]
    torch.testing.assert_close(errors[1], 2 * errors[0])


def test_log_odds_of_what_is_certain_are_finite():
    logprobs = torch.tensor([0.0, -1e-12, -1.0, -800.0], dtype=torch.float64)
    odds = context_cite.log_odds(logprobs)
    assert odds.isfinite().all() and odds[0] == odds[1] > 13
    assert odds[2].item() == pytest.approx(math.log(math.exp(-1) / (1 - math.exp(-1))))
    assert odds[3] == -800


@pytest.mark.parametrize("asked", [{"score": "prob"}, {"contrast": [9]}])
def test_other_scores_and_contrasts_are_predicted_as_they_are(asked):
    game = {"continuation": CONTINUATION[:1], "unit": "token", **asked}
    options = {"samples": 64, "regularization": 0, "keep": ("sink", "special", "template", "generated")}
    result = attribute(tiny("Llama"), PROMPT, method=ContextCite(**options), **game)
    case_values = attribute(tiny("Llama"), PROMPT, method="occlusion", **game).values
    torch.testing.assert_close(result.values, case_values)
    assert result.scores[0, 1:].abs().max() < 20 and result.scores[0, 1:].any()
    if "score" in asked:  # a probability changes by less than 1
        assert result.scores[0, 1:].abs().max() < 1


# What a fit must meet


@pytest.mark.parametrize(("n", "players"), [(64, 10), (24, 40), (8, 30), (64, 3)])
@pytest.mark.parametrize("penalty", [0.3, 0.01, 1e-4])
def test_a_lasso_meets_the_conditions_of_its_minimum(n, players, penalty):
    x = torch.rand(n, players, generator=torch.Generator().manual_seed(n), dtype=torch.float64) < 0.5
    x, y = x.double(), noise(n)[:, None].expand(n, 2)
    weights, seen = torch.ones(n, 2, dtype=torch.float64), torch.ones(2, players, dtype=torch.bool)
    weights[: n // 4, 1], seen[1, 0] = 0, False
    coefficients, intercepts = surrogates.lasso(penalty)(x, y, weights, seen)
    for row in range(2):
        used = weights[:, row] > 0
        z, deviation = x[used] - x[used].mean(0), x[used].std(0, correction=0)
        residual = y[used, row] - intercepts[row] - x[used] @ coefficients[row]
        assert residual.mean().abs() < 1e-10
        varied = (deviation > 0) & seen[row]
        slopes = (z.T @ residual / used.sum() / deviation)[varied]
        chosen = coefficients[row, varied]
        assert (slopes.abs() <= penalty * (1 + 1e-6) + 1e-9).all()
        active = chosen != 0
        torch.testing.assert_close(slopes[active], penalty * chosen[active].sign(), rtol=1e-6, atol=1e-9)
        assert not coefficients[row, ~varied].any()


def test_no_coefficient_is_left_where_the_penalty_is_large():
    coefficients, intercepts = surrogates.lasso(10.0)(
        every_coalition(3).double(), noise(8)[:, None], torch.ones(8, 1).double(), torch.ones(1, 3, dtype=torch.bool)
    )
    assert not coefficients.any() and intercepts.item() == pytest.approx(noise(8).mean().item())


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_ridge_is_where_its_gradient_is_zero(penalty):
    x, y, weights = every_coalition(4).double(), noise(16)[:, None], noise(16)[:, None].exp()
    coefficients, intercepts = surrogates.ridge(penalty)(x, y, weights, torch.ones(1, 4, dtype=torch.bool))
    coefficients, intercepts = coefficients.requires_grad_(), intercepts.requires_grad_()
    residual = y[:, 0] - intercepts - x @ coefficients[0]
    loss = (weights[:, 0] * residual.square()).sum() + penalty * coefficients.square().sum()
    for gradient in torch.autograd.grad(loss, [coefficients, intercepts]):
        assert gradient.abs().max() < 1e-10


# What is said of the error


def test_fit_and_error_are_those_of_fits_without_each_fold():
    """By loops; coalitions that are alike for a target are left out together."""
    present = torch.cat([Independent(5, 9).block(number) for number in range(40)])
    values, seen = random_game(5, 2)(present.double()), torch.tensor([[True] * 5, [True, True, False, False, False]])
    weights = noise(80).view(40, 2).exp()
    fit = surrogates.ridge(1.0)
    coefficients, diagnostics = surrogates.fit_surrogates(fit, present, values, weights, seen)
    for target in range(2):
        kinds: list[tuple] = []
        for row in present[:, seen[target]].tolist():
            if tuple(row) not in kinds:
                kinds.append(tuple(row))
        folds = [kinds.index(tuple(row)) % 8 for row in present[:, seen[target]].tolist()]
        single = partial(fit, present.double(), values[:, [target]], seen=seen[[target]])
        predicted, parts, without = [0.0] * 40, [0.0] * 40, []
        for fold in range(min(8, len(kinds))):
            others = torch.tensor([each != fold for each in folds])
            one, intercept = single(weights=weights[:, [target]] * others[:, None])
            without.append(one[0])
            for row in range(40):
                if folds[row] == fold:
                    parts[row] = (present[row].double() @ one[0]).item()
                    predicted[row] = parts[row] + intercept.item()
        y, w = values[:, target], weights[:, target]
        residual = (w * (y - torch.tensor(predicted, dtype=torch.float64)) ** 2).sum()
        spread = (w * (y - (w * y).sum() / w.sum()) ** 2).sum()
        assert diagnostics["fit"].values[target].item() == pytest.approx((1 - residual / spread).item())
        assert diagnostics["rank_fit"].values[target].item() == pytest.approx(spearman(parts, y.tolist()))
        mean, count = sum(without) / len(without), len(without)
        error = ((count - 1) / count * sum((each - mean) ** 2 for each in without)) ** 0.5
        torch.testing.assert_close(diagnostics["standard_error"].values[target], error)
        torch.testing.assert_close(coefficients[target], single(weights=weights[:, [target]])[0][0])


def spearman(first, second):
    def ranks(values):
        return [sum(b < a for b in values) + (sum(b == a for b in values) + 1) / 2 for a in values]

    pair = torch.tensor([ranks(first), ranks(second)], dtype=torch.float64)
    return torch.corrcoef(pair)[0, 1].item()


@every_method
def test_a_surrogate_of_noise_predicts_nothing(method):
    """Of 40 players, it goes through all the coalitions that it is fitted to."""
    values = {}

    def at_random(present):
        rows = [tuple(row) for row in present.tolist()]
        return torch.stack([values.setdefault(row, noise(len(values) + 1)[-1:]) for row in rows])

    engine = Scored(at_random, 40)
    diagnostics = method(engine.example(), engine).diagnostics
    assert diagnostics["fit"].values.item() < 0 and diagnostics["rank_fit"].values.item() < 0.5


@pytest.mark.parametrize("kind", [LIME, ContextCite])
def test_estimates_are_as_far_off_as_their_standard_errors_say(kind):
    engine = Scored(random_game(8), 8)
    samples, options = 96, {"regularization": 0}
    exact = kind(samples=4000, seed=99, **options)(engine.example(), engine).matrix[0, 1:]
    ratios = []
    for seed in range(12):
        scores = kind(samples=samples, seed=seed, **options)(engine.example(), engine)
        ratios.append((scores.matrix[0, 1:] - exact) / scores.diagnostics["standard_error"].values[0, 1:])
    assert 0.7 < torch.stack(ratios).square().mean().sqrt() < 1.4


def test_the_error_of_what_nothing_is_known_of_is_said_and_shown():
    """A single player, and a score that does not change."""
    for value, players in ((linear, 5), (lambda present: torch.zeros(len(present), 1).double(), 1)):
        engine = Scored(value, players, seen=(players,) * (2 if players > 1 else 1))
        for method in METHODS.values():
            scores = method(engine.example(), engine)
            assert scores.matrix[:, 1:].isfinite().all()


@every_method
@pytest.mark.parametrize("name", ["Llama", "T5"])
def test_a_target_that_sees_no_player_has_no_scores(method, name):
    result = attribute(tiny(name), PROMPT, continuation=CONTINUATION, sources="generated", method=method)
    keys = ("standard_error", "fit", "rank_fit")
    error, fit, rank_fit = (result.diagnostics[key].values for key in keys)
    assert not result.visible[0].any() and not error[0].any()
    assert fit[0].abs() < 1e-6 or not fit[0].isfinite()
    assert rank_fit[0].isnan()
    assert result.scores[-1, result.visible[-1]].isfinite().all()
    assert lay_out(result).caption


# Samples


def test_samples_are_those_of_the_seed_and_none_is_scored_twice():
    engine = Scored(random_game(3), 3)
    first, again, other = (LIME(samples=200, seed=seed)(engine.example(), engine).matrix for seed in (1, 1, 2))
    torch.testing.assert_close(first, again, rtol=1e-12, atol=1e-12)  # to the rounding of a solver
    assert not first.allclose(other)
    assert len(engine.listed) <= 3 * 8
    sizes = torch.cat([UniformSizes(4, 0).block(number) for number in range(2000)]).sum(1)
    counts = torch.bincount(sizes, minlength=5)
    assert counts[4] == 0 and counts[:4].min() > 400


def test_all_targets_of_a_coalition_take_one_forward():
    model = CountingAdapter(adapter("Llama"))
    example = model.example(PROMPT, continuation=CONTINUATION)
    LIME(samples=20)(example, Engine(model, logprob))
    assert model.forwards <= 1 + 20 and model.backwards == 0


# Captum


def test_lime_is_captums_with_the_same_coalitions_kernel_and_regression():
    captum = pytest.importorskip("captum.attr", reason="captum comes with the test extra")
    from captum.attr._core.lime import LimeBase

    adapted, samples = tiny("Llama"), 40
    example = adapted.example(PROMPT, continuation=CONTINUATION[:1])
    method = LIME(samples=samples, replacement="zero", keep=(), seed=2)
    found = method(example, Engine(adapted, logprob)).matrix[0]
    drawn = iter([torch.ones(1, 7), *(UniformSizes(7, 2).block(number) for number in range(samples))])

    class Regression:
        def fit(self, batches):
            [x], [y], [w] = ([part] for part in map(torch.cat, zip(*batches, strict=True)))
            root = w.double().sqrt()[:, None]
            rows = torch.cat([root * torch.cat([x.double(), torch.ones(len(x), 1)], 1), torch.eye(7, 8).double()])
            right = torch.cat([root * y.double().view(-1, 1), torch.zeros(7, 1).double()])
            self.weights = torch.linalg.lstsq(rows, right).solution[:7].T

        def representation(self):
            return self.weights

    embeds = adapted.embed(example)[None]
    lime = LimeBase(
        lambda inputs: adapted.model(inputs_embeds=inputs).logits[:, -1].log_softmax(-1)[:, CONTINUATION[0]],
        Regression(),
        lambda original, changed, coalition, **_: (
            -((1 - torch.cosine_similarity(coalition.double(), torch.ones(1, 7).double())) ** 2) / (2 * 0.25**2)
        ).exp(),
        lambda original, **_: next(drawn).double(),
        perturb_interpretable_space=True,
        from_interp_rep_transform=lambda coalition, original, **_: coalition[..., None] * original,
        to_interp_rep_transform=None,
    )
    assert captum
    expected = lime.attribute(embeds, n_samples=samples)
    torch.testing.assert_close(found, expected[0].double(), rtol=1e-6, atol=1e-6)


# What a user sees


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (LIME, {"samples": 7}, "from 8 to"),
        (LIME, {"kernel_width": 0}, "greater than 0"),
        (LIME, {"regularization": -1}, "of 0 or more"),
        (ContextCite, {"samples": "many"}, "whole number"),
        (ContextCite, {"seed": -1}, "from 0 to"),
        (ContextCite, {"replacement": "zeros"}, "did you mean 'zero'"),
    ],
)
def test_options_that_make_no_sense(kind, options, message):
    with pytest.raises(InputError, match=message):
        kind(**options)


def test_the_caption_says_how_well_unseen_coalitions_are_predicted(tmp_path):
    result = attribute(tiny("Llama"), PROMPT, continuation=CONTINUATION, method=LIME(samples=40))
    caption = dict(lay_out(result).caption)
    assert caption["coalitions"] == "40"
    assert "of the largest score, at most" in caption["standard error"]
    assert re.fullmatch("R² median .*, rank correlation median .*, on coalitions .* not fitted to", caption["fit"])
    result.save(tmp_path / "result.json")
    assert list(Attribution.load(tmp_path / "result.json").diagnostics) == [
        "standard_error",
        "coalitions",
        "fit",
        "rank_fit",
    ]
    result.save(tmp_path / "result.html")
    assert "rank correlation" in (tmp_path / "result.html").read_text("utf-8")
