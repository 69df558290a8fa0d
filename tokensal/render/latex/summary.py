r"""The tables of a summary, a `tabular` for each, below each other. Rules are those of booktabs, or else plain ones."""

from __future__ import annotations

from collections.abc import Iterator

from tokensal.drawing import Drawing
from tokensal.render.latex.characters import prose, tex
from tokensal.render.latex.evaluation import CAPTION, COLUMN, GAP, LETTER, LINE, RULES
from tokensal.render.layout.summary import Entry, SummaryTable, SummaryTables

SKIP = r"\par\medskip"


def tabular_lines(summary: SummaryTables) -> list[str]:
    """The lines of all tabulars."""
    return [RULES, *(line for table in summary.tables for line in _table(table))]


def page_size(summary: SummaryTables, drawing: Drawing) -> tuple[float, float]:
    """Width and height of a document that holds the tables, in points."""
    scale = drawing.font_size / 9
    height = sum(LINE * (4 + len(table.lines)) for table in summary.tables) + CAPTION
    return max(drawing.points, max(map(_width, summary.tables)) * scale), height * scale + 40


def _width(table: SummaryTable) -> float:
    names = max(len(line.name) for line in table.lines)
    cells = [max(len(f"{line.entries[column].text} {line.entries[column].interval}") for line in table.lines)
             for column in range(len(table.heads))]  # fmt: skip
    heads = [max(len(head), cell) for head, cell in zip(table.heads, cells, strict=True)]
    return LETTER * names + sum(max(COLUMN, LETTER * size + GAP) for size in heads)


def _table(table: SummaryTable) -> Iterator[str]:
    yield rf"\noindent\textit{{{tex(table.title)}}}\par"
    yield rf"\noindent\begin{{tabular}}{{@{{}}l{'r' * len(table.heads)}@{{}}}}"
    yield r"\toprule"
    yield " & ".join(map(tex, (table.kind, *table.heads))) + r" \\"
    yield r"\midrule"
    for line in table.lines:
        yield " & ".join([tex(line.name), *map(_cell, line.entries)]) + r" \\"
    yield r"\bottomrule"
    yield rf"\end{{tabular}}{SKIP}"


def _cell(entry: Entry) -> str:
    return prose(entry.text) + (rf" {{\scriptsize {prose(entry.interval)}}}" if entry.interval else "")
