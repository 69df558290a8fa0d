"""Perturbation curves: how the score falls as units are taken away in the order of their scores; and their areas.

1. Take away the most relevant first (MoRF): what the score is without the m best units.
2. Or the least relevant first (LeRF): what is left are the best units alone. Insertion, which puts the best back into
   the empty prompt first, has the same inputs, so it is the same curve, read from its other end.
3. Every method has the same budget: all targets lose the same shares of the units that they see, in as many steps.
4. A normalised value is (f(S) − f(∅)) / |f(all) − f(∅)|: 1 for the full and 0 for the empty prompt. The magnitude makes
   no difference where the prompt raises the score. Where it lowers it, values go from −1 to 0, and a lower value is
   still a lower score. Nothing is cut off: neither rises, nor what is above 1 or below 0.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from tokensal.evaluation.metric import Trial
from tokensal.evaluation.ranked_removal import Outcome, RankedRemoval, Sizes, units_of
from tokensal.results.attribution import Attribution
from tokensal.values import read_flag, read_whole, store

MOST_STEPS = 65_536
# Shares of the units that are absent, by default. Curves bend most near both ends: the first and last few units matter.
# The area is about as exact as by ten even steps, for two thirds of the tokens (`tests/benchmarks/curve_steps.py`).
SHARES = (0, 0.05, 0.2, 0.5, 0.7, 0.8, 0.9, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """How the score of one target falls as units are taken away, to be drawn.

    Attributes:
        fractions: (m,) float64, the shares of the units that are absent, from 0 to 1.
        most_first: (m,) the values where the most relevant units are absent; NaN where the score does not change.
        least_first: (m,) those where the least relevant ones are. Insertion is this curve from right to left.
    """

    fractions: Tensor
    most_first: Tensor
    least_first: Tensor

    def at(self, fractions: Tensor) -> Curve:
        """The same at other fractions, by straight lines: so curves over other numbers of units can be averaged."""
        most, least = (
            torch.from_numpy(np.interp(fractions.numpy(), self.fractions.numpy(), values.numpy()))
            for values in (self.most_first, self.least_first)
        )
        return Curve(fractions, most, least)


@dataclass(frozen=True, kw_only=True)
class CurveMetric(RankedRemoval):
    """A metric of perturbation curves.

    Args:
        steps: how many even ones, from no unit to all; at most as many as there are units. None: 0, 5, 20, 50, 70, 80,
            90 and 100 % of the units, close together where curves bend.
        normalised: relative to what the prompt changes, (f(S) − f(∅)) / |f(all) − f(∅)|; else f(S) − f(∅), in the units
            of the score.
    """

    steps: int | None = None
    normalised: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        store(
            self,
            steps=read_whole("steps", self.steps, least=1, most=MOST_STEPS, optional=True),
            normalised=read_flag("normalised", self.normalised),
        )

    def grid(self, players: int) -> list[int]:
        """How many units are absent at each step, from none to all."""
        shares = SHARES if self.steps is None else [step / self.steps for step in range(self.steps + 1)]
        return sorted({units_of(share, players) for share in shares})

    def fractions(self, players: int) -> Tensor:
        """The shares that these are of the units."""
        return torch.tensor(self.grid(players), dtype=torch.float64) / players

    def values(self, scores: Tensor, outcome: Outcome) -> Tensor:
        """Scores relative to the empty prompt, normalised where that is asked for."""
        values = scores - outcome.empty
        return values / outcome.change if self.normalised else values

    def area(self, scores: Tensor, outcome: Outcome) -> Tensor:
        """The area under straight lines between the values, over shares of the units."""
        return torch.trapezoid(self.values(scores, outcome), self.fractions(outcome.players))


@dataclass(frozen=True, kw_only=True)
class Deletion(CurveMetric):
    """The area under the curve as the most relevant units are taken away first. Lower is better.

    ∫ (f(x without the best share q) − f(∅)) / |f(x) − f(∅)| dq, by the trapezoidal rule. Petsiuk, Das, Saenko 2018,
    arXiv:1806.07421; "most relevant first" is of Samek et al. 2017, arXiv:1509.06321, whose AOPC is the area over the
    curve. Both take pixels of images away, and report probabilities as they are. Here units of text are taken away, and
    values are relative to the full and the empty prompt, so that targets and prompts can be averaged.

    Sign, ties, sink: what speaks against a target is least relevant, unless ranked by magnitude. Equal scores count by
    their mean over random orders. The sink, special tokens and a chat's template are never taken away.

    Use: .5 by chance where units do not interact; by chance it is lower where any removal breaks the text. A removal
    operator takes the text out of what the model was trained on, so a low area may be due to that: compare operators,
    and see `abpc`, in which what all orders have in common cancels.

    NaN: the score does not change from the full to the empty prompt beyond rounding, or the target sees no unit that
    could be taken away.
    """

    name: ClassVar[str] = "deletion"
    summary: ClassVar[str] = "area under the score as the best units are taken away first"
    paper: ClassVar[str] = "Petsiuk, Das, Saenko 2018, arXiv:1806.07421"
    better: ClassVar[Literal["higher", "lower"]] = "lower"

    def sizes(self, players: int) -> Sizes:
        return Sizes(absent=self.grid(players))

    def measured(self, outcome: Outcome) -> Tensor:
        return self.area(outcome.absent, outcome)


@dataclass(frozen=True, kw_only=True)
class Insertion(CurveMetric):
    """The area under the curve as the most relevant units are put back into the empty prompt first. Higher is better.

    ∫ (f(the best share q alone) − f(∅)) / |f(x) − f(∅)| dq, by the trapezoidal rule. Petsiuk, Das, Saenko 2018,
    arXiv:1806.07421, who put pixels back into a blurred image. The inputs are those of taking the least relevant units
    away first (LeRF), so this is also the area under that curve.

    Sign, ties, sink, NaN: as in `deletion`.

    Use: which units are enough. It may be above 1, where the best units alone speak more for a target than all.
    """

    name: ClassVar[str] = "insertion"
    summary: ClassVar[str] = "area under the score as the best units are put back first"
    paper: ClassVar[str] = "Petsiuk, Das, Saenko 2018, arXiv:1806.07421"
    better: ClassVar[Literal["higher", "lower"]] = "higher"

    def sizes(self, players: int) -> Sizes:
        return Sizes(alone=[players - size for size in self.grid(players)])

    def measured(self, outcome: Outcome) -> Tensor:
        return self.area(outcome.alone, outcome)


@dataclass(frozen=True, kw_only=True)
class ABPC(CurveMetric):
    """The area under least relevant first, less that under most relevant first. Higher is better.

    It is `insertion` − `deletion`, 0 by chance on average, and changes its sign where a ranking is turned around.
    What removal does whatever the order (less text, and text that the model was not trained on) is in both curves, and
    cancels. Ancona et al. 2018, arXiv:1711.06104, and Schulz et al. 2020, arXiv:2001.00396, compare the two curves in
    this way, of images.

    Sign, ties, sink, NaN: as in `deletion`. A method without a sign puts what speaks against a target first, too, and
    loses by it.
    """

    name: ClassVar[str] = "abpc"
    summary: ClassVar[str] = "area between the curves of least and most relevant first"
    paper: ClassVar[str] = "Schulz et al. 2020, arXiv:2001.00396"
    better: ClassVar[Literal["higher", "lower"]] = "higher"

    def sizes(self, players: int) -> Sizes:
        grid = self.grid(players)
        return Sizes(absent=grid, alone=[players - size for size in grid])

    def measured(self, outcome: Outcome) -> Tensor:
        return self.area(outcome.alone, outcome) - self.area(outcome.absent, outcome)

    def curve(self, outcome: Outcome) -> Curve:
        """Both curves of one target."""
        fractions = self.fractions(outcome.players)
        return Curve(fractions, self.values(outcome.absent, outcome), self.values(outcome.alone, outcome))


def curves(trial: Trial, attribution: Attribution, metric: CurveMetric | None = None) -> list[Curve | None]:
    """The perturbation curves of each target; None of one that sees no unit that could be taken away.

    After the areas have been measured, this costs nothing: the game knows all scores.

    Args:
        trial: the case.
        attribution: what ranks its units.
        metric: whose options the curves have, such as replacement and steps; all default ones without it.
    """
    metric = metric or ABPC()
    both = ABPC(**{each.name: getattr(metric, each.name) for each in fields(ABPC)})
    return [both.curve(outcome) if outcome.players else None for outcome in both.outcomes(trial, attribution)]
