"""Shapley values: what each unit adds to the score, averaged over all orders in which the units may arrive.

1. Score every coalition of the players: 2^P of them (see `tokensal.methods.removal`).
2. A player's value is its mean marginal contribution: what it adds to a coalition of the others, averaged over all
   coalitions of a size, and over the sizes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tokensal.errors import InputError
from tokensal.methods.removal import Game, RemovalMethod
from tokensal.perturbations.coalitions import every_coalition
from tokensal.types import Diagnostic, Diagnostics

MOST_PLAYERS = 12


@dataclass(frozen=True, kw_only=True)
class ShapleyValues(RemovalMethod):
    """Shapley value: the mean of y(S ∪ i) − y(S) over the orders in which units arrive. Signed, in units of the score.

    S are the units before i. Shapley 1953; Štrumbelj, Kononenko 2010; Lundberg, Lee 2017, arXiv:1705.07874. Exact, for
    up to 12 units.

    Cost: one forward for each of the 2^P coalitions of P units, and no backward.

    Error: none, all coalitions are scored. The values add up to the score minus that without any unit; what rounding
    makes of that is among the diagnostics.

    Use: few units, such as sentences, passages or the words of a short prompt. What units only add together they share
    in equal parts, and evidence that the prompt has twice gets half in each place, where occlusion gives it none.
    """

    name: ClassVar[str] = "shapley_values"
    summary: ClassVar[str] = "each unit's share of the score, from all coalitions of up to 12 units (signed)"
    quantity: ClassVar[str] = "share of {score} over all coalitions"
    paper: ClassVar[str] = "Shapley 1953; Lundberg, Lee 2017, arXiv:1705.07874"

    def estimate(self, game: Game) -> tuple[Tensor, Diagnostics]:
        players = len(game.players)
        if players > MOST_PLAYERS:
            raise InputError(
                f"shapley_values scores all 2^{players} coalitions of {players} units, but takes at most "
                f"{MOST_PLAYERS} units: choose larger ones (such as unit='sentence'), fewer of them (sources=…), or "
                "'shapley_sampling'."
            )
        present = every_coalition(players)
        scores = (game.scores(present).T @ _coefficients(present)) * game.visible
        return scores, {**game.efficiency(scores), "coalitions": Diagnostic(torch.full((len(scores),), len(present)))}


def size_weights(players: int) -> Tensor:
    """The weight of each coalition of the other players in a player's value, by its size 0, …, P - 1: (P,) float64."""
    sizes = range(players)
    return torch.tensor([1 / (players * math.comb(players - 1, size)) for size in sizes], dtype=torch.float64)


def _coefficients(present: Tensor) -> Tensor:
    """How much the score of each coalition (2^P, P) counts for each player: (2^P, P)."""
    weights, sizes = size_weights(present.shape[1]), present.sum(1, keepdim=True)
    joined, left = weights[(sizes - 1).clamp(min=0)], weights[sizes.clamp(max=len(weights) - 1)]
    return torch.where(present, joined, -left)
