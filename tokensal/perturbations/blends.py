"""Blends: perturbations in which each source is a mixture of itself and a baseline."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tokensal.perturbations.inputs import PerturbedInputs
from tokensal.transfers import sent


@dataclass(frozen=True, slots=True, eq=False)
class Blends:
    """R mixtures b + m (x − b) (see `tokensal.perturbations.inputs.Perturbations`).

    Attributes:
        baseline: (S, D) b.
        embeds: (S, D) x.
        shares: (R, S) m, the share of the example in each source, within [0, 1].
        first: all sources before this one are the same in both.
    """

    baseline: Tensor
    embeds: Tensor
    shares: Tensor
    first: int = 0

    def __len__(self) -> int:
        return len(self.shares)

    @property
    def altered_from(self) -> Tensor:
        return torch.full((len(self),), self.first)

    def rows(self, index: Tensor, first: int) -> PerturbedInputs:
        shares = sent(self.shares[index.to(self.shares.device), first:, None], self.embeds)
        return PerturbedInputs((1 - shares) * self.baseline[first:] + shares * self.embeds[first:], None, first)
