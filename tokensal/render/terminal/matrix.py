"""Tables that are dealt out to panels where the page is too narrow, and the matrix: every score on one scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.cells import cell_len

from tokensal.render.layout import Cell
from tokensal.render.terminal.cells import Line, Run, apart, beside, fill, words
from tokensal.render.terminal.colours import Ink, attribute, shading
from tokensal.render.terminal.sheet import (
    HEAD,
    Sheet,
    clip_mark,
    letters_underlined,
    score_name,
    source_name,
    span,
    target_name,
    written,
)

BAR = "│"


@dataclass(frozen=True, slots=True)
class Table:
    """A table to be: names of the rows, heads of the columns, and a run for each cell.

    Before the columns in `barred` stands a bar, and before the rows in `gapped` an empty line: what is on both sides
    is of different kinds.
    """

    names: list[str]
    heads: list[str]
    rows: list[Line]
    title: str = ""
    barred: tuple[int, ...] = ()
    gapped: tuple[int, ...] = ()


def matrix_of(sheet: Sheet, panels: int | None = None) -> list[Line]:
    """Every score on one scale, the way round that takes fewer panels; nothing where that is more than `panels`."""
    heatmap = sheet.heatmap
    scored = heatmap.scored
    if panels and 2 * min(len(heatmap.targets), len(scored)) > panels * sheet.width:
        return []  # for a large one there is no need to measure
    targets = [target_name(sheet, target, HEAD) for target in range(len(heatmap.targets))]
    sources = [source_name(sheet, source, HEAD) for source in scored]
    limit = heatmap.limit
    rows = [[_matrix_cell(sheet, row.cells[source], limit) for source in scored] for row in heatmap.rows]
    turned = [list(column) for column in zip(*rows, strict=True)]
    edges = tuple(_edges(sheet))
    across = Table(targets, sources, rows, "a row for each target, a column for each source", barred=edges)
    down = Table(sources, targets, turned, "a row for each source, a column for each target", gapped=edges)
    table = min(across, down, key=lambda table: len(_panels(table, sheet.width)))
    if panels is not None and len(_panels(table, sheet.width)) > panels:
        return []
    title = f"{score_name(sheet)}: {table.title}; one scale, {span(limit, heatmap.signed)}{_blanks(sheet)}"
    return [*fill(words(title, attribute(sheet.ink, "dim")), sheet.width), [], *dealt(table, sheet.ink, sheet.width)]


def _edges(sheet: Sheet) -> Iterator[int]:
    """Where, among the sources with a score, another text begins: what the decoder reads, or what was not written."""
    for passage in sheet.heatmap.passages:
        edge = sum(source < passage.start for source in sheet.heatmap.scored)
        if not passage.message and 0 < edge < len(sheet.heatmap.scored):
            yield edge


def _blanks(sheet: Sheet) -> str:
    """What an empty cell means, where there is one."""
    rows, scored = sheet.heatmap.rows, sheet.heatmap.scored
    return (
        "; blank: not visible to it"
        if any(row.cells[source].value is None for row in rows for source in scored)
        else ""
    )


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
        taken = cells + (len(f" {BAR}") if index in table.barred else 0)
        if not panels or taken > room:
            panels.append([])
            room = width - first
        panels[-1].append((index, cells))
        room -= taken
    return panels


def _panel(table: Table, part: list[tuple[int, int]], ink: Ink) -> list[Line]:
    style = attribute(ink, "dim")
    names: list[Line] = [[], *([Run(name)] for name in table.names)]
    columns = [names]
    for index, cells in part:
        head = Run(" " * (cells - cell_len(table.heads[index])) + table.heads[index], style)
        column = [row[index] for row in table.rows]
        drawn = [letters_underlined(run.text.rjust(cells), run.style) if run.text else [] for run in column]
        if index in table.barred:
            columns.append([[Run(f" {BAR}", style)] for _ in names])
        columns.append([[head], *drawn])
    lines = beside(columns, 0)
    for row in reversed(table.gapped):
        lines.insert(1 + row, [])
    return lines
