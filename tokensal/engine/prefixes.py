"""Prefixes that perturbations have in common: in which order to run them, and where to cut.

1. Sort the perturbations by their patterns, so that those that agree longest are neighbours. What a row shares with the
   one before it is then the longest prefix that it shares with any before.
2. Up to a cut, only as many prefixes need to be run as differ there. Each goes on from the states of a shorter one, up
   to the cut before, or from those of the example, up to the first source that it alters.
3. Choose the cuts whose cost is least: the tokens that are run, what it costs to go on from states, and what a further
   run costs however short it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

MOST_CUTS = 48  # that are considered
COPYING = 1 / 32  # what the states of a token cost that a perturbation goes on from, beside running that token


@dataclass(frozen=True, slots=True, eq=False)
class Prefixes:
    """What sorted perturbations, the rows, have in common.

    Attributes:
        order: (R,) the number of the perturbation that each row is.
        starts: (R,) how many sources of each row need not run again; ascending.
        shared: (R,) up to which source each row agrees with the one before it; -1 of the first.
        lengths: (R, S + 1) how many tokens are run for the sources before each, and for all.
        cuts: the sources up to which prefixes are run apart, ascending.
    """

    order: Tensor
    starts: Tensor
    shared: Tensor
    lengths: Tensor
    cuts: tuple[int, ...] = ()

    def tokens(self, rows: Tensor, start: int, stop: int) -> Tensor:
        """(n,) how many tokens are run of each of the rows between two sources."""
        return self.lengths[rows, stop] - self.lengths[rows, start]


def by_start(starts: Tensor, lengths: Tensor) -> Prefixes:
    """Perturbations that have nothing in common but what the example has, too."""
    order = starts.argsort(stable=True)
    return Prefixes(order, starts[order], torch.full_like(starts, -1), lengths[order])


def by_pattern(starts: Tensor, lengths: Tensor, pattern: Tensor) -> Prefixes:
    """Perturbations sorted by their patterns (R, S): those that alter an earlier source come first."""
    _, rank = torch.unique(pattern.cpu(), dim=0, return_inverse=True)
    order = rank.argsort(stable=True, descending=True)
    rows = pattern.cpu()[order]
    differs = rows[1:] != rows[:-1]
    shared = torch.where(differs.any(1), differs.int().argmax(1), rows.shape[1])
    return Prefixes(order, starts[order], torch.cat([torch.tensor([-1]), shared]), lengths[order])


def with_best_cuts(prefixes: Prefixes, sources: int, latest: int, fixed: int) -> Prefixes:
    """The same with the cuts of the least cost.

    Args:
        prefixes: what the perturbations have in common.
        sources: how many sources they have.
        latest: the last source that may be a cut.
        fixed: what a further run costs, however short it is, in tokens.
    """
    places = torch.tensor(sorted({place for place in prefixes.shared.tolist() if 0 < place <= latest}))
    if len(places) > MOST_CUTS:
        places = places[torch.linspace(0, len(places) - 1, MOST_CUTS).long()]
    ends = [0, *places.tolist(), sources]
    costs, before = [0.0], [0]
    for index, end in enumerate(ends[1:], start=1):
        begins = torch.tensor(ends[:index])
        total = torch.tensor(costs) + _cost(prefixes, begins, end, to_the_end=end == sources) + fixed * (begins > 0)
        best = int(total.argmin())
        costs.append(float(total[best]))
        before.append(best)
    cuts, index = [], before[-1]
    while index:
        cuts.append(ends[index])
        index = before[index]
    return replace(prefixes, cuts=tuple(reversed(cuts)))


def _cost(prefixes: Prefixes, begins: Tensor, end: int, *, to_the_end: bool) -> Tensor:
    """(n,) what it costs to run all prefixes up to `end`, or all perturbations, from each of the cuts before it on."""
    rows = (prefixes.starts < end) & (to_the_end | (prefixes.shared < end))
    starts, lengths = prefixes.starts[rows, None], prefixes.lengths[rows]
    run = lengths[:, end, None] - lengths.gather(1, torch.maximum(starts, begins))
    going_on = lengths[:, begins] * (starts < begins)
    return (run + COPYING * going_on).sum(0)
