"""How alike two maps of the same units are, target by target."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tokensal.ranks import rank_correlations

FEWEST = 3  # units that make a ranking
SHARE = 0.1  # of the units: the best ones, whose overlap counts


@dataclass(frozen=True, slots=True, eq=False)
class Similarity:
    """Of K targets, NaN where a map ranks nothing.

    Attributes:
        magnitudes: (K,) float64, Spearman's rank correlation of |score|.
        signed: (K,) float64, the same of the scores with their signs.
        overlap: (K,) float64, which share of the tenth with the largest |score| is the same.
    """

    magnitudes: Tensor
    signed: Tensor
    overlap: Tensor


def similarity(first: Tensor, second: Tensor) -> Similarity:
    """Of two maps (K, P), where NaN is no score; units count that have one in both."""
    pairs = [
        (one[both].double(), other[both].double())
        for one, other in zip(first, second, strict=True)
        for both in [~(one.isnan() | other.isnan())]
    ]
    return Similarity(
        magnitudes=torch.tensor([spearman(one.abs(), other.abs()) for one, other in pairs], dtype=torch.float64),
        signed=torch.tensor([spearman(one, other) for one, other in pairs], dtype=torch.float64),
        overlap=torch.tensor([_overlap(one.abs(), other.abs()) for one, other in pairs], dtype=torch.float64),
    )


def spearman(first: Tensor, second: Tensor) -> float:
    """Spearman's rank correlation of (n,) and (n,); NaN for fewer than 3 numbers, or equal ones."""
    if len(first) < FEWEST or first.min() == first.max() or second.min() == second.max():
        return math.nan
    return float(rank_correlations(torch.stack([first, second]))[0, 1])


def _overlap(first: Tensor, second: Tensor) -> float:
    """Which share of the best tenth is the same; of equal numbers at its end, what chance gives."""
    if len(first) < FEWEST:
        return math.nan
    count = math.ceil(SHARE * len(first))
    return float((_membership(first, count) * _membership(second, count)).sum()) / count


def _membership(numbers: Tensor, count: int) -> Tensor:
    """(n,) how likely each is among the best, where equals are in random order."""
    threshold = numbers.topk(count).values[-1]
    above, equal = (numbers > threshold).double(), (numbers == threshold).double()
    return above + equal * (count - above.sum()) / equal.sum()
