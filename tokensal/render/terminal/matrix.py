"""Tables that are dealt out to panels where the page is too narrow, and the matrix: every score on one scale."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len

from tokensal.render.layout import lay_out_matrix
from tokensal.render.layout.legend import CLIPPED
from tokensal.render.layout.matrix import Matrix
from tokensal.render.layout.rows import Cell
from tokensal.render.terminal.colours import Colours, attribute, shading
from tokensal.render.terminal.lines import Line, Run, apart, beside
from tokensal.render.terminal.page import HEAD, Page, letters_underlined, source_name, target_name

BAR = "│"


@dataclass(frozen=True, slots=True)
class Table:
    """What a table holds: names of the rows, heads of the columns, and a run for each cell.

    Before the columns in `barred` stands a bar, and before the rows in `gapped` an empty line: what is on both sides
    is of different kinds.
    """

    names: list[str]
    heads: list[str]
    rows: list[Line]
    barred: tuple[int, ...] = ()
    gapped: tuple[int, ...] = ()


def matrix_of(page: Page, panels: int | None = None) -> list[Line]:
    """Every score on one scale, the way round that takes fewer panels; nothing where that is more than `panels`."""
    heatmap = page.heatmap
    if panels and 2 * min(len(heatmap.targets), len(heatmap.scored)) > panels * page.width:
        return []  # for a large one there is no need to measure
    matrix = lay_out_matrix(heatmap)
    targets = [target_name(page, target, HEAD) for target in range(len(heatmap.targets))]
    sources = [source_name(page, column.source, HEAD) for column in matrix.columns]
    rows = [[_cell(page, matrix, cell) for cell in row] for row in matrix.rows]
    edges = tuple(index for index, column in enumerate(matrix.columns) if column.begins)
    upright = Table(targets, sources, rows, barred=edges)
    turned = Table(sources, targets, [list(column) for column in zip(*rows, strict=True)], gapped=edges)
    table = min(upright, turned, key=lambda table: len(_panels(table, page.width)))
    if panels is not None and len(_panels(table, page.width)) > panels:
        return []
    return [*page.faint(matrix.note(turned=table is turned)), [], *dealt(table, page.colours, page.width)]


def dealt(table: Table, colours: Colours, width: int) -> list[Line]:
    """A table as lines, in as many panels as the width asks for."""
    return apart(_panel(table, part, colours) for part in _panels(table, width))


def _cell(page: Page, matrix: Matrix, cell: Cell) -> Run:
    number = matrix.scale.write(cell.value)
    return Run((CLIPPED if cell.clipped else "") + number, shading(page.colours, cell.shade))


def _panels(table: Table, width: int) -> list[list[tuple[int, int]]]:
    """The columns (index, cells) dealt out to panels, each as wide as the page allows."""
    first = max(map(cell_len, table.names), default=0)
    panels: list[list[tuple[int, int]]] = []
    left = 0
    for index, head in enumerate(table.heads):
        cells = 1 + max([cell_len(head), *(len(row[index].text) for row in table.rows)])
        needed = cells + (len(f" {BAR}") if index in table.barred else 0)
        if not panels or needed > left:
            panels.append([])
            left = width - first
        panels[-1].append((index, cells))
        left -= needed
    return panels


def _panel(table: Table, part: list[tuple[int, int]], colours: Colours) -> list[Line]:
    style = attribute(colours, "dim")
    names: list[Line] = [[], *([Run(name)] for name in table.names)]
    columns = [names]
    for index, cells in part:
        head = Run(" " * (cells - cell_len(table.heads[index])) + table.heads[index], style)
        column = [row[index] for row in table.rows]
        runs = [letters_underlined(run.text.rjust(cells), run.style) if run.text else [] for run in column]
        if index in table.barred:
            columns.append([[Run(f" {BAR}", style)] for _ in names])
        columns.append([[head], *runs])
    lines = beside(columns, 0)
    for row in reversed(table.gapped):
        lines.insert(1 + row, [])
    return lines
