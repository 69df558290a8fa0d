"""Metrics that rank the units of a target, and take the best away, or leave nothing else.

1. Rank the players that a target sees, the best first (see `tokensal.evaluation.rankings`).
2. List coalitions without the m best, and coalitions of the m best alone, for the sizes m that a metric asks for.
3. The scores of all targets, orders and sizes come from one call of the game (see `tokensal.evaluation.removal`).
4. Where scores are equal, what is measured is the mean over random orders of these.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from tokensal.evaluation.metric import Trial
from tokensal.evaluation.rankings import Ranking, player_scores, rankings
from tokensal.evaluation.removal import RemovalMetric, rounding
from tokensal.results.attribution import Attribution
from tokensal.values import read_flag, read_whole, store

SLACK = 1e-9  # a half that is not exact in binary is a half


def units_of(share: float, players: int) -> int:
    """How many units a share of them is: rounded, halves up."""
    return math.floor(share * players + 0.5 + SLACK)


class Sizes(NamedTuple):
    """How many of the best players are absent in some coalitions, and how many of them are alone in others."""

    absent: Sequence[int] = ()
    alone: Sequence[int] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What the score of one target is as its best players are absent, or alone: means over the orders of equals.

    Attributes:
        players: how many the target sees.
        absent: (a,) float64, one score for each of the sizes.
        alone: (b,) the same.
        full: the score of the full coalition.
        empty: that of the empty one.
        change: |full − empty|; NaN where that is within rounding.
    """

    players: int
    absent: Tensor
    alone: Tensor
    full: Tensor
    empty: Tensor
    change: Tensor


@dataclass(frozen=True, kw_only=True)
class RankedRemoval(RemovalMetric):
    """A metric of what the score is without the best units, or with nothing else.

    Args:
        magnitude: rank by |score|; else by the score, so that what speaks against a target is least relevant.
        draws: how many random orders of equal scores the mean is taken over, where there are equal scores.
    """

    magnitude: bool = False
    draws: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        store(
            self,
            magnitude=read_flag("magnitude", self.magnitude),
            draws=read_whole("draws", self.draws, least=1, most=1024),
        )

    @abstractmethod
    def sizes(self, players: int) -> Sizes:
        """The coalitions of a target that sees so many players, at least one."""

    @abstractmethod
    def measured(self, outcome: Outcome) -> Tensor:
        """The number (), float64, of one target."""

    def coalitions(self, trial: Trial, attribution: Attribution) -> Tensor:
        return torch.cat([table.flatten(0, 1) for table in self._tables(trial, attribution)])

    def __call__(self, trial: Trial, attribution: Attribution) -> Tensor:
        outcomes = self.outcomes(trial, attribution)
        nothing = torch.tensor(torch.nan, dtype=torch.float64)
        return torch.stack([self.measured(outcome) if outcome.players else nothing for outcome in outcomes])

    def outcomes(self, trial: Trial, attribution: Attribution) -> list[Outcome]:
        """Of each target, from one call of the game."""
        game, tables = trial.game(self.replacement), self._tables(trial, attribution)
        rows = torch.cat([table.flatten(0, 1) for table in tables])
        values = game.scores(rows) if len(rows) else rows.double() @ game.visible.double().T
        parts = torch.split(values, [table.shape[0] * table.shape[1] for table in tables])
        changes = (game.full - game.empty).abs()
        changes = torch.where(changes > rounding(trial, self.replacement), changes, torch.nan)
        outcomes = []
        for target, (table, part) in enumerate(zip(tables, parts, strict=True)):
            players = int(game.visible[target].sum())
            means = part[:, target].view(table.shape[:2]).mean(0)
            absent = len(self.sizes(players).absent) if players else 0
            ends = game.full[target], game.empty[target], changes[target]
            outcomes.append(Outcome(players, means[:absent], means[absent:], *ends))
        return outcomes

    def _tables(self, trial: Trial, attribution: Attribution) -> list[Tensor]:
        """For each target, the coalitions (orders of equals, sizes, P) bool; none where it sees no player."""
        visible = trial.game(self.replacement).visible
        scores = player_scores(trial, attribution, magnitude=self.magnitude)
        tables = []
        for target, (row, seen) in enumerate(zip(scores, visible, strict=True)):
            sizes = self.sizes(int(seen.sum())) if seen.any() else Sizes()
            orders = rankings(row, seen, trial.generator(target), self.draws)
            tables.append(torch.stack([_rows(order, sizes, len(seen)) for order in orders]))
        return tables


def _rows(ranking: Ranking, sizes: Sizes, players: int) -> Tensor:
    """(a + b, P) bool: without so many of the best, then with nothing but so many of them.

    Players that the target does not see are present, but in the empty coalition, which all targets share.
    """
    count = len(ranking.players)
    place = torch.full((players,), count).index_copy(0, ranking.players, torch.arange(count))
    absent = torch.tensor(sizes.absent, dtype=torch.int64)[:, None]
    alone = torch.tensor(sizes.alone, dtype=torch.int64)[:, None]
    return torch.cat([(place >= absent) & (absent < count), ((place < alone) | (place == count)) & (alone > 0)])
