"""A comparison as text, for a terminal of any width and any number of colours, and for .txt files.

1. The heading says what is explained.
2. Each method follows with the running text, the scale of that, and its own facts.
3. What else the model considered follows once, where that was asked.
4. The table of rank agreement: methods are numbered, so that its columns stay narrow.
5. The legend gives the meaning of every mark that occurs.
6. The footer says what holds for all methods.
"""

from __future__ import annotations

from tokensal.render.layout import HeatmapComparison
from tokensal.render.layout.labels import cut
from tokensal.render.terminal.colours import Colours, attribute, shading
from tokensal.render.terminal.heatmap import considered
from tokensal.render.terminal.legend import footer, heading, marks, scale, sink_note
from tokensal.render.terminal.lines import Line, Run, apart, fill, plain, words
from tokensal.render.terminal.matrix import Table, dealt, matrix_of
from tokensal.render.terminal.page import HEAD, Page, page_of, target_name
from tokensal.render.terminal.running_text import running_text

COLUMN = 6  # cells of a number in the table, and the space before it


def comparison_lines(
    comparison: HeatmapComparison, colours: Colours, width: int, *, matrix: bool = False
) -> list[Line]:
    """A comparison as lines `width` cells wide; with the matrix of each method where that is asked for."""
    pages = [page_of(heatmap, colours, width) for heatmap in comparison.heatmaps]
    first = pages[0]
    parts = [block for number, page in enumerate(pages) for block in _part(comparison, number, page, matrix)]
    title = heading(comparison.heading, colours, first.width)
    body = apart([title, *parts, _considered(first), _agreement(comparison, first)])
    sign_note = next((page.heatmap.legend.sign_note for page in pages if page.heatmap.signed), "")
    legend = [*first.faint(sign_note), *marks(first, comparison.entries, plain(body))]
    return apart([body, legend, footer(first, comparison.shared, first.heatmap.heading)])


def _part(comparison: HeatmapComparison, number: int, page: Page, matrix: bool) -> list[list[Line]]:
    """What one method says: its name above the text, and below it the scale of its own, and its facts."""
    own = [fact for fact in page.heatmap.heading if fact not in comparison.heading]
    (name, method), *others = own
    title = heading(((name, f"{number + 1} {method}"), *others), page.colours, page.width)
    facts = footer(page, comparison.own[number], page.heatmap.heading)
    notes = [*scale(page), *page.faint(page.heatmap.legend.left_out_note), *sink_note(page), *facts]
    return [[*title, *running_text(page)], matrix_of(page) if matrix else [], notes]


def _considered(page: Page) -> list[Line]:
    """Each target, and what else might have been there."""
    if not page.heatmap.considered:
        return []
    style = attribute(page.colours, "bold")
    targets = range(len(page.heatmap.targets))
    return [
        line
        for target in targets
        for line in ([Run(target_name(page, target, page.width), style)], *considered(page, target))
    ]


def _agreement(comparison: HeatmapComparison, page: Page) -> list[Line]:
    count = len(comparison.names)
    width = max(HEAD, page.width - COLUMN * count)
    table = Table(
        names=[cut(f"{number} {name}", width) for number, name in enumerate(comparison.names, 1)],
        heads=[str(number) for number in range(1, count + 1)],
        rows=[[_number(comparison, page, row, column) for column in range(count)] for row in range(count)],
    )
    title = fill(words("Rank agreement", attribute(page.colours, "bold")), page.width)
    return apart([[*title, *dealt(table, page.colours, page.width)], page.faint(comparison.meaning)])


def _number(comparison: HeatmapComparison, page: Page, row: int, column: int) -> Run:
    shade = 0.0 if row == column else comparison.agreement[row][column] or 0.0
    return Run(comparison.agreement_text(row, column), shading(page.colours, shade))
