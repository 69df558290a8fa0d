"""The parts of a Markdown page: each is a list of blocks, between which stands an empty line.

Colours are not available, so ranks take their place: the strongest sources are numbered, in the table and in the text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tokensal.drawing import Drawing
from tokensal.render.layout.comparison import HeatmapComparison
from tokensal.render.layout.figure import row_of
from tokensal.render.layout.heatmap import Heatmap
from tokensal.render.layout.legend import SINK, Entry, Kind
from tokensal.render.layout.matrix import lay_out_matrix
from tokensal.render.layout.passages import Passage, Run, passages, plain_passages
from tokensal.render.layout.rows import Row
from tokensal.render.markdown.writing import code, facts, fence, line, table, text
from tokensal.results.reproduction import Recipe

RANKED, RANKED_OF_ONE = 10, 3  # sources in the list of all targets, and of one
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
SHOWN = (Kind.CONTRAST, Kind.PICTURE)  # of the legend: marks that Markdown draws, too
Blocks = list[str]


def guide(heatmap: Heatmap, signed: bool) -> str:
    """What the numbers mean, for a reader who does not know attribution."""
    towards = "the answer" if heatmap.contrasted else "it"
    against = "for the contrast" if heatmap.contrasted else "against it"
    written = "what the model wrote" if heatmap.complete else "the explained words"
    sign = f"positive ones speak for {towards}, negative ones {against}" if signed else "the larger, the more"
    return f"The numbers say how much each part of the text influenced {written}: {sign}."


def answer(heatmap: Heatmap) -> Blocks:
    """What was read and written, without numbers."""
    return [block for passage in plain_passages(heatmap) for block in _passage(passage, {})]


def strongest(heatmap: Heatmap, drawing: Drawing) -> Blocks:
    """The text with the ranks of its strongest sources, and the list of these."""
    row = row_of(heatmap, drawing.row)
    ranks = {cell.source: (rank, cell.shade < 0) for rank, cell in enumerate(row.top(RANKED), 1)}
    shown = [block for passage in passages(heatmap, row, drawing.elide) for block in _passage(passage, ranks)]
    return [*shown, *_ranking(heatmap, row), *(text(note) for note in _notes(heatmap, row, ranks))]


def _passage(passage: Passage, ranks: Mapping[int, tuple[int, bool]]) -> Iterator[str]:
    """Its name, and its text as a quotation."""
    lines = _lines(passage.runs, ranks)
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        return
    yield f"*{text(passage.name)}*"
    yield "\n".join(_quotation(lines))


def _lines(runs: Sequence[Run], ranks: Mapping[int, tuple[int, bool]]) -> list[str]:
    lines, last = [""], {run.source: index for index, run in enumerate(runs)}
    for index, run in enumerate(runs):
        numbered = last[run.source] == index or run.breaks  # a source of several lines has its rank once
        lines[-1] += run.gap + _run(run, ranks if numbered else {})
        lines += [""] * run.breaks
    return lines


def _run(run: Run, ranks: Mapping[int, tuple[int, bool]]) -> str:
    words = text(run.text) + SINK * run.sink
    if run.source is None or run.source not in ranks or not run.text:
        return words
    rank, negative = ranks[run.source]
    # stars beside punctuation are stars
    mark = ("*" if negative else "**") if run.text[0].isalnum() and run.text[-1].isalnum() and not run.sink else ""
    return f"{mark}{words}{mark}{str(-rank if negative else rank).translate(SUPERSCRIPTS)}"


def _quotation(lines: Sequence[str]) -> Iterator[str]:
    """Lines that stay lines: a backslash ends each, and an empty one parts paragraphs."""
    for index, each in enumerate(lines):
        if not each.strip():
            yield ">"
            continue
        goes_on = index + 1 < len(lines) and lines[index + 1].strip()
        yield f"> {line(each.rstrip())}" + "\\" * bool(goes_on)


def _ranking(heatmap: Heatmap, row: Row) -> Iterator[str]:
    columns = [row, *(other for other in heatmap.overviews if other is not row and row in heatmap.overviews)]
    heads = ["", heatmap.source_noun, "place", *(_head(heatmap, column) for column in columns)]
    cells = [
        [
            str(rank), name_of_source(heatmap, cell.source), str(cell.source),
            *(column.scale.write(column.cells[cell.source].value) for column in columns),
        ]
        for rank, cell in enumerate(row.top(RANKED), 1)
    ]  # fmt: skip
    if not cells:
        yield f"No {heatmap.source_noun} has a score other than 0."
        return
    yield table(heads, cells, "rlr" + "r" * len(columns))


def _head(heatmap: Heatmap, row: Row) -> str:
    return row.title.short or text(heatmap.quantity)


def name_of_source(heatmap: Heatmap, source: int) -> str:
    """What a source is called in a table."""
    label = heatmap.sources[source]
    return text(label.name) + label.ordinal + (f" {SINK}" if label.sink else "")


def _notes(heatmap: Heatmap, row: Row, ranks: Mapping[int, tuple[int, bool]]) -> Iterator[str]:
    against, towards = heatmap.legend.ends
    negative = any(negative for _, negative in ranks.values())
    marks = f"; bold speaks {towards}, ⁻ and italic {against}" if negative else ""
    if ranks:
        yield (
            f"Raised numbers are ranks in the table, from the largest magnitude on{marks}. Place counts the "
            f"{heatmap.source_noun}s from 0. {_about(heatmap, row)}."
        )
    if row.sink_note:
        yield f"{SINK} {row.sink_note}."
    yield from filter(None, [heatmap.legend.sign_note, heatmap.legend.left_out_note])


def _about(heatmap: Heatmap, row: Row) -> str:
    subject = f"{row.title.lead} {row.title.name}".strip()
    quantity = f"shares of {heatmap.quantity}" if row.scale.unit else heatmap.quantity
    return f"{subject}: {quantity}; scale {row.scale.span}"


def targets(heatmap: Heatmap) -> Blocks:
    """Each target: its score, its strongest sources, and what else was considered."""
    heads = [heatmap.noun, text(heatmap.score), f"strongest {heatmap.source_noun}s"]
    considered = any(heatmap.considered)
    rows = []
    for row, label in zip(heatmap.rows, heatmap.targets, strict=True):
        pairs = ((cell.source, row.scale.write(cell.value)) for cell in row.top(RANKED_OF_ONE))
        ranked = " · ".join(f"{name_of_source(heatmap, source)} {number}" for source, number in pairs if number != "0")
        others = heatmap.considered[row.target or 0] if considered else ()
        cells = [f"**{text(label.name)}**" if label.name.isalnum() else text(label.name)]
        cells += [heatmap.value_scale.write(row.value), ranked or "none"]
        rows.append([*cells, *([" · ".join(f"{text(name)} {share}" for name, share in others)] if considered else [])])
    heads += ["the model considered"] if considered else []
    return [table(heads, rows, "lrl" + "l" * considered)]


def matrix(heatmap: Heatmap) -> Blocks:
    """All scores."""
    table_of = lay_out_matrix(heatmap)
    heads = ["", *(text(each.label.name) + each.label.ordinal + SINK * each.label.sink for each in table_of.columns)]
    rows = [
        [text(label.name), *(table_of.scale.write(cell.value) for cell in cells)]
        for label, cells in zip(heatmap.targets, table_of.rows, strict=True)
    ]
    return [table(heads, rows, "l" + "r" * len(table_of.columns)), text(f"{table_of.note()}.")]


def marks(entries: Sequence[Entry]) -> Blocks:
    """The legend of the marks in tokens."""
    shown = [f"{text(entry.sample)} {text(entry.meaning)}" for entry in entries if entry.kind in SHOWN]
    return [f"In the text: {' · '.join(shown)}."] if shown else []


def agreement(comparison: HeatmapComparison) -> Blocks:
    """How far the rankings of the methods agree."""
    count = range(len(comparison.names))
    rows = [
        [str(row + 1), code(comparison.names[row]), *(comparison.agreement_text(row, column) for column in count)]
        for row in count
    ]
    heads = ["", "method", *(str(column + 1) for column in count)]
    return [table(heads, rows, "rl" + "r" * len(comparison.names)), text(comparison.meaning)]


def settings(pairs: Sequence[tuple[str, str]]) -> Blocks:
    """Where the numbers came from."""
    return [facts(pairs)] if pairs else []


def again(recipe: Recipe) -> Blocks:
    """How the result is made again."""
    blocks = [text(note) for note in recipe.notes]
    if recipe.command:
        blocks += ["On the command line:", fence(recipe.command, "sh")]
    if recipe.python:
        blocks += ["In Python:", fence(recipe.python, "python")]
    return blocks


def page(*parts: tuple[str, Blocks]) -> str:
    """Parts with their headings, without those that have nothing to say."""
    blocks = [block for heading, body in parts if body for block in ([heading] if heading else []) + body]
    return "\n\n".join(blocks) + "\n"
