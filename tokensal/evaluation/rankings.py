"""Rankings: in which order the scores of a target put the units, by rules that are the same for all metrics.

1. A score is taken as it is: what speaks against a target comes last, and of methods without a sign what is weakest.
   With `magnitude`, |score| ranks instead.
2. A unit without a score (the method leaves it out, or the target does not see it) comes after all that have one.
3. Equal scores are in random order. A metric takes the mean over several draws where there are any, which estimates its
   expectation over all orders; their place in the text never decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from tokensal.evaluation.metric import Trial
from tokensal.results.attribution import Attribution


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """The players of one target that it sees, the best first.

    Attributes:
        players: (n,) int64, their numbers among the players of the game.
        scores: (n,) float64, descending; -inf where there is none.
    """

    players: Tensor
    scores: Tensor


def player_scores(trial: Trial, attribution: Attribution, *, magnitude: bool = False) -> Tensor:
    """(K, P) float64 the scores of the players; -inf where there is none."""
    scores = attribution.scores[:, trial.game().players].double()
    return (scores.abs() if magnitude else scores).nan_to_num(nan=-torch.inf)


def rankings(scores: Tensor, visible: Tensor, generator: torch.Generator, draws: int) -> Iterator[Ranking]:
    """The rankings of one target: one where no two scores are equal, else as many as draws.

    Args:
        scores: (P,) of the players.
        visible: (P,) bool, which of them the target sees.
        generator: for the order of equals.
        draws: how many orders of equals.
    """
    players = visible.nonzero()[:, 0]
    tied = len(set(scores[players].tolist())) < len(players)
    for _ in range(draws if tied else 1):
        shuffled = players[torch.randperm(len(players), generator=generator)]
        order = scores[shuffled].argsort(descending=True, stable=True)
        yield Ranking(shuffled[order], scores[shuffled[order]])
