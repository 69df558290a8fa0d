"""A comparison: the same running text once for each method, below the name of the method and its own scale."""

from __future__ import annotations

from tokensal.render.layout.figure import ComparisonFigure, TextFigure
from tokensal.render.vector.fonts import BOLD, PLAIN
from tokensal.render.vector.legend import STEP, lay_line, place_legend, place_ramp
from tokensal.render.vector.lines import Item, broken
from tokensal.render.vector.pen import Pen
from tokensal.render.vector.running_text import place_text
from tokensal.render.vector.shapes import GREY, HAIRLINE, Rule, Shape


def place_comparison(figure: ComparisonFigure, pen: Pen) -> tuple[list[Shape], float]:
    """The shapes of a comparison, and where it ends."""
    shapes: list[Shape] = []
    top = 0.3
    for index, (name, part) in enumerate(figure.parts):
        if index:
            shapes.append(Rule(pen.left, top, pen.right - pen.left, 0.3, HAIRLINE))
            top += 0.35 * pen.size
        head, top = _head(name, part, pen, top)
        body, top = place_text(part, pen, top + 0.45 * pen.size)
        notes = [note for note in part.sheet.notes if note not in figure.sheet.notes]
        below, top = pen.paragraph(notes, top + 0.1 * pen.size, pen.left)
        shapes += [*head, *body, *below]
        top += 0.5 * pen.size
    legend, end = place_legend(figure.sheet.ramp, pen, top, notes=figure.sheet.notes)
    return [*shapes, *legend], end


def _head(name: str, part: TextFigure, pen: Pen, top: float) -> tuple[list[Shape], float]:
    """The name of a method, what its scores are, and its scale at the right where there is room, else below."""
    ramp = part.sheet.ramp
    step = 0.5 * STEP * pen.size / 9 * 20 / len(ramp.steps)
    line = lay_line(ramp, pen, step, 0, named=False)
    baseline = top + 0.75 * pen.label
    shapes: list[Shape] = list(place_ramp(ramp, line, pen, pen.right - line.width, baseline))
    room = pen.right - pen.left - line.width - pen.label
    titles = broken(
        [Item(pen.typeface.written(name), pen.label, style=BOLD)],
        lambda text, item: pen.measure(text, item.size, item.style),
        room,
    )
    for number, atoms in enumerate(titles):
        baseline += 1.25 * pen.label * bool(number)
        text = "".join(atom.gap + atom.text for atom in atoms)
        shapes += pen.row([(text, BOLD)], pen.left, baseline, pen.label)
    quantity = [(f"  {ramp.quantity}", PLAIN)]
    x = pen.left + pen.extent([(text, BOLD)], pen.label)
    if x + pen.extent(quantity, pen.note) <= pen.left + room:
        shapes += pen.sentence(f"  {ramp.quantity}", x, baseline, pen.note, colour=GREY)
    else:
        below, baseline = pen.paragraph([ramp.quantity], baseline + 0.1 * pen.label, pen.left)
        shapes += below
    return shapes, baseline + 0.1 * pen.label
