"""What a question says of an example, as tensors: which targets are explained as one, and which sources credited.

group_weights       how the targets add up to what is explained
attention_mask      which sources each source attends to
visible_sources     which sources each group sees
predictor_mask      which sources predict it
unit_membership     which sources belong together
visible_units       which units have a score for it
pool_to_units       scores of sources, added up to those of their units
source_places       where in the text that the model reads each source stands
predictor_places    where in a forward each target is predicted
"""

from __future__ import annotations

import torch
from torch import Tensor

from tokensal.transfers import sent
from tokensal.types import Example


def group_weights(example: Example) -> Tensor:
    """The weight of each target in the sum that each group is explained as: (K, G), 1 for it, -1 against it."""
    table = torch.zeros(len(example.groups), len(example.targets), dtype=torch.float32)
    for row, group in zip(table, example.groups, strict=True):
        row[list(group.targets)] = 1
        row[list(group.against)] = -1
    return table


def attention_mask(example: Example, rows: Tensor | None = None) -> Tensor:
    """Which sources each source attends to: (S, S) bool, rows attend to columns. Or of some rows alone, (r, S)."""
    index = torch.arange(len(example.sources))
    rows = index if rows is None else rows
    table = (index <= rows[:, None]) | (index < example.encoder)
    if example.branch is not None:
        own = slice(example.predictors[0] + 1, example.branch.source)  # of the first continuation
        table[:, own] &= (rows < example.branch.source)[:, None]
    return table


def visible_sources(example: Example) -> Tensor:
    """Which sources each group sees, because one of its targets does: (K, S) bool."""
    return (group_weights(example).abs() @ _seen_by_targets(example).float()) > 0


def _seen_by_targets(example: Example) -> Tensor:
    """(G, S) bool."""
    return attention_mask(example, torch.tensor(example.predictors))


def predictor_mask(example: Example) -> Tensor:
    """Which sources predict a target of each group: (K, S) bool."""
    rows = torch.nn.functional.one_hot(torch.tensor(example.predictors), len(example.sources))
    return (group_weights(example).abs() @ rows.float()) > 0


def unit_membership(example: Example) -> Tensor:
    """Which sources are in each unit: (J, S) bool."""
    index = torch.arange(len(example.sources))
    edges = torch.tensor(example.units)
    return (edges[:, :1] <= index) & (index < edges[:, 1:])


def visible_units(example: Example) -> Tensor:
    """Which units have a score for each group: (K, J) bool. One of their sources is seen, and they are credited."""
    seen = (visible_sources(example).float() @ unit_membership(example).float().T) > 0
    return seen & torch.tensor(example.credited)


def pool_to_units(matrix: Tensor, example: Example) -> Tensor:
    """Scores of sources (K, S), added up to those of their units (K, J), over what each group sees."""
    if len(example.units) == len(example.sources):
        return matrix
    visible = torch.where(sent(visible_sources(example), matrix.device), matrix, 0)
    return visible @ sent(unit_membership(example), visible).T


def first_credited(example: Example) -> int:
    """The first source that belongs to a credited unit: nothing before it need be on a graph."""
    return next(start for (start, _), credited in zip(example.units, example.credited, strict=True) if credited)


def branch_sources(example: Example) -> list[Tensor]:
    """The sources that each continuation reads: one tensor of indices, or two where the example branches."""
    if example.branch is None:
        return [torch.arange(len(example.sources))]
    trunk, branch, end = example.predictors[0] + 1, example.branch.source, len(example.sources)
    return [torch.arange(branch), torch.cat([torch.arange(trunk), torch.arange(branch, end)])]


def source_places(example: Example) -> Tensor:
    """(S,) the place of each source in its continuation; the encoder's sources come before those of the decoder."""
    places = torch.empty(len(example.sources), dtype=torch.int64)
    for axis in branch_sources(example):
        places[axis] = torch.arange(len(axis))
    return places


def predictor_places(example: Example) -> list[tuple[int, int]]:
    """For each target, the continuation that it is in, and which of what the decoder reads there predicts it."""
    axes, first = branch_sources(example), len(example.targets) if example.branch is None else example.branch.target
    branches = [int(target >= first) for target in range(len(example.targets))]
    rows = [
        int((axes[branch] == source).nonzero()) for branch, source in zip(branches, example.predictors, strict=True)
    ]
    return [(branch, row - example.encoder) for branch, row in zip(branches, rows, strict=True)]
