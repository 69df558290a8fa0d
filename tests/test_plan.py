"""Plans of runs: the fit against closed forms, what is read and tried, and a plan against the run that it is of."""

from __future__ import annotations

import time
from functools import cache

import numpy as np
import pytest

import tokensal
from tokensal import plan_run, run
from tokensal.errors import InputError
from tokensal.runs import plan as planning
from tokensal.runs.plan import Trial, _estimate, _spread

TEXT = "on the 3rd of March in the year 1987 and not on any other day of that year or of another one"
WORDS = TEXT.split()


@cache
def dates():
    return tokensal.load("dates")


def prompts(count):
    """Prompts of 3 to 21 words."""
    return [{"id": f"p{number}", "prompt": " ".join(WORDS[: 3 + number * 7 % 19])}
            for number in range(count)]  # fmt: skip


def planned(source, out=None, **changes):
    return plan_run(dates(), source, out, **{"methods": ["gradient"], "max_new_tokens": 5, "trials": 3, **changes})


def trials(tokens, seconds):
    return [Trial(str(number), *each) for number, each in enumerate(zip(tokens, seconds, strict=True))]


# The fit


def test_times_on_a_line_are_fitted_exactly():
    tokens = [10, 20, 50, 100]
    mean, spread = _estimate(np.array([30.0, 70.0]), trials(tokens, [0.5 + 0.02 * each for each in tokens]))
    assert mean == pytest.approx(0.5 + 0.02 * 50)
    assert spread == pytest.approx(1 + planning.LEAST_RANGE)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ([1.0, 1.0, 1.0], 1.0),  # tokens do not matter
        ([0.1, 0.4, 0.9], None),  # faster than tokens: no fixed time below 0
        ([0.9, 0.4, 0.1], None),  # longer ones are quicker, which cannot go on
    ],
)
def test_neither_part_of_the_time_is_negative(seconds, expected):
    short, long = (_estimate(np.array([length]), trials([1, 2, 3], seconds))[0] for length in (1.0, 1e6))
    assert 0 <= short <= long
    if expected:
        assert short == pytest.approx(expected) and long == pytest.approx(expected)


def test_equal_lengths_have_the_mean_of_their_relative_fit():
    mean, _ = _estimate(np.array([7.0]), trials([7, 7, 7], [1.0, 1.0, 1.0]))
    assert mean == pytest.approx(1.0)


def test_the_range_is_that_of_the_jackknife():
    """Its definition for a mean of equal lengths, by hand: each trial left out in turn."""
    seconds = [1.0, 2.0, 4.0]

    def fitted(several):  # the constant c that minimises Σ (c / t - 1)²
        return sum(1 / each for each in several) / sum(1 / each**2 for each in several)

    without = [fitted([each for each in seconds if each != left]) for left in seconds]
    error = (2 / 3 * sum((each - sum(without) / 3) ** 2 for each in without)) ** 0.5
    mean, spread = _estimate(np.array([5.0]), trials([5, 5, 5], seconds))
    assert mean == pytest.approx(fitted(seconds))
    assert spread == pytest.approx(1 + 2 * error / mean)


def test_without_trials_nothing_is_estimated():
    assert _estimate(np.array([5.0]), []) == (0.0, 1.0)
    assert _estimate(np.array([5.0]), trials([5, 6], [1.0, 1.0]))[1] == 2.0


def test_trials_are_spread_evenly():
    assert [_spread(range(size), count) for size, count in ((9, 3), (2, 5), (0, 3), (10, 4))] == [
        [0, 4, 8], [0, 1], [], [0, 3, 6, 9],
    ]  # fmt: skip


# What is read and tried


def test_a_plan_counts_and_tries_the_shortest_and_the_longest():
    source = prompts(20)
    plan = planned(source)
    lengths = {each["id"]: _tokens(each["prompt"]) for each in source}
    assert (plan.examples, plan.finished, plan.remaining, plan.parts) == (20, 0, 20, 2)
    tried = {trial.id: trial.tokens for trial in plan.trials}
    assert len(tried) == 3 and tried.items() <= lengths.items()
    assert (min(tried.values()), max(tried.values())) == (min(lengths.values()), max(lengths.values()))
    assert plan.longest == max(lengths.values())
    assert plan.tokens == pytest.approx(sum(lengths.values()))
    assert plan.seconds == pytest.approx(20 * plan.seconds_each)
    assert plan.memory > 2**26


def _tokens(text):
    return len(dates().tokenizer(text)["input_ids"])


def test_tokens_of_a_large_source_are_those_of_a_sample(monkeypatch):
    monkeypatch.setattr(planning, "COUNTED", 4)
    source = [{"prompt": "7 May 2001"}] * 10
    source[4] = {"prompt": TEXT}
    plan = planned([{**each, "id": str(number)} for number, each in enumerate(source)])
    assert plan.tokens == pytest.approx(10 * _tokens("7 May 2001"))
    assert plan.longest == _tokens(TEXT), "the longest one is counted, and tried, in any case"
    assert plan.trials[-1].tokens == plan.longest


def test_a_source_that_is_too_large_is_read_in_part(monkeypatch):
    monkeypatch.setattr(planning, "READ", 4)
    plan = planned(prompts(10), part_size=2)
    assert (plan.examples, plan.parts) == (10, 5)
    assert plan.seconds == pytest.approx(10 * plan.seconds_each)
    assert planned(prompts(11), part_size=2, shard="1/2", trials=2).examples == 5  # 2, 3, 6, 7 and 10


def test_a_shard_is_planned_by_itself():
    assert [planned(prompts(7), part_size=2, shard=f"{number}/2").examples for number in (0, 1)] == [4, 3]


def test_processes_divide_the_parts():
    plan = planned(prompts(10), part_size=2, processes=3)
    assert plan.seconds_of_a_process == pytest.approx(plan.seconds * 2 / 5)
    assert planned(prompts(10), part_size=2, processes=9).seconds_of_a_process == pytest.approx(plan.seconds / 5, rel=9)


def test_what_is_finished_remains_no_more(tmp_path):
    settings = {"methods": ["gradient"], "max_new_tokens": 5, "part_size": 2}
    run(dates(), prompts(5)[:4], tmp_path / "maps", progress=False, **settings)
    again = planned(prompts(5)[:4], tmp_path / "maps", part_size=2)
    assert (again.finished, again.remaining, again.trials, again.seconds) == (4, 0, (), 0.0)
    with pytest.raises(InputError, match="a run of other settings"):
        planned(prompts(5)[:4], tmp_path / "maps", part_size=3)


def test_trials_that_fail_are_told_and_do_not_count():
    plan = planned([{"prompt": "7 May 2001"}, {"prompt": "3 May 2001"}], targets="text:03")
    assert len(plan.failures) == 1 and "'03' are nowhere" in plan.failures[0].error
    assert "Failed      example '0'" in str(plan) and "by 1 trial" in str(plan)


# Against the run


@pytest.mark.slow
def test_a_plan_is_within_a_factor_of_two_of_the_run(tmp_path):
    """The machine may be busy with something else in either: one of three attempts has to succeed."""
    settings = {"methods": ["occlusion", "lrp"], "max_new_tokens": 8}
    factors = []
    for attempt in range(3):
        plan = plan_run(dates(), prompts(60), trials=6, **settings)
        started = time.perf_counter()
        run(dates(), prompts(60), tmp_path / str(attempt), progress=False, **settings)
        factors.append(plan.seconds / (time.perf_counter() - started))
        if 0.5 < factors[-1] < 2:
            return
    pytest.fail(f"plans took these parts of the runs' time: {factors}")
