"""Outlines: of a box whose corners are round at one side, and of the letters of a text."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.path import Path
from matplotlib.textpath import text_to_path
from matplotlib.transforms import Affine2D

from tokensal.render.vector.fonts import Typeface
from tokensal.render.vector.shapes import Box, Text

Point = tuple[float, float]


def corners(box: Box) -> Iterator[tuple[str, tuple[Point, ...]]]:
    """Steps around a box, clockwise from its upper left corner: M moves, L draws a line, Q a curve."""
    radius = min(box.radius, box.width / 2, box.height / 2)
    left, right = (radius if round_side else 0.0 for round_side in (box.left, box.right))
    x, y, end, bottom = box.x, box.y, box.x + box.width, box.y + box.height
    yield "M", ((x + left, y),)
    yield "L", ((end - right, y),)
    if right:
        yield "Q", ((end, y), (end, y + right))
    yield "L", ((end, bottom - right),)
    if right:
        yield "Q", ((end, bottom), (end - right, bottom))
    yield "L", ((x + left, bottom),)
    if left:
        yield "Q", ((x, bottom), (x, bottom - left))
    yield "L", ((x, y + left),)
    if left:
        yield "Q", ((x, y), (x + left, y))


def letters(text: Text, typeface: Typeface) -> Path | None:
    """The letters of a text in their places, as one path; None where it has none."""
    properties = typeface.properties(text.text, text.size, text.style)
    parts, x = [], 0.0
    for part in text.text if text.tracking else (text.text,):
        vertices, codes = text_to_path.get_text_path(properties, part)
        if len(codes):
            parts.append(Path(vertices, codes).transformed(Affine2D().scale(text.size / 100).translate(x, 0)))
        x += typeface.width(part, text.size, text.style) + text.tracking
    turn = Affine2D().rotate_deg(text.angle).scale(1, -1).translate(text.x, text.y)
    return Path.make_compound_path(*parts).transformed(turn) if parts else None
