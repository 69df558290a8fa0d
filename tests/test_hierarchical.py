"""From coarse to fine: what is opened, what the scores say then, and how many forwards they take."""

from __future__ import annotations

import shlex
from itertools import pairwise, permutations

import pytest
import torch
from builders import tiny
from hand_made import HandMade, random_game

import tokensal
from tokensal import (
    LIME,
    RISE,
    ContextCite,
    Hierarchical,
    KernelSHAP,
    Occlusion,
    OwenValues,
    ShapleySampling,
    ShapleyValues,
)
from tokensal.cli.flags import _table
from tokensal.errors import InputError
from tokensal.methods import build, hierarchical
from tokensal.methods.hierarchical import PassageGame, descend
from tokensal.render.layout import lay_out
from tokensal.results.reproduction import recipe_of
from tokensal.scores import logit

TEXTS = [" cat", " sat", ".", " Dogs", " ran", ".", " No", "!", " Birds", " sang", " well", "."]
SENTENCES = [(0, 1, 2), (3, 4, 5), (6, 7), (8, 9, 10, 11)]  # "The" is kept
WEIGHTS = torch.tensor([1, 2, 0, -5, 1, 0, 0.2, 0.2, 0.5, 0.5, 0.5, 0.5], dtype=torch.float64)
KEEP = ("sink", "special", "template")
EXACT = {  # of an additive score
    "occlusion": Occlusion(keep=KEEP),
    "shapley_values": ShapleyValues(),
    "shapley_sampling": ShapleySampling(samples=4),
    "kernel_shap": KernelSHAP(samples=2**12),
    "owen_values": OwenValues(),
    "lime": LIME(samples=128, regularization=0),
    "context_cite": ContextCite(samples=128, regularization=0),
}
EVERY = {**EXACT, "rise": RISE(samples=256, window=2)}


class Scored(HandMade):
    score = staticmethod(logit)  # as it is, also for context_cite


def scored(value, method, seen=(12,), **options):
    engine = Scored(value, 12, seen=seen, texts=TEXTS)
    return Hierarchical(method=method, **options)(engine.example(), engine), engine


def additive(*weights):
    return lambda present: present @ torch.stack(weights).T


def close(actual, expected, tolerance=1e-8):
    torch.testing.assert_close(actual, torch.as_tensor(expected, dtype=actual.dtype), rtol=tolerance, atol=tolerance)


# What the scores say


@pytest.mark.parametrize("method", EXACT.values(), ids=EXACT)
def test_an_additive_score_is_as_of_the_method_alone_where_passages_were_opened(method):
    scores, _ = scored(additive(WEIGHTS), method, opened=2)
    expected = WEIGHTS.clone()  # the second sentence, of -4, and the first, of 3, are opened
    expected[6:8], expected[8:] = 0.4 / 2, 2.0 / 4
    close(scores.matrix[0, 1:], expected)
    close(scores.diagnostics["unopened"].values, [2.4 / (1 + 2 + 5 + 1 + 2.4)])
    assert not scores.scored[0] and scores.scored[1:].all()


@pytest.mark.parametrize("method", EVERY.values(), ids=EVERY)
def test_with_everything_open_it_is_the_method_alone(method):
    value = random_game(12, 2, seed=3, seen=(12, 7))
    engine = Scored(value, 12, seen=(12, 7), texts=TEXTS)
    alone = method(engine.example(), engine)
    scores, _ = scored(value, method, seen=(12, 7), opened=99)
    close(scores.matrix, alone.matrix, 1e-12)
    assert scores.scored.equal(alone.scored) and scores.diagnostics["unopened"].values.tolist() == [0, 0]
    for name in alone.diagnostics.keys() - {"coalitions"}:
        close(scores.diagnostics[name].values, alone.diagnostics[name].values, 1e-12)


