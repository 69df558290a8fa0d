"""An evaluation as data: how methods stand, what it refuses, and JSON that reads back exactly."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
from evaluations import evaluation, hostile

from tokensal import Attribution, Evaluation
from tokensal.errors import FormatError, InputError
from tokensal.render.json import dumps, loads
from tokensal.results.evaluation import Failure


def standings(metric, **options):
    return {each.name: each for each in evaluation().standings(metric, **options)}


def test_the_best_stands_apart_from_those_that_are_significantly_worse():
    for metric in ("recall", "drop"):  # of which one is better if higher, the other if lower
        ranked = standings(metric)
        assert [name for name, each in ranked.items() if each.tied] == ["good"]
        assert ranked["good"].difference is None and ranked["poor"].p_value < 0.05
    assert standings("recall")["good"].mean.value == pytest.approx(0.8, abs=0.02)
    assert standings("drop")["good"].mean.value == pytest.approx(-1.5, abs=0.02)


def test_what_is_missing_is_counted_and_left_out():
    recall, drop = standings("recall"), standings("drop")
    assert [recall[name].mean.prompts for name in ("good", "poor", "random")] == [11, 10, 11]
    assert [drop[name].mean.missing for name in ("good", "poor", "random")] == [0, 1, 0]
    mean = evaluation().values[1:11, 1, 0].mean()
    assert recall["poor"].mean.value == pytest.approx(float(mean), abs=1e-12)


def test_a_kind_is_of_its_prompts_alone():
    result = evaluation()
    assert result.kinds == ("facts", "needle") and result.rows("needle") == list(range(6, 12))
    mean = result.standings("drop", kind="facts")[0].mean
    assert (mean.prompts, mean.value) == (6, pytest.approx(float(result.values[:6, 0, 1].mean())))
    with pytest.raises(InputError, match="kind of prompts 'fact': did you mean 'facts'"):
        result.rows("fact")
    with pytest.raises(InputError, match="metric 'recal': did you mean 'recall'"):
        result.standings("recal")


def test_few_prompts_tell_no_methods_apart():
    assert all(each.tied for each in evaluation(5, kinds=("",)).standings("drop"))


def test_json_reads_back_to_the_last_bit(tmp_path):
    result = evaluation()
    result.save(tmp_path / "e.json")
    back = Evaluation.load(tmp_path / "e.json")
    for name in ("values", "seconds", "curves"):
        first, second = getattr(result, name), getattr(back, name)
        assert first.dtype == second.dtype == torch.float64
        assert torch.equal(first.isnan(), second.isnan()) and torch.equal(first.nan_to_num(7), second.nan_to_num(7))
    assert back.values.isnan().sum() == 5
    for name in ("methods", "metrics", "prompts", "failures", "facts", "config"):
        assert getattr(back, name) == getattr(result, name)
    assert dumps(back) == dumps(result)


def test_json_of_names_that_are_hostile_reads_back_but_for_halves_of_characters(tmp_path):
    result = hostile()
    result.save(tmp_path / "e.json")
    back = Evaluation.load(tmp_path / "e.json")
    assert back.methods == result.methods and back.metrics[0] == result.metrics[0]
    assert back.metrics[1].metric_repr == result.metrics[1].metric_repr.replace("\ud800", "\ufffd")


def document():
    return json.loads(dumps(evaluation()))


def damaged(**changes):
    return json.dumps(document() | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "its schema has version 2, but this tokensal reads version 1"),
        ({"version": True}, "its schema has version True"),
        ({"schema": "tokensal/evaluations"}, "its schema is not one of"),
        ({"values": [[[0.5]]]}, "a table should be 12 × 3 × 2"),
        ({"seconds": [[1.0]] * 12}, "a table should be 12 × 3"),
        ({"seconds": [["1", 1, 1]] * 12}, "seconds"),
        ({"curves": [[[[1.0, 0.0]] * 2] * 2] * 12}, "a table should be 12 × 3 × 2 × 2"),
        ({"curves": [[[[1.0]] * 3] * 3] * 12}, "curves"),
        ({"more": 1}, "more: Extra inputs are not permitted"),
        ({"failures": [{"prompt": 12, "method": 0, "reason": ""}]}, "There is no prompt 12"),
        ({"methods": [document()["methods"][0]] * 3}, "methods of different names"),
        ({"prompts": []}, "prompts"),
        ({"facts": {"seed": 1}}, "facts.seed"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_what_is_damaged_is_refused_in_a_sentence(changes, message):
    loads(damaged())  # what is not changed can be read
    with pytest.raises(FormatError) as error:
        loads(damaged(**changes))
    assert message in str(error.value)


def test_a_number_that_is_not_one_is_refused():
    for written in ("NaN", "1e999", "true"):
        text = dumps(evaluation()).replace('"seconds": [[0.5', f'"seconds": [[{written}')
        assert written in text
        with pytest.raises(FormatError):
            loads(text)


def test_a_result_of_another_kind_is_told(tmp_path):
    evaluation().save(tmp_path / "e.json")
    with pytest.raises(FormatError, match=r"its schema is that of an Evaluation; read it with `Evaluation\.load`"):
        Attribution.load(tmp_path / "e.json")


@pytest.mark.parametrize(
    "changes",
    [
        {"values": torch.zeros(12, 3, 3)},
        {"values": torch.full((12, 3, 2), math.inf)},
        {"seconds": torch.zeros(12, 2)},
        {"curves": torch.zeros(12, 3, 3, 5)},
        {"methods": evaluation().methods[:2]},
        {"failures": (Failure(0, 3, ""),)},
        {"failures": (Failure(-1, 0, ""),)},
    ],
)
def test_tables_of_another_shape_are_refused(changes):
    with pytest.raises(InputError):
        replace(evaluation(), **changes)


def test_the_long_table_has_a_line_for_each_number():
    result = evaluation()
    table = result.to_pandas()
    assert len(table) == 12 * 3 * 2
    line = table[(table.prompt == "p3") & (table.method == "poor") & (table.metric == "drop")].iloc[0]
    assert line.value == float(result.values[3, 1, 1]) and line.seconds == 0.25
    assert (line.kind, line.better, bool(line.baseline), line.targets) == ("facts", "lower", False, 2)
    assert table.value.isna().sum() == 5
    back = table.pivot(index="prompt", columns=["method", "metric"], values="value")
    assert back.loc["p7", ("good", "recall")] == float(result.values[7, 0, 0])


def test_an_anonymous_evaluation_names_nobody():
    result = evaluation()
    facts = {"model": "/home/jane/models/acme-7b", "revision": "jane-branch", "seed": "0"}
    config = {"model": "acme/acme-7b", "output": ["x.json"], "journal": "/home/jane/run.journal"}
    failures = (Failure(0, 1, "Could not read '/home/jane/x'."),)
    text = dumps(replace(result, facts=facts, config=config, failures=failures).anonymous())
    assert "jane" not in text and "/home" not in text and "x.json" not in text
    assert '"model": "acme-7b"' in text and torch.equal(result.anonymous().seconds, result.seconds)


def test_it_says_what_it_is():
    assert repr(evaluation()) == "Evaluation(good, poor, random: 12 prompts × 2 metrics)"
    with pytest.raises(AttributeError, match="use to_pandas"):
        _ = evaluation().df
