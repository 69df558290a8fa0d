"""The matrix: a row for each target, a column for each source, in as many panels as keep the labels apart.

1. Cells are as wide as the figure allows, up to a most. Labels of columns are turned by 55°, and by 90° where cells are
   too narrow for that. Where even these would touch, the columns are drawn in panels, one below the other.
2. Over the columns of each section stands its name, on a rule.
3. A visible cell has a frame, a score of at least .02 of the scale a fill, and one of at least .1 its number, where
   all numbers fit. A negative one has a rule at its bottom, too. The sink has no fill.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tokensal.render.layout.figure import MatrixFigure
from tokensal.render.layout.labels import Label, shortened
from tokensal.render.layout.legend import CLIPPED, SINK
from tokensal.render.layout.matrix import Column
from tokensal.render.layout.passages import VISIBLE
from tokensal.render.layout.rows import Cell
from tokensal.render.vector.fonts import PLAIN
from tokensal.render.vector.legend import place_legend
from tokensal.render.vector.pen import LEAST, SIGN_LINE, Pen
from tokensal.render.vector.shapes import GREY, HAIRLINE, INK, Box, Frames, Rule, Shape, Text

ROW, WIDEST, LEAST_NUMBERED = 11.5, 24.0, 14.0  # points: the height of a cell, its most width, and least with a number
APART = 6.0  # points between two sections
TURNED, UPRIGHT = 55.0, 90.0  # degrees
ROW_NAMES, COLUMN_NAME = (18, 12, 8, 5), 14  # cells of a label; fewer where rows take more than their share
SHARE = 0.35  # of the width, for the labels of rows
FRAME = 0.3
DIGITS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")


@dataclass(frozen=True, slots=True)
class Panel:
    """Columns `start` to `stop` of the matrix: where each begins, how wide it is, and how its label is turned."""

    start: int
    stop: int
    lefts: tuple[float, ...]
    pitch: float
    angle: float


def place_matrix(figure: MatrixFigure, pen: Pen) -> tuple[list[Shape], float]:
    """The shapes of a matrix with its legend, and where it ends."""
    for cells in ROW_NAMES:
        longest = max(_extent(_parts(label, cells, pen), pen) for label in figure.targets)
        if longest <= SHARE * pen.width:
            break
    gutter = pen.left + longest + 0.45 * pen.label
    panels = _panels(figure, pen, gutter)
    number = _number_size(figure, pen, panels[0].pitch)
    shapes: list[Shape] = []
    top = 0.3
    for panel in panels:
        if panel.start:
            top += 0.6 * pen.size
        heads, top = _heads(figure, pen, panel, top)
        body, top = _cells(figure, pen, panel, top, gutter, cells, number)
        shapes += [*heads, *body]
    legend, end = place_legend(figure.sheet.ramp, pen, top + 0.6 * pen.size, notes=figure.sheet.notes, left=pen.left)
    return [*shapes, *legend], end


def _panels(figure: MatrixFigure, pen: Pen, gutter: float) -> list[Panel]:
    """The columns in as few panels as keep labels legible, in equal parts; all cells are equally wide."""
    columns = figure.matrix.columns
    count = 1
    while True:
        size = math.ceil(len(columns) / count)
        starts = range(0, len(columns), size)
        parts = [(start, min(start + size, len(columns))) for start in starts]
        angle, pitch = _pitch(columns, parts, pen, gutter)
        least = _least_pitch(pen, angle)
        if pitch >= least or size == 1:
            return [
                Panel(start, stop, _lefts(columns[start:stop], pitch, pen, gutter), pitch, angle)
                for start, stop in parts
            ]
        count += 1


def _least_pitch(pen: Pen, angle: float) -> float:
    """How far apart labels have to stand that are turned so."""
    return 0.95 * pen.label / math.sin(math.radians(angle))


def _pitch(columns: Sequence[Column], parts: Sequence[tuple[int, int]], pen: Pen, gutter: float) -> tuple[float, float]:
    """The angle of the labels and the width of the cells; a label that is turned reaches beyond its own."""
    for angle in (TURNED, UPRIGHT):
        pitch = min(_fitting(columns[start:stop], pen, gutter, angle) for start, stop in parts)
        if pitch >= _least_pitch(pen, angle):
            return angle, min(pitch, WIDEST * pen.size / 9)
    return UPRIGHT, pitch


def _fitting(columns: Sequence[Column], pen: Pen, gutter: float, angle: float) -> float:
    """The widest cells with which neither the cells nor the labels of these columns leave the figure."""
    gaps, widths = 0.0, []
    for index, column in enumerate(columns):
        gaps += _gap(pen) * (column.begins and index > 0)
        reach = _reach(column, pen) * math.cos(math.radians(angle)) + 0.2 * pen.label
        widths.append((pen.right - gutter - gaps - reach) / (index + 0.5))
    return min([(pen.right - gutter - gaps) / len(columns), *widths])


def _gap(pen: Pen) -> float:
    return APART * pen.size / 9


def _reach(column: Column, pen: Pen) -> float:
    return _extent(_parts(column.label, COLUMN_NAME, pen), pen)


def _lefts(columns: Sequence[Column], pitch: float, pen: Pen, gutter: float) -> tuple[float, ...]:
    lefts, x = [], gutter
    for index, column in enumerate(columns):
        x += _gap(pen) * (column.begins and index > 0)
        lefts.append(x)
        x += pitch
    return tuple(lefts)


def _parts(label: Label, cells: int, pen: Pen) -> list[tuple[str, float, float]]:
    """The name of a unit, its ordinal, lowered, and the mark of a sink, raised: the text, the size and how far up."""
    small = max(LEAST, 0.72 * pen.label)
    parts = [(pen.typeface.written(shortened(label.name, cells)), pen.label, 0.0)]
    if label.ordinal:
        parts.append((label.ordinal.translate(DIGITS), small, -0.16 * pen.label))
    if label.sink:
        parts.append((SINK, small, 0.28 * pen.label))
    return parts


def _extent(parts: Sequence[tuple[str, float, float]], pen: Pen) -> float:
    return sum(pen.measure(text, size) for text, size, _ in parts)


def _label(label: Label, cells: int, pen: Pen, at: tuple[float, float], angle: float, source: int | None) -> list[Text]:
    """The texts of a label that begins at a place, turned by an angle."""
    x, y = at
    sine, cosine = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    texts: list[Text] = []
    about = f"{label.name}{label.ordinal}"
    for text, size, up in _parts(label, cells, pen):
        width, gap = pen.measure(text, size), "" if texts else "\n"
        place = x - up * sine, y - up * cosine
        texts.append(Text(*place, text, width, size, angle=angle, gap=gap, source=source, about=about))
        x, y = x + width * cosine, y - width * sine
    return texts


def _number_size(figure: MatrixFigure, pen: Pen, pitch: float) -> float:
    """The size at which all numbers fit into their cells; 0 where none is large enough to be read."""
    numbers = [_number(figure, cell) for row in figure.matrix.rows for cell in row if not cell.weak]
    reach = max((pen.measure(number, 1.0) for number in numbers), default=0.0)
    size = min(pen.number, (pitch - 0.6) / reach) if reach else pen.number
    return size if figure.numbered and pitch >= LEAST_NUMBERED and size >= LEAST else 0.0


def _number(figure: MatrixFigure, cell: Cell) -> str:
    """A score with its minus; what has none needs no plus."""
    return figure.matrix.scale.write(cell.value).removeprefix("+") + CLIPPED * cell.clipped


def _heads(figure: MatrixFigure, pen: Pen, panel: Panel, top: float) -> tuple[list[Shape], float]:
    """The names of the sections, each on a rule, and the turned labels below them; and where the cells begin."""
    sections = list(_sections(figure, panel)) if len(figure.matrix.sections) > 1 else []
    shapes: list[Shape] = []
    if sections:
        baseline = top + 0.75 * pen.head
        for name, start, stop in sections:
            left, right = panel.lefts[start], panel.lefts[stop - 1] + panel.pitch
            last = stop == len(panel.lefts)
            shapes.append(pen.heading(name, left, baseline, (pen.right if last else right) - left))
            shapes.append(Rule(left, baseline + 0.45 * pen.head, right - left, 0.4, GREY))
        top = baseline + 0.45 * pen.head + 0.5 * pen.label
    columns = figure.matrix.columns[panel.start : panel.stop]
    sine, cosine = math.sin(math.radians(panel.angle)), math.cos(math.radians(panel.angle))
    height = max(_reach(column, pen) for column in columns) * sine + 0.75 * pen.label * cosine
    base = top + height + 0.3 * pen.label
    for column, left in zip(columns, panel.lefts, strict=True):
        # a turned baseline begins where its x-height is centred over the column
        x = left + panel.pitch / 2 + 0.22 * pen.label * sine
        y = base - 0.3 * pen.label
        shapes += _label(column.label, COLUMN_NAME, pen, (x, y), panel.angle, column.source)
    return shapes, base


def _sections(figure: MatrixFigure, panel: Panel) -> Iterator[tuple[str, int, int]]:
    """The name of each section of a panel, and its columns, counted in the panel."""
    end = 0
    for name, count in figure.matrix.sections:
        start, end = end, end + count
        first, last = max(start, panel.start) - panel.start, min(end, panel.stop) - panel.start
        if first < last:
            yield name, first, last


def _cells(
    figure: MatrixFigure, pen: Pen, panel: Panel, top: float, gutter: float, name_cells: int, number: float
) -> tuple[list[Shape], float]:
    height = ROW * pen.size / 9
    shapes: list[Shape] = []
    frames: list[tuple[float, float, float, float]] = []
    for target, (label, row) in enumerate(zip(figure.targets, figure.matrix.rows, strict=True)):
        y = top + target * height
        start = gutter - 0.45 * pen.label - _extent(_parts(label, name_cells, pen), pen)
        shapes += _label(label, name_cells, pen, (start, y + height / 2 + 0.32 * pen.label), 0.0, None)
        cells = row[panel.start : panel.stop]
        columns = figure.matrix.columns[panel.start : panel.stop]
        for column, cell, x in zip(columns, cells, panel.lefts, strict=True):
            if cell.value is None:
                continue
            frames.append((x, y, panel.pitch, height))
            about = f"{label.name} ← {column.label.name}: {figure.matrix.scale.write(cell.value)}"
            shapes.extend(_cell(figure, pen, cell, (x, y, panel.pitch, height), about, number))
    return [Frames(tuple(frames), FRAME, HAIRLINE), *shapes], top + len(figure.targets) * height


def _cell(
    figure: MatrixFigure, pen: Pen, cell: Cell, box: tuple[float, float, float, float], about: str, size: float
) -> Iterator[Shape]:
    """The fill of a cell, the rule of a negative one, and its number."""
    x, y, width, height = box
    if abs(cell.shade) >= VISIBLE and not cell.apart:
        fill = pen.paper.fill(cell.shade)
        yield Box(x, y, width, height, fill, edge=HAIRLINE, line=FRAME, source=cell.source, about=about)
        if cell.shade < 0:
            yield pen.sign(
                x + FRAME / 2, y + height - FRAME / 2 - SIGN_LINE, width - FRAME, cell.shade, cell.source, about
            )
    number = _number(figure, cell) if size and not cell.weak else CLIPPED * cell.clipped
    if number:
        written = size or pen.number
        reach = pen.measure(number, written)
        at = x + (width - reach) / 2, y + height / 2 + 0.32 * written
        yield Text(*at, number, reach, written, PLAIN, INK, gap=" ", source=cell.source, about=about)