@pytest.mark.parametrize("name", ["Llama", "T5"])
def test_of_a_model_and_words_it_is_the_method_alone_with_everything_open(name):
    asked = {"continuation": " on the mat.", "unit": "word"}
    text = "The cat sat. The dog saw it!\nWho?"
    for method in (Occlusion(keep=KEEP), KernelSHAP(samples=128)):
        around, alone = (
            tokensal.attribute(tiny(name), text, method=each, **asked)
            for each in (Hierarchical(method=method, opened=99), method)
        )
        torch.testing.assert_close(around.scores, alone.scores, equal_nan=True, rtol=1e-5, atol=1e-6)
        assert around.visible.equal(alone.visible)


def mean_contributions(value, parts, target):
    """Shapley values by the definition, in plain Python: over all orders."""
    totals, orders = dict.fromkeys(parts, 0.0), list(permutations(parts))
    for order in orders:
        present, before = torch.zeros(1, 12, dtype=torch.float64), None
        for part in (None, *order):
            present[0, list(part or ())] = 1
            after = value(present)[0, target].item()
            if part is not None:
                totals[part] += (after - before) / len(orders)
            before = after
    return totals


def test_each_level_is_what_a_slow_twin_says():
    """Two targets, which open different sentences; passages that were not opened come and go as one."""
    seen = (12, 7)
    value = random_game(12, 2, seed=5, seen=seen)
    largest = set()
    for target in (0, 1):
        totals = mean_contributions(value, SENTENCES, target)
        largest.add(max(totals, key=lambda part, totals=totals: abs(totals[part])))
    parts = [part for each in SENTENCES for part in (zip(each) if each in largest else [each])]
    scores, _ = scored(value, ShapleyValues(), seen=seen, opened=1)
    assert len(largest) == 2 and len(parts) <= 8
    for target in (0, 1):
        expected = torch.zeros(12)
        for part, total in mean_contributions(value, parts, target).items():
            expected[list(part)] = total / len(part)
        close(scores.matrix[target, 1:], expected, 1e-6)


@pytest.mark.parametrize("method", [ShapleyValues(), KernelSHAP(), ShapleySampling(samples=8), OwenValues()])
def test_what_is_complete_stays_complete(method):
    value = random_game(12, 2, seed=1, seen=(12, 5))
    scores, _ = scored(value, method, seen=(12, 5), opened=1)
    full, empty = (value(torch.full((1, 12), each, dtype=torch.float64))[0] for each in (1, 0))
    close(scores.matrix.sum(1), full - empty)
    close(scores.diagnostics["total"].values, full - empty)
    assert scores.diagnostics["convergence_delta"].values.abs().max() < 1e-8


def test_owen_values_of_parts_add_up_to_the_value_of_their_passage():
    value = random_game(12, seed=2)
    method = OwenValues(levels=("sentence",))
    scores, engine = scored(value, method, opened=1, levels="sentence")
    coarse, _ = method.estimate(PassageGame.of(method.game(engine.example(), engine), SENTENCES))
    close(torch.stack([scores.matrix[0, 1:][list(part)].sum() for part in SENTENCES]), coarse[0])


def test_the_error_of_a_passage_is_shared_as_its_score_is():
    value = random_game(12, seed=4)
    method = ShapleySampling(samples=8, tolerance=0)
    scores, engine = scored(value, method, opened=1)
    game = method.game(engine.example(), engine)
    errors, matrix = scores.diagnostics["standard_error"].values[0, 1:], scores.matrix[0, 1:]
    unopened = [part for part in SENTENCES if len(set(matrix[list(part)].tolist())) == 1]
    parts = [part for each in SENTENCES for part in ([each] if each in unopened else zip(each))]
    again, diagnostics = method.estimate(PassageGame.of(game, parts))
    assert len(unopened) == 3
    for column, part in enumerate(parts):
        close(matrix[list(part)], again[0, column].expand(len(part)) / len(part))
        close(errors[list(part)], diagnostics["standard_error"].values[0, column].expand(len(part)) / len(part))


