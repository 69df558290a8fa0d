"""A scorecard: stored with the result, about the sum of all targets, and told in one line."""

from __future__ import annotations

import math

import pytest
import torch
from models import adapter

import tokensal
from tokensal.evaluation.curves import Deletion, Insertion
from tokensal.evaluation.metric import Trial
from tokensal.evaluation.scorecard import STEPS, explain_and_measure
from tokensal.methods import build
from tokensal.options import Generation
from tokensal.questions.question import Question
from tokensal.render.layout import lay_out
from tokensal.results.reproduction import recipe_of

PROMPT, ANSWER = "The cat sat on the mat. The dog", " sat on the log"
NAMES = ("deletion", "insertion", "better_than_chance", "random_target")


def case(targets="token", **options):
    return tokensal.Case.of(
        adapter("Llama"),
        PROMPT,
        generation=Generation(continuation=ANSWER),
        question=Question(targets=targets),
        **options,
    )


def test_it_is_measured_on_the_sum_of_all_targets():
    checked = explain_and_measure(case(), build("input_x_gradient"))
    trial = Trial(case("output"))
    whole = trial.explain("input_x_gradient")
    torch.testing.assert_close(whole.scores, checked.scores.nansum(0, keepdim=True))  # the gradient of a sum
    for name, metric in (("deletion", Deletion(steps=STEPS)), ("insertion", Insertion(steps=STEPS))):
        values = checked.diagnostics[name].values
        assert values.tolist() == pytest.approx([float(metric(trial, whole))] * len(checked), rel=1e-5)


def test_the_scores_are_those_without_it():
    plain, checked = case().explain("gradient"), explain_and_measure(case(), build("gradient"))
    torch.testing.assert_close(plain.scores, checked.scores, equal_nan=True)
    assert {*NAMES} == {*checked.diagnostics} - {*plain.diagnostics}


class Perfect:
    """The drop of the summed score without each unit, or its negative."""

    name, summary, paper, signed, sign = "perfect", "", "", True, 1

    def __call__(self, example, engine):
        scores = tokensal.Occlusion()(example, engine)
        return tokensal.Scores(scores.matrix.sum(0).expand_as(scores.matrix) * self.sign, scores.values)


class Reversed(Perfect):
    name, sign = "reversed", -1


def test_better_than_chance_tells_a_map_from_its_reverse():
    better = [
        float(explain_and_measure(case(), method).diagnostics["better_than_chance"].values[0])
        for method in (Perfect(), Reversed())
    ]
    assert better[0] > 0.8 and better[1] < 0.2


def test_attribute_and_compare_store_it_where_it_is_asked_for():
    model = adapter("Llama")
    result = tokensal.attribute(model, PROMPT, continuation=ANSWER, method="lrp", check=True)
    assert all(result.diagnostics[name].values.shape == (len(result),) for name in NAMES)
    both = tokensal.compare(model, PROMPT, continuation=ANSWER, methods=["lrp", "gradient"], check=True)
    assert all(name in each.diagnostics for each in both.attributions for name in NAMES)
    assert not {*NAMES} & {*tokensal.attribute(model, PROMPT, continuation=ANSWER).diagnostics}


def test_how_it_is_made_again_asks_for_it_too():
    result = tokensal.attribute("dates", "3 May 1999", method="gradient", check=True)
    recipe = recipe_of(result)
    assert recipe.command.endswith("--check --method gradient") and "check=True" in recipe.python
    assert "check" not in recipe_of(tokensal.attribute("dates", "3 May 1999", method="gradient")).python


def test_it_is_told_in_one_line_of_the_caption():
    caption = dict(lay_out(explain_and_measure(case(), build("lrp"))).caption)
    assert caption["check"].startswith("deletion ") and "of random rankings; " in caption["check"]
    assert not any(name.replace("_", " ") in caption for name in NAMES)


def test_a_score_that_does_not_change_has_no_area():
    flat = tokensal.Case.of(
        adapter("Llama"), PROMPT, generation=Generation(continuation=ANSWER), question=Question(score=constant)
    )
    checked = explain_and_measure(flat, build("occlusion"))
    assert all(math.isnan(value) for name in NAMES for value in checked.diagnostics[name].values.tolist())
    assert "check" in dict(lay_out(checked).caption)


def constant(logits):
    return logits[..., 0] * 0


def test_a_contrast_is_measured_as_a_difference():
    contrasted = tokensal.Case.of(
        adapter("Llama"), PROMPT, generation=Generation(continuation=" sat"), question=Question(contrast=" saw")
    )
    checked = explain_and_measure(contrasted, build("input_x_gradient"))
    assert checked.diagnostics["deletion"].values.isfinite().all()
