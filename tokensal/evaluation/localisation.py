"""Localisation: does a method put first the units that the answer is known to rest on, the gold ones?

1. Ranked are the units of the prompt that a target sees, without special tokens and a chat's template. The answer's own
   tokens are left out: gold is what they come from.
2. So is the first token that the decoder reads, where attention collects; `sink` counts it in. Where it is gold, it is
   ranked in any case.
3. A unit's score is taken as it is: what speaks against a target comes last. With `magnitude`, |score| ranks instead,
   which makes no difference to methods without a sign.
4. A unit without a score (the method leaves it out) comes after all that have one.
5. Of equal scores, the expected value over all of their orders counts, in closed form: a method that scores all units
   alike is measured as chance is. Nothing depends on where a unit stands.
6. A target without ranked gold has no number: NaN.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from tokensal.errors import InputError
from tokensal.evaluation.metric import Trial
from tokensal.questions.masks import visible_units
from tokensal.results.attribution import Attribution
from tokensal.types import Role
from tokensal.values import read_flag, read_number, read_whole, store

OF_THE_ANSWER = (Role.GENERATED, Role.CONTRAST)


@dataclass(frozen=True, kw_only=True)
class LocalisationMetric(ABC):
    """A number for each target, of the scores of its ranked units and of which of them are gold.

    Args:
        magnitude: rank by |score|.
        sink: rank the first token that the decoder reads, too.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    paper: ClassVar[str]
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    needs_gold: ClassVar[bool] = True

    magnitude: bool = False
    sink: bool = False

    def __post_init__(self) -> None:
        for name in ("magnitude", "sink"):
            read_flag(name, getattr(self, name))

    def __call__(self, trial: Trial, attribution: Attribution) -> Tensor:
        """(K,) float64.

        Raises:
            InputError: the trial has no gold, or the attribution is of other units or targets.
        """
        if trial.gold is None:
            raise InputError(f"The metric {self.name} needs gold: mark the words that the answer rests on.")
        seen, scores = visible_units(trial.case.example), attribution.scores.double()
        if seen.shape != scores.shape:
            raise InputError(
                f"The trial has {' targets and '.join(map(str, seen.shape))} units, but the attribution has the shape "
                f"{tuple(scores.shape)}: let the trial's own case explain it."
            )
        gold = trial.gold.expand(scores.shape)
        ranked = _ranked(attribution, gold, sink=self.sink) & seen
        scores = scores.abs() if self.magnitude else scores
        values = [self._value(row[mask], wanted[mask]) for row, wanted, mask in zip(scores, gold, ranked, strict=True)]
        return torch.tensor(values, dtype=torch.float64)

    def _value(self, scores: Tensor, gold: Tensor) -> float:
        return self.measure(scores, gold) if gold.any() else math.nan

    @abstractmethod
    def measure(self, scores: Tensor, gold: Tensor) -> float:
        """The number of one target: scores (n,) float64, NaN where there is none, and gold (n,) bool, some True."""


@dataclass(frozen=True, kw_only=True)
class PointingGame(LocalisationMetric):
    """Whether the unit with the best score is gold: 1 or 0; of equally good units, the share that is gold.

    Sources: the pointing game of Zhang et al. (2016), there on the pixel with the largest score, which hits if it is
    within 15 pixels of the object; here nothing but gold itself is a hit. Use: the question that a reader of a heatmap
    asks.
    """

    name: ClassVar[str] = "pointing_game"
    summary: ClassVar[str] = "whether the best unit is one that the answer rests on"
    paper: ClassVar[str] = "Zhang et al. 2016, arXiv:1608.00507"

    def measure(self, scores: Tensor, gold: Tensor) -> float:
        return _hit(scores, gold, 1)


@dataclass(frozen=True, kw_only=True)
class TopKHit(LocalisationMetric):
    """Whether one of the k best units is gold: 1 or 0; of equals at the edge, the probability under a random order.

    With e equal units at the edge, of which g are gold, and m places left for them, that is 1 - C(e - g, m) / C(e, m).
    Where fewer than k units are ranked, all of them are looked at.

    Args:
        k: how many units.
    """

    name: ClassVar[str] = "top_k_hit"
    summary: ClassVar[str] = "whether one of the k best units is one that the answer rests on"
    paper: ClassVar[str] = "Zhang et al. 2016, arXiv:1608.00507"

    k: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        store(self, k=read_whole("k", self.k, least=1))

    def measure(self, scores: Tensor, gold: Tensor) -> float:
        return _hit(scores, gold, self.k)


