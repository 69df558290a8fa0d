"""PDF: one page of the size of the figure, whose fonts are embedded as TrueType, and whose text can be copied."""

from __future__ import annotations

from io import BytesIO

from matplotlib.backends.backend_pdf import FigureCanvasPdf

from tokensal.drawing import Drawing
from tokensal.render.layout import EvaluationTables, Heatmap, HeatmapComparison
from tokensal.render.vector.canvas import figure_of
from tokensal.render.vector.fonts import default_settings, require_truetype
from tokensal.render.vector.geometry import place
from tokensal.version import __version__


def draw_heatmap(heatmap: Heatmap, drawing: Drawing) -> bytes:
    """The figure of a heatmap as a PDF file."""
    return _draw(heatmap, drawing)


def draw_comparison(comparison: HeatmapComparison, drawing: Drawing) -> bytes:
    """The figure of a comparison as a PDF file."""
    return _draw(comparison, drawing)


def draw_evaluation(evaluation: EvaluationTables, drawing: Drawing) -> bytes:
    """The figure of the curves of an evaluation as a PDF file."""
    return _draw(evaluation, drawing)


def _draw(layout: Heatmap | HeatmapComparison | EvaluationTables, drawing: Drawing) -> bytes:
    with default_settings():
        plate = place(layout, drawing, embedded=True)
        require_truetype(plate.typeface)
        file = BytesIO()
        metadata = {
            "Title": plate.sheet.title,
            "Subject": plate.sheet.description,
            "Keywords": "; ".join(f"{name}: {text}" for name, text in plate.sheet.facts),
            "Creator": f"tokensal {__version__}",
            "CreationDate": None,  # the same result gives the same file
        }
        FigureCanvasPdf(figure_of(plate, 72)).print_pdf(file, metadata=metadata)  # type: ignore[no-untyped-call]
    return file.getvalue()
