"""Prefixes that perturbations have in common: in which order to run them, and where to cut.

1. Sort the perturbations by their patterns, so that those that agree longest are neighbours. What a row shares with the
   one before it is then the longest prefix that it shares with any before.
2. Up to a cut, only as many prefixes need to be run as differ there. Each goes on from the states of a shorter one, up
   to the cut before, or from those of the example, up to the first source that it alters.
3. Choose the cuts whose cost is least: the tokens that are run, those that only pad shorter rows, what it costs to go
   on from states, and what a further run costs however short it is.
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


def by_start(starts: Tensor, lengths: Tensor) -> Prefixes:
    """Perturbations that have nothing in common but what the example has, too."""
    order = starts.argsort(stable=True)
    return Prefixes(order, starts[order], torch.full_like(starts, -1), lengths[order])


def by_pattern(starts: Tensor, pattern: Tensor, lengths: Tensor) -> Prefixes:
    """Perturbations sorted by their patterns (R, S): those that alter an earlier source come first."""
    _, rank = torch.unique(pattern, dim=0, return_inverse=True)
    order = rank.argsort(stable=True, descending=True)
    rows = pattern[order]
    differs = rows[1:] != rows[:-1]
    shared = torch.where(differs.any(1), differs.int().argmax(1), rows.shape[1])
    return Prefixes(order, starts[order], torch.cat([torch.tensor([-1]), shared]), lengths[order])


def with_best_cuts(prefixes: Prefixes, *, latest: int, fixed: int) -> Prefixes:
    """The same with the cuts of the least cost.

    Args:
        prefixes: what the perturbations have in common.
        latest: the last source that may be a cut.
        fixed: what a further run costs, however short it is, in tokens.
    """
    places = sorted({place for place in prefixes.shared.tolist() if 0 < place <= latest})
    if len(places) > MOST_CUTS:
        places = [places[index * len(places) // MOST_CUTS] for index in range(MOST_CUTS)]
    ends = torch.tensor([0, *places, prefixes.lengths.shape[1] - 1])
    lengths = prefixes.lengths[:, ends]
    at_start = prefixes.lengths.gather(1, prefixes.starts[:, None])
    costs, before = [0.0], [0]
    for index in range(1, len(ends)):
        last = index == len(ends) - 1
        rows = (prefixes.starts < ends[index]) & (last | (prefixes.shared < ends[index]))
        going_on = prefixes.starts[rows, None] < ends[:index]
        begins = torch.where(going_on, lengths[rows, :index], at_start[rows])
        tokens = lengths[rows, index, None] - begins
        padded = _in_groups(tokens, fixed) if last else _together(tokens)
        total = torch.tensor(costs) + padded + (COPYING * begins * going_on).sum(0) + fixed * (ends[:index] > 0)
        best = int(total.argmin())
        costs.append(float(total[best]))
        before.append(best)
    cuts, index = [], before[-1]
    while index:
        cuts.append(int(ends[index]))
        index = before[index]
    return replace(prefixes, cuts=tuple(reversed(cuts)))


def _together(tokens: Tensor) -> Tensor:
    """(m,) what it costs to run rows of so many tokens (n, m), all padded to the longest."""
    return len(tokens) * tokens.amax(0) if len(tokens) else tokens.sum(0)


def _in_groups(tokens: Tensor, fixed: int) -> Tensor:
    """(m,) what it costs to run rows of so many tokens (n, m) in groups that are padded to their longest row.

    In g groups of evenly spread rows, padding is n · range / 2g, and each group costs a run: least at the best g.
    """
    spread = tokens.amax(0) - tokens.amin(0)
    return tokens.sum(0) + (2 * fixed * len(tokens) * spread).double().sqrt()
