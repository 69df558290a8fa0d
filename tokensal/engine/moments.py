"""Weighted means and variances of gradients over perturbations that come in chunks.

A variance is never the difference of two large numbers: within a chunk it is the sum of squared distances from the
chunk's own mean, and two chunks are put together by the distance of their means (Chan, Golub, LeVeque 1979).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tokensal.transfers import sent


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Sums over some perturbations, for A averages and k groups.

    Attributes:
        weights: (A,) the sum of their weights.
        values: (A, K) the weighted sum of their scores.
        activations: for each layer, that of the activations, (A, …).
        gradients: for each layer, that of the gradients, (k, A, …).
        squares: for each layer, that of the squared distances of the gradients from their mean, (k, A, …); or none.
    """

    weights: Tensor
    values: Tensor
    activations: Sequence[Tensor]
    gradients: Sequence[Tensor]
    squares: Sequence[Tensor] = ()

    def plus(self, other: Moments) -> Moments:
        """Those of both."""
        # not strict: without squares there are no pairs
        pairs = zip(self.squares, other.squares, self.gradients, other.gradients, strict=False)
        return Moments(
            self.weights + other.weights,
            self.values + other.values,
            _sums(self.activations, other.activations),
            _sums(self.gradients, other.gradients),
            [one + another + _between(self.weights, other.weights, *means) for one, another, *means in pairs],
        )


def moments_of(gradients: Sequence[Tensor], weights: Tensor, *, squares: bool) -> list[Tensor]:
    """For each layer the weighted sums (k, A, …) of gradients (k, n, …); with `squares`, then those of the squares."""
    sums = [torch.einsum("kn...,an->ka...", tensor, weights.to(tensor)) for tensor in gradients]
    if not squares:
        return sums
    return sums + [_squares(*pair, weights) for pair in zip(gradients, sums, strict=True)]


def unbiased(squares: Sequence[Tensor], average: Tensor) -> list[Tensor]:
    """The variances from the sums of squares, where the weights (A, R) of each average are equal, or 0."""
    return [tensor / _along(1 - average.square().sum(1), tensor) for tensor in squares]


def _sums(tensors: Sequence[Tensor], others: Sequence[Tensor]) -> list[Tensor]:
    return [tensor + other for tensor, other in zip(tensors, others, strict=True)]


def _squares(gradients: Tensor, sums: Tensor, weights: Tensor) -> Tensor:
    """The weighted sums of squared distances from the mean, one average after another: (k, A, …)."""
    total = weights.sum(1)
    means = sums / _along(torch.where(total > 0, total, 1), sums)  # no weight, no square: any mean will do
    tables = [
        torch.einsum("kn...,n->k...", (gradients - mean[:, None]).square(), row.to(gradients))
        for mean, row in zip(means.unbind(1), weights, strict=True)
    ]
    return torch.stack(tables, dim=1)


def _between(weights: Tensor, others: Tensor, sums: Tensor, other_sums: Tensor) -> Tensor:
    """What the distance of two means adds to the squares; nothing where one side has no weight."""
    both = (weights > 0) & (others > 0)
    first, second = (torch.where(both, each, 1) for each in (weights, others))
    distance = sums / _along(first, sums) - other_sums / _along(second, sums)
    return distance.square() * _along(torch.where(both, first * second / (first + second), 0), sums)


def _along(numbers: Tensor, table: Tensor) -> Tensor:
    """Numbers (A,) that go with the second axis of a table (k, A, …)."""
    return sent(numbers, table).reshape(-1, *[1] * (table.ndim - 2))
