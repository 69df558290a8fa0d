"""Estimates from random samples that go on until their standard error is small enough.

1. Take a batch of blocks of a sampler, and estimate all scores from the blocks so far.
2. The tolerance is relative to the change of the score from the empty to the full coalition (or to 0.1, where the score
   changes by less).
3. Stop when the largest standard error of every target is within it, or when the most samples are taken. The error is
   stored beside what the tolerance allows, so that a miss is said wherever the result is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tokensal.methods.removal import Game, RemovalMethod
from tokensal.types import Diagnostic, Diagnostics
from tokensal.values import read_number, read_whole, store

SMALLEST_CHANGE = 0.1  # of a score: the tolerance is relative to nothing smaller
MOST_SAMPLES = 2**20  # as many blocks as a seed tells apart


@dataclass(frozen=True, kw_only=True)
class SampledMethod(RemovalMethod):
    """A method that scores random coalitions.

    Args:
        tolerance: the largest standard error that is accepted, relative to how much the score changes when all units
            are absent. Sampling stops as soon as all scores of all targets are within it.
        seed: of the draws.
    """

    tolerance: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        store(
            self,
            tolerance=read_number("tolerance", self.tolerance, least=0),
            seed=read_whole("seed", self.seed, most=2**32 - 1),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """Scores from the samples so far.

    Attributes:
        scores: (K, P).
        standard_error: (K, P), 0 for players that a target does not see.
        coalitions: how many coalitions were scored.
    """

    scores: Tensor
    standard_error: Tensor
    coalitions: int

    def diagnostics(self, allowed: Tensor) -> Diagnostics:
        """The standard error beside what is allowed (K,), and how many coalitions there were."""
        return {
            "standard_error": Diagnostic(self.standard_error, allowed),
            "coalitions": Diagnostic(torch.full((len(self.scores),), self.coalitions)),
        }


def allowed_error(game: Game, tolerance: float) -> Tensor:
    """(K,) the largest standard error that the tolerance accepts."""
    return tolerance * (game.full - game.empty).abs().clamp(min=SMALLEST_CHANGE)


def until_precise(
    estimate: Callable[[int], Estimate], allowed: Tensor, *, batch: int, most: int
) -> tuple[Estimate, Diagnostics]:
    """Estimate from ever more blocks, `batch` more at a time, until the standard error is allowed.

    Args:
        estimate: from a number of blocks, the first of a sampler, to an estimate; it keeps what it computed before.
        allowed: (K,) the largest standard error.
        batch: how many blocks more at a time.
        most: how many blocks at most.
    """
    blocks = min(batch, most)
    result = estimate(blocks)
    while blocks < most and (result.standard_error.amax(1) > allowed).any():
        blocks = min(blocks + batch, most)
        result = estimate(blocks)
    return result, result.diagnostics(allowed)


@dataclass(slots=True)
class RunningMean:
    """The mean of independent samples that come in chunks, and its standard error; float64, on the CPU.

    Attributes:
        count: how many samples there were.
        mean: (K, J).
        squares: (K, J) the sum of their squared distances from the mean.
    """

    count: int = 0
    mean: Tensor | float = 0.0
    squares: Tensor | float = 0.0

    def add(self, samples: Tensor) -> None:
        """Count in some samples (n, K, J)."""
        samples = samples.double().cpu()
        mean, total = samples.mean(0), self.count + len(samples)
        distance = mean - self.mean
        self.squares = self.squares + (samples - mean).square().sum(0)
        self.squares = self.squares + distance.square() * (self.count * len(samples) / total)
        self.mean, self.count = self.mean + distance * (len(samples) / total), total

    @property
    def standard_error(self) -> Tensor:
        """(K, J) of the mean; that of a single sample is unknown: infinite."""
        squares = torch.as_tensor(self.squares)
        if self.count < 2:
            return torch.full_like(squares, torch.inf)
        return (squares / (self.count - 1) / self.count).sqrt()


def mean_and_error(samples: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of independent samples (n, …), and its standard error; that of a single one is unknown: infinite."""
    count = len(samples)
    if count == 1:
        return samples[0], torch.full_like(samples[0], torch.inf)
    return samples.mean(0), (samples.var(0) / count).sqrt()


class Moments:
    """The mean and the variance of samples that are not kept (Welford 1962)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = self._squares = torch.zeros((), dtype=torch.float64)

    def add(self, sample: Tensor) -> None:
        """One more sample, all of one shape."""
        self.count += 1
        before = sample - self.mean
        self.mean = self.mean + before / self.count
        self._squares = self._squares + before * (sample - self.mean)

    @property
    def error(self) -> Tensor:
        """The standard error of the mean; that of a single sample is unknown: infinite."""
        if self.count == 1:
            return torch.full_like(self.mean, torch.inf)
        return (self._squares / (self.count - 1) / self.count).sqrt()
