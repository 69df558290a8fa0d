"""Perturbation curves and what is read off: closed forms, a slow twin, ties, budgets, and what they cost."""

from __future__ import annotations

import itertools
import math
from contextlib import contextmanager

import pytest
import torch
import transformers as hf
from builders import CONTINUATION, PROMPT, tiny
from hand_made import random_game
from models import GROUPED, tokenizer
from trials_by_hand import linear, ranked, trial_of

import tokensal
from tokensal import Question, adapt
from tokensal.case import Case
from tokensal.errors import InputError
from tokensal.evaluation import ABPC, METRICS, Comprehensiveness, Deletion, Insertion, Sufficiency, TopKDrop
from tokensal.evaluation.baselines import BASELINES, Random, Recency, chance, chances
from tokensal.evaluation.curves import curves
from tokensal.evaluation.metric import Trial
from tokensal.evaluation.removal import score_together
from tokensal.options import Generation

WEIGHTS = [1.0, -2.0, 0.5, 0.0, 3.0, 0.7, -0.1]
RANKED = (Deletion, Insertion, ABPC, Comprehensiveness, Sufficiency, TopKDrop)


def one(metric, trial, attribution) -> float:
    [value] = metric(trial, attribution).tolist()
    return value


# Closed forms


def test_the_curve_of_a_linear_score_is_its_sorted_weights_added_up():
    trial = trial_of(linear(WEIGHTS, constant=-4), 7)
    [curve] = curves(trial, ranked(trial, WEIGHTS), ABPC(steps=7))
    best = sorted(WEIGHTS, reverse=True)
    total = sum(WEIGHTS)
    assert curve.fractions.tolist() == pytest.approx([count / 7 for count in range(8)])
    assert curve.most_first.tolist() == pytest.approx([sum(best[count:]) / total for count in range(8)])
    assert curve.least_first.tolist() == pytest.approx([sum(best[: 7 - count]) / total for count in range(8)])
    assert curve.least_first.max() > 1, "rises are not hidden"


def test_areas_of_a_linear_score():
    trial = trial_of(linear(WEIGHTS), 7)
    right = ranked(trial, WEIGHTS)
    best, total = sorted(WEIGHTS, reverse=True), sum(WEIGHTS)
    shares = [(place + 0.5) / 7 * weight / total for place, weight in enumerate(best)]  # each falls in its own step
    assert one(Deletion(steps=7), trial, right) == pytest.approx(sum(shares))
    assert one(Insertion(steps=7), trial, right) == pytest.approx(1 - sum(shares))
    assert one(ABPC(steps=7), trial, right) == pytest.approx(1 - 2 * sum(shares))
    turned = ranked(trial, [-weight for weight in WEIGHTS])
    assert one(ABPC(steps=7), trial, turned) == pytest.approx(2 * sum(shares) - 1)
    assert one(Deletion(steps=7, normalised=False), trial, right) == pytest.approx(sum(shares) * total)


def test_no_order_is_better_than_the_right_one_where_units_do_not_interact():
    trial = trial_of(linear(WEIGHTS[:5]), 5)
    values = [
        [one(metric, trial, ranked(trial, [float(place) for place in order])) for metric in (Deletion(), Insertion())]
        for order in itertools.permutations(range(5))
    ]
    deletion, insertion = zip(*values, strict=True)
    right = ranked(trial, WEIGHTS[:5])
    assert one(Deletion(), trial, right) == pytest.approx(min(deletion))
    assert one(Insertion(), trial, right) == pytest.approx(max(insertion))
    assert sum(deletion) / 120 == pytest.approx(0.5) == pytest.approx(sum(insertion) / 120)


def test_drops_of_a_linear_score():
    trial = trial_of(linear(WEIGHTS), 7)
    right, best = ranked(trial, WEIGHTS), sorted(WEIGHTS, reverse=True)
    counts = [1, 1, 1, 1, 4]  # 1, 5, 10, 20 and 50 % of 7: .07, .35, .7, 1.4, 3.5
    without = [sum(best[:count]) for count in counts]
    assert one(Comprehensiveness(), trial, right) == pytest.approx(sum(without) / 5)
    assert one(Sufficiency(), trial, right) == pytest.approx(sum(sum(WEIGHTS) - drop for drop in without) / 5)
    assert one(TopKDrop(k=2), trial, right) == pytest.approx(sum(best[:2]))
    assert one(TopKDrop(k=99), trial, right) == pytest.approx(sum(WEIGHTS))
    assert one(TopKDrop(k=1, magnitude=True), trial, right) == pytest.approx(3.0)
    assert one(TopKDrop(k=2, magnitude=True), trial, right) == pytest.approx(1.0)


