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
    """What sorted perturbations have in common.

    Attributes:
        order: (R,) the numbers of the perturbations, sorted.
        starts: (R,) in that order, how many sources of each need not run again; ascending.
        shared: (R,) in that order, up to which source each agrees with the one before it; -1 of the first.
        cuts: the sources up to which prefixes are run apart, ascending.
    """

    order: Tensor
    starts: Tensor
    shared: Tensor
    cuts: tuple[int, ...] = ()


def by_start(starts: Tensor) -> Prefixes:
    """Perturbations that have nothing in common but what the example has, too."""
    order = starts.argsort(stable=True)
    return Prefixes(order, starts[order], torch.full_like(starts, -1))


def by_pattern(starts: Tensor, pattern: Tensor) -> Prefixes:
    """Perturbations sorted by their patterns (R, S): those that alter an earlier source come first."""
    _, rank = torch.unique(pattern.cpu(), dim=0, return_inverse=True)
    order = rank.argsort(stable=True, descending=True)
    rows = pattern.cpu()[order]
    differs = rows[1:] != rows[:-1]
    shared = torch.where(differs.any(1), differs.int().argmax(1), rows.shape[1])
    return Prefixes(order, starts[order], torch.cat([torch.tensor([-1]), shared]))


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
    rows = torch.ones_like(prefixes.shared, dtype=torch.bool) if to_the_end else prefixes.shared < end
    starts = prefixes.starts[rows & (prefixes.starts < end)]
    if not len(starts):
        return torch.zeros(len(begins))
    run = end - torch.maximum(starts, begins[:, None])
    going_on = starts < begins[:, None]
    return (run + COPYING * begins[:, None] * going_on).sum(1)
