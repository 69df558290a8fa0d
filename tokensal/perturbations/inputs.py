"""What a perturbation is: an altered copy of the source embeddings, and of which sources attention may see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from tokensal.transfers import sent


@dataclass(frozen=True, slots=True, eq=False)
class PerturbedInputs:
    """R perturbations as tensors, as a model reads them.

    Attributes:
        embeds: (R, S - first, D) of the sources from `first` on.
        keep: (R, S - first) bool, False where attention may not look; None keeps every source.
        first: the source that these begin with. Those before it are the example's own, or those of the states that a
            forward goes on from, so that the work on them is shared.
        closed: sources that are not kept leave no gap: the later ones move up, as if those had never been there.
        skip: sources that are not kept are not run, but for those that predict; the others keep their positions.
        parents: (R,) int64, of states with several rows the one that each perturbation goes on from; None of a single.
    """

    embeds: Tensor
    keep: Tensor | None = None
    first: int = 0
    closed: bool = False
    skip: bool = False
    parents: Tensor | None = None

    def __len__(self) -> int:
        return self.embeds.shape[0]

    @property
    def altered_from(self) -> Tensor:
        return torch.full((len(self),), self.first)

    def rows(self, index: Tensor, first: int) -> PerturbedInputs:
        rows = sent(index, self.embeds.device)
        keep = None if self.keep is None else self.keep[index.to(self.keep.device)]
        return PerturbedInputs(self.embeds[rows], keep, self.first, self.closed)


class Perturbations(Protocol):
    """R perturbations that need not all exist at once.

    A row is pure: it is the same in whatever order, together with whatever others, and how often it is asked for.
    """

    def __len__(self) -> int:
        """R."""
        ...

    @property
    def altered_from(self) -> Tensor:
        """(R,) int64, the first source that each perturbation alters; S where it alters none."""
        ...

    def rows(self, index: Tensor, first: int) -> PerturbedInputs:
        """The perturbations numbered `index` (n,), from a source on that none of them alters any before.

        Of `Patterned` ones, it may also be a source before which these are alike.
        """
        ...


@runtime_checkable
class Patterned(Protocol):
    """Perturbations that say where they are alike, so that the work on what they begin with can be shared."""

    @property
    def pattern(self) -> Tensor | None:
        """(R, S) whole numbers for what is done to each source: 0 for nothing, equal ones for the same; or None."""
        ...

    def seen(self, index: Tensor) -> Tensor | None:
        """(n, S) bool, which sources attention sees in the perturbations numbered `index`; None for all."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Unperturbed:
    """The example itself, as often as asked for.

    Attributes:
        embeds: (S, D), the example's own.
        count: R.
    """

    embeds: Tensor
    count: int = 1

    def __len__(self) -> int:
        return self.count

    @property
    def altered_from(self) -> Tensor:
        return torch.full((self.count,), len(self.embeds))

    def rows(self, index: Tensor, first: int) -> PerturbedInputs:
        return PerturbedInputs(self.embeds[first:].expand(len(index), -1, -1), first=first)
