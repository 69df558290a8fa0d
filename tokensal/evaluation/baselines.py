"""Baselines that every table has: rankings by chance, by how late a unit comes, and by attention.

They are methods (see `tokensal.methods.method`), but none to choose for an explanation, so they are not in `METHODS`.
What a method gains over them is what it knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tokensal.engine import Engine
from tokensal.evaluation.metric import Metric, Trial
from tokensal.evaluation.removal import score_together
from tokensal.methods import Attention, Method
from tokensal.perturbations.draws import generator
from tokensal.results.attribution import Attribution
from tokensal.types import Example, Scores
from tokensal.values import read_flag, read_whole, store


@dataclass(frozen=True, kw_only=True)
class Random:
    """Independent numbers between −1 and 1: what chance does. Of several seeds, the mean is the expectation.

    Cost: nothing.

    Args:
        seed: of the numbers.
        opposite: the same numbers with the other sign, and so the opposite ranking.
    """

    name: ClassVar[str] = "random"
    summary: ClassVar[str] = "random numbers (a baseline)"
    quantity: ClassVar[str] = "random number"
    paper: ClassVar[str] = ""
    signed: ClassVar[bool] = True

    seed: int = 0
    opposite: bool = False

    def __post_init__(self) -> None:
        store(
            self,
            seed=read_whole("seed", self.seed, most=2**32 - 1),
            opposite=read_flag("opposite", self.opposite),
        )

    def __call__(self, example: Example, engine: Engine) -> Scores:
        rows = [
            2 * torch.rand(len(example.units), generator=generator(self.seed, group), dtype=torch.float64) - 1
            for group in range(len(example.groups))
        ]
        numbers = torch.stack(rows)
        return Scores(-numbers if self.opposite else numbers, engine.original(example))


@dataclass(frozen=True, kw_only=True)
class Recency:
    """The later a unit, the higher its score: its place among the units, from 0. Cost: nothing."""

    name: ClassVar[str] = "recency"
    summary: ClassVar[str] = "the later, the better (a baseline)"
    quantity: ClassVar[str] = "place in the text"
    paper: ClassVar[str] = ""
    signed: ClassVar[bool] = False

    def __call__(self, example: Example, engine: Engine) -> Scores:
        places = torch.arange(len(example.units), dtype=torch.float64)
        return Scores(places.expand(len(example.groups), -1), engine.original(example))


BASELINES: Mapping[str, type[Method]] = {method.name: method for method in (Random, Recency, Attention)}


def chances(trial: Trial, pairs: int) -> list[Attribution]:
    """Attributions by chance: of each seed from that of the trial on, one and its opposite.

    What is absent as one falls is what is left as the other does, so that a pair costs as many coalitions as one of
    them; and the area between the curves, `abpc`, is 0 for each pair as it is in expectation.
    """
    return [
        trial.explain(Random(seed=_seed(trial, draw), opposite=opposite))
        for draw in range(pairs)
        for opposite in (False, True)
    ]


def _seed(trial: Trial, draw: int) -> int:
    return (trial.seed + draw) % 2**32


def chance(metric: Metric, trial: Trial, *, draws: int = 16) -> Tensor:
    """What a metric says of rankings by chance: (draws, K) float64, one row for each seed from that of the trial on.

    The mean of the rows is the expectation, and where a method is among them tells how far it is from chance.

    Args:
        metric: the metric.
        trial: the case.
        draws: how many seeds.
    """
    attributions = [trial.explain(Random(seed=_seed(trial, draw))) for draw in range(draws)]
    score_together(trial, attributions, [metric])
    return torch.stack([metric(trial, attribution) for attribution in attributions])
