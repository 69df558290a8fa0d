"""What a perturbation is: an altered copy of the source embeddings, and of which sources attention may see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class PerturbedInputs:
    """R perturbations as tensors, as a model reads them.

    Attributes:
        embeds: (R, S - first, D) of the sources from `first` on.
        keep: (R, S - first) bool, False where attention may not look; None keeps every source.
        first: all sources before this one are the example's own, so that the work on them can be shared.
        closed: sources that are not kept leave no gap: the later ones move up, as if those had never been there.
    """

    embeds: Tensor
    keep: Tensor | None = None
    first: int = 0
    closed: bool = False

    def __len__(self) -> int:
        return self.embeds.shape[0]

    @property
    def altered_from(self) -> Tensor:
        return torch.full((len(self),), self.first)

    def rows(self, index: Tensor, first: int) -> PerturbedInputs:
        rows = index.to(self.embeds.device)
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
        """The perturbations numbered `index` (n,), from a source on that none of them alters any before."""
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
