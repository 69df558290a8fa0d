"""LIME: a linear surrogate of the score, fitted to coalitions near the input.

1. Draw coalitions: how many players are absent is uniform from one to all, and which ones is random. The full one comes
   first.
2. Weight each of them by its distance d from the full one, for each target over the players that it sees:
   exp(−d² / 2 kernel_width²), with the cosine distance of coalitions, d = 1 − √(share of players present).
3. Fit weighted ridge regressions; the scores are their coefficients (see `tokensal.methods.surrogates`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tokensal.methods.removal import Game
from tokensal.methods.surrogates import SurrogateMethod, fit_surrogates, ridge
from tokensal.perturbations.coalitions import UniformSizes
from tokensal.types import Diagnostics
from tokensal.values import read_number, store


@dataclass(frozen=True, kw_only=True)
class LIME(SurrogateMethod):
    """What a unit adds to the score in a linear model of it near the input, a ridge regression. Signed, in its units.

    Ribeiro, Singh, Guestrin 2016, arXiv:1602.04938. Coalitions, kernel, kernel width and ridge penalty are those of the
    lime package for texts, whose `num_samples` is 5000; captum's kernel is the same, on the distance of embeddings.

    Cost: one forward for each of `samples` coalitions (at most 2 to the power of the number of units), and no backward.

    Error: R² and rank correlation on coalitions that the surrogate was not fitted to, and the standard error of each
    score by leaving out an eighth of the coalitions at a time. That the score is not linear shows in the fit alone. The
    penalty makes scores smaller where there are few samples.

    Use: what a unit is worth on average while others are absent too, which credits evidence that the prompt has
    twice. From 256 samples, copied evidence came first in all of 10 prompts.

    Args:
        kernel_width: of the weights; the smaller, the closer to the input.
        regularization: the ridge penalty.
    """

    name: ClassVar[str] = "lime"
    summary: ClassVar[str] = (
        "linear model of the score near the input, fitted to random removals; its fit is measured (signed)"
    )
    quantity: ClassVar[str] = "effect of its presence on {score} in a local linear model"
    paper: ClassVar[str] = "Ribeiro, Singh, Guestrin 2016, arXiv:1602.04938"

    samples: int = 256
    kernel_width: float = 0.25
    regularization: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        store(self, kernel_width=read_number("kernel_width", self.kernel_width, above=0))

    def estimate(self, game: Game) -> tuple[Tensor, Diagnostics]:
        sampler = UniformSizes(len(game.players), self.seed)
        full = torch.ones(1, len(game.players), dtype=torch.bool)
        present = torch.cat([full, self.drawn(sampler, self.samples - 1)])
        weights = self._weights(present, game.visible)
        return fit_surrogates(ridge(self.regularization), present, game.scores(present), weights, game.visible)

    def _weights(self, present: Tensor, visible: Tensor) -> Tensor:
        """(n, K), from the coalitions (n, P) and what the targets see (K, P)."""
        share = (present.double() @ visible.double().T) / visible.sum(1).clamp(min=1)
        distance = 1 - share.sqrt()
        return (-distance.square() / (2 * self.kernel_width**2)).exp()
