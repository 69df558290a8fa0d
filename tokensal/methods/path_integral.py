"""The line from a baseline to an example: scores and contributions at any of its points."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from tokensal.engine import Engine
from tokensal.perturbations.paths import Path
from tokensal.types import Example


@dataclass(frozen=True, slots=True, eq=False)
class Line:
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
        """The scores at the points, (R, K), and what each source adds to their slopes, (R, K, S); float64.

        Args:
            points: (R,).
            wanted: (R, K) bool, which slopes to take, by default all; others are 0.
        """
        values, parts = zip(*self._differentiated(points, wanted), strict=True)
        return torch.cat(values), torch.cat(parts)

    def integral(self, points: Tensor, weights: Tensor) -> Tensor:
        """The contributions at the points, weighted and added up: (K, S)."""
        total, done = torch.zeros(()), 0
        for _, piece in self._differentiated(points):
            total = total + (weights[done : done + len(piece), None, None] * piece).sum(0)
            done += len(piece)
        return total

    def _differentiated(self, points: Tensor, wanted: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        step = (self.embeds - self.baseline)[self.first :]

        def along(gradient: Tensor, embeds: Tensor) -> Tensor:
            wide = torch.promote_types(gradient.dtype, torch.float32)
            return (gradient.to(wide) * step.to(wide)).sum(-1)

        for found in self.engine.gradients(self.example, self._path(points), along, wanted=wanted):
            yield found.values.double().cpu(), found.reduced.double().cpu()

    def _path(self, points: Tensor) -> Path:
        return Path(self.baseline, self.embeds, points, self.first)
