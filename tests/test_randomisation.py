"""Sanity checks: weights are drawn and put back exactly, and maps are compared as they should be."""

from __future__ import annotations

import math

import pytest
import torch
from models import ARCHITECTURES, ENCODER_DECODERS, adapter, tokenizer
from scipy.stats import spearmanr
from state import assert_unchanged, user_state

import tokensal
from tokensal.adapters.randomised import EMBEDDINGS, HEAD, parts_of, randomised
from tokensal.errors import InputError, UnsupportedModel
from tokensal.evaluation.metric import Trial
from tokensal.evaluation.randomisation import Randomisation, RandomTarget
from tokensal.evaluation.similarity import similarity, spearman
from tokensal.methods import build
from tokensal.options import Generation

PROMPT = "The cat sat on the mat. The dog"


def trial(name="Llama", seed=0, **options):
    case = tokensal.Case.of(adapter(name, **options), PROMPT, generation=Generation(continuation=" sat on the log"))
    return Trial(case, seed=seed)


@pytest.mark.parametrize("name", [*ARCHITECTURES, *ENCODER_DECODERS])
def test_parts_are_all_parameters_once_from_the_top_down(name):
    model = adapter(name).model
    parts = parts_of(model)
    members = [id(parameter) for parameters in parts.values() for parameter in parameters]
    assert sorted(members) == sorted({id(parameter) for parameter in model.parameters()})
    names = list(parts)
    assert names[-1] == EMBEDDINGS and names[0] in (HEAD, next(each for each in names if each != HEAD))
    numbers = [int(each.split()[1]) for each in names if each.startswith("layer")]
    assert numbers == sorted(numbers, reverse=True) and numbers[-1] == 0
    assert model.get_input_embeddings().weight in {*parts[EMBEDDINGS]}


def test_a_head_that_is_the_table_of_embeddings_is_drawn_with_these():
    tied, untied = adapter("T5").model, adapter("FLAN-T5").model
    assert tied.lm_head.weight in {*parts_of(tied)[EMBEDDINGS]}
    assert untied.lm_head.weight in {*parts_of(untied)[HEAD]}


@pytest.mark.parametrize("name", ["Llama", "T5"])
@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_weights_are_put_back_to_the_last_bit(name, error):
    model = adapter(name).model
    before = user_state(model, tokenizer())
    tensors = [parameter.data_ptr() for parameter in model.parameters()]
    try:
        with randomised(model, list(parts_of(model)), 0):
            assert not torch.equal(model.get_input_embeddings().weight, before["weights"][0])
            if error is not None:
                raise error
    except (RuntimeError, KeyboardInterrupt):
        assert error is not None
    assert_unchanged(before, user_state(model, tokenizer()))
    assert tensors == [parameter.data_ptr() for parameter in model.parameters()]


def test_a_part_is_drawn_alike_whatever_others_are_and_keeps_its_scale():
    model = adapter().model
    weight = parts_of(model)["layer 1"][0]
    own = weight.clone()
    with randomised(model, ["layer 1"], 0):
        alone = weight.clone()
    with randomised(model, ["layer 2", "layer 1"], 0):
        assert torch.equal(weight, alone)
    with randomised(model, ["layer 1"], 1):
        assert not torch.equal(weight, alone)
    with randomised(model, ["layer 2"], 0):
        assert torch.equal(weight, own)
    assert alone.std().item() == pytest.approx(own.std().item(), rel=0.1) and not torch.equal(alone, own)
    assert abs(torch.corrcoef(torch.stack([alone.flatten(), own.flatten()]))[0, 1]) < 0.2


def test_what_cannot_be_drawn_is_refused():
    model = adapter().model
    with pytest.raises(InputError, match="'layer 9'"), randomised(model, ["layer 9"], 0):
        pass
    model.model.layers[0].mlp.up_proj.weight = torch.nn.Parameter(torch.empty(48, 32, device="meta"))
    with pytest.raises(UnsupportedModel, match="layer 0 are offloaded"), randomised(model, ["layer 0"], 0):
        pass
    quantised = torch.nn.Parameter(torch.zeros(48, 32, dtype=torch.int8), requires_grad=False)
    model.model.layers[0].mlp.up_proj.weight = quantised
    with pytest.raises(UnsupportedModel, match="layer 0 are quantised"), randomised(model, ["layer 0"], 0):
        pass


