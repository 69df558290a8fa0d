"""Rows: the scores of one target, or an aggregation of all, shaded on one scale; and what is said of them.

The limit of a row is its largest |score|, or a percentile of these; what is beyond is drawn at full strength and marked
as clipped. The sink stands apart: it is left out of limits and rankings unless asked for, and may lie beyond, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tokensal.render.layout.legend import Kind
from tokensal.render.layout.numbers import Scale, ordinal

TENTH = 0.1  # of the scale: a line break is drawn, and a score written in a matrix, from here on


@dataclass(frozen=True, slots=True)
class Cell:
    """One score, ready to be shaded.

    `value` is None where there is no score (causality forbids one, or the question or the method leaves the source
    out), and the cell is left blank. `shade` within [-1, 1] is what is drawn; `relative`, which differs where colours
    are in steps, is value / limit within [-1, 1]. `clipped` says that the value lies outside; `apart` that it is the
    sink, left out of the ranking.
    """

    source: int
    value: float | None
    shade: float
    clipped: bool
    apart: bool
    relative: float = 0.0

    @property
    def weak(self) -> bool:
        """Less than a tenth of the scale: too little for a number in its cell."""
        return abs(self.relative) < TENTH


@dataclass(frozen=True, slots=True)
class Title:
    """What a row is about: a sentence that begins with `lead`, goes on with the name of the target, and `detail`.

    `short` is how a list calls an aggregation.
    """

    lead: str
    name: str
    detail: str
    short: str = ""

    @property
    def subject(self) -> str:
        """The sentence without its detail, to go on with after a colon."""
        return f"{self.lead[0].lower()}{self.lead[1:]} {self.name}".strip()


@dataclass(frozen=True, slots=True)
class Row:
    """The scores of one target (`target` None: an aggregation of all) on one colour scale.

    `value` is the explained score of the target itself (an aggregation has none). `full_scale` is what the scale
    would be with the sink counted in. `kinds` are the entries of the legend that this row needs, of those in `OF_ROWS`.
    `sink_note` says what the sink's score is, and what it does to the scale; empty without a sink.
    """

    target: int | None
    value: float | None
    title: Title
    cells: tuple[Cell, ...]
    scale: Scale
    full_scale: Scale
    kinds: tuple[Kind, ...]
    sink_note: str

    @property
    def limit(self) -> float:
        """The |score| drawn at full strength."""
        return self.scale.limit

    def top(self, count: int) -> list[Cell]:
        """The `count` visible cells with the largest |score| that are not zero, largest first, the sink left apart."""
        ranked = [cell for cell in self.cells if cell.value and not cell.apart]
        return sorted(ranked, key=lambda cell: -abs(cell.value or 0))[:count]


@dataclass(frozen=True, slots=True)
class Rows:
    """What the rows of a heatmap have in common.

    `sink` is the sink, and so is `apart`, unless it is counted into limits and rankings. `left_out` says that some
    sources have no score in any row. Scales end at the percentile `clip` of their |scores|, by default at the largest,
    and colours are in so many steps on either side of zero (`bins`), by default continuous.
    """

    signed: bool
    sink: int | None
    apart: int | None
    left_out: bool
    bins: int | None = None
    clip: float | None = None

    def row(
        self,
        scores: Sequence[float | None],
        title: Title,
        target: int | None = None,
        value: float | None = None,
        unit: str = "",
    ) -> Row:
        """One row; a score is None where the target does not see the source."""
        full_scale = self._scale(scores, unit)
        others = [None if source == self.apart else score for source, score in enumerate(scores)]
        scale = self._scale(others, unit)
        scale = scale if scale.limit else full_scale
        cells = tuple(cell(source, score, scale, apart=source == self.apart) for source, score in enumerate(scores))
        return Row(
            target=target,
            value=value,
            title=title,
            cells=cells,
            scale=scale,
            full_scale=full_scale,
            kinds=tuple(self._kinds(cells, target)),
            sink_note=self._sink_note(cells, scale.limit, full_scale),
        )

    def _scale(self, scores: Sequence[float | None], unit: str) -> Scale:
        return scale_of([abs(score) for score in scores if score is not None], self.signed, unit, self.bins, self.clip)

    def _kinds(self, cells: Sequence[Cell], target: int | None) -> Iterator[Kind]:
        if any((cell.value or 0.0) < 0 for cell in cells):
            yield Kind.NEGATIVE
        if any(cell.clipped for cell in cells):
            yield Kind.CLIPPED
        if cells:  # the last target is no source
            yield Kind.UNSEEN if target is None else Kind.BLANK
        if self.left_out:
            yield Kind.LEFT_OUT

    def _sink_note(self, cells: Sequence[Cell], limit: float, full_scale: Scale) -> str:
        if self.sink is None or not cells:
            return ""
        score = cells[self.sink].value
        if score is None:
            return "attention sink, without a score"
        number = full_scale.write(score)
        if self.apart is None:
            return f"attention sink, {number}, counted in"
        end = full_scale.span if self.signed else full_scale.high
        reach = f"; with it, the scale would reach {end}" if full_scale.limit != limit else ""
        return f"attention sink, {number}, left out of scale and ranking{reach}"


def cell(source: int, score: float | None, scale: Scale, *, apart: bool = False) -> Cell:
    """A score on a scale; blank without one."""
    if score is None:
        return Cell(source, None, 0.0, clipped=False, apart=apart)
    relative, clipped = scale.relative(score), scale.is_beyond(score)
    return Cell(source, score, scale.shade(score), clipped, apart, relative)


def scale_of(
    sizes: Sequence[float], signed: bool, unit: str = "", bins: int | None = None, clip: float | None = None
) -> Scale:
    """The scale of scores of these magnitudes: to the largest, or to the percentile `clip` of all.

    The percentile is interpolated linearly. Where it is 0, most scores are, and the scale ends at the largest.
    """
    largest = max(sizes, default=0.0)
    if clip is None or clip == 100 or not largest:
        return Scale(largest, signed, unit, bins=bins)
    limit = _percentile(sorted(sizes), clip)
    if not limit:
        end = f"the largest |score|, since the {ordinal(clip)} percentile is 0"
        return Scale(largest, signed, unit, end, bins)
    return Scale(limit, signed, unit, f"the {ordinal(clip)} percentile of |scores|", bins)


def _percentile(ordered: Sequence[float], percentile: float) -> float:
    place = percentile / 100 * (len(ordered) - 1)
    below = math.floor(place)
    low, high = ordered[below], ordered[min(below + 1, len(ordered) - 1)]
    return low + (high - low) * (place - below)
