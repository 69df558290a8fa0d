"""The engine on every decoder: gradients beside slow twins and finite differences, masks, chunks, groups."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import slow_twins
import torch
from models import ARCHITECTURES, VOCABULARY, adapter

from tokensal import Budget, Gradient, InputXGradient, attribute
from tokensal.engine import Engine
from tokensal.engine.reductions import dot
from tokensal.perturbations.inputs import PerturbedInputs
from tokensal.scores import SCORES
from tokensal.types import Group

PROMPT, CONTINUATION = [5, 40, 41, 7, 40, 99, 12], [40, 3, 200, 40, 8]
METHODS = {
    ("gradient", "l2"): Gradient(),
    ("gradient", "l1"): Gradient(norm="l1"),
    ("gradient", "max"): Gradient(norm="max"),
    ("input_x_gradient", None): InputXGradient(),
}
ATTENTION = ("sdpa", "eager")

ROUGH = {"Mixtral", "Qwen 3 MoE"}  # transformers rounds the softmax of a router to float32, whatever the model

every_architecture = pytest.mark.parametrize("name", ARCHITECTURES)
every_attention = pytest.mark.parametrize("attention", ATTENTION)


@cache
def tiny(name: str, attention: str = "sdpa"):
    return adapter(name, attention=attention)


def exact(model, method, score="logprob", **options):
    """Scores in float64: a result is stored in float32, so the engine is asked itself."""
    example = model.example(PROMPT, continuation=CONTINUATION)
    return METHODS[method](example, Engine(model, SCORES[score], **options))


@every_architecture
@every_attention
@pytest.mark.parametrize("method", METHODS)
def test_agrees_with_its_slow_twin(name, attention, method):
    model = tiny(name, attention)
    expected = slow_twins.attribution(model.model, PROMPT, CONTINUATION, method, "logprob")
    found = exact(model, method).matrix
    seen = ~expected.isnan()
    tolerance = 1e-8 if attention == "sdpa" else 1e-5  # transformers' eager attention rounds its softmax to float32
    torch.testing.assert_close(found[seen], expected[seen], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("score", SCORES)
def test_every_score_agrees_with_its_slow_twin(score):
    model = tiny("Llama")
    found = exact(model, ("input_x_gradient", None), score)
    expected = slow_twins.attribution(model.model, PROMPT, CONTINUATION, ("input_x_gradient", None), score)
    seen = ~expected.isnan()
    torch.testing.assert_close(found.matrix[seen], expected[seen], rtol=1e-8, atol=1e-10)
    ids = PROMPT + CONTINUATION
    values = [slow_twins.value(model.model, ids[: 7 + row], ids[7 + row], score) for row in range(5)]
    torch.testing.assert_close(found.values, torch.stack(values), rtol=1e-8, atol=1e-10)


@every_architecture
def test_the_future_is_blank_and_has_no_influence(name):
    model = tiny(name)
    result = attribute(model, PROMPT, continuation=CONTINUATION, method="input_x_gradient")
    expected = torch.tensor([[source < 7 + target for source in range(11)] for target in range(5)])
    assert result.visible.equal(expected)
    assert result.scores.isnan().equal(~expected)
    gradients = exact(model, ("gradient", "l1")).matrix
    assert (gradients[~expected] == 0).all()  # blank because it is nothing, not to hide something
    assert (gradients[expected] > 0).all()


@every_architecture
def test_gradients_are_finite_differences(name):
    model = tiny(name)
    example = model.example(PROMPT, continuation=CONTINUATION)
    engine = Engine(model)
    embeds = engine.embed(example)
    direction, step = torch.randn_like(embeds), 1e-4 if name in ROUGH else 1e-6
    ends = engine.scores(example, PerturbedInputs(torch.stack([embeds + step * direction, embeds - step * direction])))
    [found] = engine.gradients(
        example, PerturbedInputs(embeds[None]), lambda activations, gradients, rows: (gradients[0] * direction).sum(-1)
    )
    slopes = (ends[0] - ends[1]) / (2 * step)
    assert slopes.abs().min() > 1e-3  # nothing agrees by being zero
    tolerance = 1e-2 if name in ROUGH else 1e-6
    torch.testing.assert_close(found.reduced[0].sum(-1), slopes, rtol=tolerance, atol=tolerance)


@every_architecture
@pytest.mark.parametrize("rows", [1, 25, 40])
def test_chunks_change_no_number(name, rows):
    model = tiny(name)
    whole = exact(model, ("input_x_gradient", None), budget=Budget(rows=10**6))
    pieces = exact(model, ("input_x_gradient", None), budget=Budget(rows=rows))
    torch.testing.assert_close(pieces.matrix, whole.matrix, rtol=1e-10, atol=1e-12)


@every_architecture
def test_perturbations_together_equal_perturbations_apart(name):
    model = tiny(name)
    example = model.example(PROMPT, continuation=CONTINUATION)
    engine = Engine(model, budget=Budget(rows=10**6))
    embeds = engine.embed(example)
    perturbed = PerturbedInputs(torch.stack([embeds, 0.5 * embeds, embeds + torch.randn_like(embeds)]))
    [together] = engine.gradients(example, perturbed, dot)
    for row in range(3):
        [apart] = engine.gradients(example, perturbed.rows(torch.tensor([row]), 0), dot)
        torch.testing.assert_close(together.reduced[row], apart.reduced[0], rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(together.values[row], apart.values[0], rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(engine.scores(example, perturbed), together.values, rtol=1e-9, atol=1e-11)


@every_architecture
def test_a_masked_source_has_no_influence(name):
    model = tiny(name)
    example = model.example(PROMPT, continuation=CONTINUATION)
    engine = Engine(model)
    keep = torch.ones(1, len(example.sources), dtype=torch.bool)
    keep[0, 3] = False
    embeds = engine.embed(example)[None]
    [found] = engine.gradients(example, PerturbedInputs(embeds, keep), dot)
    assert found.reduced[0, :, 3].abs().max() == 0
    altered = embeds.clone()
    altered[0, 3] = 7.0
    torch.testing.assert_close(
        engine.scores(example, PerturbedInputs(altered, keep)), found.values, rtol=1e-10, atol=1e-12
    )


@every_architecture
def test_a_group_is_the_sum_of_its_targets(name):
    model = tiny(name)
    example = model.example(PROMPT, continuation=CONTINUATION)
    engine = Engine(model)
    perturbed = PerturbedInputs(engine.embed(example)[None])
    [each] = engine.gradients(example, perturbed, dot)
    groups = torch.tensor([[1.0, 1, 0, 0, 0], [0, 0, 1, -1, 1]])
    asked = replace(example, groups=(Group((0, 1)), Group((2, 4), (3,))))
    [select_targets] = engine.gradients(asked, perturbed, dot)
    tolerance = 1e-5 if name in ROUGH else 1e-9
    for found, parts in ((select_targets.reduced, each.reduced), (select_targets.values, each.values)):
        torch.testing.assert_close(found[0], groups.double() @ parts[0], rtol=tolerance, atol=tolerance)


@every_architecture
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@every_attention
def test_lower_precision_is_near(name, dtype, attention):
    rough = exact(adapter(name, dtype=dtype, attention=attention), ("gradient", "l2"), "logit")
    fine = exact(tiny(name), ("gradient", "l2"), "logit")
    error = (rough.matrix - fine.matrix).abs().sum() / fine.matrix.abs().sum()
    assert rough.matrix.dtype == torch.float32
    assert error < (1e-4 if dtype == torch.float32 else 0.15)


def test_repeated_words_stay_apart():
    result = attribute(tiny("Llama"), PROMPT, continuation=CONTINUATION, method="input_x_gradient")
    same = [index for index, token in enumerate(result.sources) if token.ids == (40,)]
    assert same == [1, 4, 7, 10]
    assert len({result.scores[4, index].item() for index in same}) == len(same)


def test_the_vocabulary_is_large_enough_for_the_ids():
    assert max(PROMPT + CONTINUATION) < VOCABULARY
