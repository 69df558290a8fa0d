"""Adaptive quadrature on a path: nodes where the error is, for each target its own.

What makes it cheap: the integral of a slope over a cell [a, b] is known without integrating, as y(b) − y(a), and the
forward that a gradient needs gives y for all targets. So the error of a rule on a cell is measured, not guessed, and
no forward is run only to look.

1. Cover [0, 1] with a few cells, and give all of them to every target.
2. Differentiate each target at the ends and the middle of its cells, once for each. Simpson's rule on a cell, minus
   y(b) − y(a), is the cell's defect.
3. A target is finished when its defects add up to no more than it is allowed; and, as magnitudes, to no more than the
   tolerance leaves of its map, since what cancels in the sum does not cancel there. Or when its nodes are used up.
4. Of the other targets, halve the cells whose defects are not small beside all changes of the score on the way, and
   the worst in any case. Those changes are known early, so that a cell is halved as soon as it is there, in the same
   round for all targets: one forward serves them all. Repeat from 2. The middle of a cell is an end of its halves, so
   every gradient ever taken counts in the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from tokensal.methods.path_integral import PathIntegral

CELLS = 4  # to begin with
FEWEST = 2 * CELLS + 1  # their ends and middles
NARROWEST = 2.0**-24  # a narrower cell is not halved: float32 would see no difference of its ends
SMALL = 1 / 24  # of the tolerance: a cell with a smaller defect is left alone while there are worse ones
SIMPSON = (1 / 6, 4 / 6, 1 / 6)


@dataclass(slots=True, eq=False)
class Node:
    """A point of the path that was looked at.

    Attributes:
        values: (K,) the scores.
        parts: (K, J) the contributions to their slopes, of the targets that were differentiated.
        done: (K,) bool, those targets.
    """

    values: Tensor
    parts: Tensor
    done: Tensor


@dataclass(slots=True, eq=False)
class Cell:
    """A piece [start, stop] of the path, and which targets integrate over it, (K,) bool."""

    start: float
    stop: float
    used: Tensor

    @property
    def width(self) -> float:
        return self.stop - self.start

    @property
    def middle(self) -> float:
        return (self.start + self.stop) / 2

    @property
    def points(self) -> tuple[float, float, float]:
        return self.start, self.middle, self.stop


def integrate(path: PathIntegral, tolerance: float, allowed: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The integral of each target's slope over [0, 1], split up among the units.

    Args:
        path: the path.
        tolerance: how large the defects may be in all, as magnitudes, relative to the magnitudes of the contributions.
        allowed: (K,) how large their sum may be.
        most: the most nodes for any target, at least FEWEST.

    Returns:
        Contributions (K, J) float64, and how many nodes each target used (K,) int64.
    """
    edges = torch.linspace(0, 1, CELLS + 1, dtype=torch.float64).tolist()
    everyone = torch.ones(len(allowed), dtype=torch.bool)
    cells = [Cell(start, stop, everyone) for start, stop in pairwise(edges)]
    nodes: dict[float, Node] = {}
    differentiate(path, cells, nodes)
    while True:
        pieces = torch.stack([integral(cell, nodes) * cell.used[:, None] for cell in cells])  # (C, K, J)
        changes = torch.stack([(nodes[cell.stop].values - nodes[cell.start].values) * cell.used for cell in cells])
        matrix, defects = pieces.sum(0), pieces.sum(2) - changes
        spent = torch.stack([node.done for node in nodes.values()]).sum(0)
        limit = torch.maximum(allowed, tolerance * matrix.abs().sum(1))
        finished = (defects.sum(0).abs() <= allowed) & (defects.abs().sum(0) <= limit)
        small = SMALL * tolerance * changes.abs().sum(0)
        new = halved(cells, worst(defects * ~finished, small, (most - spent) // 2))
        if not new:
            return matrix, spent
        differentiate(path, new, nodes)
        cells = [cell for cell in cells if cell.used.any()] + new


def differentiate(path: PathIntegral, cells: Sequence[Cell], nodes: dict[float, Node]) -> None:
    """Take the gradients that are missing at the points of the cells."""
    nobody = torch.zeros_like(cells[0].used)
    missing: dict[float, Tensor] = {}
    for cell in cells:
        for point in cell.points:
            done = nodes[point].done if point in nodes else nobody
            missing[point] = missing.get(point, nobody) | (cell.used & ~done)
    # points that as many targets want next to each other: they share their backwards
    points = sorted((point for point in missing if missing[point].any()), key=lambda point: int(missing[point].sum()))
    wanted = torch.stack([missing[point] for point in points])
    values, parts = path.slopes(torch.tensor(points, dtype=torch.float64), wanted)
    for point, score, slopes, differentiated in zip(points, values, parts, wanted, strict=True):
        if point in nodes:
            nodes[point].parts += slopes  # zero where not wanted
            nodes[point].done |= differentiated
        else:
            nodes[point] = Node(score, slopes, differentiated)


def integral(cell: Cell, nodes: dict[float, Node]) -> Tensor:
    """Simpson's rule on a cell: (K, J), right for the targets that use it."""
    parts = [weight * nodes[point].parts for weight, point in zip(SIMPSON, cell.points, strict=True)]
    return cell.width * torch.stack(parts).sum(0)


def worst(defects: Tensor, small: Tensor, spare: Tensor) -> Tensor:
    """Which cells to halve for which targets: (C, K) bool.

    Args:
        defects: (C, K) the errors of the rule on the cells, 0 for targets that do not use a cell or are finished.
        small: (K,) those up to this are left alone, unless they are among the worst.
        spare: (K,) how many cells may be halved.
    """
    magnitudes = defects.abs()
    rank = magnitudes.argsort(dim=0, descending=True).argsort(dim=0)
    return (magnitudes > torch.minimum(small, magnitudes.amax(0) / 2)) & (rank < spare)


def halved(cells: Sequence[Cell], splits: Tensor) -> list[Cell]:
    """Take cells from the targets that `splits` (C, K) names, and return the halves they get instead."""
    new = []
    for cell, split in zip(cells, splits, strict=True):
        if split.any() and cell.width > NARROWEST:
            cell.used = cell.used & ~split
            new += [Cell(cell.start, cell.middle, split), Cell(cell.middle, cell.stop, split)]
    return new
