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
            are absent (or to 0.1, where that is less). Sampling stops when all scores of all targets are within it.
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


class RunningMean:
    """The mean of independent samples, which are not kept, and its standard error (Welford 1962)."""

    def __init__(self) -> None:
        self.count = 0
        self.value = self._squares = torch.zeros((), dtype=torch.float64)

    def add(self, sample: Tensor) -> None:
        """One more sample, all of one shape."""
        self.count += 1
        before = sample - self.value
        self.value = self.value + before / self.count
        self._squares = self._squares + before * (sample - self.value)

    @property
    def error(self) -> Tensor:
        """That of a single sample is unknown: infinite."""
        if self.count == 1:
            return torch.full_like(self.value, torch.inf)
        return (self._squares / (self.count - 1) / self.count).sqrt()


def jackknife_error(left_out: Tensor) -> Tensor:
    """(K, J) the standard error of scores, from those without each of B batches of samples (B, K, J)."""
    count = len(left_out)
    return ((count - 1) / count * (left_out - left_out.mean(0)).pow(2).sum(0)).sqrt()
