"""Metrics that ask what the score is where some units are absent, and how their coalitions are scored together.

1. A metric lists the coalitions that it needs of an attribution: of all targets, orders and steps.
2. The game scores them in one call, in which neighbours share the work on what they begin with; none is scored twice.
3. A target reads its own scores. Players that it does not see make no difference to it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from tokensal.evaluation.metric import Metric, Trial
from tokensal.methods.removal import WITHOUT
from tokensal.perturbations.removals import check_replacement
from tokensal.results.attribution import Attribution

ROUNDING = 16  # a score that changes by less than this many units in its last place does not change


@dataclass(frozen=True, kw_only=True)
class RemovalMetric(ABC):
    """A metric that asks for scores of coalitions of units.

    Args:
        replacement: what "absent" means: "mask", "delete", or what stands in its place, such as "mean" or "pad"; as in
            `tokensal.Occlusion`. Each favours some methods, so a result holds for its own.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    paper: ClassVar[str]
    better: ClassVar[Literal["higher", "lower"]]
    needs_gold: ClassVar[bool] = False

    replacement: str = "mask"

    def __post_init__(self) -> None:
        check_replacement("replacement", self.replacement, WITHOUT)

    @abstractmethod
    def coalitions(self, trial: Trial, attribution: Attribution) -> Tensor:
        """(R, P) bool, all coalitions that it needs, in any order and as often as it likes."""

    @abstractmethod
    def __call__(self, trial: Trial, attribution: Attribution) -> Tensor:
        """(K,) float64, one number for each target; NaN where it is not defined."""


def score_together(trial: Trial, attributions: Sequence[Attribution], metrics: Sequence[Metric]) -> None:
    """Score what metrics will ask for of several attributions, in one call of each game.

    They share more of the work than in a call for each. The numbers stay the same.
    """
    listed: dict[str, list[Tensor]] = {}
    for metric in metrics:
        if isinstance(metric, RemovalMetric):
            rows = [metric.coalitions(trial, attribution) for attribution in attributions]
            listed.setdefault(metric.replacement, []).extend(rows)
    for replacement, tables in listed.items():
        if any(len(table) for table in tables):
            trial.game(replacement).scores(torch.cat(tables))


def rounding(trial: Trial, replacement: str) -> Tensor:
    """(K,) up to what the scores of a target may differ by rounding alone, in the dtype of the model."""
    game = trial.game(replacement)
    resolution = torch.finfo(trial.case.engine.embed(trial.case.example).dtype).eps
    return ROUNDING * resolution * torch.maximum(game.full.abs(), game.empty.abs()).clamp(min=1)