def test_maps_are_compared_by_ranks_and_by_the_best_tenth():
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 3, 25, generator=generator)
    first[0, 3:6] = 0.5  # equal ones
    first[1, 4] = second[1, 7] = math.nan
    alike = similarity(first, second)
    for row in range(3):
        kept = ~(first[row].isnan() | second[row].isnan())
        one, other = first[row][kept].numpy(), second[row][kept].numpy()
        assert float(alike.signed[row]) == pytest.approx(spearmanr(one, other).statistic)
        assert float(alike.magnitudes[row]) == pytest.approx(spearmanr(abs(one), abs(other)).statistic)
    best = [{*row.abs().topk(3).indices.tolist()} for row in (first[2], second[2])]
    assert float(alike.overlap[2]) == pytest.approx(len(best[0] & best[1]) / 3)
    same = similarity(first, first)
    assert same.magnitudes.tolist() == pytest.approx([1, 1, 1]) and same.overlap[2] == 1


def test_a_map_that_ranks_nothing_is_like_no_other():
    flat, map_ = torch.zeros(1, 5), torch.arange(5.0)[None]
    assert math.isnan(float(similarity(flat, map_).magnitudes)) and math.isnan(spearman(map_[0, :2], map_[0, :2]))
    # of equal scores, each is among the best by chance
    assert float(similarity(flat, map_).overlap) == pytest.approx(1 / 5)


class Text:
    """A map of the text alone: the later, the better."""

    name, summary, paper, signed = "text", "", "", False

    def __call__(self, example, engine):
        scores = torch.arange(1.0, len(example.units) + 1).expand(len(example.groups), -1)
        return tokensal.Scores(scores, engine.original(example))


@pytest.mark.parametrize("metric", [Randomisation(), Randomisation(order="independent", steps=None), RandomTarget()])
def test_a_map_of_the_text_alone_fails_both_tests(metric):
    one = trial()
    value = metric(one, one.explain(Text()))
    assert value.tolist() == pytest.approx([1.0] * len(one.case.example.groups))


def test_a_gradient_changes_with_the_weights_and_with_the_target():
    one, method = trial(), build("input_x_gradient")
    before = one.explain(method)
    steps = list(Randomisation(steps=None).similarities(one, before))
    assert [step.name for step in steps] == list(parts_of(one.case.engine.adapter.model))
    assert float(steps[-1].similarity.magnitudes.mean()) < 0.6
    assert float(RandomTarget(draws=4)(one, before).mean()) < 0.9
    torch.testing.assert_close(one.case.explain(method).scores, before.scores, equal_nan=True)  # nothing random is left


def test_steps_are_those_of_a_loop_over_the_parts():
    one, method = trial(), build("gradient")
    before, model = one.explain(method), one.case.engine.adapter.model
    names = list(parts_of(model))
    players = one.game().players
    for order in ("cascading", "independent"):
        steps = list(Randomisation(order=order, steps=2).similarities(one, before))
        assert [step.name for step in steps] == [names[0], names[-1]]
        for step, random in zip(steps, (names[:1], names if order == "cascading" else names[-1:]), strict=True):
            with randomised(model, random, 0):
                after = tokensal.attribute(
                    one.case.engine.adapter, PROMPT, continuation=" sat on the log", method=method
                )
            expected = similarity(before.scores[:, players], after.scores[:, players])
            assert torch.equal(step.similarity.magnitudes, expected.magnitudes)
            assert torch.equal(step.similarity.signed, expected.signed)


def test_random_targets_differ_from_the_explained_ones_and_from_draw_to_draw():
    one, explained = trial(), []

    class Recording(Text):
        def __call__(self, example, engine):
            explained.append([token.id for token in example.targets])
            return super().__call__(example, engine)

    attribution = one.explain(Recording())
    explained.clear()
    RandomTarget(draws=3)(one, attribution)
    own = [token.id for token in one.case.example.targets]
    assert len({tuple(each) for each in explained}) == 3
    assert all(new != old for each in explained for new, old in zip(each, own, strict=True))
    assert all(0 <= new < 320 for each in explained for new in each)


def test_options_are_checked():
    for options in ({"order": "upward"}, {"steps": 0}):
        with pytest.raises(InputError):
            Randomisation(**options)
    with pytest.raises(InputError):
        RandomTarget(draws=0)
