"""The sections of a summary in Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from tokensal.render.layout.summary import Entry, SummaryTable, SummaryTables
from tokensal.render.markdown.writing import facts, table, text

Section = tuple[str, list[str]]


def sections(summary: SummaryTables) -> Iterator[Section]:
    """The headings of the page, and the blocks below each."""
    for each in summary.tables:
        yield f"## {text(each.title[:1].upper() + each.title[1:])}", list(_table(each))
    yield "## Options", [facts([(line.name, line.detail) for line in summary.tables[0].lines])]
    yield "## Notes", [text(note) for note in summary.notes]
    yield "## Failures", [text(sentence) for sentence in summary.failures]
    yield "## Settings", [facts(summary.facts)]


def _table(shown: SummaryTable) -> Iterator[str]:
    if shown.note:
        yield text(shown.note[:1].upper() + shown.note[1:])
    heads = [text(shown.kind), *map(text, shown.heads)]
    rows = [[text(line.name), *map(_cell, line.entries)] for line in shown.lines]
    yield table(heads, rows, "l" + "r" * len(shown.heads))


def _cell(entry: Entry) -> str:
    return " ".join(filter(None, [text(entry.text), text(entry.interval)]))
