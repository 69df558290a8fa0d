"""An evaluation as text, for a terminal of any width, and for .txt files.

1. The heading says what was evaluated.
2. Each table follows, dealt out to panels where the width asks for it; an empty line sets the baselines apart.
3. The legend says what each metric measures, and which options the methods have.
4. Notes say what numbers and marks mean, and the footer where the numbers came from.
"""

from __future__ import annotations

from collections.abc import Iterator

from tokensal.render.layout.evaluation import Cell, EvaluationTables, Table
from tokensal.render.layout.labels import cut
from tokensal.render.terminal import matrix
from tokensal.render.terminal.colours import Colours, attribute
from tokensal.render.terminal.lines import Line, Run, Word, apart, fill, words
from tokensal.render.terminal.page import NARROWEST

NAME = 24  # cells of a method's name at most, where the width has them
SECONDS = "s / prompt"


def evaluation_lines(evaluation: EvaluationTables, colours: Colours, width: int) -> list[Line]:
    """An evaluation as lines `width` cells wide."""
    width = max(width, NARROWEST)
    bold = attribute(colours, "bold")
    title = fill([*words(evaluation.title, bold), *words(f"  {evaluation.subject}")], width)
    tables = [block for table in evaluation.tables for block in _table(evaluation, table, colours, width)]
    sentences = (*evaluation.notes, *evaluation.failures)
    notes = [line for sentence in sentences for line in _faint(sentence, colours, width)]
    facts = "   ".join(f"{name} {text}" for name, text in evaluation.facts)
    return apart([title, *tables, list(_legend(evaluation, colours, width)), notes, _faint(facts, colours, width)])


def _table(evaluation: EvaluationTables, table: Table, colours: Colours, width: int) -> Iterator[list[Line]]:
    rows = [[*(_run(cell, colours) for cell in row.cells), Run(f"  {row.seconds}")] for row in table.rows]
    named = [cut(row.name, min(NAME, max(8, width // 3))) for row in table.rows]
    baselines = [number for number, row in enumerate(table.rows) if row.baseline]
    content = matrix.Table(
        names=named,
        heads=[*(f"  {head.name} {head.arrow}" for head in evaluation.heads), f"  {SECONDS}"],
        rows=rows,
        gapped=tuple(baselines[:1]) if baselines and baselines[0] else (),
    )
    title = [*words(table.title, attribute(colours, "bold")), *words(f"  {table.count}", attribute(colours, "dim"))]
    yield [*fill(title, width), *matrix.dealt(content, colours, width)]
    yield [line for note in table.notes for line in _faint(note, colours, width)]


def _run(cell: Cell, colours: Colours) -> Run:
    """The mean, its mark or a space in its place, and the interval."""
    interval = f" {cell.interval}" if cell.interval else ""
    return Run(f"  {cell.mean}{cell.mark or ' '}{interval}", attribute(colours, "bold") if cell.best else Run("").style)


def _legend(evaluation: EvaluationTables, colours: Colours, width: int) -> Iterator[Line]:
    dim = attribute(colours, "dim")
    for head in evaluation.heads:
        text = f" {head.arrow} {head.summary} ({head.better})"
        yield from fill([Word([Run(head.name)]), *words(text, dim)], width)
    for row in evaluation.tables[0].rows:
        if not row.baseline and not row.detail.endswith("()"):
            yield from fill([Word([Run(row.name)]), *words(f"  {row.detail}", dim)], width)


def _faint(text: str, colours: Colours, width: int) -> list[Line]:
    return fill(words(text, attribute(colours, "dim")), width)
