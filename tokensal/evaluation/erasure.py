"""How much the score drops without the best few units, and with nothing else: in the units of the score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from tokensal.errors import InputError
from tokensal.evaluation.ranked_removal import Outcome, RankedRemoval, Sizes, units_of
from tokensal.values import described, plain, read_number, read_whole, store

BINS = (0.01, 0.05, 0.1, 0.2, 0.5)  # of ERASER


@dataclass(frozen=True, kw_only=True)
class BinnedRemoval(RankedRemoval):
    """A metric of several shares of the units.

    Args:
        bins: the shares, greater than 0 and at most 1. The number of units is rounded, halves up, and at least 1: so in
            a text of ten tokens, the bins of 1, 5 and 10 % all take one.
    """

    bins: Sequence[float] = BINS

    def __post_init__(self) -> None:
        super().__post_init__()
        store(self, bins=_read_bins(self.bins))

    def counts(self, players: int) -> list[int]:
        """How many units the bins are."""
        return [max(1, units_of(share, players)) for share in self.bins]


@dataclass(frozen=True, kw_only=True)
class Comprehensiveness(BinnedRemoval):
    """How much the score drops without the best 1, 5, 10, 20 and 50 % of the units, on average. Higher is better.

    1/|B| Σ_b f(x) − f(x without the best b), in the units of the score. DeYoung et al. 2020 (ERASER), arXiv:1911.03429,
    for probabilities of a class (ask for `score="prob"` to have these). The paper's formula divides by |B| + 1, its
    code takes the mean over bins, as here.

    Sign, ties, sink: a signed score ranks as it is, or by its magnitude where that is asked for. Equal scores count by
    their mean over random orders. The sink, special tokens and a chat's template are never taken away.

    NaN: the target sees no unit that could be taken away. Where the score never changes, it is 0.
    """

    name: ClassVar[str] = "comprehensiveness"
    summary: ClassVar[str] = "drop of the score without the best 1 to 50 % of the units"
    paper: ClassVar[str] = "DeYoung et al. 2020, arXiv:1911.03429"
    better: ClassVar[Literal["higher", "lower"]] = "higher"

    def sizes(self, players: int) -> Sizes:
        return Sizes(absent=self.counts(players))

    def measured(self, outcome: Outcome) -> Tensor:
        return outcome.full - outcome.absent.mean()


@dataclass(frozen=True, kw_only=True)
class Sufficiency(BinnedRemoval):
    """How much the score drops with the best 1, 5, 10, 20 and 50 % of the units alone, on average. Lower is better.

    1/|B| Σ_b f(x) − f(the best b alone), in the units of the score. DeYoung et al. 2020 (ERASER), arXiv:1911.03429.
    What differs, and sign, ties, sink and NaN: as in `comprehensiveness`. The sink, special tokens and a chat's
    template are there always.
    """

    name: ClassVar[str] = "sufficiency"
    summary: ClassVar[str] = "drop of the score with the best 1 to 50 % of the units alone"
    paper: ClassVar[str] = "DeYoung et al. 2020, arXiv:1911.03429"
    better: ClassVar[Literal["higher", "lower"]] = "lower"

    def sizes(self, players: int) -> Sizes:
        return Sizes(alone=self.counts(players))

    def measured(self, outcome: Outcome) -> Tensor:
        return outcome.full - outcome.alone.mean()


@dataclass(frozen=True, kw_only=True)
class TopKDrop(RankedRemoval):
    """How much the score drops without the k best units: f(x) − f(x without the best k). Higher is better.

    In the units of the score. Cohen-Wang et al. 2024 (ContextCite), arXiv:2409.00729, of sentences of a context and the
    log-probability of a whole answer: ask for `unit="sentence"` and `targets="output"` to have that. Of fewer than k
    units, all are taken away. Sign, ties, sink and NaN: as in `comprehensiveness`.

    Args:
        k: how many units.
    """

    name: ClassVar[str] = "top_k_drop"
    summary: ClassVar[str] = "drop of the score without the k best units"
    paper: ClassVar[str] = "Cohen-Wang, Shah, Georgiev, Mądry 2024, arXiv:2409.00729"
    better: ClassVar[Literal["higher", "lower"]] = "higher"

    k: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        store(self, k=read_whole("k", self.k, least=1))

    def sizes(self, players: int) -> Sizes:
        return Sizes(absent=[min(self.k, players)])

    def measured(self, outcome: Outcome) -> Tensor:
        return outcome.full - outcome.absent[0]


def _read_bins(bins: Any) -> tuple[float, ...]:
    """Shares of the units.

    Raises:
        InputError: no list of numbers greater than 0 and at most 1.
    """
    shares = plain(bins)
    if isinstance(shares, str) or not isinstance(shares, Sequence) or not shares:
        raise InputError(f"bins is {described(bins)}, but should be shares of the units, such as (0.1, 0.5).")
    numbers = tuple(read_number("bins", share, above=0) for share in shares)
    if max(numbers) > 1:
        raise InputError(f"bins is {described(bins)}, but should be shares of the units, at most 1.")
    return numbers
