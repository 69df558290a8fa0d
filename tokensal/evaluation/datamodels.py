"""Do the scores of units add up to what the score of the model does where random units are absent?

1. Draw coalitions, each unit present with the same probability. All methods of a trial get the same ones, and no method
   has seen them: the numbers of the draws are beyond those that methods draw from, should the seeds be equal.
2. Score them in one call of the game.
3. What an attribution predicts of a coalition is the sum of the scores of the units that are present (LDS), or of those
   that are absent (infidelity). A unit without a score counts as 0.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from tokensal.errors import InputError
from tokensal.evaluation.metric import Trial
from tokensal.evaluation.rankings import player_scores
from tokensal.evaluation.removal import RemovalMetric, rounding
from tokensal.methods.surrogates import rank_correlation
from tokensal.perturbations.coalitions import Independent
from tokensal.results.attribution import Attribution
from tokensal.values import read_flag, read_number, read_whole, store

BEYOND = 2**19  # draws of methods have smaller numbers
RESOLUTION = 1e-12  # sums of scores that differ by less, relative to the sum of their magnitudes, are equal


@dataclass(frozen=True, kw_only=True)
class DatamodelMetric(RemovalMetric):
    """A metric of predictions for random coalitions.

    Args:
        samples: how many coalitions.
        present: the probability that a unit is present: .5, or nearer to 1 for texts that look more like the prompt.
    """

    samples: int = 48
    present: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        store(
            self,
            samples=read_whole("samples", self.samples, least=2, most=65_536),
            present=read_number("present", self.present, above=0),
        )
        if self.present >= 1:
            raise InputError(f"present is {self.present}, but should be a probability less than 1.")

    def coalitions(self, trial: Trial, attribution: Attribution) -> Tensor:
        sampler = Independent(len(trial.game(self.replacement).players), trial.seed, self.present)
        return torch.cat([sampler.block(BEYOND + number) for number in range(self.samples)])

    def __call__(self, trial: Trial, attribution: Attribution) -> Tensor:
        game = trial.game(self.replacement)
        present = self.coalitions(trial, attribution)
        values = game.scores(present)
        credits = torch.where(game.visible, player_scores(trial, attribution).nan_to_num(neginf=0), 0)
        noise = rounding(trial, self.replacement)
        numbers = values.new_full((len(credits),), torch.nan)
        for target, seen in enumerate(game.visible):
            if seen.any():
                numbers[target] = self.measured(
                    present[:, seen].double(),
                    credits[target, seen],
                    values[:, target],
                    game.full[target],
                    noise[target],
                )
        return numbers

    @abstractmethod
    def measured(self, present: Tensor, credits: Tensor, values: Tensor, full: Tensor, noise: Tensor) -> Tensor:
        """The number () of one target.

        Args:
            present: (R, n) float64, 1 where a unit that the target sees is present.
            credits: (n,) the scores of these units.
            values: (R,) what the model scores.
            full: () what it scores when all are present.
            noise: () up to what values may differ by rounding alone.
        """


@dataclass(frozen=True, kw_only=True)
class LDS(DatamodelMetric):
    """The linear datamodeling score: do sums of scores rank coalitions as the model does? Higher is better.

    Spearman's rank correlation, over random coalitions, between Σ scores of the present units and f. Park et al. 2023
    (TRAK), arXiv:2303.14186, of training examples; Cohen-Wang et al. 2024 (ContextCite), arXiv:2409.00729, of the
    sentences of a context, each present with a probability of .5, and of a surrogate's log-odds. Here f is the score
    that is explained. 1 where the score is a sum over units, and an attribution has its terms. The scale and the unit
    of the scores play no part.

    Sign, ties, sink: scores count with their sign, so a method without one is punished where units speak against a
    target; a unit without a score counts as 0. Equal sums, and equal scores of the model, share their ranks; coalitions
    that differ only in what the target does not see have one score, the mean. The sink, special tokens and a chat's
    template are always present.

    NaN: the score, or the sum, is the same in all coalitions, up to rounding; or the target sees no unit.
    """

    name: ClassVar[str] = "lds"
    summary: ClassVar[str] = "rank correlation of summed scores with the score of random coalitions"
    paper: ClassVar[str] = "Park et al. 2023, arXiv:2303.14186"
    better: ClassVar[Literal["higher", "lower"]] = "higher"

    def measured(self, present: Tensor, credits: Tensor, values: Tensor, full: Tensor, noise: Tensor) -> Tensor:
        _, same = torch.unique(present, dim=0, return_inverse=True)
        values = _means(values, same)
        if values.max() - values.min() <= noise:
            return values.new_tensor(torch.nan)
        total = credits.abs().sum()
        sums = (present @ credits / (total * RESOLUTION)).round() if total > 0 else values.new_zeros(len(values))
        return rank_correlation(sums, values)


@dataclass(frozen=True, kw_only=True)
class Infidelity(DatamodelMetric):
    """How far the scores of absent units are from what the score drops without them. Lower is better.

    Yeh et al. 2019, arXiv:1901.09392, for removals of random subsets: E[(Σ scores of the absent − drop)²] over random
    coalitions S, where the drop is f(x) − f(S); in squared units of the score. That punishes a method for its unit,
    such as that of a gradient's norm. So by default scores are multiplied by what makes this smallest (one factor a
    target, at least 0), and it is divided by E[drop²]: the share of the drops that is not predicted, from 0 to 1.
    captum's `infidelity` has such a factor as `normalize`, of any sign, and does not divide.

    Sign, ties, sink: scores count with their sign; a unit without one counts as 0; ties play no part. The sink, special
    tokens and a chat's template are always present.

    NaN: the target sees no unit; or scaled, where the score never drops or rises beyond rounding.

    Args:
        scaled: with the best factor, as a share; else by the paper's formula.
    """

    name: ClassVar[str] = "infidelity"
    summary: ClassVar[str] = "share of the drops of random coalitions that the scores do not predict"
    paper: ClassVar[str] = "Yeh et al. 2019, arXiv:1901.09392"
    better: ClassVar[Literal["higher", "lower"]] = "lower"

    scaled: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        store(self, scaled=read_flag("scaled", self.scaled))

    def measured(self, present: Tensor, credits: Tensor, values: Tensor, full: Tensor, noise: Tensor) -> Tensor:
        predicted, drops = (1 - present) @ credits, full - values
        if not self.scaled:
            return (predicted - drops).square().mean()
        if drops.abs().max() <= noise:
            return values.new_tensor(torch.nan)
        norm = predicted.square().sum()
        factor = (predicted @ drops / norm).clamp(min=0) if norm > 0 else norm
        return (factor * predicted - drops).square().sum() / drops.square().sum()


def _means(values: Tensor, same: Tensor) -> Tensor:
    """(R,) each value replaced by the mean over those of the same number."""
    sums = values.new_zeros(int(same.max()) + 1)
    return (sums.index_add(0, same, values) / torch.bincount(same))[same]
