"""Coalitions: which of P players are present, drawn at random from a seed or listed, for methods that remove units.

A sampler is pure by number: coalition n is the same whatever others are drawn, in whatever order, on every device.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from tokensal.perturbations.draws import generator

# Players, or groups of players and of further groups: ((0, 1), 2, ((3, 4), 5)). A player is its number, 0 to P - 1.
Hierarchy = tuple["int | Hierarchy", ...]


class Sampler(Protocol):
    """Random coalitions that go together in blocks, such as a coalition and its complement."""

    def block(self, number: int) -> Tensor:
        """The coalitions of the block of that number: (n, P) bool, True where a player is present."""
        ...


def every_coalition(players: int) -> Tensor:
    """All coalitions, from the empty to the full one: (2^P, P) bool; bit p of a row's number: whether p is present."""
    numbers = torch.arange(2**players)
    return (numbers[:, None] >> torch.arange(players)) % 2 == 1


@dataclass(frozen=True, slots=True)
class Independent:
    """Each player is present with the same probability, whatever the others are; one coalition a block.

    Attributes:
        players: P.
        seed: of the draws.
        present: the probability.
    """

    players: int
    seed: int
    present: float = 0.5

    def block(self, number: int) -> Tensor:
        return torch.rand(1, self.players, generator=generator(self.seed, number), dtype=torch.float64) < self.present


@dataclass(frozen=True, slots=True)
class Permutations:
    """The players that come first in a random order, and in that order reversed, in which all of a group follow on.

    A block has 2 (P + 1) coalitions: none, the first player, the first two, …, all; and the same from the end.

    Attributes:
        hierarchy: the groups; (0, 1, …, P - 1) for none, so that all orders are equally likely.
        seed: of the draws.
    """

    hierarchy: Hierarchy
    seed: int

    def block(self, number: int) -> Tensor:
        order = torch.tensor([*_in_random_order(self.hierarchy, generator(self.seed, number))])
        first = order.argsort() < torch.arange(len(order) + 1)[:, None]
        return torch.cat([first, ~first.flip(0)])


def _in_random_order(hierarchy: Hierarchy, random: torch.Generator) -> Iterator[int]:
    for index in torch.randperm(len(hierarchy), generator=random).tolist():
        child = hierarchy[index]
        if isinstance(child, int):
            yield child
        else:
            yield from _in_random_order(child, random)


@dataclass(frozen=True, slots=True)
class KernelPairs:
    """A coalition and its complement. All coalitions of one size are equally likely; sizes are drawn by a weight.

    Attributes:
        sizes: (P + 1,) how likely each size is, up to a factor.
        seed: of the draws.
    """

    sizes: tuple[float, ...]
    seed: int

    def block(self, number: int) -> Tensor:
        random = generator(self.seed, number)
        size = int(torch.tensor(self.sizes).multinomial(1, generator=random))
        present = torch.randperm(len(self.sizes) - 1, generator=random) < size
        return torch.stack([present, ~present])


@dataclass(frozen=True, slots=True)
class UniformSizes:
    """From one to all players are absent, each number as often, and which ones is random; one coalition a block.

    Attributes:
        players: P.
        seed: of the draws.
    """

    players: int
    seed: int

    def block(self, number: int) -> Tensor:
        random = generator(self.seed, number)
        absent = int(torch.randint(1, self.players + 1, (), generator=random))
        order = torch.randperm(self.players, generator=random)
        return (order >= absent)[None]


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of neighbours are present or absent together, and where they begin is random; one coalition a block.

    Each player is present with the same probability, and two of them agree the more often, the nearer they are.

    Attributes:
        players: P.
        window: how many players.
        seed: of the draws.
        present: the probability.
    """

    players: int
    window: int
    seed: int
    present: float = 0.5

    def block(self, number: int) -> Tensor:
        random = generator(self.seed, number)
        shift = int(torch.randint(self.window, (), generator=random))
        count = (shift + self.players - 1) // self.window + 1
        cells = torch.rand(count, generator=random, dtype=torch.float64) < self.present
        return cells.repeat_interleave(self.window)[None, shift : shift + self.players]
