"""Occlusion: take some tokens away, and see how much the score drops.

1. Slide a window over the units of the sources (tokens, words, …), past those that are to stay as they are.
2. Each window is a perturbation in which its sources are absent. The engine shares everything
   before the first absent source.
3. One forward of a perturbation scores every target; the drop is the score as it is, minus that.
4. A unit's score is the mean drop of the windows that cover it. All units of a window carry the same drop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tokensal.engine import Engine
from tokensal.errors import InputError
from tokensal.perturbations.protection import check_keep, protected_sources
from tokensal.perturbations.removals import Removals, check_replacement
from tokensal.questions.masks import unit_membership
from tokensal.types import Example, Scores
from tokensal.values import read_whole, store

WITHOUT = ("mask", "delete")  # ways to be absent that need no replacement


@dataclass(frozen=True, kw_only=True)
class Occlusion:
    """How much the score drops when a unit is taken away: y(x) − y(x without it). Signed, in units of the score.

    Zeiler, Fergus 2014, arXiv:1311.2901; Li, Monroe, Jurafsky 2016, arXiv:1612.08220.

    Args:
        replacement: what "taken away" means. "mask": attention does not look at it, the others keep their
            positions (a token that itself predicts a target still speaks for itself there, though unseen by all
            others). "delete": it was never there, and later tokens move up. Else what stands in its place: "zero",
            "mean" (of all embeddings), "pad", "eos", "bos", "unk", "space", or any text as "text:…".
        window: how many units are taken away together.
        stride: units from the beginning of a window to that of the next; at most the window.
        keep: which sources are never taken away, and have no score: any of "sink", "special", "template", "generated".
    """

    name: ClassVar[str] = "occlusion"
    summary: ClassVar[str] = "how much the score drops when each token is taken away (signed)"
    paper: ClassVar[str] = "Zeiler, Fergus 2014, arXiv:1311.2901"
    signed: ClassVar[bool] = True

    replacement: str = "mask"
    window: int = 1
    stride: int = 1
    keep: Sequence[str] = ("special", "template")

    def __post_init__(self) -> None:
        check_replacement("replacement", self.replacement, WITHOUT)
        store(
            self,
            keep=check_keep(self.keep),
            window=read_whole("window", self.window, least=1),
            stride=read_whole("stride", self.stride, least=1),
        )
        if self.stride > self.window:
            raise InputError(
                f"Windows of {self.window} every {self.stride} units leave gaps: choose a stride of at most the window."
            )

    def __call__(self, example: Example, engine: Engine) -> Scores:
        leaving = unit_membership(example) & ~protected_sources(example, self.keep)  # (J, S)
        windows = _windows(leaving.any(1), self.window, self.stride)  # (R, J)
        absent = (windows.float() @ leaving.float()) > 0
        original = engine.original(example)
        drops = original - engine.scores(example, removals(example, engine, absent, self.replacement))  # (R, K)
        covering = windows.to(drops)
        return Scores(drops.T @ covering / covering.sum(0), original, scored=leaving.any(1))


def removals(example: Example, engine: Engine, absent: Tensor, replacement: str) -> Removals:
    """The perturbations (R, S) in which those sources are absent, which means what `Occlusion.replacement` says.

    Raises:
        InputError: an unknown replacement, or nothing is left that could predict the first target.
    """
    if replacement in WITHOUT:
        if absent[:, : example.predictors[0] + 1].all(1).any():
            raise InputError(
                "Where so many units are absent, nothing is left that could predict the first target: "
                "use a smaller window, a longer prompt, or a replacement such as 'zero'."
            )
        return Removals(engine.embed(example), absent, closed=replacement == "delete")
    return Removals(engine.embed(example), absent, engine.baseline(example, replacement))


def _windows(leaving: Tensor, size: int, stride: int) -> Tensor:
    """Which units each window covers: (R, J) bool. Windows slide over those that leave; the last may be shorter."""
    places = leaving.nonzero()[:, 0]
    starts = range(0, len(places), stride)
    table = torch.zeros(len(starts), len(leaving), dtype=torch.bool)
    for row, start in zip(table, starts, strict=True):
        row[places[start : start + size]] = True
    return table
