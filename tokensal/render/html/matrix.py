"""The matrix of an HTML page: a row for each target, a column for each source that has a score, on one scale.

Of an encoder–decoder model this is the alignment of the source text with the answer. What the decoder reads stands
behind a gap, and so do the messages of a chat, below the names of who speaks.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokensal.render.html.numbers import aligned, exact
from tokensal.render.html.panels import considered
from tokensal.render.layout import Cell, Heatmap
from tokensal.render.terminal.cells import abridged

CELLS = 6_000  # on one page; each takes about a hundred bytes
HEAD, NAME = 20, 28  # letters above a column, and before a row


@dataclass(frozen=True, slots=True)
class Square:
    """One score: `text` is its number, `title` says of what; `shade` within [-1, 1] is on the scale of the matrix."""

    text: str
    title: str
    shade: float
    clipped: bool


@dataclass(frozen=True, slots=True)
class Column:
    """One source; `begins` says that a passage begins with it."""

    name: str
    whole: str
    sink: bool
    begins: bool


@dataclass(frozen=True, slots=True)
class Line:
    """One target and its scores; None where the target does not see the source."""

    target: int
    name: str
    title: str
    squares: tuple[Square | None, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """A table that is ready to be drawn. `spans` are the passages above the columns: their names and how many.

    `missing` is how many sources have no score and no column. `lines` is empty where the page cannot hold the table.
    """

    spans: tuple[tuple[str, int], ...]
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    size: tuple[int, int]
    low: str
    high: str
    missing: int
    aligned: bool


def matrix(heatmap: Heatmap, cells: int = CELLS) -> Matrix:
    """The matrix of a heatmap; without its lines where these have more than so many cells."""
    scored, limit = heatmap.scored, heatmap.limit
    spans = [
        (passage.name, len([source for source in scored if passage.start <= source < passage.stop]))
        for passage in heatmap.passages
    ]
    number = aligned(limit, heatmap.signed)
    fits = len(scored) * len(heatmap.rows) <= cells
    return Matrix(
        spans=tuple((name, count) for name, count in spans if count),
        columns=tuple(_columns(heatmap)) if fits else (),
        lines=tuple(_line(heatmap, target) for target in range(len(heatmap.targets))) if fits else (),
        size=(len(heatmap.rows), len(scored)),
        low=number(-limit) if limit and heatmap.signed else "0",
        high=number(limit) if limit else "0",
        missing=len(heatmap.sources) - len(scored),
        aligned=heatmap.encoder > 0,
    )


def _columns(heatmap: Heatmap) -> list[Column]:
    starts = {passage.start for passage in heatmap.passages}
    columns, last = [], -1
    for source in heatmap.scored:
        label = heatmap.sources[source]
        begins = last >= 0 and any(last < start <= source for start in starts)
        columns.append(Column(abridged(label.name, HEAD), label.name, label.sink, begins))
        last = source
    return columns


def _line(heatmap: Heatmap, target: int) -> Line:
    label, row = heatmap.targets[target], heatmap.rows[target]
    title = " · ".join(filter(None, (label.name, considered(heatmap, target))))
    squares = tuple(_square(heatmap, row.cells[source], label.name) for source in heatmap.scored)
    return Line(target, abridged(label.name, NAME), title, squares)


def _square(heatmap: Heatmap, cell: Cell, target: str) -> Square | None:
    if cell.value is None:
        return None
    shade = cell.value / heatmap.limit if heatmap.limit else 0.0
    names = f"{abridged(heatmap.sources[cell.source].name, NAME)} → {abridged(target, NAME)}"
    number = exact(cell.value)
    return Square(number, f"{names}: {number}", max(-1.0, min(1.0, shade)), abs(shade) > 1)
