"""PNG: the figure in pixels, on white or on nothing, with its provenance in text chunks."""

from __future__ import annotations

import json
from io import BytesIO

from matplotlib.backends.backend_agg import FigureCanvasAgg

from tokensal.drawing import Drawing
from tokensal.errors import InputError
from tokensal.render.layout import EvaluationTables, Heatmap, HeatmapComparison
from tokensal.render.vector.canvas import figure_of
from tokensal.render.vector.fonts import default_settings
from tokensal.render.vector.geometry import place
from tokensal.render.vector.shapes import Plate
from tokensal.version import __version__

MOST_PIXELS = 65_000  # on a side; matplotlib draws no more than 65,535


def draw_heatmap(heatmap: Heatmap, drawing: Drawing) -> bytes:
    """The figure of a heatmap as a PNG file."""
    return _draw(heatmap, drawing)


def draw_comparison(comparison: HeatmapComparison, drawing: Drawing) -> bytes:
    """The figure of a comparison as a PNG file."""
    return _draw(comparison, drawing)


def draw_evaluation(evaluation: EvaluationTables, drawing: Drawing) -> bytes:
    """The figure of the curves of an evaluation as a PNG file."""
    return _draw(evaluation, drawing)


def _draw(layout: Heatmap | HeatmapComparison | EvaluationTables, drawing: Drawing) -> bytes:
    with default_settings():
        plate = place(layout, drawing, embedded=True)
        _check_size(plate, drawing.dpi)
        figure = figure_of(plate, drawing.dpi)
        if not drawing.transparent:
            figure.set(frameon=True, facecolor="white")
        file = BytesIO()
        FigureCanvasAgg(figure).print_png(file, metadata=_metadata(plate))  # type: ignore[no-untyped-call]
    return file.getvalue()


def _check_size(plate: Plate, dpi: int) -> None:
    pixels = max(plate.width, plate.height) * dpi / 72
    if pixels > MOST_PIXELS:
        raise InputError(
            f"At {dpi} dpi the figure has {pixels:,.0f} pixels on a side, and at most {MOST_PIXELS:,} can be drawn: "
            "lower dpi, draw less (elide, sources), or choose .svg or .html."
        )


def _metadata(plate: Plate) -> dict[str, str]:
    """ASCII throughout, so that every chunk is tEXt."""
    return {
        "Software": f"tokensal {__version__}",
        "Title": json.dumps(plate.sheet.title)[1:-1],
        "Description": json.dumps(plate.sheet.description)[1:-1],
        "tokensal": json.dumps([list(fact) for fact in plate.sheet.facts]),
    }
