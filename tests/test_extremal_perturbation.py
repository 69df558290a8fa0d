"""Extremal perturbations: areas, slopes, the best masks of small models, and what is reported."""

from __future__ import annotations

import itertools

import pytest
import torch
from builders import CONTINUATION, PROMPT, tiny
from counting import CountingAdapter
from models import adapter
from test_engine import LinearModel

from tokensal import Budget, ExtremalPerturbation, attribute
from tokensal.engine import Engine
from tokensal.errors import InputError
from tokensal.methods import extremal_perturbation
from tokensal.perturbations.blends import Blends
from tokensal.scores import logit, logprob


def blending_of(adapted, score=logprob, **options):
    example = adapted.example(PROMPT, continuation=CONTINUATION)
    method = ExtremalPerturbation(baseline="pad", **options)
    return method._blending(example, Engine(adapted, score, budget=Budget(rows=60))), example


def test_on_a_linear_model_the_units_with_the_largest_contributions_are_kept():
    """The score is the sum of what is kept, so the best mask of an area keeps the largest."""
    model = LinearModel()
    example = model.example()
    method = ExtremalPerturbation(baseline="zero", keep=(), areas=(0.34, 0.67), smoothing=0, steps=60)
    scores = method(example, Engine(model, logit))
    parts = model.embed(example) @ model.head[[token.id for token in example.targets]].T * model.weights[:, None]
    for row, predictor in enumerate(example.predictors):
        seen, values = predictor + 1, parts[: predictor + 1, row]
        order = values.argsort(descending=True)
        assert (scores.matrix[row, order].diff() < 1e-9).all()
        for area, kept in zip(method.areas, scores.diagnostics.values(), strict=True):
            shares = (area * seen - torch.arange(seen)).clamp(0, 1)
            best = (values[order] * shares).sum()
            assert best - kept.values[row] < 0.05 * (values.max() - values.min())


def test_slopes_are_finite_differences():
    blending, example = blending_of(tiny())
    count = len(blending.players)
    masks = torch.rand(2, len(example.targets), count, generator=torch.Generator().manual_seed(0)).double()
    slopes, step = blending.slopes(masks), 1e-5
    for player in range(count):
        change = torch.zeros(count, dtype=torch.float64)
        change[player] = step
        expected = (blending.scores(masks + change) - blending.scores(masks - change)) / (2 * step)
        torch.testing.assert_close(slopes[..., player], expected, rtol=1e-5, atol=1e-6)
    assert (slopes == 0)[:, ~blending.visible].all() and slopes[:, blending.visible].all()


@pytest.mark.parametrize("name", ["Llama", "GPT-2", "T5"])
def test_few_masks_of_an_area_keep_more(name):
    """Of all masks that keep three of the prompt's sources, it is among the best."""
    adapted = tiny(name)
    example = adapted.example(PROMPT, continuation=CONTINUATION[:1])
    options = {"keep": ("sink", "special", "generated"), "baseline": "pad", "smoothing": 0}
    players = ExtremalPerturbation(**options)._blending(example, Engine(adapted)).players
    method = ExtremalPerturbation(areas=(3 / len(players),), steps=40, **options)
    engine = Engine(adapted, logprob)
    scores = method(example, engine)
    blending = method._blending(example, engine)
    subsets = list(itertools.combinations(range(len(players)), 3))
    masks = torch.zeros(len(subsets), 1, len(players), dtype=torch.float64)
    for mask, subset in zip(masks, subsets, strict=True):
        mask[0, list(subset)] = 1
    every = blending.scores(masks)[:, 0]
    best = scores.matrix[0, players].topk(3).indices.tolist()
    mine = every[subsets.index(tuple(sorted(best)))]
    assert (every > mine + 1e-9).double().mean() <= 0.25
    [kept] = scores.diagnostics.values()
    assert kept.values.shape == (1,) and kept.values.isfinite().all()


def test_masks_have_their_areas_of_what_a_target_sees_and_at_least_one_unit():
    visible = torch.tensor([[True] * 10, [True] * 4 + [False] * 6, [False] * 10])
    budgets = extremal_perturbation._budgets((0.05, 0.5), visible)
    assert budgets.tolist() == [[1, 1, 1], [5, 2, 1]]
    direction = torch.randn(2, 3, 10, generator=torch.Generator().manual_seed(0)).double() * 30
    masks = extremal_perturbation._thresholded(direction, budgets, visible)
    torch.testing.assert_close(masks[:, :2].sum(-1), budgets[:, :2])
    assert masks.amin() >= 0 and masks.amax() <= 1 and not masks[:, 2].any()
    smoothing = torch.stack([extremal_perturbation._smoothing(seen, 0.7) for seen in visible])
    smoothed = torch.einsum("kpq,akq->akp", smoothing, masks)
    torch.testing.assert_close(smoothed.sum(-1), masks.sum(-1), rtol=1e-6, atol=1e-6)
    assert smoothed.amin() >= 0 and smoothed.amax() <= 1 + 1e-12
    assert not smoothed[:, 1, 4:].any()


def test_scores_are_the_mean_of_masks_within_zero_and_one():
    result = attribute(
        tiny(), PROMPT, continuation=CONTINUATION, method=ExtremalPerturbation(areas=(0.2, 0.6), steps=3)
    )
    assert list(result.diagnostics) == ["score_at_20%", "score_at_60%"]
    assert not result.signed
    for row, seen in zip(result.scores, result.visible, strict=True):
        count = int(seen.sum())
        assert row[seen].sum().item() == pytest.approx((max(1, 0.2 * count) + max(1, 0.6 * count)) / 2, rel=1e-4)
        assert row[seen].min() >= 0 and row[seen].max() <= 1


def test_each_mask_takes_one_gradient_a_step():
    model = CountingAdapter(adapter("Llama"))
    example = model.example(PROMPT, continuation=CONTINUATION)
    ExtremalPerturbation(areas=(0.2, 0.5), steps=3)(example, Engine(model, logprob, budget=Budget(rows=11)))
    masks = 2 * len(CONTINUATION)
    assert model.backwards == 3 * masks
    assert model.forwards <= 1 + 4 * masks


def test_blends_are_mixtures():
    embeds, baseline = torch.randn(4, 3), torch.randn(4, 3)
    shares = torch.tensor([[1.0, 1.0, 0.0, 0.25], [1.0, 0.5, 1.0, 1.0]])
    rows = Blends(baseline, embeds, shares, first=1).rows(torch.tensor([1, 0]), 1)
    torch.testing.assert_close(rows.embeds[0], torch.stack([(embeds[1] + baseline[1]) / 2, embeds[2], embeds[3]]))
    torch.testing.assert_close(rows.embeds[1, 2], baseline[3] + 0.25 * (embeds[3] - baseline[3]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"areas": ()}, "different shares"),
        ({"areas": (0.5, 0.5)}, "different shares"),
        ({"areas": (1.5,)}, "different shares"),
        ({"areas": 0}, "greater than 0"),
        ({"steps": 0}, "from 1 to"),
        ({"smoothing": -1}, "0 or more"),
        ({"baseline": "zeros"}, "did you mean 'zero'"),
        ({"keep": "sing"}, "did you mean 'sink'"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(InputError, match=message):
        ExtremalPerturbation(**options)
