"""Occlusion: take some tokens away, and see how much the score drops.

1. Divide the sources into units (tokens or words), and slide a window over them.
2. Each window is a variant in which its sources are absent. Variants follow the order of the text, so that the
   engine can share everything before the first absent source.
3. One forward of a variant scores every target; the drop is the score as it is, minus that.
4. A source's score is the mean drop of the windows that cover it. All sources of a window carry the same drop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from tokensal.engine import Engine
from tokensal.errors import InputError, unknown
from tokensal.removals import Removals
from tokensal.segments import Span, tokens, windows, words
from tokensal.types import Example, Scores

UNITS = {"token": tokens, "word": words}
WITHOUT = ("mask", "delete")  # ways to be absent that need no replacement


@dataclass(frozen=True, kw_only=True)
class Occlusion:
    """How much the score drops when a token is taken away: y(x) − y(x without it). Signed, in units of the score.

    Zeiler, Fergus 2014, arXiv:1311.2901; Li, Monroe, Jurafsky 2016, arXiv:1612.08220.

    Args:
        replacement: what "taken away" means. "mask": attention does not look at it, the others keep their
            positions (a token that itself predicts a target still speaks for itself there, though unseen by all
            others). "delete": it was never there, and later tokens move up. Else what stands in its place: "zero",
            "mean" (of all embeddings), "pad", "eos", "bos", "unk", "space", or any text as "text:…".
        unit: "token" or "word".
        window: how many units are taken away together.
        stride: units from the beginning of a window to that of the next; at most the window.
    """

    replacement: str = "mask"
    unit: Literal["token", "word"] = "token"
    window: int = 1
    stride: int = 1
    signed: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise unknown("unit", self.unit, UNITS)
        if not 1 <= self.stride <= self.window:
            raise InputError(
                f"Windows of {self.window} every {self.stride} units leave gaps or do not move: "
                "the stride should be at least 1, and at most the window."
            )

    def __call__(self, example: Example, engine: Engine) -> Scores:
        spans = windows(UNITS[self.unit](example.sources), self.window, self.stride)
        absent = _absent(spans, len(example.sources))
        if self.replacement in WITHOUT and absent[:, : example.predictors[0] + 1].all(1).any():
            raise InputError(
                "Without a whole window, nothing is left that could predict the first target: "
                "use a smaller window, a longer prompt, or a replacement such as 'zero'."
            )
        replacement = None if self.replacement in WITHOUT else engine.reference(example, self.replacement)
        removals = Removals(engine.embed(example), absent, replacement, closed=self.replacement == "delete")
        original = engine.original(example)
        drops = original - engine.scores(example, removals)  # (R, K)
        covered = absent.to(drops)
        return Scores(drops.T @ covered / covered.sum(0), original)


def _absent(spans: list[Span], sources: int) -> Tensor:
    """The sources of each span: (R, S) bool."""
    index = torch.arange(sources)
    starts, stops = (torch.tensor(ends)[:, None] for ends in zip(*spans, strict=True))
    return (starts <= index) & (index < stops)
