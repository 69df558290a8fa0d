"""The matrix: every score on one scale, a row for each target, and a column for each source that has a score.

Of an encoder–decoder model this is the alignment of the source text with the answer.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokensal.render.layout.heatmap import Heatmap
from tokensal.render.layout.labels import Label
from tokensal.render.layout.numbers import Scale
from tokensal.render.layout.rows import Cell, cell, scale_of


@dataclass(frozen=True, slots=True)
class Column:
    """One source; `begins` says that a section begins with it, and that it is not the first column."""

    source: int
    label: Label
    begins: bool


@dataclass(frozen=True, slots=True)
class Matrix:
    """A table that is ready to be drawn.

    `rows` hold a cell for each column, shaded on the scale of the matrix. `sections` are the names above the columns,
    and how many columns each has. `left_out` sources have no score and no column.
    """

    name: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    sections: tuple[tuple[str, int], ...]
    scale: Scale
    score: str
    left_out: int

    def note(self, *, turned: bool = False) -> str:
        """What the table shows, for a format that draws it as it is or `turned`, with a row for each source."""
        down, across = ("source", "target") if turned else ("target", "source")
        scale = f"one scale, {self.scale.span_and_end}"
        parts = [f"{self.score}: a row for each {down}, a column for each {across}", scale]
        if any(each.value is None for row in self.rows for each in row):
            parts.append("blank: not visible to it")
        if self.left_out:
            have = "source without a score has" if self.left_out == 1 else "sources without a score have"
            parts.append(f"{self.left_out} {have} no {'row' if turned else 'column'}")
        return "; ".join(parts)


def lay_out_matrix(heatmap: Heatmap) -> Matrix:
    """The matrix of a heatmap: K × the number of sources with a score."""
    scored, scale = heatmap.scored, _scale(heatmap)
    counts = [
        (section.name, sum(section.start <= source < section.stop for source in scored)) for section in heatmap.sections
    ]
    return Matrix(
        name=matrix_name(heatmap),
        columns=_columns(heatmap),
        rows=tuple(tuple(_cell(row.cells[source], scale) for source in scored) for row in heatmap.rows),
        sections=tuple((name, count) for name, count in counts if count),
        scale=scale,
        score=heatmap.score,
        left_out=len(heatmap.sources) - len(scored),
    )


def matrix_name(heatmap: Heatmap) -> str:
    """What the matrix of a heatmap is called."""
    return "alignment matrix" if heatmap.encoder else "matrix"


def _scale(heatmap: Heatmap) -> Scale:
    """One scale for all rows: to the largest of their limits, or to the percentile of all scores, the sink apart."""
    limit = max((row.limit for row in heatmap.rows), default=0.0)
    values = [each.value for row in heatmap.rows for each in row.cells if not each.apart]
    sizes = [abs(value) for value in values if value is not None]
    if heatmap.clip is None or not any(sizes):
        return Scale(limit, heatmap.signed, bins=heatmap.bins)
    return scale_of(sizes, heatmap.signed, bins=heatmap.bins, clip=heatmap.clip)


def _cell(of_row: Cell, scale: Scale) -> Cell:
    return cell(of_row.source, of_row.value, scale, apart=of_row.apart)


def _columns(heatmap: Heatmap) -> tuple[Column, ...]:
    starts = {section.start for section in heatmap.sections}
    columns, last = [], -1
    for source in heatmap.scored:
        begins = last >= 0 and any(last < start <= source for start in starts)
        columns.append(Column(source, heatmap.sources[source], begins))
        last = source
    return tuple(columns)
