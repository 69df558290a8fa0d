r"""The matrix as TeX source: a macro for each cell and a line for each row; TeX measures how wide a cell can be."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.cells import cell_len

from tokensal.render.latex.characters import prose, tex
from tokensal.render.latex.running_text import percent
from tokensal.render.layout.figure import MatrixFigure
from tokensal.render.layout.labels import shortened
from tokensal.render.layout.matrix import Column
from tokensal.render.layout.passages import VISIBLE
from tokensal.render.layout.rows import Cell

NAME = 16  # cells of a label
BESIDE, PITCH = 45.0, 7.5  # points: what stands beside the columns, and how wide the narrowest with a label are


def matrix_lines(figure: MatrixFigure, width: float) -> Iterator[str]:
    """The source lines: heads, labels of columns, and rows; in bands, one below the other, where labels would collide.

    `width` is that of the figure in points: TeX knows the real one, but only when all is written.
    """
    columns = figure.matrix.columns
    bands = math.ceil(len(columns) / max(1, int((width - BESIDE) / PITCH)))
    size = math.ceil(len(columns) / bands)
    rows = [tex(shortened(target.name, NAME)) for target in figure.targets]
    numbers = [_number(figure, cell) for row in figure.matrix.rows for cell in row]
    last = _label(columns[size - 1])
    gaps = sum(column.begins for column in columns)
    yield rf"\tokmatrix{{{size}}}{{{gaps}}}{{{_widest(rows)}}}{{{last}}}{{{_widest(numbers)}}}%"
    for start in range(0, len(columns), size):
        yield from [r"\vskip.6em%"] if start else []
        yield from _band(figure, rows, slice(start, start + size))
    yield r"\def\tokwide{.36em}%"  # of the steps in the legend


def _band(figure: MatrixFigure, rows: Sequence[str], part: slice) -> Iterator[str]:
    """Some columns that stand beside one another, with the names of their sections above them."""
    columns = figure.matrix.columns[part]
    sections = [section for section in enumerate(figure.matrix.sections) for _ in range(section[1][1])][part]
    if any(name for _, (name, _) in sections):
        groups = [(name, len(list(group))) for (_, (name, _)), group in groupby(sections)]
        heads = r"\tokbetween".join(rf"\toksection{{{count}}}{{{tex(name)}}}" for name, count in groups)
        yield rf"\tokrow{{}}{{{heads}}}%"
    labels = [_gap(columns, index) + rf"\tokcolumn{{{_label(column)}}}" for index, column in enumerate(columns)]
    yield rf"\tokrow{{}}{{{''.join(labels)}}}%"
    for name, row in zip(rows, figure.matrix.rows, strict=True):
        cells = [_gap(columns, index) + _cell(figure, cell) for index, cell in enumerate(row[part])]
        yield rf"\tokrow{{{name}}}{{{''.join(cells)}}}%"


def _label(column: Column) -> str:
    return tex(shortened(column.label.name, NAME)) + r"\textdagger{}" * column.label.sink


def cell_step(shade: float) -> str:
    """A step of the legend: a cell without a number."""
    return _shaded(shade, "")


def _gap(columns: Sequence[Column], index: int) -> str:
    return r"\tokbetween" if index and columns[index].begins else ""


def _cell(figure: MatrixFigure, cell: Cell) -> str:
    if cell.value is None:
        return r"\tokabsent"
    if abs(cell.shade) < VISIBLE:
        return r"\tokzero"
    return _shaded(cell.shade, _number(figure, cell))


def _shaded(shade: float, number: str) -> str:
    return rf"\tokcell{'against' if shade < 0 else 'for'}{{{percent(shade)}}}{{{number}}}"


def _number(figure: MatrixFigure, cell: Cell) -> str:
    if not figure.numbered or cell.value is None or cell.weak:
        return ""
    number = figure.matrix.scale.write(cell.value).removeprefix("+")
    return prose(number) + (r"\textdaggerdbl" if cell.clipped else "")


def _widest(sources: Sequence[str]) -> str:
    return max(sources, key=cell_len, default="")
