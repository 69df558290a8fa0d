"""Means with intervals of rows that come one after another, in memory that does not grow with their number.

1. The bootstrap draws as many rows as there are, with replacement, so that each row is drawn a number of times that is
   nearly Poisson(1), independently of the others. So each row has, for each resample, a weight that is exactly
   Poisson(1), drawn by the number of the row (Chamandy et al. 2012, "Estimating Uncertainty for Massive Data Streams").
2. For each column and each resample the sum of the weights and of what they weigh are kept. A number that is NaN is
   left out, and counted.
3. The interval is that of `tokensal.results.statistics`, bias-corrected and accelerated: for how skewed the numbers
   are, sums of their powers are kept, too, of differences from the first number.

The order in which rows come plays no part beyond rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tokensal.results.statistics import Mean, corrected_interval, share_below

RESAMPLES = 999
POWERS = 3


class Tally:
    """What is kept of the rows that were added.

    Args:
        columns: C, how many numbers a row has.
        resamples: B, how many.
    """

    def __init__(self, columns: int, *, resamples: int = RESAMPLES) -> None:
        self.rows = 0
        self.counts = torch.zeros(columns, dtype=torch.int64)
        self.first = torch.full((columns,), torch.nan, dtype=torch.float64)
        self.lowest, self.highest = self.first.clone(), self.first.clone()
        self.powers = torch.zeros(POWERS, columns, dtype=torch.float64)
        self.weights = torch.zeros(resamples, columns, dtype=torch.float64)
        self.sums = torch.zeros(resamples, columns, dtype=torch.float64)

    def add(self, number: int, row: Tensor) -> None:
        """Add the row (C,) of that number; NaN is left out."""
        row = row.double()
        defined = ~row.isnan()
        self.rows += 1
        self.counts += defined
        self.first = torch.where(self.first.isnan(), row, self.first)
        self.lowest, self.highest = self.lowest.fmin(row), self.highest.fmax(row)
        difference = torch.where(defined, row - self.first, 0.0)
        self.powers += torch.stack([difference**power for power in range(1, POWERS + 1)])
        weights = self._weights(number)
        self.weights += torch.outer(weights, defined.double())
        self.sums += torch.outer(weights, difference)

    def _weights(self, number: int) -> Tensor:
        """(B,) how often the row is in each resample."""
        random = torch.Generator().manual_seed(number)
        return torch.poisson(torch.ones(len(self.weights), dtype=torch.float64), generator=random)

    def means(self, level: float = 0.95) -> list[Mean]:
        """The mean and the interval of each column."""
        return [self._mean(column, level) for column in range(len(self.counts))]

    def _mean(self, column: int, level: float) -> Mean:
        count = int(self.counts[column])
        missing, first = self.rows - count, float(self.first[column])
        if not count:
            return Mean(torch.nan, torch.nan, torch.nan, 0, missing)
        off, squares, cubes = (self.powers[:, column] / count).tolist()
        value = first + off
        if self.lowest[column] == self.highest[column]:
            low, high = (first, first) if count > 1 else (torch.nan, torch.nan)
            return Mean(first, low, high, count, missing)
        drawn = self.weights[:, column] > 0
        means = self.sums[drawn, column] / self.weights[drawn, column]
        variance, third = squares - off**2, cubes - 3 * off * squares + 2 * off**3
        largest = float(max(self.lowest[column].abs(), self.highest[column].abs()))
        shift = torch.special.ndtri(share_below(means, off, largest))
        acceleration = torch.tensor(third / (6 * variance**1.5 * count**0.5), dtype=torch.float64)
        low, high = corrected_interval(means, shift, acceleration, level)
        return Mean(value, first + low, first + high, count, missing)
