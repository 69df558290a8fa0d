"""The heatmap as text, for a terminal of any width and any number of colours, and for .txt files.

1. The heading says what was computed.
2. The sources follow as running text, each shaded by its score summed over the targets.
3. Each target has a line: its explained score, and the sources with the largest scores, as many as fit.
4. The matrix, where it is asked for, shows every score on one scale.
5. The legend gives the numbers of the scales, and the meaning of every mark that occurs.

Where there is no colour, signs and sizes are written out: `Paris[+9]` stands for nine tenths of the scale.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import IO

from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment, Segments

from tokensal.attribution import Attribution
from tokensal.render import layout
from tokensal.render.cells import (
    Line,
    Run,
    Word,
    beside,
    cut,
    fill,
    isolated,
    on_the_point,
    right_to_left,
    size,
    words,
)
from tokensal.render.colours import Ink, attribute, bar_style, ink_for, shading
from tokensal.render.layout import Cell, Label
from tokensal.render.matrix import matrix_of
from tokensal.render.sheet import (
    ABOVE,
    BELOW,
    GENERATED,
    HEAD,
    NAME,
    SINK,
    Sheet,
    bracketed,
    clip_mark,
    letters_underlined,
    score_name,
    sheet_of,
    sink_apart,
    source_name,
    span,
    token_style,
    written,
)
from tokensal.types import Role

MEANINGS = {
    GENERATED: "written by the model",
    ABOVE: "above the scale",
    BELOW: "below the scale",
    "↵": "line break",
    "⇥": "tab",
    "␣": "space",
    layout.PIECE: "rest of a split character",
    "∅": "token without text",
}
EIGHTHS = " ▏▎▍▌▋▊▉"

BAR = 4  # cells of a full bar
GAP = 3  # cells between the columns of a list
MOST = 32  # sources listed for one target, however wide the terminal
SWATCHES = 5  # steps of the colour scale on either side of 0
ROOMY = 100  # cells from which on the score of the sink for each target has a column
STACKED = 3  # sources listed for one target where they stand below it


def show(
    attribution: Attribution,
    *,
    matrix: bool = False,
    sink: bool = False,
    file: IO[str] | None = None,
    console: Console | None = None,
) -> None:
    """Print the heatmap to `console`, or else to `file`, or else to the standard output.

    Args:
        matrix: the full table of sources and targets as well, in as many panels as it takes.
        sink: count the sink token into scales and rankings too.
    """
    console = console or Console(file=file)
    sheet = sheet_of(layout.lay_out(attribution, sink=sink), ink_for(console), console.width)
    lines = _page(sheet, matrix_of(sheet) if matrix else [])
    segments = [Segment(run.text, run.style) for line in lines for run in [*line, Run("\n")]]
    if not console.encoding.startswith("utf"):  # better a question mark than a crash
        segments = [Segment(_encodable(text, console.encoding), style) for text, style, _ in segments]
    console.print(Segments(segments), crop=False, end="")


def text(attribution: Attribution, *, sink: bool = False, width: int = 100) -> str:
    """The heatmap as plain text `width` cells wide; with the full matrix where the width holds it."""
    sheet = sheet_of(layout.lay_out(attribution, sink=sink), Ink(), width)
    lines = _page(sheet, matrix_of(sheet, panels=1))
    return "".join("".join(run.text for run in line).rstrip() + "\n" for line in lines)


def _encodable(text: str, encoding: str) -> str:
    return text.encode(encoding, "replace").decode(encoding)


def _page(sheet: Sheet, matrix: list[Line]) -> list[Line]:
    blocks = [block for block in (_heading(sheet), _prompt(sheet), _targets(sheet), matrix) if block]
    body = "\n".join(run.text for block in blocks for line in block for run in line)
    return [line for block in [*blocks, _legend(sheet, body)] for line in [*block, []]][:-1]


def _heading(sheet: Sheet) -> list[Line]:
    bare = ("model", "method", "score", "dtype")  # these need no name beside them
    facts = [text if name in bare else f"{name} {text}" for name, text in sheet.heatmap.caption if name != "tokensal"]
    return fill(words(" · ".join(facts), attribute(sheet.ink, "bold")), sheet.width)


# --- running text ------------------------------------------------------------------------------------------------


def _prompt(sheet: Sheet) -> list[Line]:
    """The sources as running text, and the targets that end it.

    Lines end between words, and where a token ends in a line break.
    """
    text: list[Word] = []
    before: Label | None = None
    blanks = [Cell(-1, None, 0.0, clipped=False, apart=False) for _ in sheet.heatmap.rest]
    cells = (*sheet.heatmap.overview.cells, *blanks)
    for label, cell in zip((*sheet.heatmap.sources, *sheet.heatmap.rest), cells, strict=True):
        runs = letters_underlined(_running(sheet, label, cell, before), token_style(sheet, label, cell.shade))
        if before is None or before.lines or _breakable(before.text, label.text):
            text.append(Word(runs, label.lines))
        else:
            text[-1] = Word([*text[-1].runs, *runs], label.lines)
        before = label
    return fill(text, sheet.width)


def _running(sheet: Sheet, label: Label, cell: Cell, before: Label | None) -> str:
    text = bracketed(label, label.text)
    if label.role is Role.GENERATED and (before is None or before.role is not Role.GENERATED):
        inner = text.lstrip(" ")
        text = " " * (len(text) - len(inner)) + GENERATED + inner
    marks = (SINK if label.sink else "") + clip_mark(cell.shade, cell.clipped)
    if not sheet.ink.colours:
        marks += _tenths(cell.shade, sheet.heatmap.signed)
    return text + (f"\u2068{marks}\u2069" if marks and right_to_left(text) else marks)


def _breakable(before: str, after: str) -> bool:
    """Whether a line may end between two tokens: at spaces, and beside ideographs, but not before punctuation."""
    if before.endswith(" ") or after.startswith(" "):
        return True
    beside_wide = 2 in (cell_len(before[-1]), cell_len(after[0]))
    return beside_wide and not unicodedata.category(after[0]).startswith("P")


def _tenths(shade: float, signed: bool) -> str:
    tenths = round(shade * 10) if abs(shade) >= 0.1 else 0
    return f"[{tenths:+d}]" if tenths and signed else f"[{tenths}]" if tenths else ""


# --- a line for each target --------------------------------------------------------------------------------------


def _targets(sheet: Sheet) -> list[Line]:
    """The targets and their largest sources as a table, with as many columns of sources as fit the width."""
    tops = [row.top(MOST) for row in sheet.heatmap.rows]
    columns = [_headed(sheet, "token", _target_names(sheet, NAME)), _headed(sheet, score_name(sheet), _values(sheet))]
    if sink_apart(sheet) is not None and sheet.width >= ROOMY:
        columns.append(_headed(sheet, "sink" + SINK, _sink_scores(sheet)))
    fixed = len(columns)
    for rank in range(max(map(len, tops), default=0)):
        entries = _entries(sheet, [top[rank] if rank < len(top) else None for top in tops], NAME)
        wider = [*columns, _headed(sheet, "" if rank else "top sources", entries)]
        if _widest(beside(wider, GAP)) > sheet.width:
            break
        columns = wider
    table = beside(columns, GAP)
    missing = any(tops) and len(columns) == fixed
    return _stacked(sheet, tops) if missing or _widest(table) > sheet.width else table


def _widest(lines: list[Line]) -> int:
    return max(map(size, lines), default=0)


def _headed(sheet: Sheet, head: str, column: list[Line]) -> list[Line]:
    return [[Run(head, attribute(sheet.ink, "dim"))] if head else [], *column]


def _stacked(sheet: Sheet, tops: list[list[Cell]]) -> list[Line]:
    """For narrow terminals: each target on a line of its own, and its sources below it."""
    tops = [top[:STACKED] for top in tops]
    listed = [cell for top in tops for cell in top]
    numbers_and_bars = _widest(_entries(sheet, listed, 0))
    entries = iter(_entries(sheet, listed, max(sheet.width - numbers_and_bars - 2, 1)))
    values = _values(sheet)
    names = _target_names(sheet, sheet.width - _widest(values) - 1)
    lines: list[Line] = []
    for line, top in zip(beside([names, values], 1), tops, strict=True):
        lines += [line, *([Run("  "), *next(entries)] for _ in top)]
    return lines


def _target_names(sheet: Sheet, width: int) -> list[Line]:
    style = attribute(sheet.ink, "bold")
    return [[Run(isolated(cut(bracketed(label, label.name), width)), style)] for label in sheet.heatmap.targets]


def _values(sheet: Sheet) -> list[Line]:
    return [[Run(number)] for number in on_the_point([written(row.value, False) for row in sheet.heatmap.rows])]


def _sink_scores(sheet: Sheet) -> list[Line]:
    sink, style = sink_apart(sheet), attribute(sheet.ink, "dim")
    scores = [written(row.cells[sink.source].value, sheet.heatmap.signed) for row in sheet.heatmap.rows if sink]
    return [[Run(number, style)] for number in on_the_point(scores)]


def _entries(sheet: Sheet, cells: Sequence[Cell | None], width: int) -> list[Line]:
    """Name, number and bar of each cell, in three columns; names are cut to `width`."""
    signed = sheet.heatmap.signed
    names = [[_chip(sheet, cell, width)] if cell else [] for cell in cells]
    numbers = on_the_point([written(cell.value, signed) if cell else "" for cell in cells])
    bars = [[_bar(sheet, cell)] if cell else [] for cell in cells]
    return beside([names, [[Run(number)] for number in numbers], bars], 1)


def _chip(sheet: Sheet, cell: Cell, width: int) -> Run:
    label = sheet.heatmap.sources[cell.source]
    return Run(source_name(sheet, cell.source, width), token_style(sheet, label, cell.shade))


def _bar(sheet: Sheet, cell: Cell) -> Run:
    """A bar of blocks for what speaks for the target, and of a thin line for what speaks against."""
    against = sheet.heatmap.signed and cell.shade < 0
    if against:
        halves = max(1, round(abs(cell.shade) * BAR * 2))
        bar = "━" * (halves // 2) + "╸" * (halves % 2)
    else:
        eighths = max(1, round(cell.shade * BAR * 8))
        bar = ("█" * (eighths // 8) + EIGHTHS[eighths % 8]).rstrip()
    return Run(bar, bar_style(sheet.ink, against))


# --- the legend --------------------------------------------------------------------------------------------------


def _legend(sheet: Sheet, body: str) -> list[Line]:
    """The numbers of the scales, and the meaning of the marks that occur in the body of the page."""
    marks = _bars(sheet, body) + [(Run(mark), meaning) for mark, meaning in MEANINGS.items() if mark in body]
    special = next((label for label in sheet.heatmap.sources if label.special), None)
    if special:
        marks.append((Run(cut(bracketed(special, special.name), HEAD)), "special token"))
    if re.search("[₀-₉]", body):
        marks.append((Run("₁ ₂"), "count tokens that look the same"))
    entries = [word for index, mark in enumerate(marks) for word in _entry(sheet, *mark, gap=GAP if index else 0)]
    parts = (_scale(sheet), entries, _sink_entry(sheet))
    return [line for part in parts for line in fill(part, sheet.width)]


def _entry(sheet: Sheet, mark: Run, meaning: str, gap: int) -> list[Word]:
    """A mark and its meaning, kept on one line if they fit one."""
    style = attribute(sheet.ink, "dim")
    sample = [Run(" " * gap), mark] if gap else [mark]
    whole = [*sample, Run(f" {meaning}", style)]
    return [Word(whole)] if size(whole) <= sheet.width else [Word(sample), *words(f" {meaning}", style)]


def _scale(sheet: Sheet) -> list[Word]:
    """The scale of the running text: in colours, or as what the written tenths are tenths of."""
    heatmap, faint = sheet.heatmap, attribute(sheet.ink, "dim")
    summed = "score" if len(heatmap.rows) == 1 else f"score summed over the {len(heatmap.rows)} targets"
    if not heatmap.overview.limit:
        return words(f"In the text: {summed}, 0 everywhere.", faint)
    if not sheet.ink.colours:
        return words(f"In the text: {summed}, in tenths of {span(heatmap.overview.limit, heatmap.signed)}.")
    steps = range(-SWATCHES if heatmap.signed else 0, SWATCHES + 1)
    low = written(-heatmap.overview.limit, True) if heatmap.signed else "0"
    high = written(heatmap.overview.limit, heatmap.signed)
    swatches = [Run(" ", shading(sheet.ink, step / SWATCHES)) for step in steps]
    return [Word([Run(f"{low} "), *swatches, Run(f" {high}")]), *words(f"  in the text: {summed}", faint)]


def _bars(sheet: Sheet, body: str) -> list[tuple[Run, str]]:
    full = "a full bar is the largest of its line"
    block, line = Run("█", bar_style(sheet.ink, False)), Run("━", bar_style(sheet.ink, True))
    if re.search("[━╸]", body):
        return [(block, "for"), (line, f"against, {full}")]
    return [(block, full)] if re.search("[▏▎▍▌▋▊▉█]", body) else []


def _sink_entry(sheet: Sheet) -> list[Word]:
    """What the sink would do to the scale, or that it was let do so."""
    heatmap, faint = sheet.heatmap, attribute(sheet.ink, "dim")
    apart, row = sink_apart(sheet), heatmap.overview
    if apart:
        score = written(apart.value, heatmap.signed)
        without, with_it = (span(limit, heatmap.signed) for limit in (row.limit, row.full_limit))
        scale = f"{without}, with it {with_it}" if with_it != without else f"{without} with it or without"
        meaning = f"sink, left out of scale and ranking: {score} in all; the scale is {scale}"
    elif heatmap.sink is not None:
        meaning = "sink, where attention collects; counted in"
    else:
        return []
    return [Word([Run(SINK)]), *words(f" {meaning}", faint)]
