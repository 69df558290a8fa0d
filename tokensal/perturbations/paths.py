"""Paths: perturbations on the straight line from a baseline to the example, for methods that integrate."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tokensal.types import PerturbedInputs


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """R points of the line b + t (x − b), made a chunk at a time (see `tokensal.types.Alterations`).

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

    def __getitem__(self, rows: slice) -> PerturbedInputs:
        points = self.points[rows, None, None].to(self.embeds)
        # as a mixture, so that both ends are met to the last bit
        ends = self.baseline[self.first :], self.embeds[self.first :]
        return PerturbedInputs((1 - points) * ends[0] + points * ends[1], None, self.first)

    def shared(self, row: int) -> int:
        return self.first
