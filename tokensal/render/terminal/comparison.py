"""A comparison as text, for a terminal of any width and any number of colours, and for .txt files.

1. The heading says what holds for all methods.
2. Each method follows with its own facts, the running text, and the scale of that.
3. What else the model considered follows once, where that was asked.
4. The table of rank agreement: methods are numbered, so that its columns stay narrow.
5. The legend gives the meaning of every mark that occurs.
"""

from __future__ import annotations

from typing import IO

from rich.console import Console

from tokensal.render.layout import Heatmaps, lay_out_comparison
from tokensal.render.terminal.captions import heading, left_out_note, marks, scale, sign_note, sink_note
from tokensal.render.terminal.cells import Line, Run, apart, cut, fill, plain, words
from tokensal.render.terminal.colours import Ink, attribute, ink_for, shading
from tokensal.render.terminal.heatmap import considered, print_lines
from tokensal.render.terminal.matrix import Table, dealt
from tokensal.render.terminal.running_text import running_text
from tokensal.render.terminal.sheet import HEAD, Sheet, sheet_of, target_name
from tokensal.results.comparison import Comparison

COLUMN = 6  # cells of a number in the table, and the space before it


def show(
    comparison: Comparison, *, sink: bool = False, file: IO[str] | None = None, console: Console | None = None
) -> None:
    """Print the comparison to `console`, or else to `file`, or else to the standard output.

    Args:
        sink: count the sink token into scales and rankings too.
    """
    console = console or Console(file=file)
    print_lines(console, _page(lay_out_comparison(comparison, sink=sink), ink_for(console), console.width))


def text(comparison: Comparison, *, sink: bool = False, width: int = 100) -> str:
    """The comparison as plain text `width` cells wide."""
    return plain(_page(lay_out_comparison(comparison, sink=sink), Ink(), width))


def _page(drawn: Heatmaps, ink: Ink, width: int) -> list[Line]:
    sheets = [sheet_of(heatmap, ink, width) for heatmap in drawn.heatmaps]
    first = sheets[0]
    parts = [block for number, sheet in enumerate(sheets) for block in _part(drawn, number, sheet)]
    body = apart([heading(drawn.shared, ink, first.width), *parts, _considered(first), _agreement(drawn, first)])
    signed = next((sheet for sheet in sheets if sheet.heatmap.signed), first)
    return apart([body, [*sign_note(signed), *marks(first, plain(body))]])


def _part(drawn: Heatmaps, number: int, sheet: Sheet) -> list[list[Line]]:
    """What one method says: its facts above the text, and below it the scale of its own."""
    (_, method), *facts = drawn.own[number]
    title = heading((("method", f"{number + 1} {method}"), *facts), sheet.ink, sheet.width)
    return [[*title, *running_text(sheet)], [*scale(sheet), *left_out_note(sheet), *sink_note(sheet)]]


def _considered(sheet: Sheet) -> list[Line]:
    """Each target, and what else might have been there."""
    if not sheet.heatmap.considered:
        return []
    style = attribute(sheet.ink, "bold")
    targets = range(len(sheet.heatmap.targets))
    return [
        line
        for target in targets
        for line in ([Run(target_name(sheet, target, sheet.width), style)], *considered(sheet, target))
    ]


def _agreement(drawn: Heatmaps, sheet: Sheet) -> list[Line]:
    room = max(HEAD, sheet.width - COLUMN * len(drawn.names))
    table = Table(
        names=[cut(f"{number} {name}", room) for number, name in enumerate(drawn.names, 1)],
        heads=[str(number) for number in range(1, len(drawn.names) + 1)],
        rows=[
            [_number(sheet, value, row == column) for column, value in enumerate(values)]
            for row, values in enumerate(drawn.agreement)
        ],
    )
    title = fill(words("Rank agreement", attribute(sheet.ink, "bold")), sheet.width)
    meaning = fill(words(drawn.meaning, attribute(sheet.ink, "dim")), sheet.width)
    return apart([[*title, *dealt(table, sheet.ink, sheet.width)], meaning])


def _number(sheet: Sheet, value: float | None, same: bool) -> Run:
    """A method agrees with itself, which is no news; and some pairs have nothing to be ranked by."""
    if same or value is None:
        return Run("·" if same else "none")
    return Run(f"{value:.2f}", shading(sheet.ink, value))