def test_a_prompt_that_lowers_the_score_leaves_lower_as_lower():
    """There, the values go from −1 to 0, and a good deletion is still below a bad one."""
    weights = [1.0, -3.0, -1.0]
    trial = trial_of(linear(weights), 3)
    right, wrong = ranked(trial, weights), ranked(trial, [-weight for weight in weights])
    [curve] = curves(trial, right)
    assert curve.most_first[[0, -1]].tolist() == [-1.0, 0.0]
    assert one(Deletion(), trial, right) < one(Deletion(), trial, wrong)
    assert one(Insertion(), trial, right) > one(Insertion(), trial, wrong)


# A slow twin


def slow_areas(value, scores, steps=None):
    """(deletion, insertion), one coalition at a time, from the numbers of the players alone."""
    order = sorted(range(len(scores)), key=lambda player: -scores[player])

    def of(players):
        present = torch.zeros(1, len(scores), dtype=torch.float64)
        present[0, list(players)] = 1
        return float(value(present)[0, 0])

    full, empty = of(order), of([])
    shares = (0, 0.05, 0.2, 0.5, 0.7, 0.8, 0.9, 1) if steps is None else [step / steps for step in range(steps + 1)]
    counts = sorted({math.floor(share * len(order) + 0.5 + 1e-9) for share in shares})
    areas = []
    for left in (lambda count: order[count:], lambda count: order[: len(order) - count]):
        values = [(of(left(count)) - empty) / abs(full - empty) for count in counts]
        areas.append(
            sum(
                (values[step] + values[step + 1]) / 2 * (counts[step + 1] - counts[step]) / len(order)
                for step in range(len(counts) - 1)
            )
        )
    return areas


@pytest.mark.parametrize(("players", "steps"), [(1, 20), (6, 20), (9, 4), (11, 20), (1, None), (13, None)])
def test_a_slow_twin_has_the_same_areas(players, steps):
    value = random_game(players, seed=players)
    trial = trial_of(value, players)
    scores = torch.randn(players).tolist()
    attribution = ranked(trial, scores)
    deletion, insertion = slow_areas(value, scores, steps)
    assert one(Deletion(steps=steps), trial, attribution) == pytest.approx(deletion)
    assert one(Insertion(steps=steps), trial, attribution) == pytest.approx(insertion)
    assert one(ABPC(steps=steps), trial, attribution) == pytest.approx(insertion - deletion)


def test_a_target_is_measured_on_what_it_sees_and_one_that_sees_nothing_is_not():
    value = random_game(6, 3, seen=(6, 0, 4))
    trial = trial_of(value, 6, seen=(6, 0, 4))
    scores = torch.randn(3, 6, dtype=torch.float64)
    together = ranked(trial, scores)
    for metric in (Deletion(), Insertion(), Comprehensiveness(), Sufficiency(), TopKDrop(k=2)):
        values = metric(trial, together)
        assert values.dtype == torch.float64 and values.shape == (3,)
        assert values.isnan().tolist() == [False, True, False]
        for target, count in ((0, 6), (2, 4)):

            def alone(present, target=target):
                players = torch.zeros(len(present), 6, dtype=torch.float64)
                players[:, : present.shape[1]] = present
                return value(players)[:, target : target + 1]

            small = trial_of(alone, count)
            assert values[target].item() == pytest.approx(one(metric, small, ranked(small, scores[target, :count])))
    assert [curve is None for curve in curves(trial, together)] == [False, True, False]


# Ties, scores that say nothing, and what is not defined


def mean_and_error(areas, draws):
    """The mean of areas over all orders, and four standard errors of a mean over random ones."""
    table = torch.tensor(list(areas), dtype=torch.float64)
    return pytest.approx(float(table.mean()), abs=4 * float(table.std()) / draws**0.5)


