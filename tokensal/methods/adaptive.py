"""Adaptive quadrature on a line: nodes where the error is, for each target its own.

What makes it cheap: the integral of a slope over a cell [a, b] is known without integrating, as y(b) − y(a), and the
forward that a gradient needs gives y for all targets. So the error of a rule on a cell is measured, not guessed, and
no forward is run only to look.

1. Cover [0, 1] with a few cells, and give all of them to every target.
2. Differentiate each target at the ends and the middle of its cells, once for each. Simpson's rule on a cell, minus
   y(b) − y(a), is the cell's defect.
3. A target is finished when its defects, added up as magnitudes, are within what it is allowed: what cancels in the
   sum does not cancel in the map. Or when it has used up its nodes.
4. Of the other targets, halve the worst cells, until those left alone are well within that. The middle of a cell is
   an end of its halves, so every gradient ever taken counts in the result. Repeat from 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from tokensal.methods.line import Line

CELLS = 4  # to begin with
FEWEST = 2 * CELLS + 1  # their ends and middles
NARROWEST = 2.0**-24  # a narrower cell is not halved: float32 would see no difference of its ends
LEFT = 0.75  # of what is allowed: for the cells left alone; the rest of it is for the new halves
SIMPSON = (1 / 6, 4 / 6, 1 / 6)


@dataclass(slots=True, eq=False)
class Node:
    """A point of the path that was looked at.

    Attributes:
        values: (K,) the scores.
        parts: (K, S) the contributions to their slopes, of the targets that were differentiated.
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


def integrate(line: Line, allowed: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The integral of each target's slope over [0, 1], split up among the sources.

    Args:
        line: the path.
        allowed: (K,) the error allowed.
        most: the most nodes for any target, at least FEWEST.

    Returns:
        Contributions (K, S) float64, and how many nodes each target used (K,) int64.
    """
    edges = torch.linspace(0, 1, CELLS + 1, dtype=torch.float64).tolist()
    everyone = torch.ones(len(allowed), dtype=torch.bool)
    cells = [Cell(start, stop, everyone) for start, stop in pairwise(edges)]
    nodes: dict[float, Node] = {}
    differentiate(line, cells, nodes)
    while new := halved(cells, nodes, allowed, most):
        differentiate(line, new, nodes)
        cells = [cell for cell in cells if cell.used.any()] + new
    matrix = torch.stack([integral(cell, nodes) * cell.used[:, None] for cell in cells]).sum(0)
    return matrix, torch.stack([node.done for node in nodes.values()]).sum(0)


def differentiate(line: Line, cells: Sequence[Cell], nodes: dict[float, Node]) -> None:
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
    values, parts = line.slopes(torch.tensor(points, dtype=torch.float64), wanted)
    for point, *found in zip(points, values, parts, wanted, strict=True):
        if point in nodes:
            nodes[point].parts += found[1]  # zero where not wanted
            nodes[point].done |= found[2]
        else:
            nodes[point] = Node(*found)


def integral(cell: Cell, nodes: dict[float, Node]) -> Tensor:
    """Simpson's rule on a cell: (K, S), right for the targets that use it."""
    parts = [weight * nodes[point].parts for weight, point in zip(SIMPSON, cell.points, strict=True)]
    return cell.width * torch.stack(parts).sum(0)


def halved(cells: Sequence[Cell], nodes: dict[float, Node], allowed: Tensor, most: int) -> list[Cell]:
    """Take the worst cells from the targets that are not finished, and return the halves they get instead."""
    defects = torch.stack([defect(cell, nodes) * cell.used for cell in cells])
    splits = worst(defects, allowed) & torch.stack([cell.used & (cell.width > NARROWEST) for cell in cells])
    used = torch.stack([node.done for node in nodes.values()]).sum(0)
    splits &= splits.cumsum(0) * 2 + used <= most
    new = []
    for cell, split in zip(cells, splits, strict=True):
        if split.any():
            cell.used = cell.used & ~split
            new += [Cell(cell.start, cell.middle, split), Cell(cell.middle, cell.stop, split)]
    return new


def defect(cell: Cell, nodes: dict[float, Node]) -> Tensor:
    """The error of the rule on a cell: (K,), right for the targets that use it."""
    return integral(cell, nodes).sum(1) - (nodes[cell.stop].values - nodes[cell.start].values)


def worst(defects: Tensor, allowed: Tensor) -> Tensor:
    """Which cells to halve for which targets: (C, K) bool, from the defects (C, K)."""
    ranked, order = defects.abs().sort(dim=0, descending=True)
    rest = ranked.flip(0).cumsum(0).flip(0)  # of this cell and all smaller ones
    due = (rest > LEFT * allowed) & (rest[0] > allowed)
    return torch.zeros_like(due).scatter(0, order, due)
