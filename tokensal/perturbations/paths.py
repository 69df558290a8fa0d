"""Paths: perturbations on the straight line from a baseline to the example, for methods that integrate or sample."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tokensal.perturbations.draws import generator
from tokensal.perturbations.inputs import PerturbedInputs
from tokensal.transfers import sent


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
        points = sent(self.points[index.to(self.points.device), None, None], self.embeds)
        # as a mixture, so that both ends are met to the last bit
        start, end = self.baseline[first:], self.embeds[first:]
        return PerturbedInputs((1 - points) * start + points * end, None, first)


@dataclass(frozen=True, slots=True, eq=False)
class RandomPoints:
    """R random points, each on the line from a baseline of its own to a noisy copy of the example.

    Attributes:
        baselines: (B, S, D), one of which is drawn for each point.
        embeds: (S, D), the example's own.
        altered: (S,) bool, the sources that are not the same at both ends; these get the noise, too.
        deviation: standard deviation of the noise, in units of the embeddings; 0 for none.
        numbers: (R,) int64, the number of each point: a point is what the seed and its number say.
        seed: of the draws, on the CPU, so that every device sees the same points.
    """

    baselines: Tensor
    embeds: Tensor
    altered: Tensor
    deviation: float
    numbers: Tensor
    seed: int

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def altered_from(self) -> Tensor:
        return torch.full((len(self),), int(self.altered.int().argmax()))

    def rows(self, index: Tensor, first: int) -> PerturbedInputs:
        starts, ends, points = self._drawn(index, first)
        return PerturbedInputs((1 - points) * starts + points * ends, None, first)

    def numbered(self, numbers: Tensor) -> RandomPoints:
        """The points of these numbers."""
        return replace(self, numbers=numbers)

    def steps(self, index: Tensor, first: int) -> Tensor:
        """(n, S - first, D) the whole way of each of these points, from its baseline to its noisy copy."""
        starts, ends, _ = self._drawn(index, first)
        return ends - starts

    def _drawn(self, index: Tensor, first: int) -> tuple[Tensor, Tensor, Tensor]:
        """Where the lines begin and end, (n, S - first, D), and where on them the points are, (n, 1, 1)."""
        draws = [self._draw(int(number), first) for number in self.numbers[index]]
        baselines, points, ends = (torch.stack(part) for part in zip(*draws, strict=True))
        return (
            self.baselines[sent(baselines, self.embeds.device), first:],
            ends,
            sent(points[:, None, None], self.embeds),
        )

    def _draw(self, number: int, first: int) -> tuple[Tensor, Tensor, Tensor]:
        """The baseline, the point within [0, 1) and the noisy copy (S - first, D) of that number."""
        random = generator(self.seed, number)
        baseline = torch.randint(len(self.baselines), (), generator=random)
        point = torch.rand((), generator=random, dtype=torch.float64)
        end = self.embeds[first:]
        if self.deviation:
            noise = sent(torch.randn(self.embeds.shape, generator=random, dtype=torch.float64)[first:], end)
            end = torch.where(sent(self.altered[first:, None], end.device), end + self.deviation * noise, end)
        return baseline, point, end
