r"""Results as LaTeX: a fragment to `\input` into a figure, or a whole document; for pdflatex, xelatex and lualatex."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from tokensal.drawing import Drawing
from tokensal.render.latex import summary as summaries
from tokensal.render.latex.characters import comment, portable
from tokensal.render.latex.evaluation import page_size, table_lines
from tokensal.render.latex.macros import preamble
from tokensal.render.latex.matrix import cell_step, matrix_lines
from tokensal.render.latex.running_text import comparison_lines, legend_lines, step, text_lines
from tokensal.render.latex.standalone import document
from tokensal.render.layout import (
    ComparisonFigure,
    EvaluationTables,
    Heatmap,
    HeatmapComparison,
    MatrixFigure,
    SummaryTables,
    lay_out_figure,
)
from tokensal.render.layout.figure import Sheet, TextFigure

COMMENT = 110  # characters of a line
OTHER = "\"'`!?:;<>-=/*+,.|"  # babel makes some of them active
START = r"\begingroup\def\do#1{\catcode#1 12 }" + "".join(rf"\do{{{ord(each)}}}" for each in OTHER) + "%"
TYPESET = r"\raggedright\parskip=0pt\hyphenpenalty=10000\exhyphenpenalty=10000"


def draw_heatmap(heatmap: Heatmap, drawing: Drawing) -> str:
    """A heatmap as a fragment, or as a whole document."""
    return _file(lay_out_figure(heatmap, drawing), drawing)


def draw_comparison(comparison: HeatmapComparison, drawing: Drawing) -> str:
    """A comparison as a fragment, or as a whole document."""
    return _file(lay_out_figure(comparison, drawing), drawing)


def draw_evaluation(evaluation: EvaluationTables, drawing: Drawing) -> str:
    """The table of an evaluation as a fragment, or as a whole document."""
    body = table_lines(evaluation)
    fragment = [START, *preamble("\n".join(body), drawing), *body, r"\endgroup"]
    caption = [portable(sentence) for sentence in evaluation.caption]
    head = [*_comment(evaluation.title), *_comment(evaluation.subject)]
    if not drawing.standalone:
        head += _comment(r"\input this into a table; rules are those of booktabs where that is loaded.")
    for name, text in (*evaluation.facts, *((row.name, row.detail) for row in evaluation.tables[0].rows)):
        head += _comment(f"{name}: {text}")
    for sentence in (*(note for table in evaluation.tables for note in table.notes), *evaluation.failures):
        head += _comment(sentence)
    if drawing.standalone:
        size = page_size(evaluation, drawing)
        lines = [*head, *document(fragment, caption, ["booktabs", "xcolor"], drawing, kind="table", size=size)]
    else:
        lines = [*head, *fragment, *_ready(caption)]
    return "\n".join(lines) + "\n"


def draw_summary(summary: SummaryTables, drawing: Drawing) -> str:
    """The tables of a summary as a fragment, or as a whole document."""
    body = summaries.tabular_lines(summary)
    fragment = [START, *preamble("\n".join(body), drawing), *body, r"\endgroup"]
    caption = [portable(sentence) for sentence in (f"{summary.title}: {summary.subject}.", *summary.notes)]
    head = [*_comment(summary.title), *_comment(summary.subject)]
    if not drawing.standalone:
        head += _comment(r"\input this into a table; rules are those of booktabs where that is loaded.")
    for name, text in (*summary.facts, *((line.name, line.detail) for line in summary.tables[0].lines)):
        head += _comment(f"{name}: {text}")
    for sentence in (*(table.note for table in summary.tables if table.note), *summary.failures):
        head += _comment(sentence)
    if drawing.standalone:
        size = summaries.page_size(summary, drawing)
        lines = [*head, *document(fragment, caption, ["booktabs", "xcolor"], drawing, kind="table", size=size)]
    else:
        lines = [*head, *fragment, *_ready(caption)]
    return "\n".join(lines) + "\n"


def _file(figure: TextFigure | MatrixFigure | ComparisonFigure, drawing: Drawing) -> str:
    sheet = figure.sheet
    packages = ["xcolor", *(["graphicx"] if isinstance(figure, MatrixFigure) else [])]
    body = [
        *_body(figure, drawing),
        *legend_lines(sheet.ramp, _value(figure), cell_step if isinstance(figure, MatrixFigure) else step),
    ]
    fragment = [START, *preamble("\n".join(body), drawing), TYPESET, *body, r"\endgroup"]
    caption = [portable(sentence) for sentence in sheet.caption]
    head = list(_head(sheet, packages, standalone=bool(drawing.standalone)))
    if drawing.standalone:
        lines = [*head, *document(fragment, caption, packages, drawing)]
    else:
        lines = [*head, *fragment, *_ready(caption)]
    return "\n".join(lines) + "\n"


def _body(figure: TextFigure | MatrixFigure | ComparisonFigure, drawing: Drawing) -> list[str]:
    if isinstance(figure, TextFigure):
        return text_lines(figure)
    return list(matrix_lines(figure, drawing.points)) if isinstance(figure, MatrixFigure) else comparison_lines(figure)


def _value(figure: TextFigure | MatrixFigure | ComparisonFigure) -> str:
    """What all methods explain; running text has it behind the answer."""
    values = {part.value for _, part in figure.parts} if isinstance(figure, ComparisonFigure) else set()
    return values.pop() if len(values) == 1 else ""


def _head(sheet: Sheet, packages: list[str], *, standalone: bool) -> Iterator[str]:
    facts = dict(sheet.facts)
    methods = [text for name, text in sheet.facts if name == "method"]
    names = ("score", "contrast", "model")
    first = [
        f"tokensal {facts.get('tokensal', '')}".strip(),
        *methods,
        *(facts[each] for each in names if each in facts),
    ]
    yield from _comment(" · ".join(first))
    yield from _comment(sheet.title)
    if not standalone:
        yield from _comment(rf"\input this into a figure, after \usepackage{{{','.join(packages)}}}.")
    for name, text in sheet.facts:
        yield from _comment(f"{name}: {text}")


def _comment(text: str) -> Iterator[str]:
    lines = textwrap.wrap(comment(text), COMMENT, subsequent_indent="  ", break_on_hyphens=False)
    yield from (f"% {line}" for line in lines)


def _ready(caption: list[str]) -> Iterator[str]:
    first, *others = caption
    lines = [rf"\caption{{{first}", *(f"  {sentence}" for sentence in others)]
    yield from (f"% {line}" for line in [*lines[:-1], lines[-1] + "}"])
