"""RISE: the score where a unit is kept, over random masks, beside the score over all of them.

1. Draw masks: windows of neighbouring players are kept or removed together, and where the windows begin is random.
   This is the paper's coarse grid, shifted and enlarged, for one dimension and for players that are present or absent.
2. The score of a player is E[y | kept] − E[y], which is the share of masks that remove it times
   E[y | kept] − E[y | removed]. Both are means over as many masks as there are, and not over the number that is
   expected, which would add its own noise; the share is the expected one.
3. Go on until the standard error is allowed (see `tokensal.methods.sampling`): that of the difference of two means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tokensal.errors import InputError
from tokensal.methods.removal import Game, RemovalMethod
from tokensal.methods.sampling import Estimate, allowed_error, until_precise
from tokensal.perturbations.coalitions import Windows
from tokensal.types import Diagnostics
from tokensal.values import read_number, read_whole, store

BATCH = 64
MOST_SAMPLES = 65_536


@dataclass(frozen=True, kw_only=True)
class RISE(RemovalMethod):
    """How much higher the score is where a unit is kept, over random masks: E[y | kept] − E[y]. Signed, in its units.

    Petsiuk, Das, Saenko 2018, arXiv:1806.07421, whose map is E[y | kept]; the mean score is taken off it, so that 0
    says that a unit makes no difference. Divided by the probability of being removed, a score is the difference that
    keeping the unit makes, on average over what else is kept.

    Cost: one forward for each mask, of at most `samples` masks, and no backward.

    Error: the standard error of each score. Masks are drawn until it is within the tolerance, or there are `samples`.

    Use: a first look at any model, without assumptions. It takes many masks to tell units apart, since each mask
    takes away much at once. A window finds passages, and spreads the score of a single word over its neighbours. From
    256 masks, copied evidence came first in 9 of 10 prompts.

    Args:
        samples: how many masks at most.
        window: how many neighbouring units are kept or removed together.
        present: the probability that a unit is kept, greater than 0 and less than 1.
        tolerance: the standard error allowed, relative to the change of the score from no unit to all (or to 0.1, where
            the score changes by less).
        seed: of the masks.
    """

    name: ClassVar[str] = "rise"
    summary: ClassVar[str] = "how much higher the score is where a token is kept, over random masks (signed)"
    quantity: ClassVar[str] = "rise of {score} where it is kept"
    paper: ClassVar[str] = "Petsiuk, Das, Saenko 2018, arXiv:1806.07421"

    samples: int = 1024
    window: int = 1
    present: float = 0.5
    tolerance: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        store(
            self,
            samples=read_whole("samples", self.samples, least=2, most=MOST_SAMPLES),
            window=read_whole("window", self.window, least=1),
            present=read_number("present", self.present, above=0),
            tolerance=read_number("tolerance", self.tolerance, above=0),
            seed=read_whole("seed", self.seed, most=2**32 - 1),
        )
        if self.present >= 1:
            raise InputError(f"present is {self.present}, but should be less than 1, so that units are removed at all.")

    def estimate(self, game: Game) -> tuple[Tensor, Diagnostics]:
        sampler = Windows(len(game.players), self.window, self.seed, self.present)
        kept: list[Tensor] = []
        scores: list[Tensor] = []

        def estimate(blocks: int) -> Estimate:
            drawn = sum(map(len, kept))
            kept.append(torch.cat([sampler.block(number) for number in range(drawn, blocks)]))
            scores.append(game.scores(kept[-1]))
            difference, error = kept_less_removed(torch.cat(kept), torch.cat(scores))
            removed = (1 - self.present) * game.visible
            return Estimate(removed * difference, torch.where(game.visible, removed * error, 0), blocks)

        allowed = allowed_error(game, self.tolerance)
        result, diagnostics = until_precise(estimate, allowed, batch=BATCH, most=self.samples)
        return result.scores, diagnostics


def kept_less_removed(kept: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """The mean score of the masks that keep each player less that of those that do not, and its error: both (K, P).

    The error of a player that fewer than two masks keep, or fewer than two remove, is unknown: infinite.

    Args:
        kept: (n, P) bool.
        scores: (n, K).
    """
    scores = scores - scores.mean(0)
    means, variances = [], []
    for masks in (kept.double(), (~kept).double()):
        count = masks.sum(0)
        mean = scores.T @ masks / count.clamp(min=1)
        squares = (scores.square().T @ masks - count * mean.square()).clamp(min=0)
        means.append(mean)
        variances.append(torch.where(count > 1, squares / (count * (count - 1)), torch.inf))
    return means[0] - means[1], (variances[0] + variances[1]).sqrt()
