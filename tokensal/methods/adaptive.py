"""Adaptive quadrature on a line: nodes where the error is, for each target its own.

What makes it cheap: the integral of a slope over a cell [a, b] is known without integrating, as y(b) − y(a), and a
forward serves all targets. So the error of a rule on a cell can be measured, for all targets at once, before any
gradient is taken.

1. Cover [0, 1] with a few cells, and give all of them to every target.
2. Survey each new cell by forwards: y at its ends, and its slope at the nodes of the rule by central differences.
   The rule's integral of the slope, minus y(b) − y(a), is the cell's defect.
3. A target whose defects add up to more than it is allowed (as magnitudes: what cancels in the sum does not cancel
   in the map) has its worst cells halved, until the others are at most half of that. Other targets keep the whole
   cell. Repeat from 2.
4. Differentiate each target at the nodes of its cells, once for each. Their defects are now exact: where they are
   still too large, go on from 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from tokensal.methods.line import Line
from tokensal.quadrature import gauss_legendre

ORDER = 3  # nodes in a cell
CELLS = 4  # to begin with
NARROWEST = 2.0**-24  # a narrower cell is not halved: float32 would see no difference of its ends
REACH = 0.05  # of a cell's width: how far to both sides of a node its slope is measured
NODES, WEIGHTS = gauss_legendre(ORDER)


@dataclass(slots=True, eq=False)
class Cell:
    """A piece [start, stop] of the path.

    Attributes:
        used: (K,) bool, the targets that integrate over it.
        change: (K,) the exact integral of the slope.
        defect: (K,) the error of the rule, as surveyed or, where the target was differentiated, as measured.
        found: (K, S) the contributions of the targets that were differentiated.
        done: (K,) bool, those targets.
    """

    start: float
    stop: float
    used: Tensor
    change: Tensor = field(init=False)
    defect: Tensor = field(init=False)
    found: Tensor | None = None
    done: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.done = torch.zeros_like(self.used)

    @property
    def width(self) -> float:
        return self.stop - self.start

    @property
    def nodes(self) -> Tensor:
        return self.start + self.width * NODES


def integrate(line: Line, allowed: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The integral of each target's slope over [0, 1], split up among the sources.

    Args:
        line: the path.
        allowed: (K,) the error allowed.
        most: the most nodes for any target.

    Returns:
        Contributions (K, S) float64, and how many nodes each target used (K,) int64.
    """
    known: dict[float, Tensor] = {}
    edges = torch.linspace(0, 1, CELLS + 1, dtype=torch.float64).tolist()
    everyone = torch.ones(len(allowed), dtype=torch.bool)
    cells = [Cell(start, stop, everyone.clone()) for start, stop in pairwise(edges)]
    survey(line, cells, known)
    while True:
        while new := halved(cells, allowed, most):
            survey(line, new, known)
            cells += new
        if not differentiate(line, [cell for cell in cells if (cell.used & ~cell.done).any()]):
            return total(cells), ORDER * torch.stack([cell.used for cell in cells]).sum(0)


def survey(line: Line, cells: Sequence[Cell], known: dict[float, Tensor]) -> None:
    """Measure the defects of cells by forwards alone; `known` remembers the scores at their ends."""
    edges = sorted({edge for cell in cells for edge in (cell.start, cell.stop)} - known.keys())
    nodes = torch.stack([cell.nodes for cell in cells])  # (C, ORDER)
    reach = REACH * torch.tensor([cell.width for cell in cells], dtype=torch.float64)[:, None]
    beside = torch.stack([nodes - reach, nodes + reach])
    points = torch.cat([torch.tensor(edges, dtype=torch.float64), beside.flatten()])
    scores = line.scores(points)
    known |= dict(zip(edges, scores[: len(edges)], strict=True))
    before, after = scores[len(edges) :].reshape(*beside.shape, -1)
    slopes = (after - before) / (2 * reach[..., None])  # (C, ORDER, K)
    for cell, slope in zip(cells, slopes, strict=True):
        cell.change = known[cell.stop] - known[cell.start]
        cell.defect = cell.width * (WEIGHTS @ slope) - cell.change


def halved(cells: Sequence[Cell], allowed: Tensor, most: int) -> list[Cell]:
    """Take the worst cells from the targets whose defects are too large, and return the halves they get instead."""
    splits = _worst(cells, allowed, most)
    new = []
    for cell, split in zip(cells, splits, strict=True):
        if split.any():
            cell.used = cell.used & ~split
            middle = (cell.start + cell.stop) / 2
            new += [Cell(cell.start, middle, split.clone()), Cell(middle, cell.stop, split.clone())]
    return new


def _worst(cells: Sequence[Cell], allowed: Tensor, most: int) -> Tensor:
    """Which cells to halve for which targets: (C, K) bool."""
    used = torch.stack([cell.used for cell in cells])
    defects = torch.stack([cell.defect.abs() for cell in cells]) * used
    ranked, order = defects.sort(dim=0, descending=True)
    rest = defects.sum(0) - ranked.cumsum(0) + ranked  # of this cell and all smaller ones
    due = (rest > allowed / 2) & (defects.sum(0) > allowed) & (ORDER * used.sum(0) < most)
    wide = torch.tensor([cell.width > NARROWEST for cell in cells])
    return torch.zeros_like(used).scatter(0, order, due) & used & wide[:, None]


def differentiate(line: Line, cells: Sequence[Cell]) -> bool:
    """Take the gradients that are missing at the nodes of the cells; False where there are none."""
    if not cells:
        return False
    cells = sorted(cells, key=lambda cell: int((cell.used & ~cell.done).sum()))  # alike cells share their backwards
    wanted = torch.stack([cell.used & ~cell.done for cell in cells])
    nodes = torch.stack([cell.nodes for cell in cells])
    pieces = line.contributions(nodes.flatten(), wanted.repeat_interleave(ORDER, dim=0))
    found = torch.cat(list(pieces)).reshape(*nodes.shape, *wanted.shape[1:], -1)  # (C, ORDER, K, S)
    for cell, missing, parts in zip(cells, wanted, found, strict=True):
        integral = cell.width * torch.einsum("n,nks->ks", WEIGHTS, parts)
        cell.found = integral if cell.found is None else torch.where(missing[:, None], integral, cell.found)
        cell.defect = torch.where(missing, integral.sum(1) - cell.change, cell.defect)
        cell.done = cell.done | missing
    return True


def total(cells: Sequence[Cell]) -> Tensor:
    """The contributions of each target over its own cells: (K, S)."""
    parts = [cell.used[:, None] * cell.found for cell in cells if cell.found is not None]
    return torch.stack(parts).sum(0)