def test_equal_scores_count_by_their_expectation_wherever_they_stand():
    value, draws = random_game(5, seed=3), 1000
    trial = trial_of(value, 5)
    exact = mean_and_error((slow_areas(value, order)[0] for order in itertools.permutations(range(5))), draws)
    means = [one(Deletion(draws=draws), trial, ranked(trial, [level] * 5)) for level in (0.0, 2.0)]
    assert means[0] == means[1] == exact
    orders = [
        slow_areas(value, [5 - (first + second).index(player) for player in range(5)])[0]
        for first in itertools.permutations([0, 2, 4])
        for second in itertools.permutations([1, 3])
    ]
    for seed in (0, 1):
        again = trial_of(value, 5, seed=seed)
        half = one(Deletion(draws=draws), again, ranked(again, [1, 0, 1, 0, 1]))
        assert half == mean_and_error(orders, draws) and half != slow_areas(value, [1, 0, 1, 0, 1])[0]


def test_without_equal_scores_there_is_one_order_and_the_seed_plays_no_part():
    value, scores = random_game(8, seed=1), torch.randn(8)
    values = []
    for seed in (0, 5):
        trial = trial_of(value, 8, seed=seed)
        values.append([one(metric(), trial, ranked(trial, scores)) for metric in RANKED])
    assert values[0] == values[1]


def test_units_without_a_score_come_last():
    trial = trial_of(linear([1.0, 2.0, 4.0]), 3)
    left_out = ranked(trial, [[-5.0, float("nan"), -6.0]])
    assert one(TopKDrop(k=1), trial, left_out) == 1
    assert one(TopKDrop(k=2), trial, left_out) == 5


def test_a_score_that_does_not_change_has_no_normalised_curve():
    trial = trial_of(linear([0.0] * 4, constant=-3.0), 4)
    attribution = ranked(trial, [1.0, 2.0, 3.0, 4.0])
    assert all(math.isnan(one(metric, trial, attribution)) for metric in (Deletion(), Insertion(), ABPC()))
    assert one(Deletion(normalised=False), trial, attribution) == 0
    assert one(Comprehensiveness(), trial, attribution) == 0 == one(Sufficiency(), trial, attribution)
    rounding = trial_of(linear([1e-16] * 4, constant=-3.0), 4)
    assert math.isnan(one(Deletion(), rounding, ranked(rounding, [1.0, 2.0, 3.0, 4.0])))
    small = trial_of(linear([1e-9] * 4, constant=-3.0), 4)
    assert one(Deletion(), small, ranked(small, [1.0, 2.0, 3.0, 4.0])) == pytest.approx(0.5, abs=1e-5)


def test_the_order_of_players_does_not_matter():
    value, order = random_game(6, seed=2), torch.tensor([3, 0, 5, 1, 4, 2])
    scores = torch.randn(6, dtype=torch.float64)
    trial = trial_of(value, 6)
    moved = trial_of(lambda present: value(torch.zeros_like(present).index_copy(1, order, present)), 6)
    for metric in RANKED:
        assert one(metric(), trial, ranked(trial, scores)) == one(metric(), moved, ranked(moved, scores[order]))


# Budgets and what they cost


@pytest.mark.parametrize(
    ("players", "steps", "count"), [(3, 20, 4), (20, 20, 21), (61, 20, 21), (61, 4, 5), (61, None, 8)]
)
def test_the_budget_is_the_same_for_all_methods_and_no_coalition_is_scored_twice(players, steps, count):
    trial = trial_of(linear(torch.rand(players)), players)
    engine = trial.case.engine
    for seed in range(3):
        attribution = ranked(trial, torch.randn(players, generator=torch.Generator().manual_seed(seed)))
        before = len(engine.listed)
        [curve] = curves(trial, attribution, Deletion(steps=steps))
        assert len(curve.fractions) == count and curve.fractions[[0, -1]].tolist() == [0, 1]
        assert len(engine.listed) - before <= 2 * (count - 2) + (seed == 0)  # the empty one once; the full one never
        before = len(engine.listed)
        for metric in (Deletion, Insertion, ABPC):
            one(metric(steps=steps), trial, attribution)
        assert len(engine.listed) == before
    keys = [row.numpy().tobytes() for row in engine.listed]
    assert len(set(keys)) == len(keys)