# What is opened


def test_only_parts_of_opened_passages_are_opened_further():
    levels = [(0, 1, 2, 3), (4, 5), (6, 7, 8), (9, 10, 11)]  # of which the first two, and the last two, are one passage
    weights = torch.tensor([5, 0, 0, 0, -4, 0, 1, 1, 1, 2, 2, 1], dtype=torch.float64)
    engine = Scored(additive(weights), 12, texts=[" a"] * 12)
    game = Occlusion(keep=KEEP).game(engine.example(), engine)
    numbers = [[number for number, part in enumerate(levels) for _ in part], [0] * 6 + [1] * 6]

    def by_number(monkeypatched, level):
        return [0, *numbers[0 if level == "sentence" else 1]]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hierarchical, "passages_of_units", by_number)
        scores, diagnostics = descend(game, ("message", "sentence"), 1, Occlusion().estimate)
    # the second half, of 8, is opened before the first, of 1; in it the last three, of 5, before 3
    close(scores[0], [1 / 6] * 6 + [1] * 3 + [2, 2, 1])
    assert diagnostics["coalitions"].values.tolist() == [2 + 2 + 3] and len(engine.listed) == 7


def test_what_makes_no_difference_is_not_opened():
    scores, engine = scored(additive(torch.zeros(12, dtype=torch.float64)), "occlusion", opened=4)
    assert scores.diagnostics["coalitions"].values.tolist() == [4] and len(engine.listed) == 4
    assert scores.diagnostics["unopened"].values.tolist() == [0]


def test_a_passage_that_a_target_does_not_see_is_not_opened_for_it():
    weights = torch.zeros(12, dtype=torch.float64)
    weights[8] = 9
    scores, _ = scored(lambda present: (present @ weights)[:, None], Occlusion(keep=KEEP), seen=(8,), opened=4)
    assert scores.diagnostics["coalitions"].values.tolist() == [4]


def test_a_single_unit_and_a_single_passage():
    engine = Scored(lambda present: 3 * present, 1)
    assert Hierarchical()(engine.example(), engine).matrix.tolist() == [[0, 3]]
    engine = Scored(additive(WEIGHTS[:3]), 3)
    scores = Hierarchical(method=Occlusion(keep=KEEP))(engine.example(), engine)
    assert scores.matrix.tolist() == [[0, 1, 2, 0]] and len(engine.listed) == 3  # no forward for the passage


def test_what_is_kept_inside_a_passage_stays():
    adapted, text = tiny(), "The cat sat. The dog saw it."
    result = tokensal.attribute(adapted, text, continuation=" on", unit="word", method="hierarchical", sources="prompt")
    assert result.scores[result.visible].isfinite().all()


# What it costs


@pytest.mark.parametrize(
    ("method", "count"),
    [
        ("occlusion", 4 + 3),  # sentences, and the units of one
        (ShapleyValues(), 2**4 + 2**6 - 2**4),  # the coalitions of sentences are among those of the parts
        (KernelSHAP(), 2**4 + 2**6 - 2**4),
        (OwenValues(levels=()), 2**4 + 2**6 - 2**4),
    ],
    ids=["occlusion", "shapley_values", "kernel_shap", "owen_values"],
)
def test_no_coalition_is_scored_twice(method, count):
    scores, engine = scored(additive(WEIGHTS), method, opened=1)
    listed = {tuple(row.tolist()) for row in engine.listed}
    complete = (True,) * 12 in listed
    assert len(listed) == len(engine.listed) and not complete  # the score as it is is known
    assert len(listed) == count - (method != "occlusion")
    assert scores.diagnostics["coalitions"].values.tolist() == [count]


@pytest.mark.parametrize(
    "method", [LIME(samples=24), ContextCite(samples=24), RISE(samples=24), KernelSHAP(samples=60)]
)
def test_samples_are_of_each_level(method):
    _, engine = scored(random_game(12, seed=1), method, opened=1)
    assert len(engine.listed) <= 2 * method.samples
    assert engine.reports and all(done <= total for done, total in engine.reports)


