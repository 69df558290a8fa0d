"""A `Row`: what one target of an attribution comes from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, SupportsIndex

import numpy as np
import torch
from torch import Tensor

from tokensal.drawable import drawable
from tokensal.errors import InputError
from tokensal.results.hints import ROW, missing_attribute
from tokensal.results.result import array_of, render_package
from tokensal.results.selecting import is_single, position_of, role_of
from tokensal.types import Unit
from tokensal.values import described, read_whole

if TYPE_CHECKING:
    from pandas import DataFrame

Scored = tuple[Unit, float]
SHOWN = 3  # sources in a repr


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """The scores of one target, or of several added up: as many (source, score) pairs as sources have a score.

    Iteration gives these pairs, and so does `top`; a subscript gives the score of a source: `row["Rome"]`, where white
    space around does not count, or `row[-1]`, that of the last of these sources.

    Attributes:
        target: what is explained; None for several targets.
        value: its explained score on the unaltered input; of several, their sum.
        sources: the n sources that have a score.
        scores: (n,) float32.
        sink: which of these sources is the sink, or None.
        numbers: for each of these sources, its number in the attribution.
    """

    target: Unit | None
    value: float
    sources: tuple[Unit, ...]
    scores: Tensor
    sink: int | None
    numbers: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.sources)

    def __iter__(self) -> Iterator[Scored]:
        return zip(self.sources, self.scores.tolist(), strict=True)

    def __getitem__(self, source: SupportsIndex | str | Unit) -> float:
        if not is_single(source):
            raise InputError(
                f"A source of a row is {described(source)}, but should be a number or a text; for several, select them "
                "from the attribution: result.select(sources=…)."
            )
        return float(self.scores[position_of(source, self.sources, "source")])

    def __contains__(self, source: object) -> bool:
        return contains(self.sources, source)

    if not TYPE_CHECKING:  # a type checker should go on to know which attributes there are

        def __getattr__(self, name: str) -> NoReturn:
            raise missing_attribute(self, name, ROW)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return array_of(self.scores, dtype, copy)

    @property
    def source_texts(self) -> tuple[str, ...]:
        """(n,) the texts of the sources."""
        return tuple(source.text for source in self.sources)

    @property
    def shares(self) -> Tensor:
        """(n,) float32, each score over the sum of all |scores|; see `Attribution.shares`."""
        return shares_of(self.scores[None], self.sink)[0]

    def by_role(self, *, sink: bool = False) -> dict[str, float]:
        """The sum of the scores for each role that a source has, in the order in which they appear.

        Args:
            sink: count the sink in.
        """
        sums: dict[str, float] = {}
        for index, (source, score) in enumerate(self):
            if sink or index != self.sink:
                sums[role_of(source)] = sums.get(role_of(source), 0.0) + score
        return sums

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

    def to_pandas(self) -> DataFrame:
        """A line for each source: those columns of `Attribution.to_pandas` that are about a source and its score.

        Raises:
            InputError: pandas is not installed.
        """
        frame: DataFrame = render_package().frame_of_row(self)
        return frame

    def __repr__(self) -> str:
        target = "all targets" if self.target is None else repr(self.target.text)
        strongest = "".join(f", {source.text!r} {score:+.3g}" for source, score in self.top(SHOWN))
        return drawable(f"Row({target}, {len(self)} sources{strongest}{', …' if len(self) > SHOWN else ''})")


def contains(units: tuple[Unit, ...], key: object) -> bool:
    """Whether a unit, or one of that text but for white space around, is among some."""
    if isinstance(key, str):
        return any(unit.text == key or unit.text.strip() == key.strip() != "" for unit in units)
    return key in units


def shares_of(scores: Tensor, sink: int | None) -> Tensor:
    """(K, J) each score over the sum of all |scores| of its row, NaN where there is none; 0 where all of them are.

    The sink is no part of the shares of the others; its own is of all of them and itself.
    """
    sizes = scores.double().abs().nan_to_num()
    if sink is not None:
        sizes[:, sink] = 0
    totals = sizes.sum(1, keepdim=True).expand(scores.shape).clone()
    if sink is not None:
        totals[:, sink] += scores[:, sink].double().abs().nan_to_num()
    return torch.where(totals > 0, scores / totals, scores * 0).to(scores.dtype)
