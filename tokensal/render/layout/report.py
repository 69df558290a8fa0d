"""A report: one answer, what several methods say that it rests on, and how far to trust that; for any reader.

1. The direct scores of each method become a heatmap; of several, a comparison.
2. The sources that most methods rank high are listed with their rank in each.
3. The credit that the first method gives to the answer's own tokens is traced to what they came from, where there is
   any; else a sentence says why not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokensal.drawing import Drawing
from tokensal.errors import InputError
from tokensal.render.layout.comparison import HeatmapComparison, lay_out_comparison
from tokensal.render.layout.heatmap import DEFAULT, Heatmap, lay_out
from tokensal.results.attribution import DIRECT, Attribution
from tokensal.results.comparison import Comparison
from tokensal.results.reproduction import Recipe, recipe_of
from tokensal.types import Role

STRONG = 5  # sources of a method that a report takes for its strongest
LISTED = 10  # sources in the list of all methods


@dataclass(frozen=True, slots=True)
class Strong:
    """A source that some methods rank among their strongest: its rank in each, from 1; None where it has no score."""

    source: int
    ranks: tuple[int | None, ...]

    @property
    def named(self) -> int:
        """How many methods have it among their `STRONG` strongest."""
        return sum(rank is not None and rank <= STRONG for rank in self.ranks)


@dataclass(frozen=True, slots=True)
class Report:
    """What a report shows.

    `layout` are the heatmaps of all methods, and `heatmaps` the same one by one; `names` are those of the methods.
    `strongest` are the sources that most methods rank high. `traced` is the first method's credit through the answer;
    None where `untraced` says why there is none.
    """

    layout: Heatmap | HeatmapComparison
    heatmaps: tuple[Heatmap, ...]
    names: tuple[str, ...]
    strongest: tuple[Strong, ...]
    traced: Heatmap | None
    untraced: str
    recipe: Recipe

    @property
    def first(self) -> Heatmap:
        """The heatmap of the first method; the tokens are those of all."""
        return self.heatmaps[0]

    @property
    def signed(self) -> bool:
        """Whether some method has a sign."""
        return any(heatmap.signed for heatmap in self.heatmaps)


def lay_out_report(result: Attribution | Comparison, drawing: Drawing = DEFAULT) -> Report:
    """The report on a result, of one method or of several.

    Raises:
        NonFiniteScores: a visible score is NaN or infinite.
    """
    attributions = result.attributions if isinstance(result, Comparison) else (result,)
    direct = [each for each in attributions if each.provenance.credit == DIRECT] or list(attributions)
    layout = lay_out_comparison(Comparison(tuple(direct)), drawing) if len(direct) > 1 else lay_out(direct[0], drawing)
    heatmaps = layout.heatmaps if isinstance(layout, HeatmapComparison) else (layout,)
    traced, untraced = _traced(direct[0])
    shown = direct[0] if len(direct) == 1 else Comparison(tuple(direct))
    return Report(
        layout=layout,
        heatmaps=heatmaps,
        names=tuple(dict(heatmap.heading)["method"] for heatmap in heatmaps),
        strongest=_strongest(heatmaps),
        traced=None if traced is None else lay_out(traced, drawing, credit=True),
        untraced=untraced,
        recipe=recipe_of(shown, "report"),
    )


def _traced(attribution: Attribution) -> tuple[Attribution | None, str]:
    """The credit through the answer, or why there is none."""
    scored = attribution.visible.any(0).tolist()
    pairs = zip(attribution.sources, scored, strict=True)
    if not any(seen and source.role is Role.GENERATED for source, seen in pairs):
        return None, "No part of the answer was credited, so there is nothing to pass on."
    try:
        return attribution.traced(), ""
    except InputError as error:
        return None, str(error)


def _strongest(heatmaps: Sequence[Heatmap]) -> tuple[Strong, ...]:
    """The sources that most methods have among their strongest; of as many, those with the better ranks."""
    orders = [[cell.source for cell in heatmap.overview.top(len(heatmap.sources))] for heatmap in heatmaps]
    places = [{source: rank for rank, source in enumerate(order, 1)} for order in orders]
    candidates = {source for order in orders for source in order[:STRONG]}
    strong = [Strong(source, tuple(ranks.get(source) for ranks in places)) for source in candidates]
    last = 1 + len(heatmaps[0].sources)

    def key(each: Strong) -> tuple[int, int, int]:
        return -each.named, sum(last if rank is None else rank for rank in each.ranks), each.source

    return tuple(sorted(strong, key=key)[:LISTED])