def test_twenty_passages_take_a_fifth_of_the_forwards_of_leave_one_out():
    texts = 20 * [" The", " cat", " sat", ".", " The", " dog", " saw", " it", ".\n"]
    weights = torch.zeros(len(texts), dtype=torch.float64)
    weights[[50, 51, 120]] = torch.tensor([5.0, 1, 2], dtype=torch.float64)
    alone, around = (Scored(additive(weights), len(texts), texts=texts) for _ in range(2))
    expected = Occlusion(keep=KEEP)(alone.example(), alone).matrix[0]
    scores = Hierarchical(method=Occlusion(keep=KEEP), opened=2)(around.example(), around).matrix[0]
    # passages, the two sentences in each of two, and the words of one sentence in either
    assert len(alone.listed) == 180 and len(around.listed) == 20 + 2 * 2 + 5 + 4 <= 180 / 5
    assert scores.topk(3).indices.tolist() == expected.topk(3).indices.tolist() == [51, 121, 52]
    close(scores[[51, 52, 121]], [5, 1, 2])


# Options


def test_options_of_the_method_stand_beside_its_name():
    method = Hierarchical(method="leave_one_out", options={"window": 2})
    assert method.method == "occlusion" and method.base == Occlusion(window=2)
    assert Hierarchical(method=LIME).base == LIME() and Hierarchical(method="lime").quantity == LIME.quantity
    assert repr(Hierarchical(method="lime", options={})) == repr(Hierarchical(method="lime"))
    assert Hierarchical().signed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": "sentense"}, "did you mean 'sentence'"),
        ({"levels": ()}, "no level"),
        ({"opened": 0}, "1 or more"),
        ({"method": "lrp"}, "'lrp' does not: choose one of occlusion, .*rise"),
        ({"method": "extremal_perturbation"}, "does not: choose one of"),
        ({"method": "lyme"}, "did you mean 'lime'"),
        ({"method": "lime", "options": {"sampels": 3}}, "did you mean 'samples'"),
        ({"method": "lime", "options": "samples=3"}, "should be a table"),
        ({"method": LIME(), "options": {"samples": 24}}, "give them to that itself"),
        ({"method": 7}, "A method should be a name"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(InputError, match=message):
        Hierarchical(**options)


def test_a_result_is_made_again_by_the_command_and_the_lines_that_it_tells():
    method = Hierarchical(method="lime", options={"samples": 24}, levels="message")
    result = tokensal.attribute("dates", "3 May 1999", method=method)
    recipe = recipe_of(result)
    words = shlex.split(recipe.command)
    pairs = [word for flag, word in pairwise(words) if flag == "--option"]
    assert build("hierarchical", _table(pairs)) == method
    assert "tokensal.Hierarchical(method='lime', options={'samples': 24}, levels=('message',))" in recipe.python


def test_the_caption_says_how_much_was_not_opened():
    text = "The cat sat. The dog saw it. Then the cat sat."
    result = tokensal.attribute(tiny(), text, continuation=" on", unit="word", method=Hierarchical(opened=1))
    assert 0 < result.diagnostics["unopened"].values.item() < 1
    assert "of a target's credit, at most" in dict(lay_out(result).caption)["not opened"]


@pytest.mark.parametrize("replacement", ["mask", "delete"])
def test_a_passage_that_is_all_that_a_target_sees_is_opened_at_once(replacement):
    """Without a token that is kept, nothing would be left to predict from."""
    method = Hierarchical(options={"replacement": replacement})
    result = tokensal.attribute(tiny("Llama"), "The cat sat. The dog saw", continuation=" the cat", method=method)
    assert result.scores[result.visible].isfinite().all() and (result.diagnostics["unopened"].values < 1).all()
