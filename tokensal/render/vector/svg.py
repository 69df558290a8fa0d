"""SVG: real text that can be edited, selected and searched; no script, no font and no address in it.

1. Every token is a group with the number of its source, a `<title>` with its score, its fill and its text.
2. A text states its width, so that the figure keeps its form where a viewer lacks a font.
3. White space between the groups is that of the text, for programs that read it.
4. `outlines` draws the letters as paths, which look the same everywhere and can be neither edited nor searched.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from matplotlib.path import Path

from tokensal.drawing import Drawing
from tokensal.render.layout import EvaluationTables, Heatmap, HeatmapComparison
from tokensal.render.layout.palette import Colour
from tokensal.render.vector.fonts import Typeface, default_settings
from tokensal.render.vector.geometry import place
from tokensal.render.vector.outlines import corners, letters
from tokensal.render.vector.shapes import INK, Box, Frames, Plate, Rule, Shape, Stroke, Text

NAMESPACE = "http://www.w3.org/2000/svg"
GENERIC = ("serif", "sans-serif")


def draw_heatmap(heatmap: Heatmap, drawing: Drawing) -> str:
    """The figure of a heatmap as one SVG document."""
    return _draw(heatmap, drawing)


def draw_comparison(comparison: HeatmapComparison, drawing: Drawing) -> str:
    """The figure of a comparison as one SVG document."""
    return _draw(comparison, drawing)


def draw_evaluation(evaluation: EvaluationTables, drawing: Drawing) -> str:
    """The figure of the curves of an evaluation as one SVG document."""
    return _draw(evaluation, drawing)


def _draw(layout: Heatmap | HeatmapComparison | EvaluationTables, drawing: Drawing) -> str:
    with default_settings():
        plate = place(layout, drawing, embedded=drawing.outlines)
        root = _root(plate)
        _groups(root, plate, outlines=drawing.outlines)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _root(plate: Plate) -> Element:
    width, height = _number(plate.width), _number(plate.height)
    root = Element(
        "svg",
        {
            "xmlns": NAMESPACE,
            "width": f"{width}pt",
            "height": f"{height}pt",
            "viewBox": f"0 0 {width} {height}",
            "role": "img",
            "font-family": _families(plate.typeface.stack),
            "text-rendering": "geometricPrecision",  # widths as they were measured, not rounded to pixels
            "xml:space": "preserve",
        },
    )
    SubElement(root, "title").text = plate.sheet.title
    SubElement(root, "desc").text = plate.sheet.description
    facts = "\n".join(f"{name}: {text}" for name, text in plate.sheet.facts)
    SubElement(root, "metadata").text = f"{facts}\ncaption: {' '.join(plate.sheet.caption)}"
    return root


def _groups(root: Element, plate: Plate, *, outlines: bool) -> None:
    """A group for each token or cell, of shapes that stand together in the figure."""
    for (source, about), group in groupby(plate.shapes, key=lambda shape: (shape.source, shape.about)):
        shapes = list(group)
        parent = root
        for shape in shapes[:1]:
            _add_gap(root, shape)
        if source is not None or about:
            parent = SubElement(root, "g", {} if source is None else {"data-source": str(source)})
        if about:
            SubElement(parent, "title").text = about
        for index, shape in enumerate(shapes):
            if index:
                _add_gap(parent, shape)
            parent.append(_element(shape, plate.typeface, outlines=outlines))


def _add_gap(parent: Element, shape: Shape) -> None:
    """White space behind what stands before a text."""
    if isinstance(shape, Text) and shape.gap and len(parent):
        parent[-1].tail = (parent[-1].tail or "") + shape.gap


def _element(shape: Shape, typeface: Typeface, *, outlines: bool) -> Element:
    match shape:
        case Box():
            return _box(shape)
        case Rule():
            return _rule(shape)
        case Frames():
            path = "".join(
                f"M{_number(x)} {_number(y)}h{_number(width)}v{_number(height)}h{_number(-width)}z"
                for x, y, width, height in shape.boxes
            )
            line = {"stroke": _hex(shape.colour), "stroke-width": _number(shape.line)}
            return Element("path", {"d": path, "fill": "none", **line})
        case Stroke():
            return _stroke(shape)
    return _outlines(shape, typeface) if outlines else _text(shape)


def _box(box: Box) -> Element:
    paint = {"fill": _hex(box.fill) if box.fill else "none"}
    if box.edge:
        paint |= {"stroke": _hex(box.edge), "stroke-width": _number(box.line)}
    if box.radius and box.left != box.right:
        steps = (
            command + " ".join(_number(each) for point in points for each in point) for command, points in corners(box)
        )
        return Element("path", {"d": "".join(steps) + "Z", **paint})
    sides = {"x": box.x, "y": box.y, "width": box.width, "height": box.height}
    if box.radius and box.left and box.right:
        sides["rx"] = min(box.radius, box.width / 2)
    return Element("rect", {name: _number(value) for name, value in sides.items()} | paint)


def _stroke(stroke: Stroke) -> Element:
    points = " ".join(f"{_number(x)},{_number(y)}" for x, y in stroke.points)
    line = {"stroke": _hex(stroke.colour), "stroke-width": _number(stroke.line), "stroke-linejoin": "round"}
    dash = {"stroke-dasharray": " ".join(map(_number, stroke.dash))} if stroke.dash else {}
    return Element("polyline", {"points": points, "fill": "none", **line, **dash})


def _rule(rule: Rule) -> Element:
    width, height = (rule.line, rule.length) if rule.vertical else (rule.length, rule.line)
    x, y = (rule.x - rule.line / 2, rule.y) if rule.vertical else (rule.x, rule.y - rule.line / 2)
    sides = {"x": x, "y": y, "width": width, "height": height}
    return Element("rect", {name: _number(value) for name, value in sides.items()} | {"fill": _hex(rule.colour)})


def _text(text: Text) -> Element:
    x, y = _number(text.x), _number(text.y)
    attributes = {"x": x, "y": y, "font-size": _number(text.size)}
    if text.angle:
        attributes["transform"] = f"rotate({_number(-text.angle)} {x} {y})"
    if text.style.bold:
        attributes["font-weight"] = "bold"
    if text.style.italic:
        attributes["font-style"] = "italic"
    if text.colour != INK:
        attributes["fill"] = _hex(text.colour)
    if text.tracking:
        attributes["letter-spacing"] = _number(text.tracking)
    if text.width:
        attributes |= {"textLength": _number(text.width), "lengthAdjust": "spacingAndGlyphs"}
    if not text.pieces:
        element = Element("text", attributes)
        element.text = text.text
        return element
    # the beginning of what is read from the right is its right end
    element = Element("text", attributes | {"x": _number(text.x + text.width), "direction": "rtl"})
    for source, piece in text.pieces:
        SubElement(element, "tspan", {} if source is None else {"data-source": str(source)}).text = piece
    return element


def _outlines(text: Text, typeface: Typeface) -> Element:
    path = letters(text, typeface)
    return Element("path", {"d": _commands(path) if path else "", "fill": _hex(text.colour)})


LETTERS = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C", Path.CLOSEPOLY: "Z"}


def _commands(path: Path) -> str:
    steps = []
    for vertices, code in path.iter_segments(simplify=False, curves=True):
        numbers = "" if code == Path.CLOSEPOLY else " ".join(map(_number, vertices))
        steps.append(f"{LETTERS[code]}{numbers}")
    return "".join(steps)


def _families(names: Sequence[str]) -> str:
    return ", ".join(name if name in GENERIC else f"'{name}'" for name in names)


def _hex(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _number(value: float) -> str:
    """A length with at most three decimals."""
    return f"{value:.3f}".rstrip("0").rstrip(".") if round(value, 3) else "0"
