"""Running text: every passage behind its name, each token on its fill, and what is explained behind the answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from tokensal.render.layout.figure import TextFigure
from tokensal.render.layout.legend import CLIPPED, SINK
from tokensal.render.layout.passages import Passage, Run
from tokensal.render.layout.sections import CONTRAST
from tokensal.render.vector import bidi
from tokensal.render.vector.fonts import ITALIC, PLAIN, Style
from tokensal.render.vector.lines import Atom, Item, Measure, broken
from tokensal.render.vector.pen import ABOVE, BELOW, LEAST, OVERHANG, RADIUS, SIGN, SIGN_LINE, Pen
from tokensal.render.vector.shapes import GREY, INK, Box, Shape, Text

LEADING = 1.34  # em from baseline to baseline: the fills of two lines do not touch
RAISED, SMALL = 0.34, 0.68  # em: how far a mark is raised, and its size
PALE = 0.3  # up to this shade, text of a chat's template is grey; on stronger ones it is black


def place_text(figure: TextFigure, pen: Pen, top: float) -> tuple[list[Shape], float]:
    """The shapes of a running text below `top`, and where it ends."""
    shapes: list[Shape] = []
    baseline = top + ABOVE * pen.size - LEADING * pen.size
    answer = max((index for index, passage in enumerate(figure.passages) if passage.name != CONTRAST), default=-1)
    for index, passage in enumerate(figure.passages):
        items = [*_items(figure, passage, pen), *(_explained(figure, pen) if index == answer else ())]
        baseline += LEADING * pen.size
        name = pen.heading(passage.name, pen.left, baseline, pen.right - pen.left)
        shapes.append(name)
        first = name.width + 0.55 * pen.size
        backwards = bidi.is_backwards(item.text for item in items)
        lines = broken(items, _measure(pen), pen.right - pen.left, first)
        for number, line in enumerate(lines):
            baseline += LEADING * pen.size * bool(number)
            indent = 0.0 if number else first
            shapes.extend(_line(line, items, pen, baseline, indent, backwards=backwards))
        baseline += 0.12 * pen.size
    return shapes, baseline - 0.12 * pen.size + SIGN * pen.size + SIGN_LINE


def _measure(pen: Pen) -> Measure:
    def measure(text: str, item: Item) -> float:
        if text in (SINK, CLIPPED):
            return pen.measure(text, _small(item))
        return pen.measure(text, item.size, item.style)

    return measure


def _small(item: Item) -> float:
    """The size of a mark."""
    return max(LEAST, SMALL * item.size)


def _items(figure: TextFigure, passage: Passage, pen: Pen) -> Iterator[Item]:
    for index, run in enumerate(passage.runs):
        yield Item(
            text=pen.typeface.written(run.text),
            size=pen.size,
            gap=run.gap if index else "",
            style=Style(bold=run.bold),
            colour=GREY if run.quiet and abs(run.shade) <= PALE else INK,
            free=run.breakable,
            breaks=run.breaks,
            shade=run.shade,
            source=run.source,
            mark=SINK if run.sink else CLIPPED if run.clipped else "",
            about=_about(figure, run),
        )


def _about(figure: TextFigure, run: Run) -> str:
    """What is said of a token: its score."""
    if run.source is None or run.source >= len(figure.row.cells):
        return ""
    return figure.row.scale.write(figure.row.cells[run.source].value)


def _explained(figure: TextFigure, pen: Pen) -> Iterator[Item]:
    """What was not written, and the score of what was."""
    if figure.foil:
        yield Item("rather than", pen.label + 0.4, gap="  ", ours=True)
        yield Item(pen.typeface.written(figure.foil), pen.size, gap="  ", style=ITALIC)
    if figure.value:
        name, variable, number = figure.value.partition("p = ")
        parts = [(name.rstrip(), PLAIN), ("p", ITALIC), (f"= {number}", PLAIN)] if variable else [(figure.value, PLAIN)]
        for index, (text, style) in enumerate(part for part in parts if part[0]):
            gap = " " if index else "   "
            yield Item(text, pen.label, gap=gap, style=style, colour=GREY, free=not index, ours=True)


def _line(
    line: Sequence[Atom], items: Sequence[Item], pen: Pen, y: float, indent: float, *, backwards: bool
) -> Iterator[Shape]:
    """The shapes of one line, token by token."""
    x = pen.left + indent
    if backwards:
        x = pen.right - sum(atom.indent + atom.width for atom in line)
    shapes: list[Shape] = []
    texts = ["a" if items[atom.item].ours else atom.text for atom in line]
    for stretch in bidi.stretches(texts, backwards=backwards):
        first, *others = line[stretch.start : stretch.stop]
        atoms = [replace(first, indent=0.0), *others]
        place = _from_the_right if stretch.backwards else _from_the_left
        x += 0.0 if backwards else first.indent  # a gap stands on the side of what is read before
        end = x + sum(atom.indent + atom.width for atom in atoms)
        shapes.extend(place(atoms, items, pen, x, end, y))
        x = end + (first.indent if backwards else 0.0)
    start = next((index for index, shape in enumerate(shapes) if isinstance(shape, Text)), -1)
    for index, shape in enumerate(shapes):
        yield replace(shape, gap=" " if indent else "\n") if index == start and isinstance(shape, Text) else shape


def _from_the_left(
    atoms: Sequence[Atom], items: Sequence[Item], pen: Pen, x: float, end: float, y: float
) -> Iterator[Shape]:
    """The fills and texts of atoms one behind the other; those of one item have one fill."""
    groups = [list(group) for _, group in groupby(atoms, key=lambda atom: atom.item)]
    for index, group in enumerate(groups):
        item, first = items[group[0].item], group[0]
        x += first.indent
        width = sum(atom.indent + atom.width for atom in group) - first.indent
        touches = index > 0 and not first.gap, index < len(groups) - 1 and not groups[index + 1][0].gap
        yield from _fill(item, pen, x, width, y, touches)
        yield from _words(group, item, pen, x, y)
        x += width


def _words(group: Sequence[Atom], item: Item, pen: Pen, x: float, y: float) -> Iterator[Shape]:
    """The text of one item on one line, and its mark behind it."""
    text = group[0].text + "".join(atom.gap + atom.text for atom in group[1:])
    mark = group[-1].mark
    reach = sum(atom.indent + atom.width for atom in group) - group[0].indent
    raised = pen.measure(mark, _small(item)) if mark else 0.0
    gap = group[0].gap
    yield Text(
        x, y, text, reach - raised, item.size, item.style, item.colour, gap=gap, source=item.source, about=item.about
    )
    if mark:
        at = x + reach - raised, y - RAISED * item.size
        yield Text(*at, mark, raised, _small(item), source=item.source, about=item.about)


def _fill(item: Item, pen: Pen, x: float, width: float, y: float, touches: tuple[bool, bool]) -> Iterator[Shape]:
    """The fill of a text and the rule of a negative; beyond the text it reaches where no other text is."""
    if not item.shade:
        return
    left, right = (0.12 if touch else -OVERHANG * item.size for touch in touches)
    x, width = x + left, max(width - left - right, 0.3)
    yield Box(
        x, y - ABOVE * item.size, width, (ABOVE + BELOW) * item.size, pen.paper.fill(item.shade),
        radius=RADIUS, left=not touches[0], right=not touches[1], source=item.source, about=item.about,
    )  # fmt: skip
    if item.shade < 0:
        yield pen.sign(x, y + SIGN * item.size, width, item.shade, item.source, item.about)


def _from_the_right(
    atoms: Sequence[Atom], items: Sequence[Item], pen: Pen, x: float, end: float, y: float
) -> Iterator[Shape]:
    """The fills of atoms that are read from the right, and one text, since their letters are joined."""
    item = items[atoms[0].item]
    pieces = [(items[atom.item].source, atom.gap * bool(index) + atom.text) for index, atom in enumerate(atoms)]
    text = "".join(piece for _, piece in pieces)
    width = pen.measure(text, item.size, item.style)
    # its width differs from the sum of its parts, which are joined
    scale = (end - x) / width if width else 1.0
    right, written = end, ""
    for index, (atom, (_, piece)) in enumerate(zip(atoms, pieces, strict=True)):
        each = items[atom.item]
        start = right - scale * pen.measure(written + atom.gap * bool(index), item.size, item.style)
        written += piece
        stop = right - scale * pen.measure(written, item.size, item.style)
        touches = index < len(atoms) - 1 and not atoms[index + 1].gap, index > 0 and not atom.gap
        yield from _fill(each, pen, stop, start - stop, y, touches)
    left = right - width * scale
    yield Text(left, y, text, width * scale, item.size, item.style, item.colour, gap=atoms[0].gap, pieces=tuple(pieces))
