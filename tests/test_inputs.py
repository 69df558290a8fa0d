"""What callers pass is read as what it plainly means, or refused in one sentence before a model is loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from builders import tiny

import tokensal
from tokensal import Case, Generation, Question, adapt, attribute, compare, load
from tokensal.adapters.prompting import read_prompt
from tokensal.config import Chat
from tokensal.errors import InputError
from tokensal.methods import build
from tokensal.options import MOST_NEW_TOKENS, Loading
from tokensal.questions.selection import parse_targets
from tokensal.values import read_text_or_ids

IDS = [5, 40, 41]


def sentence(error: pytest.ExceptionInfo[InputError]) -> str:
    """What an error says: one line that names what came and ends as a sentence."""
    said = str(error.value)
    assert "\n" not in said and said[-1] in ".?" and len(said) < 400
    return said


# Text or token ids: prompts, continuations, contrasts


@pytest.mark.parametrize(
    "ids",
    [
        IDS, tuple(IDS), iter(IDS), [IDS], np.array(IDS), np.array([IDS]), list(np.array(IDS)), torch.tensor(IDS),
        torch.tensor([IDS]), list(torch.tensor(IDS)), {"input_ids": IDS}, {"input_ids": torch.tensor([IDS])},
    ],
    ids=lambda ids: type(ids).__name__,
)  # fmt: skip
def test_token_ids_of_every_kind(ids):
    assert read_text_or_ids("prompt", ids) == IDS


def test_a_range_and_what_a_tokenizer_returns():
    coder = tiny().tokenizer
    assert read_text_or_ids("prompt", range(3)) == [0, 1, 2]
    for options in ({}, {"return_tensors": "pt"}, {"return_tensors": "np"}):
        assert read_prompt(coder, coder("The cat", **options), None) == read_prompt(coder, "The cat", None)


NO_TEXT = [b"The", ["12"], [1.7], [True], [[1], [2]], 5, Path("x"), {"ids": [1]}, torch.tensor([1.0]), [None],
           torch.tensor([True]), torch.tensor(3), np.array([1.5]), "half \ud800", [b"a"]]  # fmt: skip


@pytest.mark.parametrize("value", NO_TEXT, ids=repr)
@pytest.mark.parametrize("name", ["prompt", "continuation", "contrast"])
def test_what_is_no_text_is_refused(name, value, monkeypatch):
    monkeypatch.setattr("tokensal.case.adapter_of", lambda model: pytest.fail("a model was wanted"))
    with pytest.raises(InputError, match=name) as error:
        attribute("dates", **{"prompt": "a", name: value})
    assert "text" in sentence(error) or "one is explained at a time" in sentence(error)


# Messages


@pytest.mark.parametrize("messages", ["hi", 3, ["hi"], [3], {"role": "user", "content": "a"}, [{"content": "a"}],
                                      [{"role": 1, "content": "a"}], [{"role": "user", "content": 3}],
                                      [{"role": "user", "content": b"a"}], [{"role": "user", "content": [3]}],
                                      [{"role": "user", "content": "\ud800"}]])  # fmt: skip
def test_what_is_no_chat_is_refused(messages):
    with pytest.raises(InputError, match=r"essage") as error:
        attribute(tiny(), messages=messages)
    sentence(error)


def test_messages_may_be_generated_or_in_a_table():
    expected = read_prompt(tiny().tokenizer, None, [{"role": "user", "content": "a"}])
    for messages in (({"role": "user", "content": text} for text in "a"), {"messages": [expected_message()]}):
        assert read_prompt(tiny().tokenizer, None, messages) == expected


def expected_message():
    return {"role": "user", "content": "a"}


# Targets, units, sources


@pytest.mark.parametrize(
    ("targets", "parsed"),
    [
        (0, [0]), (-1, [-1]), ("2", [2]), ("-1", [-1]), ([0, 2], [0, 2]), ((0, 2), [(0, 2)]), (range(2), [0, 1]),
        (np.int64(1), [1]), (torch.tensor(1), [1]), (torch.tensor([1, 0]), [1, 0]), (["word", 0], ["word", 0]),
        (iter(["word", (1, 2)]), ["word", (1, 2)]), ("3:5", [(3, 5)]),
    ],
)  # fmt: skip
def test_targets_by_number_and_of_several_kinds(targets, parsed):
    assert parse_targets(Question(targets=targets).targets) == parsed


@pytest.mark.parametrize("targets", [True, None, 1.5, b"word", slice(2), (2, 1), (-1, 3), [None], {"a": 1}, (1, 1)])
def test_what_names_no_targets_is_refused(targets):
    with pytest.raises(InputError, match="targets") as error:
        Question(targets=targets)
    sentence(error)


def test_a_number_is_the_target_of_that_number():
    every = attribute(tiny(), IDS, continuation=[7, 8, 9])
    for number in (0, 1, -1):
        one = attribute(tiny(), IDS, continuation=[7, 8, 9], targets=number)
        assert one.targets == (every.targets[number],)
    with pytest.raises(InputError, match=r"no target 3: .* has 3 tokens"):
        attribute(tiny(), IDS, continuation=[7, 8, 9], targets=3)


@pytest.mark.parametrize(
    "unit", [(0, 3), [(0, 3)], [[0, 3]], np.array([[0, 3]]), iter([(0, 3)])], ids=lambda unit: type(unit).__name__
)
def test_units_may_be_one_span_or_several(unit):
    assert Question(unit=unit).unit == [(0, 3)]


@pytest.mark.parametrize(
    "options",
    [
        {"unit": 3}, {"unit": None}, {"unit": []}, {"unit": [3]}, {"unit": [(0, True)]}, {"unit": [(3, 1)]},
        {"sources": 3}, {"explain": None}, {"explain": ["answer"]}, {"score": None}, {"score": b"logit"},
        {"alternatives": True}, {"alternatives": 2.0}, {"alternatives": "3"}, {"alternatives": 10**6},
    ],
    ids=repr,
)  # fmt: skip
def test_a_question_of_wrong_types_is_refused(options):
    with pytest.raises(InputError) as error:
        Question(**options)
    sentence(error)


def test_what_is_iterated_once_is_kept():
    question = Question(sources=(role for role in ["user"]), targets=(each for each in ["word"]))
    assert question == Question(sources=["user"], targets=["word"]) and question.sources == ["user"]


# Generation, loading


@pytest.mark.parametrize(
    "options",
    [
        {"max_new_tokens": True}, {"max_new_tokens": 2.0}, {"max_new_tokens": "3"}, {"max_new_tokens": float("nan")},
        {"max_new_tokens": -1}, {"max_new_tokens": MOST_NEW_TOKENS + 1}, {"seed": True}, {"seed": 1.5}, {"seed": "1"},
        {"seed": -1}, {"generation": 3}, {"generation": "top_p"}, {"generation": {1: 2}},
        {"generation": {"temperature": float("nan")}}, {"generation": {"max_new_tokens": "3"}},
        {"generation": {"max_length": 7.5}}, {"generation": {"do_sample": "False"}},
        {"generation": {"use_cache": "True"}},
    ],
    ids=repr,
)  # fmt: skip
def test_generation_of_wrong_types_is_refused(options):
    with pytest.raises(InputError) as error:
        Generation(**options)
    sentence(error)


@pytest.mark.parametrize(
    "options",
    [
        {"model": ""}, {"model": 3}, {"model": b"x"}, {"dtype": 3}, {"dtype": torch.int8}, {"device": True},
        {"device_map": 3}, {"attention": 3}, {"revision": 3}, {"trust_remote_code": 1}, {"trust_remote_code": "yes"},
    ],
    ids=repr,
)  # fmt: skip
def test_loading_of_wrong_types_is_refused(options):
    with pytest.raises(InputError) as error:
        Loading(**options)
    sentence(error)


def test_numbers_of_numpy_are_numbers():
    generation = Generation(max_new_tokens=np.int64(3), seed=torch.tensor(4))
    assert (generation.max_new_tokens, generation.seed) == (3, 4) and type(generation.seed) is int
    assert repr(tokensal.Occlusion(window=np.int32(2))) == repr(tokensal.Occlusion(window=2))
    assert Loading(dtype="torch.float64").dtype == Loading(dtype=torch.float64).dtype == "float64"


# Methods


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *[("integrated_gradients", {"steps": steps}) for steps in (True, 2.0, "3", 0, 10**6, float("nan"))],
        *[("integrated_gradients", {"tolerance": each}) for each in ("a", float("nan"), 0, True, float("inf"))],
        *[("integrated_gradients", {"max_evaluations": each}) for each in (1.5, 10**9, 3)],
        *[("integrated_gradients", {"baseline": each}) for each in (None, 3, "zer", [], torch.tensor([float("nan")]),
                                                                     torch.zeros(3, dtype=torch.long), b"zero")],
        *[("integrated_gradients", {"keep": each}) for each in (None, 3, "sinks")],
        *[("occlusion", {"window": each}) for each in (0, True, 1.5, "2")],
        *[("occlusion", {"stride": each}) for each in (0, True, 2)],
        *[("occlusion", {"replacement": each}) for each in (None, 3, "masc")],
        *[("smooth_grad", {"samples": each}) for each in (True, 1, 10**9, "8")],
        *[("smooth_grad", {"noise": each}) for each in (-1, float("nan"), "x", True)],
        *[("smooth_grad", {"seed": each}) for each in (-1, 1.5, True)],
        *[("smooth_grad", {"method": each}) for each in (3, "occlusion", tokensal.Occlusion)],
        *[("var_grad", {"samples": each}) for each in (2, "8")],
        *[("var_grad", {"norm": each}) for each in ("l3", None)],
        *[("var_grad", {"method": each}) for each in (3, "occlusion")],
        *[("gradient_shap", {"samples": each}) for each in (True, 1, 10**9)],
        *[("gradient_shap", {"tolerance": each}) for each in (0, "x", float("nan"))],
        *[("gradient_shap", {"noise": each}) for each in (-1, True)],
        *[("gradient_shap", {"baseline": each}) for each in (None, "zer", [])],
        *[("gradient", {"norm": each}) for each in (3, None, [], "l3")],
        *[("grad_cam", {"rule": each}) for each in (None, ["elementwise"])],
        *[("grad_cam", {"layers": each}) for each in (True, None, [1], float("nan"))],
        *[("attention_grad_cam", {"rows": each}) for each in (None, [])],
        *[("lrp", {"gate": each}) for each in (None, [])],
    ],
    ids=repr,
)  # fmt: skip
def test_options_of_methods_are_refused_before_a_model_is_wanted(name, options):
    with pytest.raises(InputError) as error:
        build(name, options)
    sentence(error)


def test_a_class_of_methods_stands_for_its_defaults():
    assert build(tokensal.Gradient) == tokensal.Gradient()
    assert tokensal.SmoothGrad(method=tokensal.LRP) == tokensal.SmoothGrad(method="lrp")
    result = compare(tiny(), IDS, continuation=[7], methods=[tokensal.Gradient, "occlusion"])
    assert [each.provenance.method for each in result.attributions] == ["gradient", "occlusion"]


@pytest.mark.parametrize("method", [3, None, print, ("gradient", {}), dict, tokensal.methods.method.GradientMethod])
def test_what_is_no_method_is_refused(method):
    for refuse in (lambda: attribute(None, "a", method=method), lambda: compare(None, "a", methods=[method, "lrp"])):
        with pytest.raises(InputError, match=r"A method should be a name such as 'gradient'") as error:
            refuse()
        sentence(error)


def test_methods_that_are_no_list_are_refused():
    for methods in (3, "gradient", None):
        with pytest.raises(InputError, match="should be a list"):
            compare(None, "a", methods=methods)


def test_embeddings_of_a_baseline_may_come_from_numpy():
    results = [
        attribute(tiny(), IDS, continuation=[7], method=tokensal.IntegratedGradients(baseline=baseline, steps=2))
        for baseline in (np.full(32, 0.5), torch.full((32,), 0.5))
    ]
    assert torch.equal(results[0].scores.nan_to_num(7), results[1].scores.nan_to_num(7))


# Models


def test_a_model_by_its_name():
    by_name, loaded = (attribute(model, "May 5, 2001", max_new_tokens=2) for model in ("dates", load("dates")))
    assert torch.equal(by_name.scores.nan_to_num(7), loaded.scores.nan_to_num(7))
    with pytest.raises(InputError, match="alternatives is 999, but the model's vocabulary has 320"):
        Case.of(tiny(), IDS, question=Question(alternatives=999), generation=Generation(continuation=[7]))


@pytest.mark.parametrize("kind", ["raw", "pair", "none", "number"])
def test_what_is_no_adapted_model_is_refused(kind):
    own = tiny()
    model = {"raw": own.model, "pair": (own.model, own.tokenizer), "none": None, "number": 3}[kind]
    with pytest.raises(InputError, match=r"tokensal.adapt\(model, tokenizer\)") as error:
        attribute(model, "a")
    sentence(error)


def test_only_a_model_and_its_tokenizer_are_adapted():
    own = tiny()
    for model in ("gpt2", own, type(own.model), torch.nn.Linear(2, 2), None):
        with pytest.raises(InputError, match="should be a HuggingFace causal"):
            adapt(model, own.tokenizer)
    for tokenizer in ("gpt2", None, own):
        with pytest.raises(InputError, match="should be the model's own"):
            adapt(own.model, tokenizer)
    with pytest.raises(InputError, match="name is 3"):
        adapt(own.model, own.tokenizer, name=3)


@pytest.mark.parametrize("options", [{"budget": 3}, {"config": 3}, {"template": 3, "messages": [expected_message()]},
                                     {"progress": 3}, {"progress": "yes"}])  # fmt: skip
def test_other_arguments_of_wrong_types_are_refused(options):
    with pytest.raises(InputError, match=next(iter(options))) as error:
        attribute(tiny(), **{"prompt": None if "messages" in options else "a", **options})
    sentence(error)


def test_a_case_takes_a_function_for_its_progress():
    with pytest.raises(InputError, match=r"progress is True, but should be a function of \(done, total\)"):
        Case.of(tiny(), IDS, generation=Generation(continuation=[7]), progress=True)


# Files of messages


def test_messages_of_a_file(tmp_path):
    file = tmp_path / "chat.json"
    file.write_text('\ufeff[{"role": "user", "content": "a"}]', encoding="utf-8")
    arguments = Chat(messages=str(file), template={"tools": []}).arguments(None)
    assert arguments == {"messages": [expected_message()], "template": {"tools": []}}


@pytest.mark.parametrize("content", ["", "{", "[" * 10**5, "\xff"])
def test_a_file_that_holds_no_json_is_refused(tmp_path, content):
    file = tmp_path / "chat.json"
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=r"not valid JSON|not UTF-8"):
        Chat(messages=str(file)).arguments(None)
    with pytest.raises(InputError, match="Cannot read messages"):
        Chat(messages=str(tmp_path)).arguments(None)


def test_what_needs_a_chat_is_refused_without_one():
    for options in ({"system": "a"}, {"template": {"a": 1}}, {"system": "a", "messages": "b", "chat": True}):
        with pytest.raises(InputError, match="chat"):
            Chat(**options)
