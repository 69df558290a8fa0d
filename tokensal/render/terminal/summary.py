"""A summary as text, for a terminal of any width, and for .txt files: its tables, each with small bars."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len

from tokensal.render.layout.labels import cut
from tokensal.render.layout.summary import Entry, SummaryTable, SummaryTables
from tokensal.render.terminal import matrix
from tokensal.render.terminal.colours import Colours, attribute
from tokensal.render.terminal.lines import Line, Run, Word, apart, fill, words
from tokensal.render.terminal.page import NARROWEST

NAME = 32  # cells of a row's name at most, where the width has them
BAR = 10  # cells of a full bar
EIGHTHS = " ▏▎▍▌▋▊▉"


def summary_lines(summary: SummaryTables, colours: Colours, width: int) -> list[Line]:
    """A summary as lines `width` cells wide."""
    width = max(width, NARROWEST)
    title = fill([*words(summary.title, attribute(colours, "bold")), *words(f"  {summary.subject}")], width)
    tables = [list(_table(table, colours, width)) for table in summary.tables]
    tables[1:1] = [list(_legend(summary, colours, width))]
    notes = [line for sentence in (*summary.notes, *summary.failures) for line in _faint(sentence, colours, width)]
    facts = "   ".join(f"{name} {text}" for name, text in summary.facts)
    return apart([title, *tables, notes, _faint(facts, colours, width)])


def _legend(summary: SummaryTables, colours: Colours, width: int) -> Iterator[Line]:
    for line in summary.tables[0].lines:
        if not line.detail.endswith("()"):
            yield from fill([Word([Run(line.name)]), *words(f"  {line.detail}", attribute(colours, "dim"))], width)


def _table(table: SummaryTable, colours: Colours, width: int) -> Iterator[Line]:
    names = [cut(line.name, min(NAME, max(8, width // 3))) for line in table.lines]
    room = width - max(map(cell_len, names)) - 1
    columns = [_runs([line.entries[number] for line in table.lines], room) for number in range(len(table.heads))]
    content = matrix.Table(
        names=names,
        heads=[f"  {cut(head, min(NAME, room - 2))}" for head in table.heads],
        rows=[list(row) for row in zip(*columns, strict=True)],
    )
    note = words(f"  {table.note}", attribute(colours, "dim")) if table.note else []
    yield from fill([*words(table.title, attribute(colours, "bold")), *note], width)
    yield from matrix.dealt(content, colours, width)


def _runs(column: Sequence[Entry], room: int) -> list[Run]:
    """Bars, if there is room, numbers and intervals, below each other."""
    number = max(len(entry.text) for entry in column)
    interval = max(len(entry.interval) + bool(entry.interval) for entry in column)
    barred = any(entry.filled is not None for entry in column) and 3 + BAR + number + interval <= room
    return [
        Run(
            f"  {f'{bar(entry.filled or 0)} ' if barred else ''}{entry.text:>{number}}"
            f"{f' {entry.interval}' if entry.interval else '':{interval}}"
        )
        for entry in column
    ]


def bar(filled: float) -> str:
    """A bar of `BAR` cells, of which a part is filled, to an eighth of a cell."""
    eighths = round(8 * BAR * filled)
    return ("█" * (eighths // 8) + EIGHTHS[eighths % 8]).ljust(BAR)[:BAR]


def _faint(text: str, colours: Colours, width: int) -> list[Line]:
    return fill(words(text, attribute(colours, "dim")), width)
