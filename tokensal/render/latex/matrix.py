r"""The matrix as TeX source: a macro for each cell and a line for each row; TeX measures how wide a cell can be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len

from tokensal.render.latex.characters import prose, tex
from tokensal.render.latex.running_text import percent
from tokensal.render.layout.figure import MatrixFigure
from tokensal.render.layout.labels import shortened
from tokensal.render.layout.matrix import Column
from tokensal.render.layout.passages import TENTH, VISIBLE
from tokensal.render.layout.rows import Cell

NAME = 16  # cells of a label


def matrix_lines(figure: MatrixFigure) -> Iterator[str]:
    """The source lines: heads, labels of columns, and rows."""
    matrix = figure.matrix
    columns = [
        tex(shortened(column.label.name, NAME)) + r"\textdagger{}" * column.label.sink for column in matrix.columns
    ]
    rows = [tex(shortened(target.name, NAME)) for target in figure.targets]
    numbers = [_number(figure, cell) for row in matrix.rows for cell in row]
    gaps = sum(column.begins for column in matrix.columns)
    yield rf"\tokmatrix{{{len(columns)}}}{{{gaps}}}{{{_widest(rows)}}}{{{columns[-1]}}}{{{_widest(numbers)}}}%"
    if any(name for name, _ in matrix.sections):
        yield (
            r"\tokrow{}{"
            + r"\tokbetween".join(rf"\toksection{{{count}}}{{{tex(name)}}}" for name, count in matrix.sections)
            + "}%"
        )
    yield (
        r"\tokrow{}{"
        + "".join(_gap(column) + rf"\tokcolumn{{{name}}}" for column, name in zip(matrix.columns, columns, strict=True))
        + "}%"
    )
    for name, cells in zip(rows, matrix.rows, strict=True):
        yield rf"\tokrow{{{name}}}{{{_cells(figure, cells)}}}%"
    yield r"\def\tokwide{.36em}%"  # of the steps in the legend


def cell_step(shade: float) -> str:
    """A step of the legend: a cell without a number."""
    return _shaded(shade, "")


def _cells(figure: MatrixFigure, cells: Sequence[Cell]) -> str:
    pairs = zip(figure.matrix.columns, cells, strict=True)
    return "".join(_gap(column) + _cell(figure, cell) for column, cell in pairs)


def _gap(column: Column) -> str:
    return r"\tokbetween" if column.begins else ""


def _cell(figure: MatrixFigure, cell: Cell) -> str:
    if cell.value is None:
        return r"\tokabsent"
    if abs(cell.shade) < VISIBLE:
        return r"\tokzero"
    return _shaded(cell.shade, _number(figure, cell))


def _shaded(shade: float, number: str) -> str:
    return rf"\tokcell{'against' if shade < 0 else 'for'}{{{percent(shade)}}}{{{number}}}"


def _number(figure: MatrixFigure, cell: Cell) -> str:
    if not figure.numbered or cell.value is None or abs(cell.shade) < TENTH:
        return ""
    number = figure.matrix.scale.write(cell.value).removeprefix("+")
    return prose(number) + (r"\textdaggerdbl" if cell.clipped else "")


def _widest(sources: Sequence[str]) -> str:
    return max(sources, key=cell_len, default="")
