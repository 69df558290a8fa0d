"""Shapley values from random orders of the units, each together with its reverse.

1. Draw an order of the players. Let them arrive one by one, and score every coalition on the way: none, the first, the
   first two, …, all.
2. What the score changes by when a player arrives is its marginal contribution. Those of one order add up to the change
   from the empty to the full coalition, so that every mean of them does.
3. Do the same in reverse order. What two units only add together goes to the later one, so that the mean of the pair
   gives each a half, which is exact where no more than two units interact.
4. Go on with other pairs until the standard error of the mean is small enough (see `tokensal.methods.sampling`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tokensal.methods.removal import Game
from tokensal.methods.sampling import MOST_SAMPLES, Estimate, RunningMean, SampledMethod, allowed_error, until_precise
from tokensal.perturbations.coalitions import Hierarchy, Permutations
from tokensal.types import Diagnostics
from tokensal.values import read_whole, store

BATCH = 8  # pairs of permutations that are scored together


@dataclass(frozen=True, kw_only=True)
class ShapleySampling(SampledMethod):
    """Shapley value, estimated: the mean of y(S ∪ i) − y(S) over random orders. Signed, in units of the score.

    S are the units before i. Castro, Gómez, Tejada 2009; antithetic pairs: Mitchell, Cooper, Frank, Holmes 2022,
    arXiv:2104.12199.

    Cost: at most `samples` × (P − 1) + 1 forwards for P units, fewer where the tolerance is reached, and no backward.

    Error: the standard error of each score, from the spread between pairs; it falls with the square root of their
    number. Every pair adds up to the score minus that without any unit, so the scores do, too.

    Use: Shapley values of more than 12 units, and of any number. From four orders of tokens, copied evidence came
    first in 8 of 10 prompts; small scores need many more.

    Args:
        samples: how many permutations at most, half of them the reverse of the others.
    """

    name: ClassVar[str] = "shapley_sampling"
    summary: ClassVar[str] = "each unit's share of the score, from random orders of the units, with its error (signed)"
    quantity: ClassVar[str] = "share of {score} over random orders"
    paper: ClassVar[str] = "Castro, Gómez, Tejada 2009; Mitchell, Cooper, Frank, Holmes 2022, arXiv:2104.12199"

    samples: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        store(self, samples=read_whole("samples", self.samples, least=4, most=MOST_SAMPLES))

    def estimate(self, game: Game) -> tuple[Tensor, Diagnostics]:
        return from_permutations(game, tuple(range(len(game.players))), self)


def from_permutations(game: Game, hierarchy: Hierarchy, options: ShapleySampling) -> tuple[Tensor, Diagnostics]:
    """The mean marginal contribution of each player over orders in which those of a group follow one another."""
    sampler, mean, most = Permutations(hierarchy, options.seed), RunningMean(), options.samples // 2
    coalitions = 1 + 2 * most * (len(game.players) + 1)  # with the empty one, for the tolerance
    game.tally.total = game.tally.done + coalitions

    def estimate(blocks: int) -> Estimate:
        numbers = range(mean.count, blocks)
        present = torch.stack([sampler.block(number) for number in numbers])  # (n, 2 (P + 1), P)
        scores = game.scores(present.flatten(0, 1)).reshape(*present.shape[:2], -1)  # (n, 2 (P + 1), K)
        for coalitions, values in zip(present, scores, strict=True):
            mean.add(_mean_contributions(coalitions, values) * game.visible)
        return Estimate(mean.value, mean.error, len(game.known))

    result, diagnostics = until_precise(estimate, allowed_error(game, options.tolerance), batch=BATCH, most=most)
    return result.scores, {**game.efficiency(result.scores), **diagnostics}


def _mean_contributions(coalitions: Tensor, values: Tensor) -> Tensor:
    """(K, P) from the coalitions of an order and its reverse (2 (P + 1), P) and their scores (2 (P + 1), K)."""
    orders = 2, len(coalitions) // 2, -1
    arrived = coalitions.reshape(orders).to(values).diff(dim=1)  # (2, P, P), one player a row
    changes = values.reshape(orders).diff(dim=1)  # (2, P, K)
    return torch.einsum("otk,otp->kp", changes, arrived) / 2
