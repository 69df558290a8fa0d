"""Removals: perturbations in which some sources are absent.

What "absent" means is one of three things:

* a replacement embedding stands where the source stood;
* attention does not look at the source, and the others keep their positions (no replacement);
* the source was never there, and the later ones move up (no replacement, and `closed`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tokensal.errors import InputError, unknown
from tokensal.perturbations.inputs import PerturbedInputs

NAMED_TOKENS = ("pad", "eos", "bos", "unk")
TEXT_PREFIX = "text:"  # what follows is tokenized
REPLACEMENTS = ("zero", "mean", "space", *NAMED_TOKENS)


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

    @property
    def pattern(self) -> Tensor | None:
        """None where gaps are closed: what is as long as something else need not be after it."""
        return None if self.closed else self.absent.to(torch.uint8)

    def rows(self, index: Tensor, first: int) -> PerturbedInputs:
        absent = self.absent[index.to(self.absent.device), first:].to(self.embeds.device)
        embeds = self.embeds[first:].expand(*absent.shape, -1)
        if self.replacement is None:
            return PerturbedInputs(embeds, ~absent, first, self.closed)
        return PerturbedInputs(torch.where(absent[..., None], self.replacement[first:], embeds), None, first)


def check_replacement(kind: str, value: object, others: Sequence[str] = ()) -> None:
    """Refuse what cannot stand in the place of an absent source: neither a known name, nor a text, nor embeddings.

    Args:
        kind: what it is called.
        value: the name, "text:…", or embeddings (D,) or (S, D).
        others: further names that are known.

    Raises:
        InputError: an unknown name (the nearest one is offered), or embeddings that are not finite numbers.
    """
    if isinstance(value, torch.Tensor):
        if not value.is_floating_point() or value.ndim not in (1, 2) or not value.isfinite().all():
            raise InputError(
                f"The embeddings of the {kind} should be finite numbers (D,) or (S, D), but are {value.dtype} of the "
                f"shape {tuple(value.shape)}{', some not finite' if value.is_floating_point() else ''}."
            )
    elif value not in (*REPLACEMENTS, *others) and not (isinstance(value, str) and value.startswith(TEXT_PREFIX)):
        raise unknown(kind, value, [*others, *REPLACEMENTS, f"{TEXT_PREFIX}…"])
