"""The canvas: shapes become artists of a matplotlib figure, which PDF and PNG are written from.

Neither pyplot nor a window is involved, and the settings of matplotlib are left alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path
from matplotlib.text import Text as Label
from matplotlib.transforms import Affine2D

from tokensal.render.layout.palette import Colour
from tokensal.render.vector.bidi import RIGHT, direction
from tokensal.render.vector.outlines import corners, letters
from tokensal.render.vector.shapes import Box, Frames, Plate, Rule, Shape, Stroke, Text

ORDER = (Box, Frames, Rule, Stroke, Text)  # what is painted first: no fill hides the letter before it
CODES = {"M": Path.MOVETO, "L": Path.LINETO, "Q": Path.CURVE3}


def figure_of(plate: Plate, dpi: float) -> Figure:
    """A figure with all shapes in it; inside of `default_settings`."""
    figure = Figure(figsize=(plate.width / 72, plate.height / 72), dpi=dpi, frameon=False)
    # points from the upper left corner
    points = Affine2D().scale(1 / 72, -1 / 72).translate(0, plate.height / 72) + figure.dpi_scale_trans
    for shape in plate.shapes:
        for artist in _artists(shape, plate):
            artist.set(transform=points, zorder=ORDER.index(type(shape)))
            figure.add_artist(artist)
    return figure


def _artists(shape: Shape, plate: Plate) -> Iterator[Artist]:
    match shape:
        case Box():
            yield _box(shape)
        case Rule():
            size = (shape.line, shape.length) if shape.vertical else (shape.length, shape.line)
            at = (shape.x - shape.line / 2, shape.y) if shape.vertical else (shape.x, shape.y - shape.line / 2)
            yield Rectangle(at, *size, facecolor=_rgb(shape.colour), linewidth=0)
        case Frames():
            if shape.boxes:
                path = Path.make_compound_path(*(_frame(*box) for box in shape.boxes))
                yield PathPatch(path, facecolor="none", edgecolor=_rgb(shape.colour), linewidth=shape.line)
        case Stroke():
            dashes: Any = (0, [each / shape.line for each in shape.dash]) if shape.dash else "solid"
            paint: dict[str, Any] = {"linewidth": shape.line, "linestyle": dashes, "joinstyle": "round"}
            yield PathPatch(Path(shape.points), facecolor="none", edgecolor=_rgb(shape.colour), **paint)
        case Text():
            if plate.typeface.is_embeddable(shape.text):
                yield from _texts(shape, plate)
            elif outline := letters(shape, plate.typeface):
                yield PathPatch(outline, facecolor=_rgb(shape.colour), linewidth=0)


def _box(box: Box) -> Artist:
    paint: dict[str, Any] = {
        "facecolor": _rgb(box.fill) if box.fill else "none",
        "edgecolor": _rgb(box.edge) if box.edge else "none",
        "linewidth": box.line,
    }
    if not box.radius:
        return Rectangle((box.x, box.y), box.width, box.height, **paint)
    vertices, codes = list[tuple[float, float]](), list[int]()
    for command, points in corners(box):
        vertices.extend(points)
        codes.extend([int(CODES[command])] * len(points))
    return PathPatch(Path([*vertices, vertices[0]], [*codes, int(Path.CLOSEPOLY)]), **paint)


def _frame(x: float, y: float, width: float, height: float) -> Path:
    return Path([(x, y), (x + width, y), (x + width, y + height), (x, y + height), (x, y)], closed=True)


def _texts(text: Text, plate: Plate) -> Iterator[Artist]:
    """The text with the spaces before it, so that it can be read from a PDF; spaced letters one by one."""
    typeface = plate.typeface
    space = "".join(each for each in text.gap if each == " ")
    if text.angle or direction(text.text) == RIGHT:  # there it would stand at the other end
        space = ""
    x = text.x
    if space:
        x -= typeface.width(space + text.text, text.size, text.style) - typeface.width(text.text, text.size, text.style)
    properties = typeface.properties(text.text, text.size, text.style)
    for part in text.text if text.tracking else (space + text.text,):
        yield Label(
            x, text.y, part,
            color=_rgb(text.colour), fontproperties=properties, rotation=text.angle,
            rotation_mode="anchor", horizontalalignment="left", verticalalignment="baseline", parse_math=False,
        )  # fmt: skip
        x += typeface.width(part, text.size, text.style) + text.tracking


def _rgb(colour: Colour) -> tuple[float, float, float]:
    red, green, blue = colour
    return red / 255, green / 255, blue / 255