def test_metrics_of_several_methods_are_scored_in_one_call():
    trial = trial_of(random_game(9, seed=4), 9)
    calls, scores = [], trial.case.engine.scores
    trial.case.engine.scores = lambda *given: calls.append(1) or scores(*given)
    attributions = [ranked(trial, torch.randn(9)) for _ in range(3)]
    metrics = [metric() for metric in METRICS.values() if hasattr(metric, "coalitions")]
    score_together(trial, attributions, metrics)
    listed = len(trial.case.engine.listed)
    for metric in metrics:
        for attribution in attributions:
            metric(trial, attribution)
    assert len(calls) == 1 and len(trial.case.engine.listed) == listed


@contextmanager
def counted(adapted):
    """How many tokens each forward runs through the body, without those that are skipped."""
    tokens: list[int] = []

    def count(module, args, kwargs):
        tokens.append(kwargs["inputs_embeds"].shape[:2].numel())

    handle = adapted.model.get_decoder().register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield tokens
    finally:
        handle.remove()


def test_curves_of_three_operators_cost_little_more_than_their_distinct_suffixes():
    """Of 60 + 10 tokens: at most 1.3 × the tokens of each distinct coalition from its first absent to its predictor.

    Tokens that are masked or deleted need not run, and do not count.
    """
    network = hf.AutoModelForCausalLM.from_config(hf.LlamaConfig(**{**GROUPED, "max_position_embeddings": 70}))
    adapted = adapt(network.eval().double(), tokenizer(), name="Llama")
    prompt, answer = [(7 * place) % 300 + 3 for place in range(60)], [(11 * place) % 300 + 3 for place in range(10)]
    case = Case.of(adapted, prompt, generation=Generation(continuation=answer))
    trial, attribution = Trial(case), case.explain("input_x_gradient")
    case.engine.original(case.example)
    run, needed = {}, {}
    for replacement in ("mask", "delete", "pad"):
        metric = ABPC(steps=20, replacement=replacement)
        with counted(adapted) as tokens:
            values = metric(trial, attribution)
        assert values.shape == (10,) and values.isfinite().all()
        run[replacement], needed[replacement] = sum(tokens), tokens_needed(metric, trial, attribution)
    assert 300 < len(trial.game().known) <= 10 * 2 * 19 + 2
    assert sum(run.values()) <= 1.3 * sum(needed.values()), (run, needed)


def tokens_needed(metric, trial, attribution) -> int:
    """Of each distinct coalition but the full one, for the target that is predicted last of those that it is for."""
    game, needed = trial.game(metric.replacement), {}
    for target, table in enumerate(metric._tables(trial, attribution)):
        for row in table.flatten(0, 1):
            if not row.all():
                absent = game.leaving[game.players][~row].any(0)[: game.example.predictors[target] + 1]
                runs = torch.ones_like(absent) if metric.replacement == "pad" else ~absent
                needed[row.numpy().tobytes()] = int(runs[int(absent.int().argmax()) :].sum())
    return sum(needed.values())


# Options that make no sense, and baselines


@pytest.mark.parametrize(
    ("metric", "options", "message"),
    [
        (Deletion, {"replacement": "maks"}, "mask"),
        (Deletion, {"steps": 0}, "steps is 0"),
        (Insertion, {"draws": 0}, "draws is 0"),
        (ABPC, {"magnitude": 1}, "magnitude is 1"),
        (ABPC, {"normalised": "no"}, "normalised is 'no'"),
        (Comprehensiveness, {"bins": []}, "such as"),
        (Comprehensiveness, {"bins": "half"}, "such as"),
        (Comprehensiveness, {"bins": [0.5, 1.5]}, "at most 1"),
        (Sufficiency, {"bins": [0]}, "greater than 0"),
        (TopKDrop, {"k": 0}, "k is 0"),
    ],
)
def test_options_that_make_no_sense(metric, options, message):
    with pytest.raises(InputError, match=message):
        metric(**options)


def test_every_metric_says_what_it_is():
    assert list(METRICS) == [metric.name for metric in METRICS.values()]
    for metric in METRICS.values():
        assert (
            metric.summary
            and metric.paper
            and metric.better in ("higher", "lower")
            and metric.needs_gold in (True, False)
        )
        for name in metric.__dataclass_fields__:
            documented = [base for base in metric.__mro__ if f"\n        {name}: " in (base.__doc__ or "")]
            assert documented or name in vars(metric) or "ClassVar" in str(metric.__dataclass_fields__[name].type)


