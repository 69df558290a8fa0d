"""The matrix of an HTML page: a table that is ready to be drawn, with names that are cut to fit."""

from __future__ import annotations

from dataclasses import dataclass

from tokensal.render.html.panels import considered
from tokensal.render.layout import Cell, Heatmap, Matrix, lay_out_matrix
from tokensal.render.layout.labels import shortened
from tokensal.render.layout.numbers import exact

HEAD, NAME = 20, 28  # letters above a column, and before a row


@dataclass(frozen=True, slots=True)
class Square:
    """One score: `text` is its number, `title` says of what."""

    text: str
    title: str
    cell: Cell


@dataclass(frozen=True, slots=True)
class Line:
    """One target and its scores; None where the target does not see the source."""

    target: int
    name: str
    title: str
    squares: tuple[Square | None, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """The matrix and its lines; `lines` is empty where the page cannot hold them. `heads` are above the columns."""

    matrix: Matrix
    heads: tuple[str, ...]
    lines: tuple[Line, ...]


def table(heatmap: Heatmap, cells: int) -> Table:
    """The matrix of a heatmap; without its lines where these have more than so many cells."""
    matrix = lay_out_matrix(heatmap)
    heads = tuple(shortened(column.label.name, HEAD) + column.label.ordinal for column in matrix.columns)
    fits = len(matrix.columns) * len(matrix.rows) <= cells
    lines = tuple(_line(heatmap, matrix, target) for target in range(len(matrix.rows))) if fits else ()
    return Table(matrix, heads, lines)


def _line(heatmap: Heatmap, matrix: Matrix, target: int) -> Line:
    label = heatmap.targets[target]
    title = " · ".join(filter(None, (label.name, considered(heatmap, target))))
    squares = tuple(_square(heatmap, cell, label.name) for cell in matrix.rows[target])
    return Line(target, shortened(label.name, NAME), title, squares)


def _square(heatmap: Heatmap, cell: Cell, target: str) -> Square | None:
    if cell.value is None:
        return None
    source, number = heatmap.sources[cell.source], exact(cell.value)
    return Square(number, f"{shortened(source.name, NAME)}{source.ordinal} → {shortened(target, NAME)}: {number}", cell)
