"""Removals: perturbations in which some sources are absent.

What "absent" means is one of three things:

* a replacement embedding stands where the source stood;
* attention does not look at the source, and the others keep their positions (no replacement);
* the source was never there, and the later ones move up (no replacement, and `closed`).

Whatever it means elsewhere, in the place of an absent slot stands one of its fillers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tokensal.errors import InputError, unknown
from tokensal.perturbations.inputs import PerturbedInputs
from tokensal.transfers import sent

NAMED_TOKENS = ("pad", "eos", "bos", "unk")
TEXT_PREFIX = "text:"  # what follows is tokenized
REPLACEMENTS = ("zero", "mean", "space", *NAMED_TOKENS)


@dataclass(frozen=True, slots=True, eq=False)
class Fillers:
    """What stands in the place of absent slots.

    Attributes:
        embeds: (M, S, D) the example's embeddings with the first filler of each slot in its place, with the second, ….
        tokens: (M, S) bool, where a token of a filler stands. The first places of a slot are empty, and masked, where
            its filler is shorter.
        counts: (S,) int64, how many fillers the slot has that a source is in; 0 outside of slots.
    """

    embeds: Tensor
    tokens: Tensor
    counts: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Removals:
    """R perturbations with sources removed (see `tokensal.perturbations.inputs.Perturbations`).

    Attributes:
        embeds: (S, D), the example's own.
        absent: (R, S) bool.
        replacement: (S, D) what stands in for an absent source, or None.
        closed: absent sources leave no gap.
        fillers: of the slots; a slot is absent as a whole.
        rounds: (R,) int64, the number of the filler in each perturbation; slots with fewer begin again.
    """

    embeds: Tensor
    absent: Tensor
    replacement: Tensor | None = None
    closed: bool = False
    fillers: Fillers | None = None
    rounds: Tensor | None = None

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
        if self.closed:
            return None
        absent = self.absent.to(torch.uint8)
        return absent if self.fillers is None else absent * (1 + self._choice).to(torch.uint8)

    @property
    def _choice(self) -> Tensor:
        """(R, S) the number of the filler that may stand at each source."""
        assert self.fillers is not None and self.rounds is not None
        return self.rounds[:, None] % self.fillers.counts.clamp(min=1)

    def filled(self, index: Tensor) -> Tensor | None:
        """(n, S) bool, where tokens of fillers stand."""
        if self.fillers is None:
            return None
        absent, choice = self.absent[index], self._choice[index]
        return absent & self.fillers.tokens[choice, torch.arange(absent.shape[1])]

    def seen(self, index: Tensor) -> Tensor | None:
        """(n, S) bool, where attention may look; None for everywhere."""
        absent, filled = self.absent[index], self.filled(index)
        if self.fillers is not None and filled is not None:
            empty = absent & (self.fillers.counts > 0) & ~filled
            return ~empty if self.replacement is not None else ~absent | filled
        return ~absent if self.replacement is None else None

    def rows(self, index: Tensor, first: int) -> PerturbedInputs:
        index = index.to(self.absent.device)
        absent, filled, seen = self.absent[index], self.filled(index), self.seen(index)
        embeds = self.embeds.expand(*absent.shape, -1)[:, first:]

        def placed(mask: Tensor, others: Tensor) -> Tensor:
            return torch.where(sent(mask[:, first:, None], embeds.device), others[..., first:, :], embeds)

        if self.replacement is not None:
            embeds = placed(absent, self.replacement)
        if self.fillers is not None and filled is not None:
            choice = sent(self._choice[index], embeds.device)
            places = torch.arange(absent.shape[1], device=embeds.device)
            embeds = placed(filled, self.fillers.embeds[choice, places])
        keep = None if seen is None else seen[:, first:]
        return PerturbedInputs(embeds, keep, first, self.closed)


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
