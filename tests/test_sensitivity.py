"""Explaining again at other embeddings: that every part of an engine reads them, and max-sensitivity."""

from __future__ import annotations

import pytest
import torch
from builders import CONTINUATION, PROMPT, tiny
from hand_made import random_game
from test_prefixes import each_alone, table
from trials_by_hand import Ready, trial_of

from tokensal import Gradient, InputXGradient, Question
from tokensal.case import Case
from tokensal.engine import Engine
from tokensal.errors import InputError
from tokensal.evaluation import MaxSensitivity
from tokensal.evaluation.baselines import Recency
from tokensal.evaluation.metric import Trial
from tokensal.options import Generation
from tokensal.perturbations.draws import generator
from tokensal.perturbations.removals import Removals


def case_of(name="Llama", **question) -> Case:
    return Case.of(tiny(name), PROMPT, generation=Generation(continuation=CONTINUATION), question=Question(**question))


def shift_of(case, seed=0, size=0.05):
    embeds = case.engine.embed(case.example)
    return size * torch.randn(embeds.shape, generator=generator(seed, 0), dtype=embeds.dtype)


@pytest.mark.parametrize("name", ["Llama", "GPT-2", "T5"])
def test_a_shifted_engine_scores_perturbations_of_the_shifted_embeddings(name):
    """With states that are shared, and chunks that begin at the first absent source: as each row from its beginning."""
    case = case_of(name)
    shift, absent = shift_of(case), table(case.example)
    shifted = case.engine.with_shift(shift)
    before = case.engine.embed(case.example)
    embeds = before + shift
    assert shifted.embed(case.example).equal(embeds)
    plain = Removals(embeds, torch.zeros_like(absent[:1]))
    expected = case.engine.scores(case.example, plain.rows(torch.tensor([0]), 0))[0]
    torch.testing.assert_close(shifted.original(case.example), expected, rtol=1e-8, atol=1e-10)
    assert not expected.allclose(case.engine.original(case.example))
    rows = each_alone(shifted.adapter, case.example, absent)
    found = shifted.scores(case.example, Removals(embeds, absent))
    torch.testing.assert_close(found, rows, rtol=1e-8, atol=1e-10)
    assert not rows.allclose(each_alone(case.engine.adapter, case.example, absent))
    assert case.engine.adapter.embed(case.example).equal(before)


def test_both_continuations_of_a_contrast_are_shifted_alike():
    """Each is shifted by its own places: a contrast is the difference of two examples with such shifts."""
    case = case_of(targets="output", contrast=" the cat saw")
    shift = shift_of(case)
    found = case.engine.with_shift(shift).original(case.example)
    scores = []
    for answer in (CONTINUATION, [token.id for token in case.example.targets[case.example.branch.target :]]):
        one = Case.of(tiny(), PROMPT, generation=Generation(continuation=answer), question=Question(targets="output"))
        part = one.engine.with_shift(shift[: len(one.example.sources)])
        scores.append(part.original(one.example))
    torch.testing.assert_close(found, scores[0] - scores[1], rtol=1e-8, atol=1e-10)
    shifted = case.engine.with_shift(shift)
    absent = torch.zeros(1, len(case.example.sources), dtype=torch.bool)
    as_it_is = Removals(shifted.embed(case.example), absent).rows(torch.tensor([0]), 0)
    torch.testing.assert_close(shifted.scores(case.example, as_it_is)[0], found, rtol=1e-8, atol=1e-10)


def test_it_is_the_largest_relative_change_by_hand():
    case = case_of()
    trial, metric = Trial(case, seed=3), MaxSensitivity(samples=3, noise=0.05)
    attribution = trial.explain(Gradient(norm="l2"))
    found = metric(trial, attribution)
    adapter, example = case.engine.adapter, case.example
    embeds = adapter.embed(example)

    def gradients(inputs):
        rows = []
        for target, predictor in enumerate(example.predictors):
            leaf = inputs.clone().requires_grad_()
            logits = adapter.model(inputs_embeds=leaf[None], use_cache=False).logits[0, predictor]
            [gradient] = torch.autograd.grad(logits.log_softmax(-1)[example.targets[target].id], leaf)
            rows.append(gradient[1:].norm(dim=-1))  # without the sink
        return torch.stack(rows)

    deviation, changes = 0.05 * embeds.square().mean().sqrt(), []
    for sample in range(3):
        noise = torch.randn(embeds.shape, generator=generator(3, sample), dtype=torch.float64)
        changes.append((gradients(embeds + deviation * noise) - gradients(embeds)).norm(dim=1))
    expected = torch.stack(changes).amax(0) / gradients(embeds).norm(dim=1)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)  # an attribution is float32
    assert found.dtype == torch.float64 and (found > 0).all()
    assert metric(trial, attribution).equal(found)
    more = MaxSensitivity(samples=5, noise=0.05)(trial, attribution)
    assert (more >= found).all() and (MaxSensitivity(samples=3, noise=1e-4)(trial, attribution) < found / 10).all()


@pytest.mark.parametrize("name", ["Llama", "T5"])
@pytest.mark.parametrize("method", ["occlusion", "lrp", "attention", "deep_lift", "smooth_grad", "value_zeroing"])
def test_methods_of_every_kind_explain_the_shifted_input(name, method):
    trial = Trial(case_of(name, targets="output"))
    [value] = MaxSensitivity(samples=1)(trial, trial.explain(method)).tolist()
    assert 0 < value < 2


def test_what_does_not_look_at_the_input_does_not_change():
    trial = Trial(case_of())
    assert MaxSensitivity()(trial, trial.explain(Recency())).eq(0).all()
    blind = trial_of(random_game(4), 4)
    blind.case.engine.with_shift = lambda shift: blind.case.engine
    assert MaxSensitivity()(blind, blind.explain(Ready(torch.zeros(1, 4)))).isnan().all()


def test_an_attribution_from_elsewhere_cannot_be_made_again():
    trial = Trial(case_of())
    elsewhere = trial.case.explain(InputXGradient())
    with pytest.raises(InputError, match=r"'input_x_gradient' is: make the attribution with trial.explain"):
        MaxSensitivity()(trial, elsewhere)
    assert trial.method_of(trial.explain("input_x_gradient")) == InputXGradient()


@pytest.mark.parametrize("options", [{"samples": 0}, {"noise": 0}, {"noise": float("nan")}])
def test_options_that_make_no_sense(options):
    with pytest.raises(InputError):
        MaxSensitivity(**options)


def test_engines_of_one_model_keep_their_shifts_apart():
    case = case_of()
    first, second = (case.engine.with_shift(shift_of(case, seed)) for seed in (0, 1))
    assert isinstance(first, Engine) and not first.original(case.example).equal(second.original(case.example))
    assert first.adapter.shifted(shift_of(case, 1)).embed(case.example).equal(second.embed(case.example))
