"""Occlusion: take some tokens away, and see how much the score drops.

1. Slide a window over the units of the sources (tokens, words, …), past those that are to stay as they are.
2. Each window is a perturbation in which its sources are absent. The engine shares everything
   before the first absent source.
3. One forward of a perturbation scores every target; the drop is the score as it is, minus that.
4. A unit's score is the mean drop of the windows that cover it. All units of a window carry the same drop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tokensal.errors import InputError
from tokensal.methods.removal import Game, RemovalMethod
from tokensal.types import Diagnostics
from tokensal.values import read_whole, store


@dataclass(frozen=True, kw_only=True)
class Occlusion(RemovalMethod):
    """How much the score drops when a unit is taken away: y(x) − y(x without it). Signed, in units of the score.

    Zeiler, Fergus 2014, arXiv:1311.2901; Li, Monroe, Jurafsky 2016, arXiv:1612.08220.

    Cost: one forward for each window, from its first token on, and no backward.

    Error: none is measured; each score is exact for what it says. They do not add up to the score.

    Use: what a single word is worth to the answer. Evidence that the prompt has twice gets little in either place.

    Args:
        window: how many units are taken away together.
        stride: units from the beginning of a window to that of the next; at most the window.
        keep: which sources are never taken away, and have no score: any of "sink", "special", "template", "generated".
    """

    name: ClassVar[str] = "occlusion"
    summary: ClassVar[str] = "how much the score drops when each token is taken away (signed)"
    quantity: ClassVar[str] = "drop of {score} without it"
    paper: ClassVar[str] = "Zeiler, Fergus 2014, arXiv:1311.2901"

    keep: Sequence[str] = ("special", "template")
    window: int = 1
    stride: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        store(
            self,
            window=read_whole("window", self.window, least=1),
            stride=read_whole("stride", self.stride, least=1),
        )
        if self.stride > self.window:
            raise InputError(
                f"Windows of {self.window} every {self.stride} units leave gaps: choose a stride of at most the window."
            )

    def estimate(self, game: Game) -> tuple[Tensor, Diagnostics]:
        windows = _windows(len(game.players), self.window, self.stride)  # (R, P)
        drops = game.full - game.scores(~windows)  # (R, K)
        covering = windows.to(drops)
        return drops.T @ covering / covering.sum(0), {}


def _windows(players: int, size: int, stride: int) -> Tensor:
    """Which players each window covers: (R, P) bool. The last may be shorter."""
    starts = range(0, players, stride)
    table = torch.zeros(len(starts), players, dtype=torch.bool)
    for row, start in zip(table, starts, strict=True):
        row[start : start + size] = True
    return table
