"""The running text of a figure: what is drawn in one fill, in order, parted into passages that have a name.

1. Sections become passages (`sections`); one that holds prompt and answer is parted where the answer begins.
2. Each source becomes a run, or one for each of its lines. What ends the text without being a source is a run, too.
3. A line break is drawn only where it carries at least a tenth of the scale. A token of a chat's template, or a special
   one, that has no score is not drawn.
4. Long stretches of which no source carries so much become one run on request: "… 214 tokens …".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from tokensal.drawable import PICTURES
from tokensal.render.layout.heatmap import Heatmap
from tokensal.render.layout.labels import Label, breakable
from tokensal.render.layout.rows import Cell, Row
from tokensal.render.layout.sections import ANSWER, CONTRAST
from tokensal.types import Role

VISIBLE = 0.02  # shades below are not drawn
BREAK = PICTURES["\n"]
NOTHING = Cell(-1, None, 0.0, clipped=False, apart=False)


@dataclass(frozen=True, slots=True)
class Run:
    """Text in one fill.

    `gap` is the spaces before it, which have no fill; a line may end before a run that is `breakable`, and at the
    spaces inside one, whose fill goes on. `text` is safe to draw, and empty where there is only a line break that is
    not drawn. `breaks` is how many lines end behind it. `source` is None where it is no source. `shade` within [-1, 1]
    is 0 where nothing is drawn, as behind a sink that stands apart; a score below a tenth of the scale is `weak`. What
    is explained is `bold`; what is special or of a chat's template is `quiet`. `elided` is how many sources it stands
    for, instead of one.
    """

    text: str
    gap: str = ""
    breakable: bool = True
    breaks: int = 0
    source: int | None = None
    shade: float = 0.0
    weak: bool = False
    bold: bool = False
    quiet: bool = False
    sink: bool = False
    clipped: bool = False
    elided: int = 0


@dataclass(frozen=True, slots=True)
class Passage:
    """Runs that stand together; `name` says what they are, such as prompt, answer or user."""

    name: str
    runs: tuple[Run, ...]


def passages(heatmap: Heatmap, row: Row, elide: int | None = None) -> tuple[Passage, ...]:
    """The running text as a row of the heatmap shades it, with stretches of at least `elide` weak sources elided."""
    parts = []
    for name, labels, start in _parts(heatmap):
        runs = tuple(_runs(heatmap, row, labels, start))
        if elide is not None:
            runs = tuple(_elided(runs, elide, heatmap.source_noun))
        if runs:
            parts.append(Passage(name, runs))
    return tuple(parts)


def plain_passages(heatmap: Heatmap) -> tuple[Passage, ...]:
    """The running text by itself, without a shade or a mark."""
    cells = tuple(replace(cell, shade=0.0, relative=0.0, clipped=False) for cell in heatmap.overview.cells)
    unshaded = passages(heatmap, replace(heatmap.overview, cells=cells))
    return tuple(replace(part, runs=tuple(replace(run, sink=False) for run in part.runs)) for part in unshaded)


def undrawn(heatmap: Heatmap, row: Row) -> int:
    """How many tokens of a template, or special ones, have no score and are not drawn."""
    return sum(_left_out(label, cell) for label, cell in zip(heatmap.sources, row.cells, strict=False))


def _parts(heatmap: Heatmap) -> Iterator[tuple[str, Sequence[Label], int]]:
    """The name of each passage, its labels, and the source that it begins with."""
    before, after = ("prompt", ANSWER) if heatmap.complete else ("sources", "explained")
    for section in heatmap.sections:
        labels = (*heatmap.sources[section.start : section.stop], *section.rest)
        cut = heatmap.shared - section.start
        if section.name == CONTRAST or (section.name and not 0 <= cut < len(labels)):
            if section.stop > section.start or section.name != CONTRAST:
                yield section.name, labels, section.start
            continue
        cut = max(0, min(cut, len(labels)))
        if heatmap.encoder and section.start >= heatmap.encoder:
            cut = 0  # what a decoder starts with belongs to the answer
        if cut:
            yield section.name or before, labels[:cut], section.start
        if labels[cut:]:
            yield after, labels[cut:], section.start + cut


def _runs(heatmap: Heatmap, row: Row, labels: Sequence[Label], start: int) -> Iterator[Run]:
    before = ""
    for source, label in enumerate(labels, start):
        inside = source < len(heatmap.sources) and label is heatmap.sources[source]
        cell = row.cells[source] if inside and row.cells else NOTHING
        if _left_out(label, cell):
            continue
        for run in _lines(label, cell, bold=_is_explained(heatmap, row, source, label)):
            free = not before or not run.text or breakable(before, run.gap + run.text)
            yield replace(run, breakable=free, source=source if inside else None)
            before = "" if run.breaks else run.gap + run.text or before


def _lines(label: Label, cell: Cell, *, bold: bool) -> Iterator[Run]:
    """A source, or what ends the text: one run for each of its lines."""
    for number, piece in enumerate(label.pieces, 1):
        last = number == len(label.pieces)
        text = piece.rstrip(BREAK) if cell.weak and BREAK in piece else piece
        body = text.lstrip(" ") or (text if not label.lines else "")
        yield Run(
            text=body,
            gap=text[: len(text) - len(body)],
            breaks=label.lines if last else 1,
            shade=cell.shade if body and abs(cell.shade) >= VISIBLE and not cell.apart else 0.0,
            weak=cell.weak,
            bold=bold,
            quiet=label.special or label.role is Role.TEMPLATE,
            sink=last and label.sink,
            clipped=last and cell.clipped and not cell.apart,
        )


def _left_out(label: Label, cell: Cell) -> bool:
    """Whether it says nothing: no text of anybody's, and no score."""
    marked = label.special or label.role is Role.TEMPLATE
    return marked and cell.value is None and not label.sink and not label.explained


def _is_explained(heatmap: Heatmap, row: Row, source: int, label: Label) -> bool:
    """Whether the row explains it: one target, or all of them."""
    if row.target is None or not heatmap.places:
        return label.explained
    begin, end = heatmap.places[row.target]
    return begin <= source < end or (source >= len(heatmap.sources) and row.target == len(heatmap.targets) - 1)


def _elided(runs: Sequence[Run], least: int, noun: str) -> Iterator[Run]:
    for weak, group in groupby(runs, key=_is_weak):
        stretch = list(group)
        count = len({run.source for run in stretch})
        if not weak or count < least:
            yield from stretch
        else:
            yield Run(f"… {count} {noun}s …", gap=" ", breaks=stretch[-1].breaks, quiet=True, elided=count)


def _is_weak(run: Run) -> bool:
    return run.weak and run.source is not None and not run.bold and not run.sink
