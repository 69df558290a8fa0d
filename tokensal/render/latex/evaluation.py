r"""The tables of an evaluation as one `tabular`: a part for all prompts, and one for each kind.

1. A method takes two lines: its means, and below them their intervals, so that seven metrics fit a page.
2. Rules are those of booktabs; without it, plain ones stand in their place.
3. The best mean of a column is bold, and a star follows it and those that are tied with it.
"""

from __future__ import annotations

from collections.abc import Iterator

from tokensal.drawing import Drawing
from tokensal.render.latex.characters import prose, tex
from tokensal.render.layout.evaluation import Cell, EvaluationTables, Head, Row, Table

RULES = r"\providecommand{\toprule}{\hline}\providecommand{\midrule}{\hline}\providecommand{\bottomrule}{\hline}%"
SECONDS = ("s /", "prompt")
# Points of a document whose text is of 9 points: a letter, the gap between columns, a column of numbers with its gap, a
# line, and the caption. It may be larger than it has to.
LETTER, GAP, COLUMN, LINE, CAPTION = 6.5, 14.0, 62.0, 12.0, 160.0


def table_lines(evaluation: EvaluationTables) -> list[str]:
    """The lines of the tabular."""
    columns = len(evaluation.heads)
    lines = [rf"{RULES}", rf"\begin{{tabular}}{{@{{}}l{'r' * columns}r@{{}}}}", r"\toprule", _heads(evaluation)]
    for table in evaluation.tables:
        lines += [r"\midrule", *_part(table, columns, titled=len(evaluation.tables) > 1)]
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def page_size(evaluation: EvaluationTables, drawing: Drawing) -> tuple[float, float]:
    """Width and height of a document that holds the table, in points."""
    lines = sum(3 + 2 * len(table.rows) for table in evaluation.tables)
    scale = drawing.font_size / 9
    names = max(len(row.name) for row in evaluation.tables[0].rows)
    heads = [max(map(len, _stack(head))) for head in evaluation.heads]
    width = LETTER * names + sum(max(COLUMN, LETTER * head + GAP) for head in heads) + COLUMN
    return max(drawing.points, width * scale), (LINE * lines + CAPTION) * scale + 40


def _heads(evaluation: EvaluationTables) -> str:
    heads = [_stacked(lines) for lines in (*map(_stack, evaluation.heads), list(SECONDS))]
    return " & ".join(["method", *heads]) + r" \\"


def _stack(head: Head) -> list[str]:
    """The name of a metric in lines, broken at its underscores and spaces, and its arrow."""
    *words, last = head.name.replace("_", "_ ").split() or [head.name]
    return [*words, f"{last} {head.arrow}"] if words else [last, head.arrow]


def _stacked(lines: list[str]) -> str:
    return r"\shortstack[r]{\footnotesize " + r"\\\footnotesize ".join(map(prose, lines)) + "}"


def _part(table: Table, columns: int, *, titled: bool) -> Iterator[str]:
    if titled:
        yield rf"\multicolumn{{{columns + 2}}}{{@{{}}l}}{{\textit{{{tex(table.title)}}} ({table.count})}} \\"
    below = False
    for row in table.rows:
        if row.baseline and not below and row is not table.rows[0]:
            yield rf"\noalign{{\vskip.4em}}\multicolumn{{{columns + 2}}}{{@{{}}l}}{{\footnotesize baselines}} \\"
        below = below or row.baseline
        yield from _lines(row)


def _lines(row: Row) -> Iterator[str]:
    yield " & ".join([tex(row.name), *map(_mean, row.cells), prose(row.seconds)]) + r" \\"
    if any(cell.interval for cell in row.cells):
        yield " & ".join(["", *map(_interval, row.cells), ""]) + r" \\"


def _mean(cell: Cell) -> str:
    number = prose(cell.mean)
    return (rf"\textbf{{{number}}}" if cell.best else number) + rf"\rlap{{{cell.mark}}}" * bool(cell.mark)


def _interval(cell: Cell) -> str:
    return rf"{{\scriptsize {prose(cell.interval)}}}" if cell.interval else ""
