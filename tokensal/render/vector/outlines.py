"""The outline of a box whose corners are round at one side."""

from __future__ import annotations

from collections.abc import Iterator

from tokensal.render.vector.shapes import Box

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
