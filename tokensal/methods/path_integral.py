"""The path from a baseline to an example: scores and contributions at any of its points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tokensal.engine import Engine
from tokensal.engine.reductions import Rows
from tokensal.perturbations.paths import Path
from tokensal.types import Example


@dataclass(frozen=True, slots=True, eq=False)
class PathIntegral:
    """b + t (x − b), for t in [0, 1].

    Attributes:
        baseline: (S, D) b.
        embeds: (S, D) x.
        first: all sources before this one are the same at both ends.
    """

    example: Example
    engine: Engine
    baseline: Tensor
    embeds: Tensor
    first: int

    def scores(self, points: Tensor) -> Tensor:
        """The scores at the points (R,): (R, K) float64, forwards only."""
        return self.engine.scores(self.example, self._path(points)).double().cpu()

    def slopes(self, points: Tensor, wanted: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The scores at the points, (R, K), and what each unit adds to their slopes, (R, K, J); float64.

        Args:
            points: (R,).
            wanted: (R, K) bool, which slopes to take, by default all; others are 0.
        """
        values, slopes = zip(*self._differentiated(points, wanted), strict=True)
        return torch.cat(values), torch.cat(slopes)

    def integral(self, points: Tensor, weights: Tensor) -> Tensor:
        """The contributions at the points, weighted and added up: (K, J)."""
        total, done = torch.zeros((), dtype=torch.float64), 0
        for _, slopes in self._differentiated(points):
            total = total + (weights[done : done + len(slopes), None, None] * slopes).sum(0)
            done += len(slopes)
        return total

    def _differentiated(self, points: Tensor, wanted: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        def along_the_path(activations: Sequence[Tensor], gradients: Sequence[Tensor], rows: Rows) -> Tensor:
            step = (self.embeds - self.baseline)[rows.first :]
            return (gradients[0] * step.to(gradients[0])).sum(-1)

        path = self._path(points)
        for chunk in self.engine.gradients(self.example, path, along_the_path, first=self.first, wanted=wanted):
            yield chunk.values.double().cpu(), chunk.reduced.double().cpu()

    def _path(self, points: Tensor) -> Path:
        return Path(self.baseline, self.embeds, points, self.first)
