"""What a run has stored is measured as if it were explained again, number for number, and explains nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from builders import tiny
from runs_by_hand import Recency

import tokensal
from tokensal import Evaluation
from tokensal.case import Case
from tokensal.errors import InputError
from tokensal.methods import METHODS
from tokensal.methods.reading import read_method
from tokensal.options import Generation
from tokensal.questions.question import Question
from tokensal.runs.evaluating import StoredMethod

RECORDS = [
    {"id": "a", "prompt": "the 3rd of March, 1987", "gold": [[4, 5]], "kind": "day"},
    {"id": "b", "prompt": "the 5th of May, 1999"},
    {"id": "c", "prompt": "the 6th of July, 1989", "answer": "1989-07-06"},
]
METRICS = ("recall", "comprehensiveness")
METHODS_OF_RUN = ("gradient", "input_x_gradient")


def same(one: Evaluation, other: Evaluation) -> bool:
    """Whether two evaluations have the same numbers, bit for bit, about the same; seconds apart."""
    pairs = [(getattr(one, name), getattr(other, name)) for name in ("values", "curves")]
    numbers = all(torch.equal(*(table.nan_to_num(-9) for table in pair)) for pair in pairs)
    facts = ("methods", "metrics", "prompts", "failures", "facts")
    return numbers and all(getattr(one, name) == getattr(other, name) for name in facts)


@pytest.fixture(scope="module")
def dates():
    return tokensal.load("dates")


@pytest.fixture(scope="module")
def run(dates, tmp_path_factory):
    return tokensal.run(dates, RECORDS, tmp_path_factory.mktemp("run"), methods=METHODS_OF_RUN)


@pytest.fixture
def explained(monkeypatch):
    """The names of the methods that explain something from now on."""
    names, explain = [], Case.explain

    def counted(self, method):
        names.append(method.name)
        return explain(self, method)

    monkeypatch.setattr(Case, "explain", counted)
    return names


def test_a_run_is_measured_as_its_prompts_are_and_explains_nothing(dates, run, explained):
    wanted = tokensal.evaluate(dates, RECORDS, methods=METHODS_OF_RUN, metrics=METRICS)
    assert set(METHODS_OF_RUN) < set(explained)
    explained.clear()
    measured = tokensal.evaluate_run(run, model=dates, metrics=METRICS)
    assert same(measured, wanted)
    assert set(explained) == {"random", "recency", "attention"}
    assert measured.values[:, 0, 0].isnan().tolist() == [False, True, True]  # recall needs gold
    assert not measured.values[:, :, 1].isnan().any()


def test_metrics_that_explain_again_have_the_method(dates, run, explained):
    metric = tokensal.evaluation.sensitivity.MaxSensitivity(samples=1)
    wanted = tokensal.evaluate(dates, RECORDS[2:], methods=["gradient"], metrics=[metric])
    explained.clear()
    measured = tokensal.evaluate_run(run.path, metrics=[metric])  # loads the model of the run
    assert measured.values[2, 0] == wanted.values[0, 0]
    assert explained.count("gradient") == 3


@pytest.mark.parametrize("name", ["Llama", "T5"])
def test_what_was_asked_is_asked_again(name, tmp_path):
    model = tiny(name)
    options = {"methods": ["gradient"], "unit": "word", "sources": ["prompt"], "max_new_tokens": 6}
    records = ["one two three four", "five six"]
    run = tokensal.run(model, records, tmp_path / "run", **options)
    with pytest.raises(InputError, match="does not say how its model"):
        tokensal.evaluate_run(run)
    measured = tokensal.evaluate_run(run, model=model, metrics=["comprehensiveness"])
    for number, attribution in enumerate(run):
        prompt = measured.prompts[number]
        assert (prompt.text, prompt.targets) == (attribution.text, len(attribution.targets))
    case = Case.of(
        model,
        records[0],
        question=Question(unit="word", sources=["prompt"]),
        generation=Generation(max_new_tokens=6),
    )
    trial = tokensal.evaluation.metric.Trial(case)
    metric = tokensal.evaluation.METRICS["comprehensiveness"]()
    wanted = float(metric(trial, trial.explain("gradient")).nanmean())
    assert float(measured.values[0, 0, 0]) == pytest.approx(wanted, rel=1e-4)  # coalitions were scored beside others


@pytest.mark.parametrize(
    "asked",
    [
        {"targets": [1]},
        {"targets": [2], "unit": "word"},
        {"targets": "output"},
        {"contrast": "1988"},
        {"explain": "all"},
        {"explain": "prompt", "max_new_tokens": None},
    ],
)
def test_a_part_of_the_answer_and_a_contrast(tmp_path, asked):
    model, options = tiny("Llama"), {"max_new_tokens": 4, **asked}
    run = tokensal.run(model, ["one two three"], tmp_path / "run", methods=["gradient"], **options)
    [attribution] = run
    measured = tokensal.evaluate_run(run, model=model, metrics=["comprehensiveness"])
    assert measured.prompts[0].targets == len(attribution.targets) and not measured.values[0, 0].isnan().any()


def test_what_a_run_could_not_explain_is_told(dates, tmp_path):
    model = tiny("Llama")
    records = ["one two three", "one fail three", {"prompt": ""}]
    run = tokensal.run(model, records, tmp_path / "run", methods=["gradient", Recency()], max_new_tokens=3)
    measured = tokensal.evaluate_run(run, model=model, metrics=["comprehensiveness"])
    assert [each.id for each in measured.prompts] == ["0", "1"]
    assert [(each.prompt, measured.methods[each.method].name) for each in measured.failures] == [(1, "recency")]
    assert measured.facts["left out"].startswith("1 of 3")


@dataclass(frozen=True, kw_only=True)
class OfAUser(Recency):
    """A method that no table has."""

    name = "of_a_user"


def test_a_method_that_cannot_be_made_again_is_measured_all_the_same(tmp_path):
    model = tiny("Llama")
    run = tokensal.run(model, ["one two three"], tmp_path / "run", methods=[OfAUser()], max_new_tokens=3)
    measured = tokensal.evaluate_run(run, model=model, metrics=["comprehensiveness"])
    assert measured.methods[0].name == "of_a_user" and not measured.values[0, 0].isnan().any()
    with pytest.raises(InputError, match="cannot be made again here"):
        tokensal.evaluate_run(run, model=model, metrics=["max_sensitivity"])


def test_another_model_is_refused(run, dates):
    with pytest.raises(InputError, match="dtype is 'float32', but the dtype of dates is 'float64'"):
        tokensal.evaluate_run(run, model=tokensal.load("dates", dtype="float64"))
    with pytest.raises(InputError, match="revision is 'dates-"):
        tokensal.evaluate_run(run, model=tiny("Llama"))


def test_a_changed_tokenizer_is_refused(run, dates, monkeypatch):
    from tokensal.runs import evaluating

    monkeypatch.setattr(evaluating, "_answer", lambda stored: list(stored.targets[0].ids))
    with pytest.raises(InputError, match="'a' has other tokens now"):
        tokensal.evaluate_run(run, model=dates, metrics=["recall"])


def test_a_journal_goes_on(run, dates, tmp_path, explained):
    first = tokensal.evaluate_run(run, model=dates, metrics=["recall"], journal=tmp_path / "journal")
    explained.clear()
    again = tokensal.evaluate_run(run, model=dates, metrics=["recall"], journal=tmp_path / "journal")
    assert same(first, again) and not explained


def test_a_run_without_scores_is_refused(tmp_path):
    with pytest.raises(InputError):
        tokensal.run(tiny("Llama"), ["fail"], tmp_path / "run", methods=[Recency()], max_new_tokens=2)
    with pytest.raises(InputError, match="Nothing is explained"):
        tokensal.evaluate_run(tmp_path / "run", model=tiny("Llama"))


# Methods from their reprs


def test_every_method_is_read_from_its_repr():
    for method in METHODS.values():
        built = method()
        assert read_method(repr(built), METHODS.values()) == built
    nested = METHODS["smooth_grad"]()
    assert read_method(repr(nested), METHODS.values()) == nested
    changed = METHODS["occlusion"](replacement="mean", keep=("sink",))
    assert read_method(repr(changed), METHODS.values()) == changed


@pytest.mark.parametrize(
    "text",
    [
        "Nobody()",
        "Gradient(norm=print('x'))",
        "Gradient(norm='l3')",
        "Gradient(1)",
        "Gradient(",
        "__import__('os')",
        "3",
        "",
    ],
)
def test_what_is_no_method(text):
    assert read_method(text, METHODS.values()) is None


def test_a_stored_method_says_what_it_is():
    assert repr(StoredMethod("mine", "Mine(x=1)", True)) == "Mine(x=1)"
    assert replace(StoredMethod("mine", "Mine()", True), name="yours").name == "yours"


# The command


def test_the_command(command, run, tmp_path):
    code, shown, errors = command("evaluate", str(run.path), "--metrics", "recall", "-o", "e.json")
    assert code == 0, errors
    assert "input_x_gradient" in shown and Evaluation.load(tmp_path / "e.json").config["metrics"] == ["recall"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--methods", "lrp"), "methods cannot be named, too"),
        (("--suite", "copy", "--unit", "word"), "suite, unit cannot be named"),
        (("--dtype", "float64"), "dtype cannot be named"),
        (("--model", "dates", "--dtype", "float64"), "dtype is 'float32'"),
    ],
)
def test_what_the_command_refuses(command, run, arguments, message):
    code, shown, errors = command("evaluate", str(run.path), *arguments)
    assert code == 2 and message in errors and not shown
