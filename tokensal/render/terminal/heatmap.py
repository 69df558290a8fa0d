"""The heatmap as text, for a terminal of any width and any number of colours, and for .txt files.

1. The heading says what was computed.
2. The sources follow as running text, each shaded by its score summed over the targets. Messages of a chat, what an
   encoder reads and what its decoder reads, and the text of a contrast stand apart, each below its name.
3. Each target has a line: its explained score, and the sources with the largest scores, as many as fit; and below it
   what else the model considered there, where that was asked.
4. The matrix, where it is asked for, shows every score on one scale; of an encoder–decoder model it is the alignment,
   and is there wherever it fits.
5. The legend gives the numbers of the scales, and the meaning of every mark that occurs.

Where there is no colour, signs and sizes are written out: `Paris[+9]` stands for nine tenths of the scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO

from rich.console import Console
from rich.segment import Segment, Segments

from tokensal.render import layout
from tokensal.render.layout import Cell
from tokensal.render.terminal.captions import heading, legend
from tokensal.render.terminal.cells import Line, Run, apart, beside, fill, on_the_point, plain, size, words
from tokensal.render.terminal.colours import Ink, attribute, bar_style, ink_for
from tokensal.render.terminal.matrix import matrix_of
from tokensal.render.terminal.running_text import running_text
from tokensal.render.terminal.sheet import (
    NAME,
    SINK,
    Sheet,
    score_name,
    sheet_of,
    sink_apart,
    source_name,
    target_name,
    token_style,
    written,
)
from tokensal.results.attribution import Attribution

EIGHTHS = " ▏▎▍▌▋▊▉"
INDENT = "  "

BAR = 4  # cells of a full bar
GAP = 3  # cells between the columns of a list
MOST = 32  # sources listed for one target, however wide the terminal
ROOMY = 100  # cells from which on the score of the sink for each target has a column
STACKED = 3  # sources listed for one target where they stand below it


def show(
    attribution: Attribution,
    *,
    matrix: bool = False,
    sink: bool = False,
    file: IO[str] | None = None,
    console: Console | None = None,
) -> None:
    """Print the heatmap to `console`, or else to `file`, or else to the standard output.

    Args:
        matrix: the full table of sources and targets as well, in as many panels as it takes.
        sink: count the sink token into scales and rankings too.
    """
    console = console or Console(file=file)
    sheet = sheet_of(layout.lay_out(attribution, sink=sink), ink_for(console), console.width)
    aligned = matrix_of(sheet, panels=1) if sheet.heatmap.encoder and not matrix else []
    print_lines(console, _page(sheet, matrix_of(sheet) if matrix else aligned))


def text(attribution: Attribution, *, sink: bool = False, width: int = 100) -> str:
    """The heatmap as plain text `width` cells wide; with the full matrix where the width holds it."""
    sheet = sheet_of(layout.lay_out(attribution, sink=sink), Ink(), width)
    return plain(_page(sheet, matrix_of(sheet, panels=1)))


def print_lines(console: Console, lines: list[Line]) -> None:
    """Print lines as they are: neither wrapped nor cropped."""
    segments = [Segment(run.text, run.style) for line in lines for run in [*line, Run("\n")]]
    if not console.encoding.startswith("utf"):  # better a question mark than a crash
        segments = [Segment(_encodable(text, console.encoding), style) for text, style, _ in segments]
    console.print(Segments(segments), crop=False, end="")


def _encodable(text: str, encoding: str) -> str:
    return text.encode(encoding, "replace").decode(encoding)


def _page(sheet: Sheet, matrix: list[Line]) -> list[Line]:
    title = heading(sheet.heatmap.caption, sheet.ink, sheet.width)
    body = apart([title, running_text(sheet), _targets(sheet), matrix])
    return apart([body, legend(sheet, plain(body))])


# --- a line for each target --------------------------------------------------------------------------------------


def _targets(sheet: Sheet) -> list[Line]:
    """The targets and their largest sources as a table, with as many columns of sources as fit the width."""
    tops = [row.top(MOST) for row in sheet.heatmap.rows]
    columns = [
        _headed(sheet, sheet.heatmap.noun, _target_names(sheet, NAME)),
        _headed(sheet, score_name(sheet), _values(sheet)),
    ]
    if sink_apart(sheet) is not None and sheet.width >= ROOMY:
        columns.append(_headed(sheet, "sink" + SINK, _sink_scores(sheet)))
    fixed = len(columns)
    for rank in range(max(map(len, tops), default=0)):
        entries = _entries(sheet, [top[rank] if rank < len(top) else None for top in tops], NAME)
        wider = [*columns, _headed(sheet, "" if rank else "top sources", entries)]
        if _widest(beside(wider, GAP)) > sheet.width:
            break
        columns = wider
    table = beside(columns, GAP)
    missing = any(tops) and len(columns) == fixed
    if missing or _widest(table) > sheet.width:
        return _stacked(sheet, tops)
    head, *lines = table
    return [head, *(row for target, line in enumerate(lines) for row in [line, *considered(sheet, target)])]


def considered(sheet: Sheet, target: int) -> list[Line]:
    """What the model held likely in the place of a target, where that was asked."""
    if not sheet.heatmap.considered:
        return []
    said = "  ".join(f"{name} {share}" for name, share in sheet.heatmap.considered[target])
    lines = fill(words(f"considered  {said}", attribute(sheet.ink, "dim")), sheet.width - len(INDENT))
    return [[Run(INDENT), *line] for line in lines]


def _widest(lines: list[Line]) -> int:
    return max(map(size, lines), default=0)


def _headed(sheet: Sheet, head: str, column: list[Line]) -> list[Line]:
    return [[Run(head, attribute(sheet.ink, "dim"))] if head else [], *column]


def _stacked(sheet: Sheet, tops: list[list[Cell]]) -> list[Line]:
    """For narrow terminals: each target on a line of its own, and its sources below it."""
    tops = [top[:STACKED] for top in tops]
    listed = [cell for top in tops for cell in top]
    numbers_and_bars = _widest(_entries(sheet, listed, 0))
    entries = iter(_entries(sheet, listed, max(sheet.width - numbers_and_bars - len(INDENT), 1)))
    values = _values(sheet)
    names = _target_names(sheet, sheet.width - _widest(values) - 1)
    lines: list[Line] = []
    for target, (line, top) in enumerate(zip(beside([names, values], 1), tops, strict=True)):
        lines += [line, *([Run(INDENT), *next(entries)] for _ in top), *considered(sheet, target)]
    return lines


def _target_names(sheet: Sheet, width: int) -> list[Line]:
    style = attribute(sheet.ink, "bold")
    return [[Run(target_name(sheet, target, width), style)] for target in range(len(sheet.heatmap.targets))]


def _values(sheet: Sheet) -> list[Line]:
    return [[Run(number)] for number in on_the_point([written(row.value, False) for row in sheet.heatmap.rows])]


def _sink_scores(sheet: Sheet) -> list[Line]:
    sink, style = sink_apart(sheet), attribute(sheet.ink, "dim")
    scores = [written(row.cells[sink.source].value, sheet.heatmap.signed) for row in sheet.heatmap.rows if sink]
    return [[Run(number, style)] for number in on_the_point(scores)]


def _entries(sheet: Sheet, cells: Sequence[Cell | None], width: int) -> list[Line]:
    """Name, number and bar of each cell, in three columns; names are cut to `width`."""
    signed = sheet.heatmap.signed
    names = [[_chip(sheet, cell, width)] if cell else [] for cell in cells]
    numbers = on_the_point([written(cell.value, signed) if cell else "" for cell in cells])
    bars = [[_bar(sheet, cell)] if cell else [] for cell in cells]
    return beside([names, [[Run(number)] for number in numbers], bars], 1)


def _chip(sheet: Sheet, cell: Cell, width: int) -> Run:
    label = sheet.heatmap.sources[cell.source]
    return Run(source_name(sheet, cell.source, width), token_style(sheet, label, cell.shade))


def _bar(sheet: Sheet, cell: Cell) -> Run:
    """A bar of blocks for what speaks for the target, and of a thin line for what speaks against."""
    against = sheet.heatmap.signed and cell.shade < 0
    if against:
        halves = max(1, round(abs(cell.shade) * BAR * 2))
        bar = "━" * (halves // 2) + "╸" * (halves % 2)
    else:
        eighths = max(1, round(cell.shade * BAR * 8))
        bar = ("█" * (eighths // 8) + EIGHTHS[eighths % 8]).rstrip()
    return Run(bar, bar_style(sheet.ink, against))
