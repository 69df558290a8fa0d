"""`evaluate`: what is measured, that an interruption changes no number, and the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache

import pytest
import torch
from trials_by_hand import linear, ranked, trial_of

import tokensal
from tokensal import Evaluation, TokensalError, evaluate
from tokensal.errors import InputError, OutputError
from tokensal.evaluation import measuring
from tokensal.evaluation.baselines import Recency, chances
from tokensal.evaluation.building import build_metric, named_methods, named_metrics
from tokensal.evaluation.curves import ABPC
from tokensal.evaluation.localisation import PointingGame
from tokensal.evaluation.prompts.prompt import Gold, Prompt
from tokensal.results.evaluation import EvaluatedPrompt
from tokensal.scores import SCORES

RECORDS = [
    {"prompt": "the [[3rd]] of March, 1987", "answer": "1987-03-03", "kind": "a", "id": "first"},
    {"prompt": "[[7 May]] 2001", "answer": "2001-05-07", "kind": "b", "id": "second"},
    {"prompt": "June 12, 1999", "answer": "1999-06-12", "kind": "b", "id": "third"},  # whose right words are not known
]
SETTINGS = {"methods": ["gradient"], "metrics": ["pointing_game", "abpc"], "unit": "word", "progress": False}


@cache
def dates():
    return tokensal.load("dates")


def measured(**changes) -> Evaluation:
    return evaluate(dates(), **{"prompts": RECORDS, **SETTINGS, **changes})


@cache
def once() -> Evaluation:
    return measured()


def numbers(result: Evaluation):
    return [result.values.nan_to_num(-7.0), result.curves.nan_to_num(-7.0)]


def same(first: Evaluation, second: Evaluation) -> bool:
    pairs = zip(numbers(first), numbers(second), strict=True)
    return all(torch.equal(one, other) for one, other in pairs) and first.prompts == second.prompts


# What is measured


def test_prompts_methods_and_metrics_are_in_their_order_with_the_baselines_last():
    result = once()
    assert [method.name for method in result.methods] == ["gradient", "random", "recency", "attention"]
    assert [method.baseline for method in result.methods] == [False, True, True, True]
    assert [(metric.name, metric.better) for metric in result.metrics] == [
        ("pointing_game", "higher"),
        ("abpc", "higher"),
    ]
    assert result.prompts[0] == EvaluatedPrompt("first", "a", result.prompts[0].text, 5)
    assert [prompt.kind for prompt in result.prompts] == ["a", "b", "b"] and result.kinds == ("a", "b")
    assert result.values.shape == (3, 4, 2) and result.seconds.shape == (3, 4)
    assert result.facts["model"] == "dates" and result.facts["seed"] == "0" and result.facts["unit"] == "word"


def test_a_metric_that_needs_gold_says_nothing_of_a_prompt_without():
    values = once().values
    assert values[2, :, 0].isnan().all() and not values[:2, :, 0].isnan().any() and not values[:, :, 1].isnan().any()


def test_numbers_are_those_of_the_metric_on_the_trial_of_each_prompt():
    trial = measuring.trial_of(
        measuring.read_prompts(RECORDS)[0], dates(), question=tokensal.Question(unit="word"), seed=0
    )
    for number, method in enumerate(("gradient", None, Recency())):
        for column, metric in enumerate((PointingGame(), ABPC())):
            if method is None:
                drawn = chances(trial, measuring.PAIRS)
                expected = torch.stack([metric(trial, each) for each in drawn]).nanmean()
            else:
                expected = metric(trial, trial.explain(method)).nanmean()
            assert float(once().values[0, number, column]) == pytest.approx(float(expected), abs=1e-6)


def test_curves_span_the_area_that_abpc_is():
    """Of straight lines between 21 points, which is close where there are few units."""
    result = once()
    areas = torch.trapezoid(result.curves[:, :, 1] - result.curves[:, :, 0], dx=1 / (measuring.FRACTIONS - 1))
    assert torch.allclose(areas, result.values[:, :, 1], atol=0.1)
    assert torch.equal(result.curves[:, :, 0, 0], result.curves[:, :, 1, 0])
    assert torch.allclose(result.curves[..., -1], torch.zeros(1, dtype=torch.float64), atol=1e-5)


def test_of_a_linear_game_the_curve_and_the_area_are_known():
    """f = 3a + 2b + c: the best units first leaves 6, 3, 1, 0 of 6; the least ones first 6, 5, 3, 0."""
    trial = trial_of(linear([3.0, 2.0, 1.0]), 3)
    attribution = ranked(trial, [3.0, 2.0, 1.0])
    metric = ABPC(steps=3)
    value = measuring._value(trial, metric, [attribution])
    assert value == pytest.approx(((1 + 5 / 6) / 2 + (5 / 6 + 0.5) / 2 + 0.25) / 3 - (0.75 + 1 / 3 + 1 / 12) / 3)
    most, least = measuring._curve(trial, {"abpc": metric}, [attribution])
    assert most[0] == least[0] == 1 and most[-1] == least[-1] == 0
    assert most[10] == pytest.approx((0.5 + 1 / 6) / 2) and least[10] == pytest.approx((5 / 6 + 0.5) / 2)


def test_metrics_that_explain_again_are_measured_of_chance_too():
    names = ["randomisation", "random_target", "max_sensitivity"]
    result = tokensal.evaluate("dates", suite="dates", count=1, methods=["gradient"], metrics=names, progress=False)
    assert not result.failures and result.values[0].isfinite().all()


def test_a_method_that_fails_is_a_row_of_its_own(monkeypatch):
    expected, real = once().values, measuring.Trial.explain  # what other tests compare with has no failure

    def failing(trial, method):
        if getattr(method, "name", "") == "gradient" and "May" in trial.case.example.text:
            raise InputError("It is May.")
        return real(trial, method)

    monkeypatch.setattr(measuring.Trial, "explain", failing)
    result = measured()
    assert [(each.prompt, each.method, each.reason) for each in result.failures] == [(1, 0, "It is May.")]
    assert result.values[1, 0].isnan().all() and result.curves[1, 0].isnan().all()
    assert torch.equal(result.values[0], expected[0]) and torch.equal(result.values[1, 1:], expected[1, 1:])


def test_each_replacement_is_a_metric_of_its_own():
    result = measured(replacements=["mask", "delete"], prompts=RECORDS[1:2])
    assert [metric.name for metric in result.metrics] == ["pointing_game", "abpc", "abpc replacement=delete"]
    assert torch.equal(result.values[0, :, :2].nan_to_num(), once().values[1].nan_to_num())
    assert not torch.equal(result.values[0, :, 2], result.values[0, :, 1])


def test_prompts_of_a_suite_and_prompts_that_are_read_already():
    suite = evaluate(dates(), suite="dates", count=1, **{**SETTINGS, "metrics": ["pointing_game"]})
    assert suite.kinds == ("dates",) and len(suite.prompts) == 1
    ready = Prompt(id="x", prompt="7 May 2001", continuation="2001-05-07", gold=(Gold(0, 5),))
    assert same(measured(prompts=[ready], metrics=["abpc"]), measured(prompts=[ready], metrics=["abpc"]))


def test_a_baseline_that_is_named_stays_among_the_baselines():
    assert list(named_methods(["attention", "lrp"])) == ["lrp", "random", "recency", "attention"]


# What is refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompts": None}, "Give either prompts or the name of a suite"),
        ({"suite": "copy"}, "and not both"),
        ({"prompts": None, "suite": "coyp"}, "did you mean 'copy'"),
        ({"methods": ["gradeint"]}, "did you mean 'gradient'"),
        ({"methods": ["gradient", "saliency"]}, "is given twice"),
        ({"methods": []}, "There are no methods"),
        ({"methods": 3}, "The methods should be a list"),
        ({"metrics": ["abcp"]}, "did you mean 'abpc'"),
        ({"metrics": ["abpc", ABPC()]}, "is given twice"),
        ({"metrics": [ABPC]}, "A metric should be a name such as 'abpc'"),
        ({"metrics": []}, "There are no metrics"),
        ({"replacements": []}, "The replacements are"),
        ({"replacements": ["mist"]}, "mist"),
        ({"unit": "wrod"}, "did you mean 'word'"),
        ({"sources": ["usr"]}, "did you mean 'user'"),
        ({"score": "logpro"}, "did you mean 'logprob'"),
        ({"count": 0}, "count"),
        ({"seed": -1}, "seed"),
        ({"prompts": []}, "There are no records"),
    ],
)
def test_a_mistake_is_told_before_a_model_is_looked_at(changes, message):
    with pytest.raises(TokensalError) as error:
        evaluate("no/such/model", **{"prompts": RECORDS, **SETTINGS, **changes})
    assert message in str(error.value)


def test_options_of_a_metric_are_its_own():
    assert build_metric("abpc", {"steps": 3}) == ABPC(steps=3)
    with pytest.raises(InputError, match="option of metric 'abpc': 'stps': did you mean 'steps'"):
        build_metric("abpc", {"stps": 3})
    assert list(named_metrics([ABPC(steps=3)], ["mask"])) == ["abpc steps=3"]


# The journal


@pytest.mark.parametrize("finished", [0, 1, 2, 3])
def test_what_was_interrupted_goes_on_and_ends_with_the_same_numbers(tmp_path, monkeypatch, finished):
    journal, real, calls = tmp_path / "journal", measuring.measured, []

    def interrupted(id, *others):
        if len(calls) == finished:
            raise KeyboardInterrupt
        calls.append(id)
        return real(id, *others)

    monkeypatch.setattr(measuring, "measured", interrupted)
    if finished < 3:
        with pytest.raises(KeyboardInterrupt):
            measured(journal=journal)
    else:
        measured(journal=journal)
    kept = journal.read_text().splitlines()
    assert len(kept) == 1 + finished and len(calls) == finished
    calls.clear()
    monkeypatch.setattr(measuring, "measured", lambda id, *others: (calls.append(id), real(id, *others))[1])
    result = measured(journal=journal)
    assert len(calls) == 3 - finished and same(result, once())
    assert journal.read_text().splitlines()[: len(kept)] == kept


def test_which_prompts_of_a_suite_count_is_kept_too(tmp_path, monkeypatch):
    journal, real = tmp_path / "journal", measuring.measured
    monkeypatch.setattr(measuring, "measured", lambda *all: (_ for _ in ()).throw(KeyboardInterrupt))
    suite = {"prompts": None, "suite": "dates", "count": 2, "metrics": ["pointing_game"], "journal": journal}
    with pytest.raises(KeyboardInterrupt):
        measured(**suite)
    assert len(journal.read_text().splitlines()) == 2
    monkeypatch.setattr(measuring, "measured", real)
    monkeypatch.setattr(measuring, "draw_suite", lambda *all, **options: pytest.fail("prompts are drawn again"))
    result = measured(**suite)
    assert result.facts["answered"].endswith(" dates") and result.facts["answered"].startswith("2 of ")
    monkeypatch.undo()
    fresh = measured(**{**suite, "journal": None})
    assert same(result, fresh) and result.facts == fresh.facts
    with pytest.raises(InputError, match="its prompts differ"):
        measured(**{**suite, "count": 3})


def test_a_line_that_was_cut_off_is_measured_again(tmp_path):
    journal = tmp_path / "journal"
    measured(journal=journal)
    complete = journal.read_bytes()
    for end in (len(complete) - 1, len(complete) - 300, complete.rindex(b"\n", 0, -1) + 1, 10, 0):
        journal.write_bytes(complete[:end])
        assert same(measured(journal=journal), once())
        assert len(journal.read_text().splitlines()) == 4


@pytest.mark.parametrize(
    ("changes", "differing"),
    [
        ({"seed": 1}, "seed"),
        ({"score": "logit"}, "question"),
        ({"unit": "token"}, "question"),
        ({"methods": ["lrp"]}, "methods"),
        ({"metrics": ["abpc"]}, "metrics"),
        ({"prompts": RECORDS[:2]}, "prompts"),
    ],
)
def test_a_journal_of_other_settings_is_refused_and_kept(tmp_path, changes, differing):
    journal = tmp_path / "journal"
    measured(prompts=RECORDS[1:2], metrics=["pointing_game"], journal=journal)
    before = journal.read_bytes()
    base = {"prompts": RECORDS[1:2], "metrics": ["pointing_game"]}
    with pytest.raises(InputError, match=f"is of another evaluation: its {differing} differ"):
        measured(journal=journal, **{**base, **changes})
    assert journal.read_bytes() == before


def test_a_journal_of_another_order_is_refused(tmp_path):
    """Its numbers are in the order of its methods and metrics."""
    base = {"prompts": RECORDS[1:2], "journal": tmp_path / "journal"}
    first = {"metrics": ["pointing_game", "recall"], "methods": ["gradient", "lrp"]}
    measured(**base, **first)
    for name in first:
        with pytest.raises(InputError, match=f"is of another evaluation: its {name} differ"):
            measured(**base, **{**first, name: first[name][::-1]})


def test_a_file_that_is_no_journal_is_refused_and_kept(tmp_path):
    for content in ("hello\n", '{"a": 1}\n[]\n', "[]\n", "\x00\xff\n"):
        journal = tmp_path / "journal"
        journal.write_text(content)
        with pytest.raises(InputError, match="journal"):
            measured(journal=journal)
        assert journal.read_text() == content
    with pytest.raises(OutputError, match="Cannot use journal"):
        measured(journal=tmp_path)


# The command line


def run(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "tokensal", *map(str, arguments)], cwd=cwd, input="", capture_output=True, text=True,
        timeout=300, env={**os.environ},
    )  # fmt: skip


def test_the_command_from_records_to_files_and_back(tmp_path):
    lines = "\n".join(map(json.dumps, RECORDS))
    (tmp_path / "prompts.jsonl").write_text(lines)
    arguments = (
        "evaluate", "prompts.jsonl", "--model", "dates", "--methods", "gradient", "--metrics", "pointing_game,abpc",
        "--unit", "word", "--metric-option", "abpc.normalised=true", "--resume", "journal",
        "-o", "e.json", "-o", "e.html",
    )  # fmt: skip
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Evaluation of attribution methods" in done.stdout and "gradient" in done.stdout
    result = Evaluation.load(tmp_path / "e.json")
    assert same(result, once()) and result.config["metric_options"] == {"abpc": {"normalised": True}}
    assert len((tmp_path / "journal").read_text().splitlines()) == 4
    again = run("show", "e.json", cwd=tmp_path)
    assert again.stdout == done.stdout
    drawn = run("render", "e.json", "-o", "e.tex", "-o", "e.csv", cwd=tmp_path)
    assert drawn.returncode == 0 and r"\begin{tabular}" in (tmp_path / "e.tex").read_text()


@pytest.fixture
def here(monkeypatch, capsys):
    from tokensal.cli import app

    def run_here(*arguments):
        monkeypatch.setattr(sys, "argv", ["tokensal", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            app.main()
        return (ended.value.code or 0, *capsys.readouterr())

    return run_here


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Give either a file of prompts or --suite"),
        (("x.jsonl", "--suite", "copy"), "and not both"),
        (("--suite", "coyp"), "did you mean 'copy'"),
        (("nothing.jsonl",), "Could not read 'nothing.jsonl'"),
        (("--suite", "copy", "--metrics", "abcp"), "did you mean 'abpc'"),
        (("--suite", "copy", "--methods", "lpr"), "did you mean 'lrp'"),
        (("--suite", "copy", "--option", "occlusion.window=2"), "evaluated are only"),
        (("--suite", "copy", "--metric-option", "lds.count=2"), "measured are only"),
        (("--suite", "copy", "--metric-option", "abpc.steps=0"), "steps"),
        (("--suite", "copy", "--trace"), "an evaluation has none"),
        (("--suite", "copy", "--score", "logpro"), "did you mean"),
        (("--suite", "copy", "--count", "0"), "count"),
        (("--suite", "copy", "--resume", "no/folder/journal"), "folder that does not exist"),
        (("--suite", "copy", "-o", "x.doc"), "suffix"),
        (("--suite", "copy", "--metrics", "recall", "-o", "x.svg"), "draws curves, which are those of abpc"),
    ],
)
def test_a_wrong_command_ends_in_one_sentence(here, monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, out, said = here("evaluate", "--model", "no/such/model", *arguments)
    assert code == 2 and out == "" and message in said
    assert said.startswith("tokensal: ") and said.count("\n") == 1


def test_an_evaluation_is_no_answer_to_report_on(here, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    once().save("e.json")
    code, _, said = here("report", "--from", "e.json", "-o", "r.html")
    assert code == 2 and "A report is about an answer" in said and not (tmp_path / "r.html").exists()


def test_metrics_are_listed_and_told(here):
    from tokensal.evaluation import METRICS

    _, listed, _ = here("metrics")
    assert [line.split()[0] for line in listed.splitlines() if line[0] != " "] == list(METRICS)
    for name, metric in METRICS.items():
        _, told, _ = here("metrics", name)
        words = " ".join(told.split())
        assert " ".join(metric.summary.split()) in words and " ".join(metric.__doc__.split("\n\n")[0].split()) in words
        assert f"{metric.better} is better" in listed
    assert "steps = None" in " ".join(here("metrics", "abpc")[1].split())
    assert here("metrics", "abcp")[0] == 2


def test_score_names_are_those_of_the_help():
    from tokensal.options import Measuring, options_of

    assert all(name in options_of(Measuring)["score"].help for name in SCORES)