@dataclass(frozen=True, kw_only=True)
class Recall(LocalisationMetric):
    """The share of the gold units that are among the best ⌈fraction · n⌉ of n ranked ones; of equals, as by chance.

    It cannot be 1 where more units are gold than are looked at.

    Args:
        fraction: how many units are looked at, as a share of the ranked ones: more than 0, up to 1.
    """

    name: ClassVar[str] = "recall"
    summary: ClassVar[str] = "the share of what the answer rests on that is among the best tenth of the units"
    paper: ClassVar[str] = "Zhang et al. 2016, arXiv:1608.00507"

    fraction: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        store(self, fraction=read_number("fraction", self.fraction, above=0))
        if self.fraction > 1:
            raise InputError(f"fraction is {self.fraction}, but should be a share of the units, at most 1.")

    def measure(self, scores: Tensor, gold: Tensor) -> float:
        count = math.ceil(round(self.fraction * len(scores), 9))  # .7 of 10 units are 7, and not 7.000000000000001
        return gold_among_best(scores, gold, count) / int(gold.sum())


@dataclass(frozen=True, kw_only=True)
class GoldMass(LocalisationMetric):
    """The share of the positive score that gold units have: Σ_gold max(s, 0) / Σ max(s, 0), between 0 and 1.

    Sources: the relevance mass accuracy of Arras et al. (2022), over the ranked units instead of pixels. Scores are as
    they are: of signed methods, what speaks against the target counts nowhere; of the others s is |s| already. With
    `magnitude`, |s| takes the place of max(s, 0). NaN where no unit has a positive score: there is no mass to share.
    """

    name: ClassVar[str] = "gold_mass"
    summary: ClassVar[str] = "the share of the positive score that is on what the answer rests on"
    paper: ClassVar[str] = "Arras et al. 2022, arXiv:2003.07258"

    def measure(self, scores: Tensor, gold: Tensor) -> float:
        mass = scores.nan_to_num(nan=0.0).clamp(min=0)
        total = float(mass.sum())
        return float(mass[gold].sum()) / total if total > 0 else math.nan


@dataclass(frozen=True, kw_only=True)
class ReciprocalRank(LocalisationMetric):
    """1 / the rank of the best gold unit, the mean of which over prompts is the mean reciprocal rank (MRR).

    Of e equal units behind b better ones, of which g are gold and none of the better ones is, the first gold one is the
    j-th of the equal ones with probability C(e - j, g - 1) / C(e, g): the value is Σ_j of that / (b + j).
    """

    name: ClassVar[str] = "mrr"
    summary: ClassVar[str] = "1 / the rank of the best unit that the answer rests on"
    paper: ClassVar[str] = "Voorhees 1999, doi:10.6028/NIST.SP.500-246.qa-overview"

    def measure(self, scores: Tensor, gold: Tensor) -> float:
        scores = _ordered(scores)
        best = scores[gold].max()
        better, equal = int((scores > best).sum()), int((scores == best).sum())
        gold_equal = int((gold & (scores == best)).sum())
        value, later = 0.0, 1.0  # the probability that no gold unit came yet
        for place in range(1, equal - gold_equal + 2):
            probability = later * gold_equal / (equal - place + 1)
            value += probability / (better + place)
            later -= probability
        return value


# Ranks


def gold_among_best(scores: Tensor, gold: Tensor, count: int) -> float:
    """How many gold units are among the best so many: scores (n,), gold (n,) bool. Of equals, as many as by chance."""
    edge = _Edge.of(scores, gold, count)
    return edge.gold_above + edge.places * edge.gold_equal / edge.equal


def _ranked(attribution: Attribution, gold: Tensor, *, sink: bool) -> Tensor:
    """(K, J) bool, the units that may be ranked for each target, as far as it sees them."""
    sources = attribution.sources
    content = torch.tensor(
        [not unit.special and unit.role not in (Role.TEMPLATE, *OF_THE_ANSWER) for unit in sources], dtype=torch.bool
    )
    ranked = content.expand(gold.shape).clone()
    first = attribution.encoder  # of an encoder–decoder model, the decoder begins behind what the encoder reads
    if first < len(sources):
        ranked[:, first] = sink | gold[:, first]
    return ranked


@dataclass(frozen=True, slots=True)
class _Edge:
    """Of the best `count` units: how many stand clearly above the last of them, and the equals that share its score."""

    gold_above: int
    equal: int
    gold_equal: int
    places: int

    @classmethod
    def of(cls, scores: Tensor, gold: Tensor, count: int) -> _Edge:
        scores, count = _ordered(scores), min(count, len(scores))
        edge = scores.topk(count).values[-1]
        above, equal = scores > edge, scores == edge
        return cls(int((gold & above).sum()), int(equal.sum()), int((gold & equal).sum()), count - int(above.sum()))


def _hit(scores: Tensor, gold: Tensor, count: int) -> float:
    edge = _Edge.of(scores, gold, count)
    if edge.gold_above:
        return 1.0
    return 1 - math.comb(edge.equal - edge.gold_equal, edge.places) / math.comb(edge.equal, edge.places)


def _ordered(scores: Tensor) -> Tensor:
    """The scores; -inf where there is none."""
    return scores.nan_to_num(nan=-math.inf, posinf=math.inf, neginf=-math.inf)
