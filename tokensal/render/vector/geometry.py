"""Geometry: a figure of the layout becomes shapes, each in its place; the formats draw these and decide nothing."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

from tokensal.drawing import Drawing
from tokensal.errors import InputError
from tokensal.render.layout import (
    ComparisonFigure,
    EvaluationTables,
    Heatmap,
    HeatmapComparison,
    MatrixFigure,
    TextFigure,
    lay_out_figure,
)
from tokensal.render.layout.palette import paper_palette
from tokensal.render.vector.comparison import place_comparison
from tokensal.render.vector.curves import place_curves
from tokensal.render.vector.fonts import typeface
from tokensal.render.vector.legend import place_legend
from tokensal.render.vector.matrix import place_matrix
from tokensal.render.vector.pen import Pen
from tokensal.render.vector.running_text import place_text
from tokensal.render.vector.shapes import Plate, Shape

ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ,.:;?…⟨⟩+−←→·"
LEAST_WIDTH = 14.0  # em: fewer hold no legend


def place(layout: Heatmap | HeatmapComparison | EvaluationTables, drawing: Drawing, *, embedded: bool) -> Plate:
    """The shapes of a figure; inside of `default_settings`.

    Args:
        layout: what is drawn.
        drawing: how it is drawn: its width, its font and the size of its text.
        embedded: whether the file brings its fonts along, so that no other characters can be drawn than they have.

    Raises:
        InputError: there is no such font or row, an evaluation has no curves, or the text is too large for the width.
    """
    figure = layout if isinstance(layout, EvaluationTables) else lay_out_figure(layout, drawing)
    if drawing.points < LEAST_WIDTH * drawing.font_size:
        raise InputError(
            f"font_size is {drawing.font_size:g}, but a figure {drawing.points:g}pt wide holds text of at most "
            f"{drawing.points / LEAST_WIDTH:.4g}pt; lower it, or draw a wider figure."
        )
    fonts = typeface(drawing.font, set(_characters(figure)) | set(ALPHABET), embedded=embedded)
    pen = Pen(drawing.points, drawing.font_size, fonts, paper_palette(drawing.palette))
    match figure:
        case EvaluationTables():
            shapes, end = place_curves(figure, pen)
            return Plate(pen.width, round(end + 0.6, 2), tuple(shapes), figure, fonts)
        case ComparisonFigure():
            shapes, end = place_comparison(figure, pen)
        case MatrixFigure():
            shapes, end = place_matrix(figure, pen)
        case TextFigure():
            shapes, end = _place_text(figure, pen)
    return Plate(pen.width, round(end + 0.6, 2), tuple(shapes), figure.sheet, fonts)


def _place_text(figure: TextFigure, pen: Pen) -> tuple[list[Shape], float]:
    shapes, end = place_text(figure, pen, 0.3)
    legend, end = place_legend(figure.sheet.ramp, pen, end + 0.5 * pen.size, notes=figure.sheet.notes)
    return [*shapes, *legend], end


def _characters(value: object) -> set[str]:
    """All characters of all texts in a figure, in lower case and in capitals."""
    if isinstance(value, str):
        return set(value) | set(value.upper())
    if isinstance(value, tuple):
        return set().union(*map(_characters, value))
    if is_dataclass(value):
        return set().union(*(_characters(getattr(value, field.name)) for field in fields(value)))
    return set()
