"""Several methods asked about the same tokens: a `Comparison` is data, and says how far their rankings agree."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike

import torch
from torch import Tensor

from tokensal.errors import InputError
from tokensal.results.attribution import Attribution

FEWEST = 3  # sources that make a ranking; two can only agree or disagree


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """What M methods say about one example: the same sources, the same targets, scores on a scale of each method's own.

    Attributes:
        attributions: M ≥ 2 of them, in the order asked for.

    Raises:
        InputError: fewer than two attributions, or some that are not about the same tokens.
    """

    attributions: tuple[Attribution, ...]

    def __post_init__(self) -> None:
        if len(self.attributions) < 2:
            raise InputError(f"A comparison needs at least two attributions, but got {len(self.attributions)}.")
        first, *others = self.attributions
        for other in others:
            if not _same_tokens(first, other):
                raise InputError(
                    f"A comparison needs attributions of the same tokens, but those of {other.provenance.method_repr} "
                    f"are not those of {first.provenance.method_repr}: explain one text, as `tokensal.compare` does."
                )

    def agreement(self, *, sink: bool = False) -> Tensor:
        """How alike the methods rank the sources: (M, M) float64, Spearman's rank correlation, from -1 to 1.

        For each target, each method ranks the sources that all methods score by |score|; equal ones share the average
        of their ranks. The correlation of the ranks is averaged over the targets. Magnitudes, because some methods have
        no sign: a source that one of them calls important may speak for the target or against it.

        Targets with fewer than 3 sources to rank, or to which a method gives one and the same |score| everywhere, say
        nothing about a pair of methods and are skipped; NaN where none is left.

        Args:
            sink: rank the sink token too; it is first in most rankings, and makes them look alike.

        Source: Spearman, "The Proof and Measurement of Association between Two Things", 1904.
        """
        first = self.attributions[0]
        ranked = torch.stack([attribution.visible for attribution in self.attributions]).all(0)
        if first.sink is not None and not sink:
            ranked[:, first.sink] = False
        sizes = torch.stack([attribution.scores.abs() for attribution in self.attributions])
        tables = [_spearman(sizes[:, target, seen]) for target, seen in enumerate(ranked) if seen.sum() >= FEWEST]
        none = torch.full((len(sizes), len(sizes)), torch.nan, dtype=torch.float64)
        return torch.stack([none, *tables]).nanmean(0)

    def show(self, *, sink: bool = False) -> None:
        """Print the heatmaps and the table of agreement to the terminal.

        Args:
            sink: count the sink token into scales and rankings too.
        """
        from tokensal.render.terminal import comparison as terminal_comparison

        terminal_comparison.show(self, sink=sink)

    def save(self, path: str | PathLike[str], *, sink: bool = False) -> None:
        """Write the comparison to `path`; the suffix chooses the format (.html, .json or .txt), as for `Attribution`.

        Raises:
            OutputError: unknown suffix, or a place that cannot be written.
        """
        from tokensal.render import save

        save(self, path, sink=sink)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Comparison:
        """Read what `save("….json")` wrote.

        Raises:
            FormatError: a missing or damaged file, or a schema version this tokensal does not know.
        """
        from tokensal.render import load_comparison

        return load_comparison(path)

    def _repr_html_(self) -> str:
        from tokensal.render.html import comparison as html_comparison

        return html_comparison.notebook(self)

    def __repr__(self) -> str:
        first = self.attributions[0]
        methods = ", ".join(attribution.provenance.method_repr for attribution in self.attributions)
        return f"Comparison({methods}: {len(first.targets)} targets × {len(first.sources)} sources)"


def _same_tokens(one: Attribution, other: Attribution) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in ("text", "sources", "targets", "sink"))


def _spearman(sizes: Tensor) -> Tensor:
    """(M, M) from (M, n): the correlation of the ranks, NaN where all of them are equal."""
    return torch.corrcoef(torch.stack([_ranks(row) for row in sizes]))


def _ranks(sizes: Tensor) -> Tensor:
    """The rank of each number, from 1 for the smallest; equal numbers share the average of theirs."""
    place: Tensor
    counts: Tensor
    _, place, counts = sizes.unique(return_inverse=True, return_counts=True)  # type: ignore[no-untyped-call]
    return (counts.cumsum(0) - (counts - 1).double() / 2)[place]
