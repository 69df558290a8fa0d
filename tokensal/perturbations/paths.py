"""Paths: perturbations on the straight line from a baseline to the example, for methods that integrate."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tokensal.perturbations.inputs import PerturbedInputs


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """R points of the line b + t (x − b) (see `tokensal.perturbations.inputs.Perturbations`).

    Attributes:
        baseline: (S, D) where the line begins.
        embeds: (S, D) where it ends.
        points: (R,) the t of each point, within [0, 1].
        first: all sources before this one are the same at both ends.
    """

    baseline: Tensor
    embeds: Tensor
    points: Tensor
    first: int = 0

    def __len__(self) -> int:
        return len(self.points)

    @property
    def altered_from(self) -> Tensor:
        return torch.full((len(self),), self.first)

    def rows(self, index: Tensor, first: int) -> PerturbedInputs:
        points = self.points[index.to(self.points.device), None, None].to(self.embeds)
        # as a mixture, so that both ends are met to the last bit
        start, end = self.baseline[first:], self.embeds[first:]
        return PerturbedInputs((1 - points) * start + points * end, None, first)
