"""The heatmap as text, for a terminal of any width and any number of colours, and for .txt files.

1. The heading says what was computed.
2. The sources follow as running text, each shaded by its score summed over the targets.
3. Each target has a line: its explained score, and the sources with the largest scores, as many as fit.
4. The matrix, where it is asked for, shows every score on one scale.
5. The legend gives the numbers of the scales, and the meaning of every mark that occurs.

Where there is no colour, signs and sizes are written out: `Paris[+9]` stands for nine tenths of the scale.
Everything is cut and aligned by terminal cells, not by characters: an ideograph takes two, an accent none.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import IO

from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.segment import Segment, Segments
from rich.style import Style

from tokensal.attribution import Attribution
from tokensal.render import layout
from tokensal.render.colours import PLAIN, Ink, attribute, bar_style, ink_for, shading
from tokensal.render.layout import Cell, Heatmap, Label, Row
from tokensal.types import Role

GENERATED, SINK, ABOVE, BELOW = "›", "†", "↑", "↓"
GLYPHS = {
    "↵": "line break",
    "⇥": "tab",
    "␣": "space",
    layout.PIECE: "rest of a split character",
    "∅": "token without text",
}
JOINER = "\u200d"
ISOLATE, END_ISOLATE = "\u2068", "\u2069"  # what is between them has its own writing direction; they take no cell
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
EIGHTHS = " ▏▎▍▌▋▊▉"

NARROWEST = 20  # the page is drawn this wide at least
BAR = 4  # cells of a full bar
NAME = 16  # cells of a token's name in a list
GAP = 3  # cells between the columns of a list
MOST = 32  # sources listed for one target, however wide the terminal
STACKED = 3  # sources listed for one target where they stand below it


@dataclass(frozen=True, slots=True)
class Run:
    """A text in one style."""

    text: str
    style: Style = PLAIN


Line = list[Run]


@dataclass(frozen=True, slots=True)
class Word:
    """Runs that stay on one line if they can; `breaks` line breaks follow them."""

    runs: Line
    breaks: int = 0


@dataclass(frozen=True, slots=True)
class Sheet:
    """What is drawn, with what, and how wide. `ordinals` tell sources apart whose names look the same."""

    heatmap: Heatmap
    ordinals: tuple[str, ...]
    ink: Ink
    width: int


def show(
    attribution: Attribution,
    *,
    matrix: bool = False,
    sink: bool = False,
    file: IO[str] | None = None,
    console: Console | None = None,
) -> None:
    """Print the heatmap to `console`, to `file`, or to the standard output.

    Args:
        matrix: the full table of sources and targets as well, in as many panels as it takes.
        sink: count the sink token into scales and rankings too.
    """
    console = console or Console(file=file)
    sheet = _sheet(layout.lay_out(attribution, sink=sink), ink_for(console), console.width)
    lines = _page(sheet, _matrix(sheet) if matrix else [])
    encoding = console.encoding
    if not encoding.startswith("utf"):  # better a question mark than a crash
        lines = [[Run(run.text.encode(encoding, "replace").decode(encoding), run.style) for run in line] for line in lines]
    segments = [Segment(run.text, run.style) for line in lines for run in [*line, Run("\n")]]
    console.print(Segments(segments), crop=False, end="")


def text(attribution: Attribution, *, sink: bool = False, width: int = 100) -> str:
    """The heatmap as plain text `width` cells wide, with the full matrix where that fits beside its row names."""
    sheet = _sheet(layout.lay_out(attribution, sink=sink), Ink(), width)
    lines = _page(sheet, _matrix(sheet, panels=False))
    return "".join("".join(run.text for run in line).rstrip() + "\n" for line in lines)


def _sheet(heatmap: Heatmap, ink: Ink, width: int) -> Sheet:
    return Sheet(heatmap, _ordinals(heatmap.sources), ink, max(width, NARROWEST))


def _ordinals(labels: Sequence[Label]) -> tuple[str, ...]:
    total, seen, ordinals = Counter(label.name for label in labels), Counter[str](), []
    for label in labels:
        seen[label.name] += 1
        ordinals.append(str(seen[label.name]).translate(SUBSCRIPTS) if total[label.name] > 1 else "")
    return tuple(ordinals)


def _page(sheet: Sheet, matrix: list[Line]) -> list[Line]:
    tops = [[cell for cell in row.top(MOST) if math.isfinite(cell.shade)] for row in sheet.heatmap.rows]
    targets, listed = _targets(sheet, tops)
    blocks = [_heading(sheet), _prompt(sheet), targets, matrix, _legend(sheet, listed)]
    return [line for block in blocks if block for line in [*block, []]][:-1]


def _heading(sheet: Sheet) -> list[Line]:
    bare = ("model", "method", "score", "dtype")  # these need no name beside them
    facts = [text if name in bare else f"{name} {text}" for name, text in sheet.heatmap.caption if name != "tokensal"]
    return _fill(_words(" · ".join(facts), attribute(sheet.ink, "bold")), sheet.width)


# --- 2. running text ---------------------------------------------------------------------------------------------


def _prompt(sheet: Sheet) -> list[Line]:
    """The sources as running text; it breaks between words, and where a token ends in a line break."""
    words: list[Word] = []
    before: Label | None = None
    cells = sheet.heatmap.overview.cells
    for label, cell in zip(sheet.heatmap.sources, cells, strict=True):
        run = Run(_running(sheet, label, cell, before), _token_style(sheet, label, cell.shade))
        if before is None or words[-1].breaks or _breakable(before.text, label.text):
            words.append(Word([run], label.lines))
        else:
            words[-1] = Word([*words[-1].runs, run], label.lines)
        before = label
    return _fill(words, sheet.width)


def _running(sheet: Sheet, label: Label, cell: Cell, before: Label | None) -> str:
    text = _drawn(label.text)
    if label.special and not _bracketed(text):
        text = f"⟨{text}⟩"
    if label.role is Role.GENERATED and (before is None or before.role is not Role.GENERATED):
        inner = text.lstrip(" ")
        text = " " * (len(text) - len(inner)) + GENERATED + inner
    marks = (SINK if label.sink else "") + _clip(cell.clipped, cell.shade)
    if not sheet.ink.colours:
        marks += _tenths(cell.shade, sheet.heatmap.signed)
    return text + (_isolated(marks) if marks and _right_to_left(text) else marks)


def _tenths(shade: float, signed: bool) -> str:
    if not abs(shade) >= 0.1:
        return ""
    return f"[{round(shade * 10):+d}]" if signed else f"[{round(shade * 10)}]"


def _clip(clipped: bool, shade: float) -> str:
    return (ABOVE if shade > 0 else BELOW) if clipped else ""


def _breakable(before: str, after: str) -> bool:
    """Whether a line may end between two tokens: at spaces, and around ideographs, but not before punctuation."""
    if after.startswith(" ") or before.endswith(" "):
        return True
    wide = cell_len(before[-1]) == 2 or cell_len(after[0]) == 2
    return wide and not unicodedata.category(after[0]).startswith("P")


# --- 3. a line for each target -----------------------------------------------------------------------------------


def _targets(sheet: Sheet, tops: list[list[Cell]]) -> tuple[list[Line], list[Cell]]:
    """The lines of the targets, and the cells that found room on them."""
    faint = attribute(sheet.ink, "dim")
    score = dict(sheet.heatmap.caption).get("score", "score")
    fixed = [_target_names(sheet, NAME), _values(sheet)]
    heads = [[Run("token", faint)], [Run(score, faint)]]
    apart = _sink_scores(sheet)
    if apart and sheet.width >= 60:
        fixed.append(apart)
        heads.append([Run("sink" + SINK, faint)])
    fixed = [[head, *column] for head, column in zip(heads, fixed, strict=True)]
    room = sheet.width - sum(_width(column) + GAP for column in fixed)
    ranks: list[list[Line]] = []
    for rank in range(max(map(len, tops), default=0)):
        column = _entries(sheet, [top[rank] if rank < len(top) else None for top in tops], NAME)
        room -= _width(column) + (GAP if ranks else 0)
        if room < 0:
            break
        ranks.append(column)
    if not ranks and any(tops):
        return _stacked(sheet, tops)
    head, *lines = _beside([*fixed, *([[], *column] for column in ranks)], GAP)
    title = Run("largest sources", faint)
    if ranks:
        head = _beside([*([column[0], *column[1:]] for column in fixed), [[title]] * len(fixed[0])], GAP)[0]
    head = head if _width([head]) <= sheet.width else head[:-1]
    return [head, *lines], [cell for top in tops for cell in top[: len(ranks)]]


def _stacked(sheet: Sheet, tops: list[list[Cell]]) -> tuple[list[Line], list[Cell]]:
    """For narrow terminals: each target on a line of its own, and its sources below it."""
    tops = [top[:STACKED] for top in tops]
    listed = [cell for top in tops for cell in top]
    spare = sheet.width - 2 - _width(_entries(sheet, listed, 0))
    entries = iter(_entries(sheet, listed, max(spare, 1)))
    values = _values(sheet)
    names = _target_names(sheet, max(sheet.width - _width(values) - 1, 1))
    lines: list[Line] = []
    for line, top in zip(_beside([names, values], 1), tops, strict=True):
        lines += [line, *([Run("  "), *next(entries)] for _ in top)]
    return lines, listed


def _target_names(sheet: Sheet, width: int) -> list[Line]:
    style = attribute(sheet.ink, "bold")
    return [[Run(_isolated(_cut(_name(label), width)), style)] for label in sheet.heatmap.targets]


def _values(sheet: Sheet) -> list[Line]:
    return [[Run(number)] for number in _on_the_point([_number(row.value, False) for row in sheet.heatmap.rows])]


def _sink_scores(sheet: Sheet) -> list[Line]:
    """The score of the sink for each target, where it was left out of the scale."""
    if sheet.heatmap.sink is None or not sheet.heatmap.overview.cells[sheet.heatmap.sink].apart:
        return []
    scores = [_number(row.cells[sheet.heatmap.sink].value, sheet.heatmap.signed) for row in sheet.heatmap.rows]
    return [[Run(number, attribute(sheet.ink, "dim"))] for number in _on_the_point(scores)]


def _entries(sheet: Sheet, cells: Sequence[Cell | None], width: int) -> list[Line]:
    """Name, number and bar of each cell, in three columns; names cut to `width`."""
    signed = sheet.heatmap.signed
    names = [[_chip(sheet, cell, width)] if cell else [] for cell in cells]
    numbers = _on_the_point([_number(cell.value, signed) if cell else "" for cell in cells])
    bars = [[_bar(sheet, cell)] if cell else [] for cell in cells]
    return _beside([names, [[Run(number)] for number in numbers], bars], 1)


def _chip(sheet: Sheet, cell: Cell, width: int) -> Run:
    label = sheet.heatmap.sources[cell.source]
    return Run(_source_name(sheet, cell.source, width), _token_style(sheet, label, cell.shade))


def _bar(sheet: Sheet, cell: Cell) -> Run:
    """A bar of blocks for what speaks for the target, and of a thin line for what speaks against."""
    against = sheet.heatmap.signed and cell.shade < 0
    if against:
        halves = max(1, round(abs(cell.shade) * BAR * 2))
        drawn = "━" * (halves // 2) + "╸" * (halves % 2)
    else:
        eighths = max(1, round(cell.shade * BAR * 8))
        drawn = ("█" * (eighths // 8) + EIGHTHS[eighths % 8]).rstrip()
    return Run(drawn.ljust(BAR), bar_style(sheet.ink, against))


# --- 4. the matrix -----------------------------------------------------------------------------------------------


def _matrix(sheet: Sheet, panels: bool = True) -> list[Line]:
    """Every score on one scale, the way round that takes fewer panels; nothing where one panel is all one may use."""
    targets = [_isolated(_cut(_name(label), NAME)) for label in sheet.heatmap.targets]
    sources = [_source_name(sheet, source, NAME) for source in range(len(sheet.heatmap.sources))]
    across = [[_matrix_cell(sheet, cell) for cell in row.cells] for row in sheet.heatmap.rows]
    down = [list(column) for column in zip(*across, strict=True)]
    ways = [(targets, sources, across, "tokens of the text, down: targets"), (sources, targets, down, "targets, down: tokens")]
    return []


# --- 5. the legend -----------------------------------------------------------------------------------------------
