"""The heatmap as text, for a terminal of any width and any number of colours, and for .txt files.

1. The heading says what is shown.
2. The sources follow as running text, each shaded as in the overview. Messages of a chat, what an encoder reads and
   what its decoder reads, and the text of a contrast stand apart, each below its name.
3. Each aggregation of several targets, and each target, has a line: its explained score, and the sources with the
   largest scores, as many as fit, all coloured on one scale; and below it what else the model considered there, where
   that was asked.
4. The matrix, where it is asked for, shows every score on one scale; of an encoder–decoder model it is the alignment,
   and is there wherever it fits.
5. The legend gives the numbers of the scales, and the meaning of every mark that occurs.
6. The footer says where the numbers came from, and how exact they are.

Where there is no colour, signs and sizes are written out: `Paris[+9]` stands for nine tenths of the scale.
"""

from __future__ import annotations

from collections.abc import Sequence

from tokensal.render.layout.labels import cut
from tokensal.render.layout.legend import SINK
from tokensal.render.layout.rows import Cell, Row, cell
from tokensal.render.terminal.colours import attribute, bar_style
from tokensal.render.terminal.legend import footer, heading, legend
from tokensal.render.terminal.lines import Line, Run, apart, beside, fill, on_the_point, plain, size, words
from tokensal.render.terminal.page import HEAD, NAME, Page, source_name, target_name, token_style
from tokensal.render.terminal.running_text import running_text

EIGHTHS = " ▏▎▍▌▋▊▉"
INDENT = "  "

BAR = 4  # cells of a full bar
GAP = 3  # cells between the columns of a list
MOST = 32  # sources listed for one target, however wide the terminal
ROOMY = 100  # cells from which on the score of the sink for each target has a column
STACKED = 3  # sources listed for one target where they stand below it

Ranked = tuple[Cell, str, float]  # a cell, its score as it is written, and the shade of its name


def heatmap_lines(page: Page, matrix: list[Line]) -> list[Line]:
    """A heatmap as lines, with the lines of its matrix, if there are any."""
    heatmap = page.heatmap
    title = heading(heatmap.heading, page.colours, page.width)
    body = apart([title, running_text(page), _targets(page), matrix])
    return apart([body, legend(page, plain(body)), footer(page, heatmap.caption, heatmap.heading)])


# --- a line for each target --------------------------------------------------------------------------------------


def _listed(page: Page) -> tuple[Row, ...]:
    """The rows of the table: the aggregations, where there are several targets, and the targets."""
    heatmap = page.heatmap
    return (*heatmap.overviews, *heatmap.rows) if len(heatmap.overviews) > 1 else heatmap.rows


def _top(page: Page, row: Row) -> list[Ranked]:
    """The largest sources of a row. Equal colours are equal scores, in all rows but that of shares."""
    scale = row.scale if row.scale.unit else page.heatmap.scale
    return [(each, row.scale.write(each.value), cell(each.source, each.value, scale).shade) for each in row.top(MOST)]


def _targets(page: Page) -> list[Line]:
    """The targets and their largest sources as a table, with as many columns of sources as fit the width."""
    heatmap = page.heatmap
    tops = [_top(page, row) for row in _listed(page)]
    columns = [
        _headed(page, "why" if heatmap.contrasted else heatmap.noun, _names(page, NAME * (1 + heatmap.contrasted))),
        _headed(page, cut(heatmap.score, HEAD), _values(page)),
    ]
    if heatmap.sink_apart and page.width >= ROOMY:
        columns.append(_headed(page, "sink" + SINK, _sink_scores(page)))
    fixed = len(columns)
    for rank in range(max(map(len, tops), default=0)):
        entries = _entries(page, [top[rank] if rank < len(top) else None for top in tops], NAME)
        wider = [*columns, _headed(page, "" if rank else "top sources", entries)]
        if _widest(beside(wider, GAP)) > page.width:
            break
        columns = wider
    table = beside(columns, GAP)
    missing = any(tops) and len(columns) == fixed
    if missing or _widest(table) > page.width:
        return _stacked(page, tops)
    head, *lines = table
    pairs = zip(_listed(page), lines, strict=True)
    return [head, *(line for row, first in pairs for line in [first, *considered(page, row.target)])]


def considered(page: Page, target: int | None) -> list[Line]:
    """What the model held likely in the place of a target, where that was asked."""
    if target is None or not page.heatmap.considered:
        return []
    options = "  ".join(f"{name} {share}" for name, share in page.heatmap.considered[target])
    lines = fill(words(f"considered  {options}", attribute(page.colours, "dim")), page.width - len(INDENT))
    return [[Run(INDENT), *line] for line in lines]


def _widest(lines: list[Line]) -> int:
    return max(map(size, lines), default=0)


def _headed(page: Page, head: str, column: list[Line]) -> list[Line]:
    return [[Run(head, attribute(page.colours, "dim"))] if head else [], *column]


def _stacked(page: Page, tops: list[list[Ranked]]) -> list[Line]:
    """For narrow terminals: each target on a line of its own, and its sources below it."""
    tops = [top[:STACKED] for top in tops]
    listed = [ranked for top in tops for ranked in top]
    numbers_and_bars = _widest(_entries(page, listed, 0))
    entries = iter(_entries(page, listed, max(page.width - numbers_and_bars - len(INDENT), 1)))
    values = _values(page)
    names = _names(page, page.width - _widest(values) - 1)
    lines: list[Line] = []
    for row, line, top in zip(_listed(page), beside([names, values], 1), tops, strict=True):
        lines += [line, *([Run(INDENT), *next(entries)] for _ in top), *considered(page, row.target)]
    return lines


def _names(page: Page, width: int) -> list[Line]:
    style = attribute(page.colours, "bold")
    return [
        [Run(cut(row.title.short, width)) if row.target is None else Run(target_name(page, row.target, width), style)]
        for row in _listed(page)
    ]


def _values(page: Page) -> list[Line]:
    scale = page.heatmap.value_scale
    return [[Run(number)] for number in on_the_point([scale.write(row.value) for row in _listed(page)])]


def _sink_scores(page: Page) -> list[Line]:
    style = attribute(page.colours, "dim")
    scores = [row.full_scale.write(row.cells[page.heatmap.sink or 0].value) for row in _listed(page)]
    return [[Run(number, style)] for number in on_the_point(scores)]


def _entries(page: Page, ranked: Sequence[Ranked | None], width: int) -> list[Line]:
    """Name, number and bar of each cell, in three columns; names are cut to `width`."""
    names = [[_name(page, entry, width)] if entry else [] for entry in ranked]
    numbers = on_the_point([entry[1] if entry else "" for entry in ranked])
    bars = [[_bar(page, entry[0])] if entry else [] for entry in ranked]
    return beside([names, [[Run(number)] for number in numbers], bars], 1)


def _name(page: Page, ranked: Ranked, width: int) -> Run:
    source, shade = ranked[0].source, ranked[2]
    return Run(source_name(page, source, width), token_style(page, page.heatmap.sources[source], shade))


def _bar(page: Page, cell: Cell) -> Run:
    """A bar of blocks for what speaks for the target, and of a thin line for what speaks against."""
    against = page.heatmap.signed and cell.relative < 0
    if against:
        halves = max(1, round(abs(cell.relative) * BAR * 2))
        bar = "━" * (halves // 2) + "╸" * (halves % 2)
    else:
        eighths = max(1, round(cell.relative * BAR * 8))
        bar = ("█" * (eighths // 8) + EIGHTHS[eighths % 8]).rstrip()
    return Run(bar, bar_style(page.colours, against))
