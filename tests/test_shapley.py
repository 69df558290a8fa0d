"""The Shapley family against definitions written as loops, axioms on hand-made games, captum, and what it costs."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from functools import cache

import pytest
import slow_twins
import slow_twins_seq2seq
import torch
from builders import CONTINUATION, PROMPT, exact_scores, tiny
from counting import CountingAdapter
from hand_made import HandMade, pairwise_game, pairwise_weights, random_game
from models import adapter

import tokensal
from tokensal import KernelSHAP, OwenValues, ShapleySampling, ShapleyValues, attribute
from tokensal.engine import Engine
from tokensal.errors import InputError
from tokensal.methods import kernel_shap, owen_values
from tokensal.perturbations.coalitions import KernelPairs, Permutations, every_coalition

EXACT = (ShapleyValues(), KernelSHAP(), OwenValues(levels=()))  # of few players
SAMPLED = {  # of seven or eight players, always as many samples
    "shapley_sampling": ShapleySampling(samples=40, tolerance=0),
    "kernel_shap": KernelSHAP(samples=100, tolerance=0),
    "owen_values": OwenValues(samples=18, tolerance=0, levels=()),
}
every_sampled = pytest.mark.parametrize("method", SAMPLED.values(), ids=SAMPLED)
SENTENCES = [" a", " b", " c", ".", " D", " e", ".", " F", " g", "."]  # after "The"


def explained(method, game):
    """The scores of the players (K, P), and the diagnostics."""
    scores = method(game.example(), game)
    assert scores.scored.tolist() == [False] + [True] * game.players
    return scores.matrix[:, 1:], scores.diagnostics


def over_orders(value, players, orders):
    """The mean contribution of each player over orders, by loops: (K, P)."""
    total, count = 0, 0
    for order in orders:
        present, rows = torch.zeros(players, dtype=torch.float64), {}
        before = value(present[None])[0]
        for player in order:
            present[player] = 1
            after = value(present[None])[0]
            rows[player], before = after - before, after
        total, count = total + torch.stack([rows[player] for player in range(players)], dim=1), count + 1
    return total / count


# Exact values


@pytest.mark.parametrize("method", EXACT, ids=lambda method: method.name)
@pytest.mark.parametrize("players", [1, 2, 3, 6])
def test_few_players_get_the_mean_over_all_orders(method, players):
    value = random_game(players, targets=2)
    found, diagnostics = explained(method, HandMade(value, players, seen=(players, players)))
    expected = over_orders(value, players, itertools.permutations(range(players)))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    assert diagnostics["coalitions"].values.tolist() == [2**players] * 2
    assert diagnostics["convergence_delta"].values.abs().max() < 1e-10 and "standard_error" not in diagnostics


@pytest.mark.parametrize("method", EXACT, ids=lambda method: method.name)
def test_a_target_plays_only_with_what_it_sees(method):
    """The first sees nobody, the second one player, the third four, the last all six."""
    seen = (0, 1, 4, 6)
    value = random_game(6, targets=4, seen=seen)
    found, diagnostics = explained(method, HandMade(value, 6, seen=seen))
    for row, count in enumerate(seen):
        alone = random_game(6, targets=4, seen=seen)
        orders = itertools.permutations(range(count))

        def of_the_seen(present, row=row, alone=alone):
            return alone(torch.nn.functional.pad(present, (0, 6 - present.shape[1])))[:, row, None]

        expected = over_orders(of_the_seen, count, orders)[0] if count else torch.zeros(0, dtype=torch.float64)
        torch.testing.assert_close(found[row, :count], expected, rtol=1e-10, atol=1e-10)
        assert not found[row, count:].any()  # exactly
    assert diagnostics["total"].values[0] == 0


def test_the_kernel_is_that_of_the_paper():
    weights = kernel_shap.kernel(every_coalition(5))
    sizes = every_coalition(5).sum(1)
    expected = {size: 4 / (math.comb(5, size) * size * (5 - size)) for size in range(1, 5)} | {0: 0, 5: 0}
    expected = torch.tensor([expected[size] for size in sizes.tolist()], dtype=torch.float64)
    torch.testing.assert_close(weights * expected.sum(), expected * weights.sum())


# Groups


GROUPS = (((0, 1, 2), 3), (4, 5), 6)


def nested_orders(group):
    """Every order in which the members of each group follow one another, as often as it is likely."""
    if isinstance(group, int):
        yield [group]
        return
    for order in itertools.permutations(group):
        for parts in itertools.product(*(list(nested_orders(child)) for child in order)):
            yield list(itertools.chain(*parts))


def test_owen_values_are_the_mean_over_all_orders_of_groups(monkeypatch):
    value = random_game(7, targets=2)
    monkeypatch.setattr(owen_values, "hierarchy", lambda *arguments: GROUPS)
    game = HandMade(value, 7, seen=(7, 7))
    found, diagnostics = explained(OwenValues(), game)
    expected = over_orders(value, 7, list(nested_orders(GROUPS)))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    shapley, _ = explained(ShapleyValues(), HandMade(value, 7, seen=(7, 7)))
    assert (shapley - found).abs().max() > 0.1  # groups make a difference
    coalitions = {tuple(sorted(order[:size])) for order in nested_orders(GROUPS) for size in range(8)}
    assert diagnostics["coalitions"].values.tolist() == [len(coalitions)] * 2
    assert {tuple(each.nonzero()[:, 0].tolist()) for each in game.listed} | {tuple(range(7))} == coalitions


def test_a_group_gets_what_it_would_get_as_one(monkeypatch):
    value = random_game(7)
    groups = ((0, 1, 2), (3, 4), (5, 6))
    monkeypatch.setattr(owen_values, "hierarchy", lambda *arguments: groups)
    found, _ = explained(OwenValues(), HandMade(value, 7))
    member = torch.tensor([[float(player in group) for player in range(7)] for group in groups], dtype=torch.float64)
    of_groups, _ = explained(ShapleyValues(), HandMade(lambda present: value(present @ member), 3))
    torch.testing.assert_close(found @ member.T, of_groups, rtol=1e-10, atol=1e-10)


def test_groups_are_those_of_the_text():
    game = HandMade(random_game(10), 10, texts=SENTENCES)
    example, players = game.example(), range(1, 11)
    assert owen_values.hierarchy(example, players, ()) == tuple(range(10))
    assert owen_values.hierarchy(example, players, ("message",)) == tuple(range(10))  # one group is none
    grouped = ((0, 1, 2, 3), (4, 5, 6), (7, 8, 9))
    assert owen_values.hierarchy(example, players, ("message", "sentence", "word")) == grouped
    assert owen_values.hierarchy(example, [1, 2, 8], ("sentence",)) == ((0, 1), 2)


def test_tokens_arrive_in_words_and_words_in_sentences_and_these_in_messages():
    model = tiny("Llama")
    messages = [{"role": "system", "content": "hungry cat. Log sat."}, {"role": "user", "content": "hungry"}]
    result = tokensal.Case.of(model, messages=messages, generation=tokensal.Generation(continuation=" mat"))
    game = OwenValues().game(result.example, result.engine)
    texts = [result.example.sources[unit].text for unit in game.players]
    shown = _shown(owen_values.hierarchy(result.example, game.players.tolist(), OwenValues().levels), texts)
    hungry = [*"hungry"]
    assert shown == [[[hungry, " cat", ".", " "], [[*"Log"], " sat", "."]], hungry]


def _shown(group, texts):
    return texts[group] if isinstance(group, int) else [_shown(child, texts) for child in group]


# Samples


@every_sampled
def test_pairs_are_exact_where_no_more_than_two_players_interact(method):
    weights, pairs = pairwise_weights(8, seed=3)
    found, diagnostics = explained(method, HandMade(pairwise_game(8, seed=3), 8))
    torch.testing.assert_close(found[0], weights + pairs.sum(1) / 2, rtol=1e-10, atol=1e-10)
    assert diagnostics["standard_error"].values.max() < 1e-10


@every_sampled
def test_estimates_are_as_far_off_as_their_standard_errors_say(method):
    seen = (5, 7)
    value = random_game(7, targets=2, seen=seen)
    exact, _ = explained(ShapleyValues(), HandMade(value, 7, seen=seen))
    estimates, errors = [], []
    for seed in range(40):
        found, diagnostics = explained(replace(method, seed=seed), HandMade(value, 7, seen=seen))
        estimates.append(found)
        errors.append(diagnostics["standard_error"].values[:, 1:])
        assert diagnostics["convergence_delta"].values.abs().max() < 1e-10
        assert not found[0, 5:].any() and not errors[-1][0, 5:].any()
    misses, errors = torch.stack(estimates) - exact, torch.stack(errors)
    visible = exact != 0
    assert 0.8 < (misses.pow(2).mean(0) / errors.pow(2).mean(0))[visible].mean().sqrt() < 1.25
    assert (misses.mean(0)[visible].abs() < 4 * errors.mean(0)[visible] / math.sqrt(40)).all()


@every_sampled
def test_a_seed_tells_the_samples(method):
    value = random_game(8)
    first, again, other = (explained(replace(method, seed=seed), HandMade(value, 8))[0] for seed in (1, 1, 2))
    torch.testing.assert_close(first, again, rtol=1e-12, atol=1e-12)
    assert not first.allclose(other)


@every_sampled
def test_sampling_stops_when_it_is_precise_and_says_when_it_is_not(method):
    value = random_game(12)
    many = replace(method, samples=300)
    _, exhausted = explained(many, HandMade(value, 12))
    _, precise = explained(replace(many, tolerance=0.3), HandMade(value, 12))
    assert precise["coalitions"].values < exhausted["coalitions"].values
    assert precise["standard_error"].reached.all() and not exhausted["standard_error"].reached.any()
    allowed = 0.3 * (precise["total"].values.abs().clamp(min=0.1))
    assert precise["standard_error"].allowed.equal(allowed)


def test_blocks_of_permutations_are_prefixes_of_an_order_and_of_its_reverse():
    firsts = set()
    for number in range(60):
        block = Permutations((((0, 1), 2), 3), seed=5).block(number)
        first, second = block[:5], block[5:]
        assert first.sum(1).tolist() == second.sum(1).tolist() == [0, 1, 2, 3, 4]
        assert (first[1:] >= first[:-1]).all() and second.flip(0).equal(~first)
        order = first.diff(dim=0).int().argmax(1).tolist()
        assert order in list(nested_orders((((0, 1), 2), 3)))
        firsts.add(tuple(order))
    assert len(firsts) == 8  # all of them come


def test_pairs_of_coalitions_are_complements_whose_sizes_the_kernel_draws():
    sizes = torch.tensor([0, 1 / 4, 1 / 6, 1 / 6, 1 / 4, 0], dtype=torch.float64)  # 1 / (s (5 − s))
    torch.testing.assert_close(kernel_shap.likelihood_of_sizes(5), sizes)
    sampler = KernelPairs(tuple(sizes.tolist()), seed=3)
    blocks = torch.stack([sampler.block(number) for number in range(3000)])
    assert blocks[:, 1].equal(~blocks[:, 0])
    drawn = blocks[:, 0].sum(1).bincount(minlength=6).double() / 3000
    torch.testing.assert_close(drawn, sizes / sizes.sum(), rtol=0, atol=0.04)
    torch.testing.assert_close(blocks[:, 0].double().mean(0), torch.full((5,), 0.5).double(), rtol=0, atol=0.04)


# Axioms


@pytest.mark.parametrize("method", [*EXACT, *SAMPLED.values()], ids=lambda method: method.name)
def test_a_dummy_gets_what_it_adds_alone_and_twins_get_the_same_and_games_add_up(method):
    some, other = random_game(8, seed=1), random_game(8, seed=2)

    def with_a_dummy(present):  # the third adds 2 to whatever it joins
        return some(present.clone().index_fill(1, torch.tensor([2]), 0)) + 2 * present[:, 2:3]

    def with_twins(present):  # the score knows how many of the first two are present, and not which
        return some(torch.cat([present[:, :2].sort(1).values, present[:, 2:]], dim=1))

    found, diagnostics = explained(method, HandMade(with_a_dummy, 8))
    tolerance = 1e-9 if method.name != "kernel_shap" or "standard_error" not in diagnostics else 0.6
    assert found[0, 2].item() == pytest.approx(2, abs=tolerance)
    if "standard_error" not in diagnostics:
        found, _ = explained(method, HandMade(with_twins, 8))
        torch.testing.assert_close(found[0, 0], found[0, 1])
    parts = [explained(method, HandMade(game, 8))[0] for game in (some, other)]
    together, _ = explained(method, HandMade(lambda present: some(present) + 3 * other(present), 8))
    torch.testing.assert_close(together, parts[0] + 3 * parts[1], rtol=1e-9, atol=1e-9)


# Models


@cache
def value_of_masks(name, replacement, row, present):
    """The log-probability of a target, by ids, where some of the players (P,) are absent."""
    if name in ("Llama", "GPT-2"):
        parts, first, module = [[1, *SHORT, *CONTINUATION[:row]]], 1, slow_twins
    else:
        parts, first, module = [[*SHORT, 2], [START[name], *CONTINUATION[:row]]], 0, slow_twins_seq2seq
    absent = [first + player for player, here in enumerate(present) if not here]
    return module.without(tiny(name).model, *parts, absent, replacement, CONTINUATION[row], "logprob")


SHORT = [40, 41, 7, 99]
START = {"T5": 0, "BART": 2}  # what their decoders start with


@pytest.mark.parametrize("name", ["Llama", "GPT-2", "T5", "BART"])
@pytest.mark.parametrize("replacement", ["mask", "delete"])
def test_absent_tokens_are_masked_or_deleted(name, replacement):
    """Also where the encoder is left with the token that ends a text, which is kept."""
    decoder = name in ("Llama", "GPT-2")
    prompt = [1, *SHORT] if decoder else [*SHORT, 2]
    for method in (ShapleyValues, KernelSHAP):
        method = method(replacement=replacement, keep=("sink", "special", "generated"))
        scores = exact_scores(tiny(name), method, prompt=prompt, continuation=CONTINUATION[:2])
        for row in range(2):
            orders = itertools.permutations(range(len(SHORT)))

            def value(present, row=row):
                return value_of_masks(name, replacement, row, tuple(present[0].tolist()))[None, None]

            expected = over_orders(value, len(SHORT), orders)
            players = scores.matrix[row, 1:5] if decoder else scores.matrix[row, :4]
            torch.testing.assert_close(players, expected[0], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", ["T5", "BART"])
@pytest.mark.parametrize("replacement", ["mask", "delete"])
def test_an_encoder_that_would_read_nothing_is_refused_with_a_remedy(name, replacement):
    options = {"replacement": replacement, "keep": ("sink", "special", "generated")}
    for method in (ShapleyValues(**options), ShapleySampling(samples=4, **options), KernelSHAP(**options)):
        with pytest.raises(InputError, match="nothing to read: use a replacement such as 'zero'"):
            exact_scores(tiny(name), method, prompt=SHORT, continuation=CONTINUATION[:2])
        exact_scores(tiny(name), replace(method, replacement="zero"), prompt=SHORT, continuation=CONTINUATION[:2])
        result = attribute(tiny(name), "The cat", continuation=" sat", method=method, unit="word")
        assert result.scores[result.visible].isfinite().all() and result.visible.any()


@pytest.mark.parametrize("name", ["shapley_values", "shapley_sampling", "kernel_shap", "owen_values"])
def test_a_single_unit_gets_everything_and_none_is_refused(name):
    asked = {"continuation": " mat", "targets": "output", "sources": "prompt", "method": name}
    result = attribute(tiny("Llama"), "The hungry cat", unit="message", **asked)
    [[score]] = result.scores.tolist()
    total, delta = (result.diagnostics[key].values.item() for key in ("total", "convergence_delta"))
    assert score == pytest.approx(total) and abs(delta) < 1e-6 < abs(total)
    with pytest.raises(InputError, match="Every source is kept"):
        attribute(tiny("Llama"), [5], **asked)


def test_captum_gets_the_same():
    captum = pytest.importorskip("captum.attr", reason="captum comes with the test extra")
    network, prompt, target = tiny("Llama").model, PROMPT[:4], 40
    options = {"keep": (), "replacement": "zero"}
    found = exact_scores(tiny("Llama"), ShapleyValues(**options), prompt=prompt, continuation=[target]).matrix[0]
    embeds = network.get_input_embeddings()(torch.tensor([prompt])).detach()

    def forward(embeds):
        return network(inputs_embeds=embeds).logits[:, -1].log_softmax(-1)[:, target]

    asked = {"baselines": torch.zeros_like(embeds), "feature_mask": torch.arange(4)[None, :, None]}
    with torch.no_grad():
        exact = captum.ShapleyValues(forward).attribute(embeds, **asked)[0, :, 0]
        sampled = captum.ShapleyValueSampling(forward).attribute(embeds, n_samples=100, **asked)[0, :, 0]
    torch.testing.assert_close(found.float(), exact, rtol=1e-5, atol=1e-5)  # captum adds up in float32
    assert (found - sampled).abs().max() < 0.2 * found.abs().max()
    # captum's KernelShap needs scikit-learn, which the tests do without


# Cost


def test_no_coalition_is_scored_twice_and_the_full_one_never():
    for method in (*EXACT, *SAMPLED.values()):
        game = HandMade(random_game(7), 7)
        _, diagnostics = explained(method, game)
        listed = torch.stack(game.listed)
        assert len(listed.unique(dim=0)) == len(listed) and not listed.all(1).any()
        assert len(listed) <= diagnostics["coalitions"].values <= len(listed) + 1


def test_as_many_perturbations_are_scored_as_there_are_coalitions(monkeypatch):
    players, original, rows = len(PROMPT) - 1, Engine.scores, []

    def counted(engine, example, perturbations, *rest):
        rows.append(len(perturbations))
        return original(engine, example, perturbations, *rest)

    monkeypatch.setattr(Engine, "scores", counted)
    for method, most in (
        (ShapleyValues(**OF_THE_PROMPT), 2**players - 1),
        (ShapleySampling(samples=4, **OF_THE_PROMPT), 4 * (players - 1) + 1),
        (KernelSHAP(samples=40, tolerance=0, **OF_THE_PROMPT), 40 + 1),
    ):
        rows.clear()
        model = CountingAdapter(adapter("Llama"))
        scores = method(model.example(PROMPT, continuation=CONTINUATION), Engine(model))
        assert scores.diagnostics["coalitions"].values[0] - 1 <= sum(rows) <= most
        assert model.backwards == 0


OF_THE_PROMPT = {"keep": ("sink", "special", "template", "generated")}


@every_sampled
def test_progress_has_one_total(method):
    reports = []
    engine = Engine(adapter("Llama"), progress=lambda done, total: reports.append((done, total)))
    replace(method, samples=60, **OF_THE_PROMPT)(engine.adapter.example(PROMPT, continuation=CONTINUATION), engine)
    assert len({total for _, total in reports}) == 1
    assert reports == sorted(reports) and reports[-1][0] == reports[-1][1]


# What a user may ask


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (ShapleyValues(), r"2\^13 coalitions of 13 units.*unit='sentence'.*sources=….*'shapley_sampling'"),
        (KernelSHAP(samples=51), "at least 52 coalitions to fit 13 units, but samples is 51"),
    ],
)
def test_too_many_units_are_refused_with_a_remedy(method, message):
    game = HandMade(random_game(13), 13)
    with pytest.raises(InputError, match=message):
        explained(method, game)
    assert not game.listed


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (ShapleySampling, {"samples": 3}, "samples is 3"),
        (KernelSHAP, {"samples": 2.5}, "samples is 2.5"),
        (OwenValues, {"levels": "sentense"}, "did you mean 'sentence'"),
        (ShapleySampling, {"tolerance": -1}, "tolerance is -1"),
        (KernelSHAP, {"seed": "x"}, "seed is 'x'"),
        (ShapleyValues, {"replacement": "masks"}, "did you mean 'mask'"),
    ],
)
def test_options_that_make_no_sense(method, options, message):
    with pytest.raises(InputError, match=message):
        method(**options)
