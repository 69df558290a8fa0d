"""Ranks, and how far the ranks of several rows agree: Spearman 1904."""

from __future__ import annotations

import torch
from torch import Tensor


def ranks(numbers: Tensor) -> Tensor:
    """The rank of each of (n,), float64, from 1 for the smallest; equal numbers share the average of theirs."""
    index: Tensor
    counts: Tensor
    _, index, counts = numbers.unique(return_inverse=True, return_counts=True)  # type: ignore[no-untyped-call]
    return (counts.cumsum(0) - (counts - 1).double() / 2)[index]


def rank_correlations(rows: Tensor) -> Tensor:
    """Spearman's rank correlation of each pair of rows, (M, M) from (M, n); NaN of a row of equal numbers."""
    return torch.corrcoef(torch.stack([ranks(row) for row in rows]))
