"""A `Row`: what one target of an attribution comes from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from tokensal.types import Unit
from tokensal.values import read_whole

Scored = tuple[Unit, float]


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """The scores of one target, or of several added up: as many (source, score) pairs as sources have a score.

    Attributes:
        target: what is explained; None for several targets.
        value: its explained score on the unaltered input; of several, their sum.
        sources: the n sources that have a score.
        scores: (n,) float32.
        sink: which of these sources is the sink, or None.
    """

    target: Unit | None
    value: float
    sources: tuple[Unit, ...]
    scores: Tensor
    sink: int | None

    def __len__(self) -> int:
        return len(self.sources)

    def __iter__(self) -> Iterator[Scored]:
        return zip(self.sources, self.scores.tolist(), strict=True)

    def __repr__(self) -> str:
        return f"Row({'all targets' if self.target is None else repr(self.target.text)}, {len(self)} sources)"

    def top(self, k: int = 10, *, sink: bool = False) -> list[Scored]:
        """The k pairs whose scores are largest, as magnitudes, largest first; scores of 0 are left out.

        Args:
            k: how many at most.
            sink: count the sink in.

        Raises:
            InputError: k is no whole number from 0 on.
        """
        k = read_whole("k", k)
        pairs = [pair for index, pair in enumerate(self) if pair[1] and (sink or index != self.sink)]
        return sorted(pairs, key=lambda pair: -abs(pair[1]))[:k]
