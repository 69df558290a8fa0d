"""Noisy copies of an example's embeddings, the same for the same seed in whatever order they are asked for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tokensal.perturbations.draws import generator
from tokensal.perturbations.inputs import PerturbedInputs
from tokensal.transfers import sent


@dataclass(frozen=True, slots=True, eq=False)
class Noise:
    """R copies x + ε, ε ~ N(0, deviation²) (see `tokensal.perturbations.inputs.Perturbations`).

    Attributes:
        embeds: (S, D), the example's own.
        noisy: (S,) bool, which sources get noise.
        deviation: of each number, in units of the embeddings.
        count: R.
        seed: row r draws from a generator seeded with this and r, on the CPU: every device sees the same noise.
    """

    embeds: Tensor
    noisy: Tensor
    deviation: float
    count: int
    seed: int

    def __len__(self) -> int:
        return self.count

    @property
    def altered_from(self) -> Tensor:
        return torch.full((self.count,), int(self.noisy.int().argmax()))

    def rows(self, index: Tensor, first: int) -> PerturbedInputs:
        noise = torch.stack([self._drawn(row) for row in index.tolist()])[:, first:]
        noisy, noise = sent(self.noisy[first:, None], self.embeds.device), sent(noise, self.embeds)
        return PerturbedInputs(
            torch.where(noisy, self.embeds[first:] + self.deviation * noise, self.embeds[first:]), first=first
        )

    def _drawn(self, row: int) -> Tensor:
        return torch.randn(self.embeds.shape, generator=generator(self.seed, row), dtype=torch.float64)
