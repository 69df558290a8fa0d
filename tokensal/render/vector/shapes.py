"""Shapes: all that a figure consists of, each in its place, before a format draws it.

Lengths are points, 72 to the inch; x grows to the right and y downwards from the upper left corner of the figure.
Every text knows its width, as measured in the fonts of the figure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tokensal.render.layout.palette import Colour
from tokensal.render.vector.fonts import PLAIN, Style, Typeface

INK: Colour = (0, 0, 0)
GREY: Colour = (89, 89, 89)  # 7 : 1 on white: labels and notes
HAIRLINE: Colour = (213, 213, 213)


@dataclass(frozen=True, slots=True)
class Box:
    """A filled rectangle, or a framed one; `left` and `right` say which sides have round corners.

    `source` is the source that it belongs to, if any, and `about` what a reader who points at it is told.
    """

    x: float
    y: float
    width: float
    height: float
    fill: Colour | None
    radius: float = 0.0
    left: bool = True
    right: bool = True
    edge: Colour | None = None
    line: float = 0.0
    source: int | None = None
    about: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """A straight line; `vertical` or horizontal, from (x, y) on."""

    x: float
    y: float
    length: float
    line: float
    colour: Colour
    vertical: bool = False
    source: int | None = None
    about: str = ""


@dataclass(frozen=True, slots=True)
class Frames:
    """Framed rectangles (x, y, width, height) of one colour, without a fill."""

    boxes: tuple[tuple[float, float, float, float], ...]
    line: float
    colour: Colour
    source: int | None = None
    about: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """One line of text from (x, y) on, the beginning of its baseline, turned by `angle` degrees against the clock.

    `gap` is the white space that stands before it, and is no part of its width; a line break begins another line.
    `tracking` is added behind each character, and counts into the width. Where it is read from the right, `pieces` are
    the sources that it consists of and the text of each.
    """

    x: float
    y: float
    text: str
    width: float
    size: float
    style: Style = PLAIN
    colour: Colour = INK
    angle: float = 0.0
    tracking: float = 0.0
    gap: str = ""
    source: int | None = None
    about: str = ""
    pieces: tuple[tuple[int | None, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Stroke:
    """Straight lines through points; dashed where `dash` has the lengths of dashes and gaps."""

    points: tuple[tuple[float, float], ...]
    line: float
    colour: Colour
    dash: tuple[float, ...] = ()
    source: int | None = None
    about: str = ""


class Described(Protocol):
    """What is said of a figure: see `tokensal.render.layout.figure.Sheet`."""

    @property
    def title(self) -> str: ...

    @property
    def description(self) -> str: ...

    @property
    def caption(self) -> tuple[str, ...]: ...

    @property
    def facts(self) -> tuple[tuple[str, str], ...]: ...


Shape = Box | Rule | Frames | Stroke | Text


@dataclass(frozen=True, slots=True)
class Plate:
    """A figure whose shapes have their places: `sheet` is what is said of it, `typeface` the fonts of its texts."""

    width: float
    height: float
    shapes: tuple[Shape, ...]
    sheet: Described
    typeface: Typeface
