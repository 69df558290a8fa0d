"""Tables that are dealt out to panels where the page is too narrow, and the matrix: every score on one scale."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len

from tokensal.render.cells import Line, Run, apart, beside, cut, fill, isolated, words
from tokensal.render.colours import Ink, attribute, shading
from tokensal.render.layout import Cell
from tokensal.render.sheet import (
    HEAD,
    Sheet,
    bracketed,
    clip_mark,
    letters_underlined,
    score_name,
    source_name,
    span,
    written,
)


@dataclass(frozen=True, slots=True)
class Table:
    """A table to be: names of the rows, heads of the columns, and a run for each cell."""

    names: list[str]
    heads: list[str]
    rows: list[Line]
    title: str = ""


def matrix_of(sheet: Sheet, panels: int | None = None) -> list[Line]:
    """Every score on one scale, the way round that takes fewer panels; nothing where that is more than `panels`."""
    heatmap = sheet.heatmap
    if panels and 2 * min(len(heatmap.targets), len(heatmap.sources)) > panels * sheet.width:
        return []  # for a large one there is no need to measure
    targets = [isolated(cut(bracketed(label, label.name), HEAD)) for label in heatmap.targets]
    sources = [source_name(sheet, source, HEAD) for source in range(len(heatmap.sources))]
    limit = heatmap.limit
    rows = [[_matrix_cell(sheet, cell, limit) for cell in row.cells] for row in heatmap.rows]
    turned = [list(column) for column in zip(*rows, strict=True)]
    across = Table(targets, sources, rows, "a row for each target, a column for each source")
    down = Table(sources, targets, turned, "a row for each source, a column for each target")
    table = min(across, down, key=lambda table: len(_panels(table, sheet.width)))
    if panels is not None and len(_panels(table, sheet.width)) > panels:
        return []
    title = f"{score_name(sheet)}: {table.title}; one scale, {span(limit, heatmap.signed)}"
    return [*fill(words(title, attribute(sheet.ink, "dim")), sheet.width), [], *dealt(table, sheet.ink, sheet.width)]


def dealt(table: Table, ink: Ink, width: int) -> list[Line]:
    """A table as lines, in as many panels as the width asks for."""
    return apart(_panel(table, part, ink) for part in _panels(table, width))


def _matrix_cell(sheet: Sheet, cell: Cell, limit: float) -> Run:
    if not cell.value or not limit:
        return Run(written(cell.value, False))
    shade = max(-1.0, min(1.0, cell.value / limit))
    number = written(cell.value, sheet.heatmap.signed, like=limit)
    return Run(clip_mark(shade, abs(cell.value) > limit) + number, shading(sheet.ink, shade))


def _panels(table: Table, width: int) -> list[list[tuple[int, int]]]:
    """The columns (index, cells) dealt out to panels, each as wide as the page allows."""
    first = max(map(cell_len, table.names), default=0)
    panels: list[list[tuple[int, int]]] = []
    room = 0
    for index, head in enumerate(table.heads):
        cells = 1 + max(cell_len(head), *(len(row[index].text) for row in table.rows))
        if not panels or cells > room:
            panels.append([])
            room = width - first
        panels[-1].append((index, cells))
        room -= cells
    return panels


def _panel(table: Table, part: list[tuple[int, int]], ink: Ink) -> list[Line]:
    style = attribute(ink, "dim")
    names: list[Line] = [[], *([Run(name)] for name in table.names)]
    columns = [names]
    for index, cells in part:
        head = Run(" " * (cells - cell_len(table.heads[index])) + table.heads[index], style)
        column = [row[index] for row in table.rows]
        drawn = [letters_underlined(run.text.rjust(cells), run.style) if run.text else [] for run in column]
        columns.append([[head], *drawn])
    return beside(columns, 0)
