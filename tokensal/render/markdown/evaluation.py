"""The sections of an evaluation in Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from tokensal.render.layout.evaluation import CURVE_NAMES, Cell, Curves, EvaluationTables, Table
from tokensal.render.layout.numbers import exact, percent
from tokensal.render.markdown.writing import code, facts, table, text

QUARTERS = (0.25, 0.5, 0.75)  # of the units are absent, where curves are told in numbers
Section = tuple[str, list[str]]


def sections(evaluation: EvaluationTables) -> Iterator[Section]:
    """The headings of the page, and the blocks below each."""
    for each in evaluation.tables:
        yield f"## {text(each.title[:1].upper() + each.title[1:])}: {each.count}", _table(evaluation, each)
    if evaluation.curves:
        yield "## Curves", _curves(evaluation)
    yield "## Metrics", [_metrics(evaluation)]
    yield "## Methods", [facts([(row.name, row.detail) for row in evaluation.tables[0].rows])]
    yield "## Notes", [text(note) for note in evaluation.notes]
    yield "## Failures", [text(sentence) for sentence in evaluation.failures]
    yield "## Settings", [facts(evaluation.facts)]


def _table(evaluation: EvaluationTables, shown: Table) -> list[str]:
    heads = ["method", *(f"{text(head.name)} {head.arrow}" for head in evaluation.heads), "s / prompt"]
    rows = [
        [f"*{text(row.name)}*" if row.baseline else text(row.name), *map(_cell, row.cells), row.seconds]
        for row in shown.rows
    ]
    return [table(heads, rows, "l" + "r" * (len(heads) - 1)), *map(text, shown.notes)]


def _cell(cell: Cell) -> str:
    mean = f"**{cell.mean}**" if cell.best else cell.mean
    return " ".join(filter(None, [mean + text(cell.mark), text(cell.interval)]))


def _curves(evaluation: EvaluationTables) -> list[str]:
    """The curves at three places, in a table."""
    heads = ["method", "", *(f"{percent(share)} absent" for share in QUARTERS)]
    rows = [line for curves in evaluation.curves for line in _lines(evaluation, curves)]
    return [table(heads, rows, "llrrr"), text(evaluation.curve_note)]


def _lines(evaluation: EvaluationTables, curves: Curves) -> Iterator[list[str]]:
    last = len(evaluation.shares) - 1
    for name, values in zip(CURVE_NAMES, (curves.most_first, curves.least_first), strict=True):
        yield [text(curves.name), name, *(exact(round(values[round(share * last)], 3)) for share in QUARTERS)]


def _metrics(evaluation: EvaluationTables) -> str:
    lines = (
        f"- {text(head.name)} {head.arrow} {text(head.summary)} ({head.better}): {code(head.detail)}"
        for head in evaluation.heads
    )
    return "\n".join(lines)
