"""Hierarchical occlusion: take passages away, and then, from those that matter, their parts.

1. Take away each passage of the first level (sentences), one at a time, and see how much the score drops.
2. Open the passages with the largest drops, a few for each target. Do the same with their parts: those of the next
   level, and at last the units of the question.
3. A unit that was taken away by itself has its own drop. The others share the drop of the smallest passage with them
   that was taken away, in equal parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar

import torch
from torch import Tensor

from tokensal.errors import InputError, require_known
from tokensal.methods.removal import Game, RemovalMethod
from tokensal.questions.selection import passages_of_units
from tokensal.questions.units import UNITS
from tokensal.types import Diagnostic, Diagnostics
from tokensal.values import read_whole, store

Part = tuple[int, ...]  # the players of a passage, in order


@dataclass(frozen=True, kw_only=True)
class HierarchicalOcclusion(RemovalMethod):
    """Occlusion of passages, and of units within the passages that matter: y(x) − y(x without it). Signed.

    Zeiler, Fergus 2014, arXiv:1311.2901, from coarse to fine. Unit: that of the score. A unit that was taken away by
    itself has its own drop; one in a passage that was not opened has an equal share of the drop of that passage, so
    that the heatmap shows what the passage is worth.

    Cost: one forward for each passage, and one for each unit of the passages that were opened, from its first token on;
    no backward. With one target and n sentences of n words, about (1 + opened) · n instead of n².

    Error: none is measured. The drop of a passage that was opened is not shown; those of its units need not add up to
    it. How many removals there were is among the diagnostics.

    Use: long prompts: it names copied evidence first as often as 'occlusion' does (.95 of forty prompts with facts).
    A unit that matters in a passage that does not, because the rest of it speaks against, is missed.

    Args:
        levels: which passages are taken away, from coarse to fine: any of "message", "line", "sentence", "word".
        opened: how many passages of each level are opened for each target.
    """

    name: ClassVar[str] = "hierarchical_occlusion"
    summary: ClassVar[str] = (
        "how much the score drops without each sentence, and without each token of those that matter (signed)"
    )
    quantity: ClassVar[str] = "drop of {score} without it"
    paper: ClassVar[str] = "after Zeiler, Fergus 2014, arXiv:1311.2901"

    levels: Sequence[str] = ("sentence",)
    opened: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        store(
            self,
            levels=tuple(require_known("level", self.levels, UNITS)),
            opened=read_whole("opened", self.opened, least=1),
        )
        if not self.levels:
            raise InputError("There is no level: name at least one, such as 'sentence', or choose 'occlusion'.")

    def estimate(self, game: Game) -> tuple[Tensor, Diagnostics]:
        players = len(game.players)
        scores = torch.zeros(len(game.full), players, dtype=torch.float64)
        drops: dict[Part, Tensor] = {}
        passages: list[Part] = [tuple(range(players))]
        by_level = [passages_of_units(game.example, level) for level in self.levels]
        for labels in (*([passages[unit] for unit in game.players] for passages in by_level), range(players)):
            parts = [part for passage in passages for part in _split(passage, labels)]
            unknown = [part for part in parts if part not in drops]
            drops.update(zip(unknown, _drops(game, unknown), strict=True))
            for part in parts:
                scores[:, part] = drops[part][:, None] / len(part)
            passages = self._opened(game, parts, drops) if parts else []
        return scores, {"coalitions": Diagnostic(torch.full((len(scores),), len(drops)))}

    def _opened(self, game: Game, parts: Sequence[Part], drops: dict[Part, Tensor]) -> list[Part]:
        """Those with the largest drops of a target, which sees them."""
        sizes = torch.stack([drops[part].abs() * game.visible[:, part].any(1) for part in parts], dim=1)  # (K, n)
        best = sizes.topk(min(self.opened, len(parts)), dim=1)
        numbers = set(best.indices[best.values > 0].tolist())
        return [part for number, part in enumerate(parts) if number in numbers]


def _split(passage: Part, labels: Sequence[int]) -> list[Part]:
    return [tuple(part) for _, part in groupby(passage, lambda player: labels[player])]


def _drops(game: Game, parts: Sequence[Part]) -> list[Tensor]:
    """How much the scores drop without each part: (K,) each."""
    if not parts:
        return []
    present = torch.ones(len(parts), len(game.players), dtype=torch.bool)
    for row, part in zip(present, parts, strict=True):
        row[list(part)] = False
    return list(game.full - game.scores(present))
