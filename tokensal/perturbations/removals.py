"""Removals: perturbations in which some sources are absent.

What "absent" means is one of three things:

* a replacement embedding stands where the source stood;
* attention does not look at the source, and the others keep their positions (no replacement);
* the source was never there, and the later ones move up (no replacement, and `closed`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tokensal.perturbations.inputs import PerturbedInputs


@dataclass(frozen=True, slots=True, eq=False)
class Removals:
    """R perturbations with sources removed (see `tokensal.perturbations.inputs.Perturbations`).

    Attributes:
        embeds: (S, D), the example's own.
        absent: (R, S) bool.
        replacement: (S, D) what stands in for an absent source, or None.
        closed: absent sources leave no gap.
    """

    embeds: Tensor
    absent: Tensor
    replacement: Tensor | None = None
    closed: bool = False

    def __len__(self) -> int:
        return len(self.absent)

    @property
    def altered_from(self) -> Tensor:
        """The first absent source; or the one before it, which predicts the next token once that one is gone."""
        first = torch.where(self.absent.any(1), self.absent.int().argmax(1), self.absent.shape[1]).cpu()
        return (first - 1).clamp(min=0) if self.closed else first

    def rows(self, index: Tensor, first: int) -> PerturbedInputs:
        absent = self.absent[index.to(self.absent.device), first:].to(self.embeds.device)
        embeds = self.embeds[first:].expand(*absent.shape, -1)
        if self.replacement is None:
            return PerturbedInputs(embeds, ~absent, first, self.closed)
        return PerturbedInputs(torch.where(absent[..., None], self.replacement[first:], embeds), None, first)
