"""A `Comparison`: the attributions of several methods for the same tokens, and how far their rankings agree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tokensal.drawable import drawable
from tokensal.errors import InputError, resolve_name
from tokensal.ranks import rank_correlations
from tokensal.results.attribution import Attribution
from tokensal.results.result import Result
from tokensal.values import described, is_whole, plain, read_whole

FEWEST = 3  # sources that make a ranking; two can only agree or disagree


@dataclass(frozen=True, slots=True)
class Comparison(Result):
    """What M methods say about one example: the same sources, the same targets, scores on a scale of each method's own.

    It is also the sequence of its attributions: `comparison["lrp"]` is that of the only method of this name,
    `comparison[0]` the first; a slice or a list gives the comparison of those.

    Attributes:
        attributions: M ≥ 2 of them, in the order of the methods.

    Raises:
        InputError: fewer than two attributions, or some that are not about the same tokens.
    """

    attributions: tuple[Attribution, ...]

    def __post_init__(self) -> None:
        if len(self.attributions) < 2:
            raise InputError(f"A comparison needs at least two attributions, but got {len(self.attributions)}.")
        first, *others = self.attributions
        for other in others:
            if not _same_tokens(first, other):
                raise InputError(
                    f"A comparison needs attributions of the same tokens, but those of {other.provenance.method_repr} "
                    f"are not those of {first.provenance.method_repr}: explain one text, as `tokensal.compare` does."
                )

    def __len__(self) -> int:
        return len(self.attributions)

    def __iter__(self) -> Iterator[Attribution]:
        return iter(self.attributions)

    def __contains__(self, method: object) -> bool:
        return method in (self.methods if isinstance(method, str) else self.attributions)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return Comparison(self.attributions[key])
        key = plain(key)
        if isinstance(key, list):
            return Comparison(tuple(self[each] for each in key))
        if isinstance(key, str):
            return self._of_method(key)
        if not is_whole(key):
            raise InputError(
                f"A selection from a comparison is {described(key)}, but should be the name or the number of a method."
            )
        if not -len(self) <= key < len(self):
            raise IndexError(f"There is no attribution {key}: the comparison has {len(self)}, from 0 on.")
        return self.attributions[key]

    @property
    def methods(self) -> tuple[str, ...]:
        """(M,) the names of the methods."""
        return tuple(attribution.provenance.method for attribution in self.attributions)

    def select(self, *, targets: Any = None, sources: Any = None) -> Comparison:
        """The comparison of some targets, and of some sources; see `Attribution.select`."""
        return Comparison(tuple(each.select(targets=targets, sources=sources) for each in self.attributions))

    @classmethod
    def of_traced(cls, attributions: Iterable[Attribution]) -> Comparison:
        """Each of some attributions as it is traced through the answer, and then as it is.

        Raises:
            InputError: one cannot be traced, see `Attribution.traced`, or they are not about the same tokens.
        """
        return cls(tuple(each for direct in attributions for each in (direct.traced(), direct)))

    def agreement(self, *, sink: bool = False) -> Tensor:
        """How alike the methods rank the sources: (M, M) float64, Spearman's rank correlation, from -1 to 1.

        For each target, each method ranks the sources that all methods score by |score|; equal ones share the average
        of their ranks. The correlation of the ranks is averaged over the targets. Magnitudes, because some methods have
        no sign: a source that one of them calls important may speak for the target or against it.

        Targets with fewer than 3 sources to rank, or to which a method gives one and the same |score| everywhere, say
        nothing about a pair of methods and are skipped; NaN where none is left.

        Args:
            sink: rank the sink token too; it is first in most rankings, and makes them look alike.

        Source: Spearman, "The Proof and Measurement of Association between Two Things", 1904.
        """
        return self._mean_over_targets(rank_correlations, FEWEST, sink)

    def overlap(self, k: int = 5, *, sink: bool = False) -> Tensor:
        """How many of the k most important sources two methods have in common: (M, M) float64, a share, from 0 to 1.

        The most important sources are those of the largest |score|, of those that all methods score; of equal ones the
        earlier count as larger. The share is averaged over the targets; those with at most k sources are skipped, since
        any two methods agree on all of them. NaN where none is left. By chance, the share is k over their number.

        Args:
            k: how many.
            sink: let the sink token be one of them.

        Raises:
            InputError: k is no whole number from 1 on.
        """
        k = int(read_whole("k", k, least=1))

        def shares_in_common(sizes: Tensor) -> Tensor:
            best = torch.zeros_like(sizes, dtype=torch.float64)
            best.scatter_(1, sizes.sort(dim=1, descending=True, stable=True).indices[:, :k], 1.0)
            return best @ best.T / k

        return self._mean_over_targets(shares_in_common, k + 1, sink)

    def _mean_over_targets(self, table: Callable[[Tensor], Tensor], fewest: int, sink: bool) -> Tensor:
        """The mean of tables (M, M), each of the |scores| (M, n) of a target that has enough sources."""
        first = self.attributions[0]
        ranked = torch.stack([attribution.visible for attribution in self.attributions]).all(0)
        if first.sink is not None and not sink:
            ranked[:, first.sink] = False
        sizes = torch.stack([attribution.scores.abs() for attribution in self.attributions])
        tables = [table(sizes[:, target, seen]) for target, seen in enumerate(ranked) if seen.sum() >= fewest]
        undefined = sizes.new_full((len(sizes), len(sizes)), torch.nan, dtype=torch.float64)
        return torch.stack([undefined, *tables]).nanmean(0)

    def _of_method(self, name: str) -> Attribution:
        name = resolve_name("method of this comparison:", name, self.methods, {})
        named = [(number, each) for number, each in enumerate(self.attributions) if each.provenance.method == name]
        if len(named) > 1:
            ways = "; ".join(
                f"{number} is {each.provenance.method_repr}, {each.provenance.credit}" for number, each in named
            )
            raise InputError(
                f"The comparison has {len(named)} attributions by {name!r}: take one by its number. {ways}."
            )
        return named[0][1]

    def __repr__(self) -> str:
        first = self.attributions[0]
        methods = ", ".join(attribution.provenance.method_repr for attribution in self.attributions)
        return drawable(f"Comparison({methods}: {len(first.targets)} targets × {len(first.sources)} sources)")


def _same_tokens(first: Attribution, other: Attribution) -> bool:
    return all(getattr(first, name) == getattr(other, name) for name in ("text", "sources", "targets", "sink"))
