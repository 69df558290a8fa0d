"""Removals: perturbations in which some sources are absent, for every method that takes words away and looks again.

What "absent" means is one of three things:

* a replacement embedding stands where the source stood;
* attention does not look at the source, and the others keep their positions (no replacement);
* the source was never there, and the later ones move up (no replacement, and `closed`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tokensal.types import PerturbedInputs


@dataclass(frozen=True, slots=True, eq=False)
class Removals:
    """R perturbations with sources removed, made a chunk at a time (see `tokensal.types.Alterations`).

    Attributes:
        embeds: (S, D), the example's own.
        absent: (R, S) bool; the rows are ordered by their first absent source.
        replacement: (S, D) what stands in for an absent source, or None.
        closed: absent sources leave no gap.
    """

    embeds: Tensor
    absent: Tensor
    replacement: Tensor | None = None
    closed: bool = False

    def __len__(self) -> int:
        return len(self.absent)

    def __getitem__(self, rows: slice) -> PerturbedInputs:
        first = self.shared(rows.start or 0)
        absent = self.absent[rows, first:].to(self.embeds.device)
        embeds = self.embeds[first:].expand(*absent.shape, -1)
        if self.replacement is None:
            return PerturbedInputs(embeds, ~absent, first, self.closed)
        return PerturbedInputs(torch.where(absent[..., None], self.replacement[first:], embeds), None, first)

    def shared(self, row: int) -> int:
        """The first absent source; or the one before it, which predicts the next token once that one is gone."""
        first = int(self.absent[row].int().argmax())
        return max(first - 1, 0) if self.closed else first