@pytest.mark.parametrize("name", ["Llama", "T5"])
def test_baselines_are_methods(name):
    case = Case.of(tiny(name), PROMPT, generation=Generation(continuation=CONTINUATION))
    for method in BASELINES.values():
        attribution = case.explain(method())
        assert attribution.provenance.method == method.name and attribution.scores.isfinite().any(1).all()
    first, again, other = (case.explain(Random(seed=seed)).scores.nan_to_num() for seed in (1, 1, 2))
    assert first.equal(again) and not first.equal(other) and first.abs().max() <= 1
    assert all(row.tolist() == sorted(row.tolist()) for row in case.explain(Recency()).scores.nan_to_num(nan=99))
    with pytest.raises(InputError, match="seed is -1"):
        Random(seed=-1)


def test_chance_is_a_half_on_average_where_units_do_not_interact():
    trial = trial_of(linear(torch.rand(12)), 12)
    values = chance(Deletion(), trial, draws=64)
    assert values.shape == (64, 1) and values.std() > 0.01
    assert float(values.mean()) == pytest.approx(0.5, abs=4 * float(values.std()) / 8)
    assert chance(Deletion(), trial, draws=3).equal(values[:3])
    [right] = Deletion()(
        trial, ranked(trial, [float(trial.game().scores(one)[0, 0]) for one in torch.eye(12).bool()[:, None]])
    )
    assert (values > right).all()


@pytest.mark.parametrize("players", [1, 6, 20, 40])
def test_a_pair_of_opposite_rankings_costs_one_and_has_no_area_between(players):
    """Where the steps are whole numbers of units; what is absent as one falls is left as the other does."""
    weights, counts = torch.rand(players, generator=torch.Generator().manual_seed(0)).double(), []

    def counted(rows):
        counts.append(len(rows))
        return (rows.double() @ weights).square()[:, None]

    trial = trial_of(counted, players)
    one_of_them, other = chances(trial, 1)
    metric = ABPC(steps=min(10, players))
    first = metric(trial, one_of_them)
    scored = sum(counts)
    assert float(first + metric(trial, other)) == pytest.approx(0) and (players < 6 or float(first) != 0)
    assert sum(counts) == scored


# Real models


@pytest.mark.parametrize("name", ["Llama", "T5"])
@pytest.mark.parametrize("replacement", ["mask", "delete", "mean"])
def test_curves_of_a_model_are_those_of_its_scores(name, replacement):
    """Each value is the score of the case with those units absent, alone."""
    question = Question(targets="output") if name == "Llama" else Question()
    prompt = PROMPT if name == "Llama" else "The cat sat"  # whose special token is what an encoder reads at least
    case = Case.of(tiny(name), prompt, generation=Generation(continuation=CONTINUATION), question=question)
    trial, attribution = Trial(case), case.explain("input_x_gradient")
    game = trial.game(replacement)
    found = curves(trial, attribution, Deletion(steps=20, replacement=replacement))
    for target, curve in enumerate(found):
        seen = [int(player) for player in game.players[game.visible[target]]]
        order = sorted(seen, key=lambda unit: -attribution.scores[target, unit].item())
        count = len(seen) // 2
        values = []
        for absent in ([], seen, order[:count], order[len(seen) - count :]):
            present = torch.ones(1, len(case.example.units), dtype=torch.bool)
            present[0, absent] = False
            values.append(case.scores(present, replacement=replacement)[0, target].item())
        full, empty, most, least = values
        at = curve.at(torch.tensor([count / len(seen)], dtype=torch.float64))
        assert at.most_first.item() == pytest.approx((most - empty) / abs(full - empty), rel=1e-6)
        assert at.least_first.item() == pytest.approx((least - empty) / abs(full - empty), rel=1e-6)


def test_a_chunk_of_one_row_and_other_targets_beside_it_change_no_number():
    for explained in ("output", "each"):
        question = Question(targets="output") if explained == "output" else Question()
        results = []
        for options in ({}, {"budget": tokensal.Budget(rows=1)}):
            case = Case.of(
                tiny(), PROMPT, generation=Generation(continuation=CONTINUATION), question=question, **options
            )
            trial = Trial(case)
            attribution = trial.explain("input_x_gradient")
            results.append(
                torch.stack([metric()(trial, attribution) for metric in METRICS.values() if not metric.needs_gold])
            )
        torch.testing.assert_close(*results, rtol=1e-8, atol=1e-10, equal_nan=True)
