"""The curves of an evaluation: a small plot for each method, side by side, on the same axes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tokensal.errors import InputError
from tokensal.render.layout.evaluation import CURVE_NAMES, Curves, EvaluationTables
from tokensal.render.layout.numbers import exact, percent
from tokensal.render.layout.palette import Colour
from tokensal.render.vector.fonts import BOLD
from tokensal.render.vector.lines import Item, broken
from tokensal.render.vector.pen import Pen
from tokensal.render.vector.shapes import GREY, HAIRLINE, Rule, Shape, Stroke

LEAST_WIDTH = 11.0  # em of a plot; as many stand side by side as have it
HEIGHT = 0.62  # of a plot, of its width
GAP = 1.4  # em between plots
LINE, FAINT_LINE = 1.1, 0.6  # points
DASH = (3.0, 1.8)
CHANCE: Colour = (150, 150, 150)
KEY = 2.0  # em of a line in the legend


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a plot is, and which values its axes span."""

    left: float
    top: float
    right: float
    bottom: float
    limits: tuple[float, float]

    def at(self, share: float, value: float) -> tuple[float, float]:
        """The point of a value at a share of absent units."""
        low, high = self.limits
        across = self.left + (self.right - self.left) * share
        return across, self.bottom + (self.top - self.bottom) * (value - low) / (high - low)


def place_curves(evaluation: EvaluationTables, pen: Pen) -> tuple[list[Shape], float]:
    """The shapes of all plots and of their legend, and where these end.

    Raises:
        InputError: there are no curves.
    """
    if not evaluation.curves:
        raise InputError(
            "This evaluation has no curves to draw: measure abpc, too, or write the tables as .html, .md, .tex or .txt."
        )
    room, gap = pen.right - pen.left, GAP * pen.size
    across = max(1, min(len(evaluation.curves), int((room + gap) / (LEAST_WIDTH * pen.size + gap))))
    width = (room - (across - 1) * gap) / across
    shapes: list[Shape] = []
    top = 0.3
    for start in range(0, len(evaluation.curves), across):
        ends = []
        for column, curves in enumerate(evaluation.curves[start : start + across]):
            plot, end = _plot(evaluation, curves, pen, pen.left + column * (width + gap), top, width)
            shapes += plot
            ends.append(end)
        top = max(ends) + 0.6 * pen.size
    key, top = _key(evaluation, pen, top)
    note, end = pen.paragraph([evaluation.curve_note], top, pen.left)
    return [*shapes, *key, *note], end


def _plot(
    evaluation: EvaluationTables, curves: Curves, pen: Pen, left: float, top: float, width: float
) -> tuple[list[Shape], float]:
    """One plot below the name of its method, which may take several lines."""
    shapes: list[Shape] = []
    baseline = top
    for line in broken(
        [Item(pen.typeface.written(curves.name), pen.label, style=BOLD)],
        lambda text, item: pen.measure(text, item.size, item.style),
        width,
    ):
        baseline += 1.15 * pen.label
        shapes += pen.row([("".join(atom.gap + atom.text for atom in line), BOLD)], left, baseline, pen.label)
    labels = max(pen.measure(exact(tick), pen.note) for tick in evaluation.ticks)
    axis = left + labels + 0.4 * pen.note
    start = baseline + 0.6 * pen.label
    frame = Frame(axis, start, left + width, start + HEIGHT * (left + width - axis), evaluation.limits)
    shapes += [*_axes(evaluation, pen, frame), *_lines(evaluation, curves, pen, frame)]
    return shapes, frame.bottom + 1.3 * pen.note


def _axes(evaluation: EvaluationTables, pen: Pen, frame: Frame) -> Iterator[Shape]:
    for tick in evaluation.ticks:
        x, y = frame.at(0, tick)
        yield Rule(x, y, frame.right - x, 0.4, HAIRLINE)
        text = exact(tick)
        yield pen.text(
            text, x - 0.4 * pen.note - pen.measure(text, pen.note), y + 0.33 * pen.note, pen.note, colour=GREY
        )
    for share, part in ((0.0, 0.0), (0.5, 0.5), (1.0, 1.0)):
        text = percent(share)
        x = frame.at(share, 0)[0] - part * pen.measure(text, pen.note)
        yield pen.text(text, x, frame.bottom + 1.1 * pen.note, pen.note, colour=GREY)


def _lines(evaluation: EvaluationTables, curves: Curves, pen: Pen, frame: Frame) -> Iterator[Shape]:
    def stroke(values: Sequence[float], line: float, colour: Colour, dash: tuple[float, ...] = ()) -> Stroke:
        pairs = zip(evaluation.shares, values, strict=True)
        return Stroke(tuple(frame.at(share, value) for share, value in pairs), line, colour, dash)

    chance = evaluation.chance
    if chance is not None and chance is not curves:
        yield stroke(chance.most_first, FAINT_LINE, CHANCE)
        yield stroke(chance.least_first, FAINT_LINE, CHANCE)
    yield stroke(curves.most_first, LINE, pen.paper.positive)
    yield stroke(curves.least_first, LINE, pen.paper.negative, DASH)


def _key(evaluation: EvaluationTables, pen: Pen, top: float) -> tuple[list[Shape], float]:
    """What each line is; in several rows where the figure is narrow."""
    entries: list[tuple[str, float, Colour, tuple[float, ...]]] = [
        (CURVE_NAMES[0], LINE, pen.paper.positive, ()),
        (CURVE_NAMES[1], LINE, pen.paper.negative, DASH),
    ]
    if evaluation.chance is not None:
        entries.append(("both at random", FAINT_LINE, CHANCE, ()))
    shapes: list[Shape] = []
    x, baseline, length = pen.left, top + pen.label, KEY * pen.label
    for name, line, colour, dash in entries:
        width = length + 0.4 * pen.label + pen.measure(name, pen.label)
        if x > pen.left and x + width > pen.right:
            x, baseline = pen.left, baseline + 1.25 * pen.label
        y = baseline - 0.3 * pen.label
        shapes.append(Stroke(((x, y), (x + length, y)), line, colour, dash))
        shapes.append(pen.text(name, x + length + 0.4 * pen.label, baseline, pen.label))
        x += width + pen.label
    return shapes, baseline + 0.5 * pen.label
