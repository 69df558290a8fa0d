"""What several methods say about the same tokens, before it is drawn: a heatmap each, and how far they agree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tokensal.drawing import Drawing
from tokensal.render.layout.heatmap import DEFAULT, Facts, Heatmap, lay_out
from tokensal.render.layout.legend import Entry, Kind, in_order
from tokensal.render.layout.numbers import MINUS
from tokensal.results.attribution import DIRECT
from tokensal.results.comparison import Comparison
from tokensal.results.reproduction import Recipe, recipe_of


@dataclass(frozen=True, slots=True)
class HeatmapComparison:
    """M heatmaps of the same tokens, and how far the rankings of their methods agree.

    `names` are those of the methods, without their options, and with the credit that they show where some of it is
    traced; `titles` have the options, too. `heading` is what all say in a line. `shared` are the facts of the captions
    that hold for all; `own`, for each, those that do not, beginning with the method. `agreement` (M, M) has two
    decimals, None where it is undefined; `meaning` says what it is. `recipe` says how the comparison is made again.
    """

    heatmaps: tuple[Heatmap, ...]
    names: tuple[str, ...]
    titles: tuple[str, ...]
    heading: Facts
    shared: Facts
    own: tuple[Facts, ...]
    agreement: tuple[tuple[float | None, ...], ...]
    meaning: str
    recipe: Recipe

    @property
    def entries(self) -> tuple[Entry, ...]:
        """One legend for all; what is left out differs by method, and is a note of each."""
        entries = (entry for heatmap in self.heatmaps for entry in heatmap.legend.entries)
        merged = {(entry.kind, entry.sample): entry for entry in entries if entry.kind is not Kind.LEFT_OUT}
        return in_order(merged.values())

    def agreement_text(self, row: int, column: int) -> str:
        """A cell of the table: a method agrees with itself, and some pairs have nothing to be ranked by."""
        value = self.agreement[row][column]
        return "·" if row == column else "none" if value is None else f"{value:.2f}".replace("-", MINUS)


def lay_out_comparison(comparison: Comparison, drawing: Drawing = DEFAULT) -> HeatmapComparison:
    """Turn a comparison into heatmaps and a table.

    Raises:
        NonFiniteScores: a visible score is NaN or infinite.
    """
    credits = [attribution.provenance.credit for attribution in comparison.attributions]
    traced = set(credits) != {DIRECT}
    heatmaps = tuple(lay_out(attribution, drawing, credit=traced) for attribution in comparison.attributions)
    captions = [set(heatmap.caption) for heatmap in heatmaps]
    common = {fact for fact in set.intersection(*captions) if fact[0] != "method"}
    left_out = ", the sink left out" if heatmaps[0].sink is not None and not drawing.sink else ""
    meaning = (
        f"Spearman correlation of how two methods rank the visible sources{left_out}, averaged over the targets: "
        "1 the same order, 0 unrelated, −1 reversed. Magnitudes are ranked, since some methods have no sign."
    )
    return HeatmapComparison(
        heatmaps=heatmaps,
        names=tuple(
            f"{attribution.provenance.method}, {credit}" if traced else attribution.provenance.method
            for attribution, credit in zip(comparison.attributions, credits, strict=True)
        ),
        titles=tuple(_title(dict(heatmap.caption)) for heatmap in heatmaps),
        heading=tuple(fact for fact in heatmaps[0].heading if _is_shared(fact, heatmaps)),
        shared=tuple(fact for fact in heatmaps[0].caption if fact in common),
        own=tuple(tuple(fact for fact in heatmap.caption if fact not in common) for heatmap in heatmaps),
        agreement=tuple(tuple(map(_hundredths, row)) for row in comparison.agreement(sink=drawing.sink).tolist()),
        meaning=meaning,
        recipe=recipe_of(comparison),
    )


def _title(caption: Mapping[str, str]) -> str:
    return " · ".join(caption[name] for name in ("method", "credit") if name in caption)


def _is_shared(fact: tuple[str, str], heatmaps: Sequence[Heatmap]) -> bool:
    """Whether a fact is said of all heatmaps; a method is that of each, even where it is the same."""
    return fact[0] != "method" and all(fact in heatmap.heading for heatmap in heatmaps)


def _hundredths(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 2) + 0.0  # and never -0
