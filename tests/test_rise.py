"""RISE: the masks, their expectation in closed form and over all coalitions, and the standard error."""

from __future__ import annotations

import pytest
import torch
from builders import CONTINUATION, PROMPT, tiny
from hand_made import HandMade, random_game

from tokensal import RISE, attribute
from tokensal.errors import InputError
from tokensal.methods.rise import kept_less_removed
from tokensal.perturbations.coalitions import Windows, every_coalition

WEIGHTS = torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0, 0.7], dtype=torch.float64)


def scored(method, value, players, seen=()):
    engine = HandMade(value, players, seen)
    return method(engine.example(), engine), engine


def test_over_all_coalitions_it_is_the_mean_of_those_that_keep_a_player():
    present = every_coalition(5)
    values = random_game(5, 2)(present.double())
    scores = kept_less_removed(present, values)[0] / 2
    for target in range(2):
        for player in range(5):
            keeping = [values[row, target] for row in range(32) if present[row, player]]
            expected = sum(keeping) / len(keeping) - values[:, target].mean()
            assert scores[target, player].item() == pytest.approx(expected.item())


@pytest.mark.parametrize("window", [1, 3])
@pytest.mark.parametrize("present", [0.5, 0.8])
def test_on_a_linear_score_it_is_the_weights_around_a_player(window, present):
    """Two players are in one window with the probability 1 − distance / window, and independent otherwise."""
    method = RISE(window=window, present=present, samples=20_000, tolerance=1e-9)
    scores, _ = scored(method, lambda masks: (masks @ WEIGHTS)[:, None], 6)
    place = torch.arange(6)
    together = (1 - (place[:, None] - place).abs() / window).clamp(min=0).double()
    expected = (1 - present) * together @ WEIGHTS
    error = scores.diagnostics["standard_error"].values[0, 1:]
    assert ((scores.matrix[0, 1:] - expected).abs() < 4 * error).all() and error.max() < 0.02


def test_every_player_is_kept_as_often_and_neighbours_together():
    masks = torch.cat([Windows(7, 3, 5, 0.4).block(number) for number in range(6000)]).double()
    assert masks.shape == (6000, 7)
    torch.testing.assert_close(masks.mean(0), torch.full((7,), 0.4).double(), rtol=0, atol=0.03)
    correlation = torch.corrcoef(masks.T)
    for distance, expected in ((1, 2 / 3), (2, 1 / 3), (3, 0), (6, 0)):
        assert (correlation.diagonal(distance) - expected).abs().max() < 0.05
    assert Windows(1, 9, 0).block(3).shape == (1, 1)


@pytest.mark.parametrize("window", [1, 3])
def test_estimates_are_as_far_off_as_their_standard_errors_say(window):
    original = random_game(8)

    def game(present):
        return original(present) - 5  # scores far from 0, as log-probabilities are

    exact, _ = scored(RISE(samples=20_000, tolerance=1e-9, window=window, seed=77), game, 8)
    ratios = []
    for seed in range(40):
        scores, _ = scored(RISE(samples=64, tolerance=1e-9, window=window, seed=seed), game, 8)
        ratios.append((scores.matrix - exact.matrix)[0, 1:] / scores.diagnostics["standard_error"].values[0, 1:])
    assert 0.8 < torch.stack(ratios).square().mean().sqrt() < 1.2


def test_masks_are_drawn_until_the_tolerance_is_reached_or_the_miss_is_said():
    game = random_game(8)
    reached, _ = scored(RISE(tolerance=0.06), game, 8)
    missed, engine = scored(RISE(samples=100, tolerance=1e-6), game, 8)
    assert 64 < reached.diagnostics["coalitions"].values < 1024 and reached.diagnostics["coalitions"].values % 64 == 0
    assert (
        reached.diagnostics["standard_error"].reached.all() and not missed.diagnostics["standard_error"].reached.any()
    )
    assert missed.diagnostics["coalitions"].values == 100
    assert len(engine.listed) <= 101  # and the empty coalition


def test_the_error_of_what_was_hardly_ever_kept_is_unknown():
    kept = torch.tensor([[True, False], [False, False], [False, False]])
    _, error = kept_less_removed(kept, torch.tensor([[1.0], [2.0], [4.0]], dtype=torch.float64))
    assert error.isinf().all()


def test_what_a_target_does_not_see_has_no_score_and_no_error():
    scores, _ = scored(RISE(samples=64), random_game(6, 2, seen=(6, 3)), 6, seen=(6, 3))
    errors = scores.diagnostics["standard_error"].values
    assert scores.matrix[1, 4:].eq(0).all() and errors[1, 4:].eq(0).all() and errors[1, 1:4].all()


def test_the_seed_decides():
    results = [
        attribute(tiny(), PROMPT, continuation=CONTINUATION, method=RISE(samples=20, seed=seed)) for seed in (1, 1, 2)
    ]
    first, again, other = (result.scores.nan_to_num() for result in results)
    torch.testing.assert_close(first, again, rtol=1e-6, atol=1e-6)
    assert not first.allclose(other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"present": 1}, "less than 1"),
        ({"present": 0}, "greater than 0"),
        ({"window": 0}, "of 1 or more"),
        ({"samples": 1}, "from 2 to"),
        ({"tolerance": 0}, "greater than 0"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(InputError, match=message):
        RISE(**options)
