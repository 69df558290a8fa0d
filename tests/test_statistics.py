"""Means of prompts and comparisons of methods: scipy's bootstrap, known cases, coverage, missing numbers."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from tokensal.errors import InputError
from tokensal.results import statistics
from tokensal.results.statistics import bca_interval, mean_of, mean_over_targets, resampled_means, stand

NAN = float("nan")


def drawn(kind: str, count: int, seed: int = 0) -> torch.Tensor:
    random = np.random.default_rng(seed)
    numbers = {
        "normal": lambda: random.normal(1, 2, count),
        "skewed": lambda: random.exponential(1, count) ** 2,
        "hits": lambda: (random.random(count) < 0.8).astype(float),
    }[kind]()
    return torch.from_numpy(numbers)


# scipy


@pytest.mark.parametrize("kind", ["normal", "skewed"])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_the_interval_is_that_of_scipy_for_the_same_resamples(kind, level):
    scipy = pytest.importorskip("scipy.stats")
    values = drawn(kind, 17)
    result = scipy.bootstrap(
        (values.numpy(),), np.mean, confidence_level=level, n_resamples=2000, rng=np.random.default_rng(1)
    )
    found = bca_interval(values, torch.from_numpy(result.bootstrap_distribution), level)
    assert found == pytest.approx(tuple(result.confidence_interval), rel=1e-9)


@pytest.mark.parametrize("kind", ["normal", "skewed", "hits"])
def test_our_resamples_give_scipys_interval_up_to_chance(kind):
    scipy = pytest.importorskip("scipy.stats")
    values = drawn(kind, 40)
    result = scipy.bootstrap((values.numpy(),), np.mean, n_resamples=20_000, rng=np.random.default_rng(1))
    mean = mean_of(values, resamples=20_000)
    assert mean.value == pytest.approx(float(values.mean()))
    expected = tuple(result.confidence_interval)
    assert (mean.low, mean.high) == pytest.approx(expected, abs=0.06 * (expected[1] - expected[0]))


# Known cases


def test_resamples_of_two_numbers_are_binomial():
    means = resampled_means(torch.tensor([0.0, 1.0]).double(), 40_000, 3)
    values, counts = means.unique(return_counts=True)
    assert values.tolist() == [0, 0.5, 1]
    assert (counts / 40_000).tolist() == pytest.approx([0.25, 0.5, 0.25], abs=0.01)


def test_resamples_are_the_same_in_smaller_pieces(monkeypatch):
    values = drawn("normal", 11)
    found = resampled_means(values, 100, 2)
    monkeypatch.setattr(statistics, "AT_ONCE", 70)
    assert resampled_means(values, 100, 2).equal(found)
    assert not resampled_means(values, 100, 1).equal(found)


def test_numbers_that_are_all_equal_have_no_width_and_one_alone_has_no_interval():
    mean = mean_of([0.1, 0.1, 0.1])
    assert (mean.value, mean.low, mean.high, mean.prompts) == (0.1, 0.1, 0.1, 3)
    single = mean_of([0.3, NAN])
    assert (single.value, single.prompts, single.missing) == (0.3, 1, 1) and math.isnan(single.low)
    nothing = mean_of([NAN, NAN])
    assert math.isnan(nothing.value) and (nothing.prompts, nothing.missing) == (0, 2)


def test_an_interval_holds_what_it_should_as_often_as_it_says():
    hits = {"normal": 0, "skewed": 0}
    for kind, truth in (("normal", 1.0), ("skewed", 2.0)):
        for seed in range(300):
            mean = mean_of(drawn(kind, 30, seed), level=0.9, resamples=999, seed=seed)
            hits[kind] += mean.low <= truth <= mean.high
    assert 0.85 <= hits["normal"] / 300 <= 0.95
    assert 0.70 <= hits["skewed"] / 300 <= 0.95  # thirty prompts do not show the tail


def test_a_difference_that_is_there_is_called_so_and_one_that_is_not_seldom():
    wrong = right = 0
    for seed in range(200):
        base, noise = drawn("normal", 25, 2 * seed), drawn("normal", 25, 2 * seed + 1) - 1
        names = stand({"a": base, "b": base + noise}, "higher", correction="none", resamples=999, seed=seed)
        wrong += any(not each.tied for each in names)
        names = stand({"a": base, "b": base + noise - 2}, "higher", correction="none", resamples=999, seed=seed)
        right += not names[1].tied
    assert 0.01 <= wrong / 200 <= 0.1 and right / 200 > 0.9


def test_pairs_see_what_separate_intervals_do_not():
    """One method is always a little worse, on prompts that differ a lot."""
    base = 100 * drawn("normal", 30)
    better, worse = stand({"a": base, "b": base - 0.5 - 0.1 * drawn("normal", 30, 1)}, "higher")
    assert better.mean.low < worse.mean.value < better.mean.high
    assert better.tied and better.difference is None and better.p_value is None
    assert not worse.tied and worse.difference.high < 0 and worse.difference.prompts == 30


@pytest.mark.parametrize("kind", ["normal", "skewed"])
def test_a_p_value_is_below_the_level_where_the_interval_leaves_out_zero(kind):
    both = set()
    for seed in range(40):
        values = drawn(kind, 20, seed) - {"normal": 0.1, "skewed": 1.0}[kind]
        for level in (0.5, 0.8, 0.95):
            _, other = sorted(
                stand({"a": values, "b": 0 * values}, "higher", level=level, correction="none", resamples=999),
                key=lambda each: each.difference is not None,
            )
            inside = other.difference.low <= 0 <= other.difference.high
            assert inside == (other.p_value >= 1 - level) == other.tied
            both.add(inside)
    assert both == {True, False}


def test_few_prompts_show_no_difference_however_equal_they_are():
    for count in range(1, 6):
        _, other = stand({"a": [1.0] * count, "b": [0.0] * count}, "higher")
        assert other.tied and other.p_value == (1.0 if count == 1 else 2.0 ** (1 - count))
    _, other = stand({"a": [1.0] * 6, "b": [0.0] * 6}, "higher")
    assert not other.tied and other.difference.value == -1
    first, second = stand({"a": [0.1, 0.4, 0.3], "b": [0.1, 0.4, 0.3]}, "higher")
    assert first.tied and second.tied and second.p_value == 1


def test_holm_by_hand():
    assert statistics.holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.5}) == pytest.approx(
        {"a": 0.04, "c": 0.09, "b": 0.09, "d": 0.5}
    )
    assert statistics.holm({"a": 0.9, "b": 0.8}) == {"b": 1.0, "a": 1.0}
    assert statistics.holm({}) == {}
    values = {name: drawn("normal", 20, seed) for seed, name in enumerate("abcdefgh")}
    holm, none = stand(values, "lower"), stand(values, "lower", correction="none")
    pairs = [(one.p_value, other.p_value) for one, other in zip(holm, none, strict=True) if other.p_value is not None]
    assert len(pairs) == 7 and all(one >= other for one, other in pairs) and any(one > other for one, other in pairs)


# Missing numbers, order, directions


def test_missing_numbers_are_left_out_in_pairs_and_counted():
    first, second, third = stand(
        {"a": [5, NAN, 7, 8, 9, 9, 9.5], "b": [1, 2, NAN, 4, 5, 5, 5], "c": [NAN] * 7}, "higher"
    )
    assert (first.mean.prompts, first.mean.missing) == (6, 1) and (second.mean.prompts, second.mean.missing) == (6, 1)
    assert (second.difference.prompts, second.difference.missing) == (5, 2)
    assert second.difference.value == pytest.approx((-4 - 4 - 4 - 4 - 4.5) / 5)
    assert third.mean.prompts == 0 and third.difference is third.p_value is None and not third.tied
    nothing, other = stand({"a": [NAN], "b": [NAN]}, "lower")
    assert nothing.difference is other.difference is None and not nothing.tied
    first, apart = stand({"a": [1, NAN], "b": [NAN, 0]}, "higher")
    assert first.tied and apart.difference is apart.p_value is None and not apart.tied


def test_neither_the_order_of_prompts_nor_other_methods_change_a_number():
    values = {"a": drawn("normal", 12, 1), "b": drawn("skewed", 12, 2), "c": drawn("hits", 12, 3)}
    expected = {each.name: each for each in stand(values, "higher", correction="none")}
    order = torch.randperm(12)
    for names in itertools.permutations(values):
        found = stand({name: values[name][order] for name in names}, "higher", correction="none")
        assert [each.name for each in found] == list(names)
        for each in found:
            assert each.mean == expected[each.name].mean
            assert each.p_value == expected[each.name].p_value and each.difference == expected[each.name].difference
    best = next(name for name, each in expected.items() if each.difference is None)
    for name in set(values) - {best}:
        alone = stand({best: values[best], name: values[name]}, "higher", correction="none")
        assert alone[1] == expected[name]


def test_lower_may_be_better_and_equal_means_are_told_apart_by_name():
    assert [each.difference is None for each in stand({"a": [1, 2], "b": [0, 1]}, "lower")] == [False, True]
    assert [each.difference is None for each in stand({"a": [1, 2], "b": [0, 1]}, "higher")] == [True, False]
    assert [each.difference is None for each in stand({"b": [1, 2], "a": [2, 1]}, "higher")] == [False, True]


def test_a_prompt_counts_by_the_mean_over_its_targets():
    assert mean_over_targets(torch.tensor([1.0, NAN, 2.0])) == 1.5
    assert math.isnan(mean_over_targets(torch.tensor([NAN, NAN])))


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ({}, {}, "none"),
        ({"a": [1], "b": [1, 2]}, {}, "'a': 1, 'b': 2"),
        ({"a": [1, math.inf]}, {}, "infinite"),
        ({"a": [1]}, {"level": 1}, "less than 1"),
        ({"a": [1]}, {"level": 0}, "greater than 0"),
        ({"a": [1]}, {"resamples": 3}, "99 or more"),
        ({"a": [1]}, {"correction": "holmes"}, "holm"),
    ],
)
def test_what_cannot_be_compared_is_refused(values, options, message):
    with pytest.raises(InputError, match=message):
        stand(values, "higher", **options)
    with pytest.raises(InputError, match="higher"):
        stand({"a": [1]}, "highest")
