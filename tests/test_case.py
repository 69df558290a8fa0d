"""A question checks itself, a case is asked many things at once, and an option is written once."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from dataclasses import dataclass, fields, replace

import pytest
import torch
from counting import CountingAdapter
from models import adapter

import tokensal
from tokensal import Case, Gradient, Occlusion, Question, attribute, compare, load
from tokensal.adapters import ModelAdapter
from tokensal.config import COMMANDS
from tokensal.errors import InputError
from tokensal.options import Generation, Loading, flattened, option, options_of

PROMPT, ANSWER = [5, 40, 41, 7, 40, 99, 12], [40, 3, 200, 40, 8]


# A question is refused before there is a model


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"explain": "anwser"}, "did you mean 'answer'"),
        ({"targets": ("wrod",)}, "did you mean 'word'"),
        ({"targets": ["text:Paris", "regex:("]}, "cannot be read"),
        ({"targets": []}, "no targets"),
        ({"unit": "wrod"}, "did you mean 'word'"),
        ({"sources": ["user", "genarated"]}, "did you mean 'generated'"),
        ({"sources": []}, "sources are empty"),
        ({"score": "logprop"}, "did you mean 'logprob'"),
        ({"score": 3}, "should be a name or a function"),
        ({"contrast": ""}, "contrast is empty"),
        ({"contrast": []}, "contrast is empty"),
        ({"alternatives": -1}, "from 0 to 1000"),
    ],
)
def test_a_question_is_refused_without_a_model(options, message):
    for refuse in (lambda: Question(**options), lambda: attribute(None, "x", **options)):
        with pytest.raises(InputError, match=message):
            refuse()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"continuation": ""}, "continuation is empty"),
        ({"continuation": []}, "continuation is empty"),
        ({"max_new_tokens": 0}, "from 1 to"),
        ({"continuation": "a", "max_new_tokens": 3}, "nothing to generate"),
        ({"continuation": "a", "generation": {"top_k": 3}}, "nothing to generate"),
    ],
)
def test_an_answer_is_refused_without_a_model(options, message):
    for refuse in (lambda: Generation(**options), lambda: compare(None, "x", **options)):
        with pytest.raises(InputError, match=message):
            refuse()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "flaot32"}, "did you mean 'float32'"),
        ({"device": "cpu", "device_map": "auto"}, "either a device or a device_map"),
    ],
)
def test_how_to_load_is_refused_before_anything_is_loaded(options, message, monkeypatch):
    monkeypatch.setattr("tokensal.adapters.loading._locate", lambda *_: pytest.fail("a model was located"))
    for refuse in (lambda: Loading(**options), lambda: load(**options)):
        with pytest.raises(InputError, match=message):
            refuse()


def test_a_question_loads_no_torch():
    question = "Question(explain='all', targets=['word', 'regex:a+'], contrast='b', unit='line', sources='user')"
    code = f"import sys; from tokensal import Question; {question}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_question_says_what_differs_from_the_defaults():
    assert Question(score="prob", alternatives=3, targets=["token"]).differences() == {}
    question = Question(targets=["text:the", re.compile("a+"), (3, 5)], unit="word", contrast=[1, 2], sources=("user",))
    assert question.differences() == {
        "targets": "text:the, a+, (3, 5)", "contrast": "[1, 2]", "unit": "word", "sources": "user",
    }  # fmt: skip


# A case


@pytest.fixture(scope="module")
def case():
    question = Question(unit="word", targets=["token", "output"], alternatives=2)
    return Case.of(adapter("Llama"), "The cat sat on the mat.", question=question,
                   generation=Generation(continuation=" The dog"))  # fmt: skip


def test_attribute_is_a_case_and_an_explanation(case):
    result = case.explain(Gradient(norm="l1"))
    same = attribute(adapter("Llama"), "The cat sat on the mat.", continuation=" The dog", method=Gradient(norm="l1"),
                     **{each.name: getattr(case.question, each.name) for each in fields(case.question)})  # fmt: skip
    assert result.scores.nan_to_num(7).equal(same.scores.nan_to_num(7))
    assert (result.sources, result.targets, result.alternatives) == (same.sources, same.targets, same.alternatives)
    assert replace(result.provenance, seconds=0) == replace(same.provenance, seconds=0)


@pytest.mark.parametrize("replacement", ["mask", "delete", "zero", "text: a"])
def test_scores_without_a_unit_are_what_occlusion_takes_away(case, replacement):
    units = len(case.example.units)
    drops = Occlusion(replacement=replacement, keep=())(case.example, case.engine)
    present = ~torch.eye(units, dtype=torch.bool)[1:]  # without the first word nothing predicts
    original = case.scores(torch.ones(1, units, dtype=torch.bool), replacement=replacement)
    torch.testing.assert_close(original[0], drops.values, rtol=1e-9, atol=1e-9)
    scores = case.scores(present, replacement=replacement)
    torch.testing.assert_close(original - scores, drops.matrix.T[1:], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("replacement", ["mask", "delete", "zero"])
def test_scores_do_not_depend_on_the_order_of_the_rows(case, replacement):
    units = len(case.example.units)
    present = torch.rand(12, units, generator=torch.Generator().manual_seed(0)) < 0.6
    present[:, 0] = True
    present[3] = True
    scores = case.scores(present, replacement=replacement)
    assert scores.shape == (12, len(case.example.groups)) and len(scores.unique(dim=0)) > 6
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        case.scores(present[order], replacement=replacement), scores[order], rtol=1e-9, atol=1e-9
    )
    for row in (0, 3, 11):
        alone = case.scores(present[row : row + 1], replacement=replacement)
        torch.testing.assert_close(alone, scores[row : row + 1], rtol=1e-9, atol=1e-9)


def test_scores_of_a_table_that_does_not_fit_are_refused(case):
    units = len(case.example.units)
    for table in (
        torch.ones(2, units + 1, dtype=torch.bool),
        torch.ones(units, dtype=torch.bool),
        torch.ones(2, units),
    ):
        with pytest.raises(InputError, match=re.escape(f"shape (R, {units})")):
            case.scores(table)
    with pytest.raises(InputError, match="nothing is left that could predict"):
        case.scores(torch.zeros(1, units, dtype=torch.bool))
    with pytest.raises(InputError, match="Unknown"):
        case.scores(torch.zeros(1, units, dtype=torch.bool), replacement="zeor")


def test_alternatives_cost_no_forward_of_their_own():
    model = CountingAdapter(adapter("Llama"))
    question = Question(alternatives=2)
    Case.of(model, PROMPT, question=question, generation=Generation(continuation=ANSWER)).explain("occlusion")
    forwards = model.forwards
    model = CountingAdapter(adapter("Llama"))
    Case.of(model, PROMPT, generation=Generation(continuation=ANSWER)).explain("occlusion")
    assert model.forwards == forwards


# An option is written once


@pytest.mark.parametrize("function", [attribute, compare])
def test_signature_and_documentation_come_from_the_groups(function):
    parameters = inspect.signature(function).parameters
    for group in (Question, Generation):
        for each in fields(group):
            assert parameters[each.name].default == each.default
            assert f"        {each.name}: {each.metadata['option'].help[:40]}" in function.__doc__
    assert not {"question", "answer"} & set(parameters)


@pytest.mark.parametrize("function", [attribute, compare, load, ModelAdapter.example])
def test_no_placeholder_is_left_in_the_documentation(function):
    assert "{" not in re.sub(r"\{\"(role|enable_thinking|tools)\".*?\}|\{module.*?\}", "", function.__doc__)
    assert max(map(len, function.__doc__.splitlines())) <= 120


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: attribute(None, "x", methd="gradient"), "method"),
        (lambda: attribute(None, "x", target="word"), "targets"),
        (lambda: compare(None, "x", metods=["gradient"]), "methods"),
        (lambda: load("x", dtyp="float32"), "dtype"),
    ],
)
def test_an_unknown_argument_is_an_error_that_offers_the_nearest(call, name):
    with pytest.raises(InputError, match=f"did you mean '{name}'"):
        call()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_help_and_a_kind(command):
    for each in options_of(*COMMANDS[command]).values():
        assert each.help[-1] in ".?" and each.kind in (str, int, float, bool, list, dict)


def test_a_group_is_an_argument_inside_and_keywords_outside():
    @dataclass(frozen=True, kw_only=True)
    class Size:
        width: int = option(3, "How wide.", python="In characters.")
        mark: str = option("#", "What is drawn.")

    @flattened(size=Size)
    def draw(count: int, *, mark: str = "-", size: Size) -> str:
        """Draw.

        Args:
            {size}
        """
        return count * (size.width * mark)

    assert draw(2, width=1) == "--" and draw(count=1) == "---"
    assert list(inspect.signature(draw).parameters) == ["count", "mark", "width"]
    assert "    width: How wide. In characters.\n" in draw.__doc__
    with pytest.raises(InputError, match="did you mean 'width'"):
        draw(1, widht=2)
    with pytest.raises(TypeError, match="count"):
        draw()
    assert tokensal.attribute.__module__ == "tokensal.api"


def test_a_result_tells_the_options_that_differ_from_the_defaults():
    case = Case.of(adapter("Llama"), PROMPT, generation=Generation(continuation=ANSWER[:1]))
    assert case.explain("gradient").provenance.options == {}
    assert case.explain(Gradient(norm="l1")).provenance.options == {"norm": "l1"}
    assert case.explain(Occlusion(replacement="zero", keep=())).provenance.options == {
        "replacement": "zero",
        "keep": "()",
    }
