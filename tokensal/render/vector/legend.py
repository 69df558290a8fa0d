"""The legend: one line that says how strong a colour is, and for what it speaks; and the notes below it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tokensal.render.layout.figure import Ramp
from tokensal.render.layout.labels import shortened
from tokensal.render.vector.fonts import ITALIC, PLAIN, Style
from tokensal.render.vector.pen import SIGN_LINE, Pen
from tokensal.render.vector.shapes import GREY, Box, Rule, Shape

STEP, LEAST_STEP = 3.4, 1.6  # points: the width of one step of colour, where there are twenty
LEAST = 10  # steps that have the width of twenty; of fewer, each is as wide as of these
NAMES = (32, 24, 18, 14, 10, 8, 5)  # cells that a name may take, tried in turn
Parts = list[tuple[str, Style]]


@dataclass(frozen=True, slots=True)
class Line:
    """The parts of a legend that fits in a line."""

    before: Parts
    after: Parts
    step: float
    width: float


def place_legend(
    ramp: Ramp, pen: Pen, top: float, *, notes: tuple[str, ...] = (), left: float | None = None
) -> tuple[list[Shape], float]:
    """The legend below `top`, its quantity beside it or below, with the notes; and where it ends."""
    left = pen.left if left is None else left
    baseline = top + 0.9 * pen.label
    room = pen.right - left
    line = _line(ramp, pen, room)
    ends: tuple[str, ...] = ()
    if line.width > room:
        line, ends = lay_line(ramp, pen, LEAST_STEP, 0, named=False), tuple(_ends(ramp))
    quantity = pen.extent([(ramp.quantity, PLAIN)], pen.label)
    beside = quantity + 1.4 * pen.label + line.width <= room
    start = pen.right - line.width if beside else left
    shapes: list[Shape] = []
    if beside:
        shapes += pen.sentence(ramp.quantity, left, baseline, pen.label)
    shapes += place_ramp(ramp, line, pen, start, baseline)
    sentences = (*ends, *notes) if beside else (*ends, f"Colour: {ramp.quantity}.", *notes)
    below, end = pen.paragraph(sentences, baseline + 0.35 * pen.label, left)
    return [*shapes, *below], end if below else baseline + 0.35 * pen.label


def place_ramp(ramp: Ramp, line: Line, pen: Pen, x: float, y: float) -> Iterator[Shape]:
    """The words and numbers at both ends, and the steps between them."""
    yield from pen.row(line.before, x, y, pen.label)
    x += pen.extent(line.before, pen.label)
    height, above = 0.68 * pen.label, 0.66 * pen.label
    start = x
    for index, shade in enumerate(ramp.steps):
        yield Box(start + index * line.step, y - above, line.step, height, pen.paper.fill(shade))
    negative = start + line.step * sum(shade < 0 for shade in ramp.steps)
    zero = negative + line.step * ramp.steps.count(0.0) / 2  # where colours are in steps, one is blank
    end = start + line.step * len(ramp.steps)
    if negative > start:
        yield pen.sign(start, y - above + height + 0.1, negative - start)
        yield Rule(zero, y - above - 0.8, height + 0.9 + SIGN_LINE, 0.4, GREY, vertical=True)
    yield from pen.row(line.after, end, y, pen.label)


def _line(ramp: Ramp, pen: Pen, room: float) -> Line:
    """The legend with names as long as there is room, and steps as wide."""
    for cells in NAMES:
        for step in (STEP, LEAST_STEP):
            line = lay_line(ramp, pen, step * pen.size / 9 * 20 / max(len(ramp.steps), LEAST), cells)
            if line.width <= room:
                return line
    return line


def lay_line(ramp: Ramp, pen: Pen, step: float, cells: int, *, named: bool = True) -> Line:
    """The legend with names of at most so many cells, or with the numbers alone."""
    before: Parts = [(f"{ramp.low} ", PLAIN)]
    if ramp.against and named:
        before = [*_end(ramp.against, cells), (" ", PLAIN), *before]
    after: Parts = [(f" {ramp.high}", PLAIN)]
    if ramp.towards[0] and named:
        after = [*after, (" ", PLAIN), *_end(ramp.towards, cells)]
    width = pen.extent([*before, *after], pen.label) + step * len(ramp.steps)
    return Line(before, after, step, width)


def _ends(ramp: Ramp) -> Iterator[str]:
    """For what both ends speak, below a ramp that has no room for it."""
    against, towards = (" ".join(filter(None, end or ())) for end in (ramp.against, ramp.towards))
    yield " · ".join(filter(None, (f"← {against}" * bool(against), f"{towards} →" * bool(towards))))


def _end(end: tuple[str, str], cells: int) -> Parts:
    word, name = end
    return [(word, PLAIN), (" ", PLAIN), (shortened(name, cells), ITALIC)] if name else [(word, PLAIN)]
